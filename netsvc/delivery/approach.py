"""The way to a destination: host after host, address after address, until one is ready (RFC 5321 5.1).

A connection asks for the ``next`` wire and says whether what came then ``failed``;
what is left is tried, and in the end the error that tells most is raised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netsvc.delivery.crowds import Room
from netsvc.delivery.faults import AttemptError
from netsvc.delivery.greeting import BrokenTlsError
from netsvc.delivery.terms import Host, TlsLevel, TlsTerms
from netsvc.mail.message import Kind
from netsvc.mail.outcome import Fault
from netsvc.records import CredentialError

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.delivery.crowds import Crowds
    from netsvc.delivery.dialing import Dialer
    from netsvc.delivery.greeting import Greeter
    from netsvc.delivery.ground import Ground
    from netsvc.delivery.hosts import Hosts
    from netsvc.delivery.targets import Target
    from netsvc.delivery.terms import Credential
    from netsvc.delivery.transcript import Transcript
    from netsvc.delivery.wire import Wire, WireFactory
    from netsvc.settings import SiteSettings

PATIENCE = 300.0
"""Seconds after which no more hosts are tried at once."""
_SURE = frozenset({"site", "mta-sts", "dane"})
"""Who may say which hosts are a domain's, where DNS is not validated."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What every approach stands on."""

    ground: Ground
    hosts: Hosts
    dialer: Dialer
    greeter: Greeter
    crowds: Crowds
    lmtp: WireFactory | None = None
    """What makes wires to hosts that speak LMTP."""


