"""The hosts that take a destination's mail (RFC 5321 5.1): MX records, or the addresses of the name itself.

What is promised: hosts in the order in which they are to be tried, those of one
preference shuffled; none at or behind our own preference, none at an address that
is ours or nobody's (``outside``); at most MOST_ADDRESSES addresses in all.  What
can never work raises UndeliverableError, what may work later AttemptError.  A host
that a route names is taken as it is.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore

from netsvc.delivery.faults import AttemptError, UndeliverableError
from netsvc.delivery.hostsfile import KnownHosts
from netsvc.delivery.outside import Outside, is_own
from netsvc.delivery.terms import Host
from netsvc.mail.outcome import Fault
from netsvc.records import Found, NameNotFoundError, NameTemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.python.failure import Failure

    from netsvc.delivery.ground import Ground
    from netsvc.delivery.targets import Target
    from netsvc.interfaces import IResolver
    from netsvc.records import Row
    from netsvc.settings import SiteSettings

MOST_ADDRESSES = 20
"""Addresses that one try of a destination knows of."""
MOST_OF_HOST = 10
"""Of those, of one host: there must be room for the next."""
MOST_HOSTS = 20
"""Hosts of one destination whose addresses are looked up."""
AT_ONCE = 4
"""Of those, at the same time."""
DESTINATIONS_AT_ONCE = 1000
"""Destinations whose hosts are looked up at the same time."""
LONGEST_TURN = 1.0
"""Seconds after which a destination that nobody answers for lets the next begin."""
OWN_LOOK = 300.0
"""Seconds between two looks for the addresses of our own name."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A host that was found; ``why`` it is not tried, "" where it is, and of what kind that reason is."""

    host: Host
    why: str = ""
    fault: Fault = Fault.NONE
    passing: bool = False
    """Whether it may be otherwise later."""
    ours: bool = False
    """Whether it is this host."""


