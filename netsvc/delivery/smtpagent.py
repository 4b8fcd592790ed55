"""The agent that carries mail by SMTP to the host a route names.

A host is an IP address or a name; names are looked up by the reactor's resolver
(off the reactor's thread) and their addresses tried in order.  Connections are
kept per destination (``peers``, ``connection``).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TooLate
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

from netsvc.delivery.connection import Connection, Surroundings
from netsvc.delivery.faults import AttemptError, deferred
from netsvc.delivery.peers import Job, Peer
from netsvc.delivery.targets import parse_target
from netsvc.delivery.wire import Deadlines, Wire, WireFactory
from netsvc.interfaces import IDeliveryAgent
from netsvc.mail.outcome import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IAddress, IHostResolution

    from netsvc.delivery.ground import Ground
    from netsvc.delivery.transcript import Transcript
    from netsvc.mail.message import Hop, Leased
    from netsvc.mail.outcome import Outcome
    from netsvc.settings import SiteSettings

CONNECT_PATIENCE = 30
RESOLVE_PATIENCE = 30
"""Seconds."""
MOST_ADDRESSES = 20
"""Addresses of one name that are tried in one attempt."""
STOP_PATIENCE = 30
"""Seconds that a stop waits for answers to final dots."""


@implementer(IResolutionReceiver)
class _Addresses:
    """Collects what a resolver finds."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.complete: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """See IResolutionReceiver."""

    def addressResolved(self, address: IAddress) -> None:
        """See IResolutionReceiver."""
        if isinstance(address, IPv4Address | IPv6Address) and len(self.found) < MOST_ADDRESSES:
            self.found.append(address.host)

    def resolutionComplete(self) -> None:
        """See IResolutionReceiver."""
        if not self.complete.called:
            self.complete.callback(self.found)


@implementer(IDeliveryAgent)
class SmtpAgent:
    """IDeliveryAgent for routes ``[host]:port``."""

    name = "smtp"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._reactor: Any = ground.reactor
        self._deadlines = Deadlines(ground.reactor, ground.now)
        self._peers: dict[str, Peer] = {}
        self._around = Surroundings(ground.spool, ground.sessions, ground.logbook, ground.now, self._open)
        self._stopping = False

    def attempt(
        self, next_hop: Hop, message: Leased, recipients: Sequence[Leased], observer: Callable[[str, str], None] | None
    ) -> Deferred[list[Outcome]]:
        """See IDeliveryAgent."""
        del message
        peer = self._peers.get(next_hop.key)
        if peer is None:
            try:
                target = parse_target(next_hop.key)
            except ValueError as why:
                return succeed(deferred(recipients, AttemptError(Fault.ROUTING, str(why), "4.4.4")))
            peer = self._peers[next_hop.key] = Peer(target, self._limit, self._connect)
            peer.stopping = self._stopping
            self._tidy()
        job = Job(next_hop, list(recipients), observer)
        peer.submit(job)
        return job.done

    def _limit(self) -> int:
        settings: SiteSettings = self._ground.site.current
        return settings.delivery.connections

    def _connect(self, peer: Peer, job: Job) -> Connection:
        return Connection(peer, job, self._around)

    def _tidy(self) -> None:
        if len(self._peers) > 1000:
            for key in [key for key, peer in self._peers.items() if peer.unused and not peer.failures]:
                del self._peers[key]

    @property
    def connections(self) -> int:
        """How many connections are open or being opened."""
        return sum(len(peer.connections) for peer in self._peers.values())

    def stop(self) -> Deferred[None]:
        """Release what has not reached its final dot; fires when the last connection has ended."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        waiting = []
        for peer in self._peers.values():
            peer.stopping = True
            peer.give_back()
            for connection in list(peer.connections):
                waiting.append(connection.ended)
                connection.stop()
        if not waiting:
            return

        def too_late() -> None:
            for peer in self._peers.values():
                for connection in list(peer.connections):
                    connection.abort("the service stopped before the peer answered")

        call = self._reactor.callLater(STOP_PATIENCE, too_late)
        await DeferredList(waiting, consumeErrors=True)
        if call.active():
            call.cancel()

    async def _open(self, peer: Peer, record: Transcript) -> Wire:
        """Return a wire to the first address that answers.  Raises AttemptError."""
        target = peer.target
        last = AttemptError(Fault.DNS, f"{target.host} has no address", "4.4.4")
        for address in await self._resolve(target.host):
            record.note(f"connecting to [{address}]:{target.port}")
            kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
            endpoint = kind(self._reactor, address, target.port, timeout=CONNECT_PATIENCE)
            try:
                return await endpoint.connect(WireFactory(self._ground.hostname, self._deadlines))  # type: ignore[return-value] # the factory makes wires
            except TooLate:
                last = AttemptError(Fault.CONNECT_TIMEOUT, "connection timed out", "4.4.1")
            except Refused:
                last = AttemptError(Fault.CONNECT_REFUSED, "connection refused", "4.4.1")
            except (ConnectError, OSError) as why:
                last = AttemptError(Fault.CONNECT_FAILED, f"cannot connect: {_reason(why)}", "4.4.1")
            record.note(last.words)
        raise last

    async def _resolve(self, host: str) -> list[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        receiver = _Addresses()
        self._reactor.nameResolver.resolveHostName(receiver, host)
        receiver.complete.addTimeout(RESOLVE_PATIENCE, self._reactor)
        try:
            return await receiver.complete
        except Exception as why:
            raise AttemptError(Fault.DNS, f"{host} cannot be looked up: {type(why).__name__}", "4.4.3") from why


def _reason(why: BaseException) -> str:
    return getattr(why, "strerror", None) or str(why) or type(why).__name__
