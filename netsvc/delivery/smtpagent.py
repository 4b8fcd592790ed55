"""The agent that carries mail by SMTP and LMTP, to the hosts a route names or MX records lead to.

Connections are kept per destination (``peers``, ``connection``); the way to its
hosts is found anew for each (``approach``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from zope.interface import implementer

from netsvc.delivery.allowances import Allowances
from netsvc.delivery.approach import Approach, Ways
from netsvc.delivery.connection import Connection, Surroundings
from netsvc.delivery.crowds import Crowds
from netsvc.delivery.dialing import Dialer
from netsvc.delivery.faults import AttemptError, deferred
from netsvc.delivery.greeting import Greeter
from netsvc.delivery.hosts import Hosts
from netsvc.delivery.peers import Job, Peer
from netsvc.delivery.targets import hop_target
from netsvc.delivery.tlspolicy import said_by_site
from netsvc.delivery.wire import Deadlines, WireFactory
from netsvc.interfaces import IDeliveryAgent
from netsvc.mail.outcome import Fault
from netsvc.smtp.client import ClientSession
from netsvc.smtp.lmtp import LmtpSession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.delivery.ground import Ground
    from netsvc.delivery.targets import Target
    from netsvc.delivery.transcript import Transcript
    from netsvc.mail.message import Hop, Leased
    from netsvc.mail.outcome import Outcome
    from netsvc.settings import SiteSettings

STOP_PATIENCE = 30
"""Seconds that a stop waits for answers to final dots."""
MOST_PEERS = 1000
"""Destinations known of before those that nobody uses are forgotten."""


@implementer(IDeliveryAgent)
class SmtpAgent:
    """IDeliveryAgent for routes ``[host]:port``, ``mx``, ``mx:domain`` and ``lmtp:``."""

    name = "smtp"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._reactor: Any = ground.reactor
        self._peers: dict[str, Peer] = {}
        self._tidy_at = MOST_PEERS
        self._allowances = ground.allowances or Allowances(ground.site, None, ground.spool.now, ground.now)
        self.hosts = Hosts(ground)
        deadlines = Deadlines(ground.reactor, ground.now)
        wires, lmtp = (WireFactory(ground.hostname, deadlines, kind) for kind in (ClientSession, LmtpSession))
        dialer = Dialer(ground.reactor, wires, ground.now)
        greeter = Greeter(ground.reactor, None if ground.tls is None else ground.tls.authorities)
        crowds = Crowds(self._most_at_host, dialer.troubles.lately)
        self._ways = Ways(ground, self.hosts, dialer, greeter, crowds, lmtp)
        self._around = Surroundings(
            ground.spool, ground.sessions, ground.logbook, ground.now, self._approach, self._said
        )
        ground.site.watch(self._look_again)
        self._stopping = False

    def attempt(
        self, next_hop: Hop, message: Leased, recipients: Sequence[Leased], observer: Callable[[str, str], None] | None
    ) -> Deferred[list[Outcome]]:
        """See IDeliveryAgent."""
        del message
        peer = self._peers.get(next_hop.key)
        if peer is None:
            try:
                target = hop_target(next_hop)
            except ValueError as why:
                return succeed(deferred(recipients, AttemptError(Fault.ROUTING, str(why), "4.4.4")))
            self._tidy()
            peer = self._peers[next_hop.key] = self._peer(next_hop.key, target)
        job = Job(next_hop, list(recipients), observer)
        peer.submit(job)
        return job.done

    def _peer(self, key: str, target: Target) -> Peer:
        known = self._allowances
        peer = Peer(target, lambda: known.of(key).connections, self._connect)
        peer.most_messages = lambda: known.of(key).messages
        peer.stopping = self._stopping
        return peer

    def _most_at_host(self) -> int:
        settings: SiteSettings = self._ground.site.current
        return settings.delivery.connections

    def _approach(self, target: Target, record: Transcript) -> Approach:
        return Approach(self._ways, target, record)

    def _said(self, target: Target) -> object:
        settings: SiteSettings = self._ground.site.current
        login = settings.destination(target.key, target.domain).credential
        delivery = settings.delivery
        terms = said_by_site(settings, target.domain, target.key)
        return terms, login, delivery.mta_sts, delivery.dane, delivery.dnssec

    def _look_again(self, settings: SiteSettings) -> None:
        """Have connections end whose terms the site has changed."""
        del settings
        for peer in self._peers.values():
            for connection in list(peer.connections):
                connection.look_again()

    def _connect(self, peer: Peer, job: Job) -> Connection:
        return Connection(peer, job, self._around)

    def _tidy(self) -> None:
        """Forget peers nobody uses, when there are many; the scheduler remembers by itself which of them failed."""
        if len(self._peers) >= self._tidy_at:
            self._peers = {key: peer for key, peer in self._peers.items() if not peer.unused}
            self._tidy_at = max(MOST_PEERS, 2 * len(self._peers))

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