class Approach:
    """One try to reach ``target``.

    ``host``, ``terms`` and ``address`` are of the wire that ``next`` gave last; when it raises, of whom the error
    tells.
    """

    __slots__ = (
        "_begun",
        "_credential",
        "_end",
        "_held",
        "_left",
        "_proved",
        "_record",
        "_target",
        "_tried",
        "_ways",
        "address",
        "host",
        "terms",
    )

    def __init__(self, ways: Ways, target: Target, record: Transcript) -> None:
        self._ways = ways
        self._target = target
        self._record = record
        self._left: list[tuple[Host, TlsTerms]] | None = None
        self._tried: set[str] = set()
        self._credential: Credential | None = None
        self._begun = ways.ground.now()
        self._held = ""
        self._proved = False
        self.host = Host(target.host or target.domain or target.path, (), target.port)
        self.terms = TlsTerms()
        self.address = ""
        self._end = (AttemptError(Fault.DNS, f"{self.host.name} has no address", "4.4.4"), self.host, "")

    async def next(self) -> Wire:
        """Return a wire to the next address that answers.  Raises AttemptError when there is none left."""
        if self._left is None:
            self._left = await self._hosts()
            self._credential = await self._login()
        while self._left:
            host, terms = self._left[0]
            addresses = [address for address in host.addresses if address not in self._tried]
            if not addresses or self._is_late():
                self._left.pop(0)
                continue
            self.host, self.terms = host, terms
            if self._target.by_mx:
                self._record.note(f"trying {host.name} (preference {host.preference})")
                addresses = await self._with_room(addresses, host.port)
            if addresses:
                wire = await self._dial(addresses, host.port)
                if wire is not None:
                    return wire
        told, self.host, self.address = self._end
        raise told

    async def _with_room(self, addresses: list[str], port: int) -> list[str]:
        """Return those addresses to which a connection may be opened, having taken room for it; none if all failed."""
        crowds = self._ways.crowds
        while True:
            rooms = [(crowds.take(address, port), address) for address in addresses]
            taken = [address for room, address in rooms if room is Room.TAKEN]
            full = [address for room, address in rooms if room is Room.FULL]
            if taken:
                return taken
            if not full:
                self._tried.update(addresses)
                self.address = addresses[0]
                told = self._ways.dialer.troubles.why(addresses[0], port) or AttemptError(
                    Fault.CONNECT_FAILED, "failed"
                )
                self._note(AttemptError(told.fault, f"{told.words} (lately; it is being tried)", told.status))
                return []
            self._record.note(f"[{full[0]}] has as many connections as it may have: waiting")
            await crowds.wait(full[0], port)
            addresses = full

    async def _dial(self, addresses: list[str], port: int) -> Wire | None:
        """Return a wire to the first of the addresses that answers, None where none does."""
        race = self._ways.dialer.dial(addresses, port, self._record, self._wires)
        try:
            wire = await race.won
            self._held = race.tried[-1]
        except AttemptError as why:
            self.address = race.tried[-1]
            self._note(why)
            return None
        finally:
            self._tried.update(race.tried)
            if self._target.by_mx:
                for address in addresses:
                    if address != self._held:
                        self._ways.crowds.leave(address, port, proved=False)
        self.address = self._held
        self._proved = False
        return wire

    def left(self) -> None:
        """Note that the connection is used no more."""
        held, self._held = self._held, ""
        if held and self._target.by_mx:
            self._ways.crowds.leave(held, self.host.port, proved=self._proved)

    @property
    def wanted(self) -> bool:
        """Whether another destination waits for the room of this connection."""
        return bool(self._held) and self._target.by_mx and self._ways.crowds.wanted(self._held, self.host.port)

    def rest(self, end: Callable[[], None]) -> None:
        """Idle: ``end()`` is called when the room is wanted."""
        if self._held and self._target.by_mx:
            self._ways.crowds.rest(self._held, self.host.port, end)

    def end_rest(self, end: Callable[[], None]) -> None:
        """Idle no longer."""
        if self._held and self._target.by_mx:
            self._ways.crowds.end_rest(self._held, self.host.port, end)

    async def _hosts(self) -> list[tuple[Host, TlsTerms]]:
        """Return the hosts with what TLS must be like there, those that failed lately behind the others."""
        target, tls = self._target, self._ways.ground.tls
        hosts = await self._ways.hosts.hosts(target)
        if target.path:  # a socket of this host
            return [(host, TlsTerms(TlsLevel.NONE)) for host in hosts]
        if len(hosts) > 1:
            lately = self._ways.dialer.troubles.lately
            hosts.sort(key=lambda host: all(lately(address, host.port) for address in host.addresses))
        if tls is None:
            return [(host, TlsTerms()) for host in hosts]
        return await tls.hosts(target.domain, hosts, target.key)

    @property
    def _wires(self) -> WireFactory | None:
        return self._ways.lmtp if self._target.kind is Kind.LMTP else None

    def _is_late(self) -> bool:
        return bool(self._tried) and self._ways.ground.now() > self._begun + PATIENCE

    async def _login(self) -> Credential | None:
        """Return what we log in with, where the site names it.  Raises AttemptError where it has none of that name."""
        ground, target = self._ways.ground, self._target
        settings: SiteSettings = ground.site.current
        name = settings.destination(target.key, target.domain).credential
        if not name:
            return None
        try:
            credential: Credential | None = await ground.credentials.get(name) if ground.credentials else None
        except CredentialError as why:
            raise AttemptError(Fault.LOCAL, f"the credential {name} cannot be had: {why}", "4.7.0") from None
        if credential is None:
            raise AttemptError(Fault.LOCAL, f"there is no credential {name}", "4.7.0")
        return credential

    async def greet(self, wire: Wire) -> None:
        """Bring the session on ``wire`` to where a transaction may begin.  Raises AttemptError: call ``failed``."""
        if self._target.by_mx:  # RFC 8689 4.2.1: who forges MX records names a host with a good certificate
            wire.sure = self.host.validated or self.terms.source in _SURE
        await self._ways.greeter.greet(wire, self.host, self.terms, self._credential, self._record)
        self._ways.dialer.troubles.worked(self.address, self.host.port)
        self._proved = True
        if self._target.by_mx:
            self._ways.crowds.proved(self.address, self.host.port)

    def failed(self, why: AttemptError) -> None:
        """Note that the wire came to nothing before a transaction: another address is tried, or another host.

        TLS that breaks where it is only taken as it comes is left out once, at the same address (RFC 7435 3).
        """
        self._note(why)
        if isinstance(why, BrokenTlsError):
            self._record.note(f"{why.words}; trying again in clear")
            self._tried.discard(self.address)
            host = replace(self.host, addresses=(self.address,))
            assert self._left is not None
            self._left.insert(0, (host, replace(self.terms, level=TlsLevel.NONE)))
        elif why.fault is Fault.AUTH:
            self._left = []  # the other addresses would hear the same, and lock us out
        else:
            self._ways.dialer.troubles.failed(self.address, self.host.port, why)
        self.left()

    def _note(self, why: AttemptError) -> None:
        """Keep the error that tells most, and whose it is: what a peer says is more than that none answers."""
        if why.reply is not None or self._end[0].reply is None:
            self._end = (why, self.host, self.address)