class Hosts:
    """Finds hosts.  ``own`` says whether an address is this host's."""

    def __init__(self, ground: Ground, own: Callable[[str], bool] = is_own) -> None:
        self._ground = ground
        self._own = own
        self._outside = Outside((), self._is_ours)
        self._known = KnownHosts(ground.reactor, ground.now)
        self._turns = DeferredSemaphore(DESTINATIONS_AT_ONCE)
        self._our_addresses: frozenset[str] = frozenset()
        self._our_look_at: float | None = None

    async def hosts(self, target: Target, domain: str = "") -> list[Host]:
        """Return the hosts of ``target``, at least one, each with an address; ``domain`` where the target says none.

        Raises AttemptError where there is none now, UndeliverableError where there never is.
        """
        seen = await self.seen(target, domain)
        hosts = [one.host for one in seen if not one.why]
        if not hosts:
            raise _none(target, domain, seen)
        return hosts

    async def rows(self, target: Target, domain: str = "") -> list[Row]:
        """-> list of destination.host/1 rows, in the order in which they are tried; those with ``why`` are not.

        One row without a name where there is no host at all.  It never fails.
        """
        try:
            seen = await self.seen(target, domain)
        except AttemptError as why:
            return [_row(Seen(Host("", ()), f"{why.status} {why.words}"))]
        rows = [_row(one) for one in seen]
        if all(one.why for one in seen):
            none = _none(target, domain, seen)
            rows.append(_row(Seen(Host("", ()), f"{none.status} {none.words}")))
        return rows

    async def seen(self, target: Target, domain: str = "") -> list[Seen]:
        """Return every host that was found, in the order in which they are tried.  Raises AttemptError."""
        if target.path:
            return [Seen(Host(target.path, (target.path,), 0))]
        if target.host:
            return [await self._named(target.host, target.port)]
        settings: SiteSettings = self._ground.site.current
        if settings.delivery.mx_allow_networks != self._outside.allowed:
            self._outside = Outside(settings.delivery.mx_allow_networks, self._is_ours)
        name = target.domain or domain
        await self._turns.acquire()
        turn: Any = self._ground.reactor.callLater(LONGEST_TURN, self._turns.release)
        try:
            return await self._of_domain(name, settings.delivery.mx_port)
        except AttemptError as why:
            raise _as_told(target, why) from None
        finally:
            if turn.active():
                turn.cancel()
                self._turns.release()

    # A host that a route names.

    async def _named(self, name: str, port: int) -> Seen:
        try:
            return Seen(Host(name, (str(ipaddress.ip_address(name)),), port))
        except ValueError:
            pass
        known = self._known.addresses(name.lower().removesuffix("."))
        if known:
            return Seen(Host(name, known[:MOST_OF_HOST], port))
        return await self._addresses(Host(name, (), port, validated=True))

    # What the DNS says.

    async def _of_domain(self, name: str, port: int) -> list[Seen]:
        if name.startswith("["):
            return [self._literal(name, port)]
        await self._look_for_ourselves()
        hosts = await self._mx(name, port)
        ours = min((host.preference for host in hosts if self._is_our_name(host.name)), default=None)
        seen: list[Seen] = []
        room = MOST_ADDRESSES
        for start in range(0, len(hosts), AT_ONCE):
            some = hosts[start : start + AT_ONCE]
            if not room or (ours is not None and some[0].preference >= ours):
                seen += [Seen(host) for host in hosts[start:]]
                break
            for one in await self._all_addresses(some, ours):
                judged = self._judged(one)
                if judged.ours:
                    ours = min(one.host.preference, ours if ours is not None else one.host.preference)
                addresses = judged.host.addresses[:room]
                room -= len(addresses) if not judged.why else 0
                seen.append(replace(judged, host=replace(judged.host, addresses=addresses)))
        return [_cut(one, ours) for one in seen]

    async def _mx(self, name: str, port: int) -> list[Host]:
        """Return the hosts that MX records name, without addresses; the name itself where there are none."""
        try:
            found = await self._resolver.look("mx", name)
        except NameNotFoundError:
            return [Host(name, (), port, 0, validated=True)]
        except NameTemporaryError as why:
            raise AttemptError(Fault.DNS, f"the mail hosts of {name} cannot be looked up: {why}", "4.4.3") from None
        named = [(preference, host) for preference, host in found.values if host]
        if not named:
            raise UndeliverableError(Fault.ROUTING, f"{name} takes no mail (null MX, RFC 7505)", "5.1.10", 556)
        chance = self._ground.chance
        ordered = sorted((preference, chance(), n) for n, (preference, _) in enumerate(named))
        return [Host(named[n][1], (), port, named[n][0], found.validated) for _, _, n in ordered[:MOST_HOSTS]]

    async def _all_addresses(self, hosts: Sequence[Host], ours: int | None) -> list[Seen]:
        """Return the hosts with their addresses; those at or behind our own preference as they are."""
        looking = [
            Deferred.fromCoroutine(self._addresses(host)) for host in hosts if ours is None or host.preference < ours
        ]
        looked: list[Any] = []
        answers: Any = await DeferredList(looking, consumeErrors=True) if looking else ()
        for good, seen in answers:
            if not good:
                seen.raiseException()
            looked.append(seen)
        return looked + [Seen(host) for host in hosts[len(looked) :]]

    async def _addresses(self, host: Host) -> Seen:
        """Return the host with its addresses, or why there are none; IPv6 and IPv4 by turns."""
        name = host.name
        if _is_address(name):
            return Seen(host, "an address stands where a name should", Fault.ROUTING)
        kinds = [self._resolver.look("aaaa", name), self._resolver.look("a", name)]
        answers: Any = await DeferredList(kinds, consumeErrors=True)
        found = [answer for good, answer in answers if good]
        wrong: list[Failure] = [answer for good, answer in answers if not good]
        if not found:
            for failure in wrong:
                if isinstance(failure.value, CancelledError):
                    raise failure.value
                if not isinstance(failure.value, NameNotFoundError):
                    return Seen(host, f"cannot be looked up: {failure.value}", Fault.DNS, passing=True)
            return Seen(host, "has no address", Fault.DNS)
        families = [self._shuffled(one) for one in found]
        addresses = tuple(dict.fromkeys(_by_turns(families)))[:MOST_OF_HOST]
        validated = host.validated and all(one.validated for one in found)
        chain = found[0].chain
        return Seen(replace(host, addresses=addresses, validated=validated, alias_of=chain[-1] if chain else ""))

    def _shuffled(self, found: Found) -> list[str]:
        chance = self._ground.chance
        ordered = sorted((chance(), n) for n in range(len(found.values)))
        return [found.values[n] for _, n in ordered]

    @property
    def _resolver(self) -> IResolver:
        resolver = self._ground.resolver
        if resolver is None:
            raise AttemptError(Fault.DNS, "there is no resolver", "4.4.3")
        return resolver

    # What is not tried.

    def _literal(self, name: str, port: int) -> Seen:
        """Return the host of a domain that is an address, as in ``user@[192.0.2.1]``."""
        try:
            address = str(ipaddress.ip_address(name.strip("[]").lower().removeprefix("ipv6:")))
        except ValueError:
            raise UndeliverableError(Fault.ROUTING, f"{name} is not an address", "5.1.2") from None
        return self._judged(Seen(Host(address, (address,), port)))

    def _is_our_name(self, name: str) -> bool:
        return name == self._ground.hostname.lower().removesuffix(".")

    def _judged(self, one: Seen) -> Seen:
        """Return a host without the addresses that are not to be tried; one of ours makes the whole host us."""
        if one.why:
            return one
        fine: list[str] = []
        against: Seen | None = None
        for address in one.host.addresses:
            objection = self._outside.objection(address)
            if objection is None:
                fine.append(address)
            elif against is None or objection.ours:
                words = f"[{address}] is {objection.words}"
                against = replace(one, why=words, fault=objection.fault, ours=objection.ours)
        if against is not None and (against.ours or not fine):
            return against
        return replace(one, host=replace(one.host, addresses=tuple(fine)))

    def _is_ours(self, address: str) -> bool:
        return address in self._our_addresses or self._own(address)

    async def _look_for_ourselves(self) -> None:
        """Have the addresses of our own name, which a router between may hide from us; wait the first time only."""
        now = self._ground.now()
        first = self._our_look_at is None
        if self._our_look_at is not None and now < self._our_look_at:
            return
        self._our_look_at = now + OWN_LOOK
        looking = Deferred.fromCoroutine(self._our_own())
        if first:
            await looking

    async def _our_own(self) -> None:
        seen = await self._addresses(Host(self._ground.hostname.lower(), ()))
        if not seen.passing:
            self._our_addresses = frozenset(seen.host.addresses)


def _cut(one: Seen, ours: int | None) -> Seen:
    """Return a host, with the reason where it is not to be tried because of our own place among them."""
    if one.why:
        return one
    if ours is not None and one.host.preference >= ours:
        return replace(one, why=f"it is not before us, whose preference is {ours}", fault=Fault.LOOP)
    if not one.host.addresses:
        return replace(one, why=f"there are {MOST_ADDRESSES} addresses before it", fault=Fault.ROUTING)
    return one


def _none(target: Target, domain: str, seen: Sequence[Seen]) -> AttemptError:
    """Return what is told of a destination of which no host is to be tried."""
    name = target.host or target.domain or domain
    if target.host:
        why = seen[0].why if seen[0].passing else "has no address"
        return AttemptError(Fault.DNS, f"{name} {why}", "4.4.3" if seen[0].passing else "4.4.4")
    return _as_told(target, _of_all(name, seen))


def _of_all(name: str, seen: Sequence[Seen]) -> AttemptError:
    for one in seen:
        if one.passing:
            return AttemptError(Fault.DNS, f"{one.host.name} {one.why}", "4.4.3")
    for one in seen:
        if one.fault is Fault.LOOP:
            why = f"mail for {name} comes back to us: {one.host.name}: {one.why}"
            return UndeliverableError(Fault.LOOP, why, "5.4.6")
    first = seen[0]
    if len(seen) == 1 and first.host.name == name and not first.host.addresses:
        return UndeliverableError(Fault.DNS, f"{name} takes no mail: it has no mail host and no address", "5.1.2")
    told = "; ".join(f"{one.host.name}: {one.why}" for one in seen[:3])
    return UndeliverableError(Fault.ROUTING, f"no mail host of {name} can be used: {told}", "5.1.2")


def _as_told(target: Target, why: AttemptError) -> AttemptError:
    """Return ``why``, for now only where the operator has named the domain: what he mistyped must not return mail."""
    if target.text.startswith("mx:") and isinstance(why, UndeliverableError):
        return AttemptError(Fault.ROUTING, f"the route {target.text} leads nowhere: {why.words}", "4.4.4")
    return why


def _by_turns(families: Sequence[Sequence[str]]) -> list[str]:
    longest = max((len(family) for family in families), default=0)
    return [family[n] for n in range(longest) for family in families if n < len(family)]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _row(one: Seen) -> Row:
    host = one.host
    return {
        "name": host.name,
        "preference": host.preference,
        "addresses": list(host.addresses),
        "port": host.port,
        "validated": host.validated,
        "why": one.why,
    }
