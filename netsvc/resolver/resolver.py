"""The resolver everybody shares: one question at a time for one name, remembered, in time, never blocking.

What it promises: an answer or NameNotFoundError or NameTemporaryError within
DEADLINE seconds (for mail that goes out, from its turn on); equal questions at the
same time are asked once; no more sockets than there are ``seats``, and names that
nobody answers do not delay others.  What it trusts: the name servers it is told of,
for the truth of their answers.  What it does not: the answers' size, form and text.
"""

from __future__ import annotations

import secrets
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from zope.interface import implementer

from netsvc.interfaces import IResolver
from netsvc.records import Found, NameNotFoundError, NameTemporaryError
from netsvc.resolver import packets
from netsvc.resolver.cache import FAILURE, LONGEST, LONGEST_ABSENCE, UNTOLD_ABSENCE, Answer, Cache
from netsvc.resolver.counts import Counts
from netsvc.resolver.exchange import Exchange, NoAnswerError
from netsvc.resolver.names import Server, is_loopback, reverse_name, server_of, servers_of_host, wire_name
from netsvc.resolver.seats import Seat, Seats
from netsvc.resolver.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.python.failure import Failure

    from netsvc.interfaces import ISite
    from netsvc.logbook import Logbook
    from netsvc.records import Row
    from netsvc.resolver.cache import Key
    from netsvc.resolver.packets import Reading
    from netsvc.settings import SiteSettings

DEADLINE = 20.0
"""Seconds in which a lookup is answered, one way or the other."""
WAITS = (1.5, 3.0, 6.0)
"""Seconds a server has in the first, second, third round over all servers."""
LAME = 30.0
"""Seconds in which a server that did not answer is asked last."""
MAX_FLIGHTS = 2000
"""Names being looked up, those that wait for a socket too; more are refused."""
OUT_FLIGHTS = 12_000
"""As many more for mail that goes out."""
RESOLV_CONF = Path("/etc/resolv.conf")
HOST_LOOK = 60.0
"""Seconds between two looks at RESOLV_CONF, where the site names no servers."""


def host_servers(path: Path = RESOLV_CONF) -> tuple[Server, ...]:
    """Return the name servers of this host."""
    try:
        return servers_of_host(path.read_text("utf-8", "replace"))
    except OSError:
        return servers_of_host("")


@implementer(IResolver)
class Resolver:
    """See IResolver.  ``exchange`` asks one server; ``servers`` are those asked, first the first."""

    def __init__(
        self, servers: Sequence[Server], reactor: Any, logbook: Logbook | None = None, exchange: Exchange | None = None
    ) -> None:
        """Know nothing yet."""
        self.servers = tuple(servers)
        self.counts = Counts()
        self.cache = Cache()
        self._reactor = reactor
        self._logbook = logbook
        self._exchange = exchange or Exchange(reactor)
        self._flights: dict[Key, list[Deferred[Answer]]] = {}
        self._looking: dict[Key, Deferred[Answer]] = {}
        self._seats = Seats(reactor)
        self._lame: dict[Server, float] = {}
        self.standing = Standing(reactor, logbook)
        self._dnssec = False
        self._look_at: float | None = None  # when the host's servers are to be read again; None: the site names ours

    def obey(self, site: ISite) -> None:
        """Ask the servers the site says, now and after each change of it; the host's where it says none."""
        self._take(site.current)
        site.watch(self._take)

    def _take(self, settings: SiteSettings) -> None:
        servers = tuple(server_of(text) for text in settings.delivery.dns)
        self._dnssec = settings.delivery.dnssec
        self._look_at = None if servers else self._reactor.seconds() + HOST_LOOK
        self._use(servers or host_servers())

    def _look_at_host(self) -> None:
        """Have the host's servers read again, off the reactor: a host may move to another network."""
        now = self._reactor.seconds()
        if self._look_at is None or now < self._look_at:
            return
        self._look_at = now + HOST_LOOK
        self._reactor.callInThread(lambda: self._reactor.callFromThread(self._use_hosts, host_servers()))

    def _use_hosts(self, servers: tuple[Server, ...]) -> None:
        if self._look_at is not None:  # else the site has named some meanwhile
            self._use(servers)

    def _use(self, servers: tuple[Server, ...]) -> None:
        if servers != self.servers:
            self.servers = servers
            self._lame.clear()
            self._seats.forget()
            self.cache.flush()

    def stop(self) -> None:
        """Give up what is under way; whoever waits gets NameTemporaryError."""
        for looking in list(self._looking.values()):
            looking.cancel()

    # What is asked of us.

    def a(self, name: str) -> Deferred[list[str]]:
        """See IResolver."""
        return self._values("a", name)

    def aaaa(self, name: str) -> Deferred[list[str]]:
        """See IResolver."""
        return self._values("aaaa", name)

    def ptr(self, ip: str) -> Deferred[list[str]]:
        """See IResolver."""
        return self._values("ptr", reverse_name(ip) or "")

    def txt(self, name: str) -> Deferred[list[bytes]]:
        """See IResolver."""
        return self._values("txt", name)

    def mx(self, name: str) -> Deferred[list[tuple[int, str]]]:
        """See IResolver."""
        return self._values("mx", name)

    def tlsa(self, name: str) -> Deferred[list[tuple[int, int, int, bytes]]]:
        """See IResolver."""
        return self._values("tlsa", name)

    def look(self, kind: str, name: str) -> Deferred[Found]:
        """See IResolver."""
        asked = self.ask(kind, name, out=True)
        answer = getattr(asked, "result", None) if asked.called else None
        if isinstance(answer, Answer):
            return succeed(self._found(answer))
        return asked.addCallback(self._found)

    def _found(self, answer: Answer) -> Found:
        return Found(answer.values, answer.authentic and self.trusted, answer.chain)

    @property
    def trusted(self) -> bool:
        """Whether the servers are believed that they validated: nobody stands between us and this host's own."""
        return self._dnssec or all(is_loopback(server) for server in self.servers)

    def _values(self, kind: str, name: str) -> Deferred[list[Any]]:
        asked = self.ask(kind, name)
        answer = getattr(asked, "result", None) if asked.called else None
        if isinstance(answer, Answer):  # from memory: no turn through the Deferred
            return succeed(list(answer.values))
        return asked.addCallback(lambda answer: list(answer.values))

    def ask(self, kind: str, name: str, *, out: bool = False) -> Deferred[Answer]:
        """Look up ``kind`` (of packets.KINDS) of ``name`` -> Deferred[Answer] that has values; it fails as IResolver's.

        ``out``: for mail that goes out.  Cancelling it leaves others that wait for the same alone.
        """
        self.counts.lookups += 1
        wire = wire_name(name)
        if wire is None:
            self.counts.absent += 1
            return fail(NameNotFoundError("no name that could be looked up"))
        key = (wire, kind)
        known = self.cache.get(key, self._reactor.seconds())
        if known is not None:
            self.counts.hits += 1
            return self._told(known)
        waiting = self._flights.get(key)
        if waiting is not None:
            self.counts.joined += 1
        elif len(self._flights) >= MAX_FLIGHTS + (OUT_FLIGHTS if out else 0):
            self.counts.failures += 1
            return fail(NameTemporaryError("too many names are being looked up"))
        else:
            self._flights[key] = waiting = []
        asked: Deferred[Answer] = Deferred(waiting.remove)
        waiting.append(asked)
        if key not in self._looking:
            self._depart(key, out=out)
        elif out:
            self._seats.promote(key)
        return asked

    def _told(self, answer: Answer) -> Deferred[Answer]:
        error = answer.error()
        if error is None:
            return succeed(answer)
        self._count(answer)
        return fail(error)

    def _count(self, answer: Answer) -> None:
        if answer.fault:
            self.counts.failures += 1
        else:
            self.counts.absent += 1

    # One lookup for all that ask the same.

    def _depart(self, key: Key, *, out: bool) -> None:
        self._look_at_host()
        looking = Deferred.fromCoroutine(self._sockets_for(key, out=out))
        self._looking[key] = looking
        if not out:
            looking.addTimeout(DEADLINE, self._reactor)
        looking.addErrback(self._gave_up)
        looking.addCallback(self._arrived, key)

    async def _sockets_for(self, key: Key, *, out: bool) -> Answer:
        seat = Seat(self._seats, key, out=out)
        await seat.take()
        try:
            if out:
                answer = await Deferred.fromCoroutine(self._look(key, seat)).addTimeout(DEADLINE, self._reactor)
            else:
                answer = await self._look(key, seat)
        except BaseException:
            if seat.lingers:
                self._seats.silent(key)
            raise
        finally:
            seat.leave()
        self._seats.answered(key)
        return answer

    def _gave_up(self, failure: Failure) -> Answer:
        """Return what is told of a lookup that ended without an answer."""
        error = failure.value
        if isinstance(error, NoAnswerError):
            why = str(error)
        elif isinstance(error, defer.TimeoutError):
            why = f"no answer in {DEADLINE:g} s"
            self.standing.unanswered(why)
        elif isinstance(error, CancelledError):
            return Answer(fault="the resolver stops")
        else:
            if self._logbook is not None:
                self._logbook.failure("dns.fault", failure)
            why = "a fault of the resolver"
        return Answer(fault=why, until=self._reactor.seconds() + FAILURE)

    def _arrived(self, answer: Answer, key: Key) -> None:
        self._looking.pop(key, None)
        waiting = self._flights.pop(key)
        self.cache.put(key, answer, self._reactor.seconds())
        if answer.fault and self._logbook is not None:
            self._logbook.debug("dns.failed", query=key[0], kind=key[1], why=answer.fault)
        while waiting:
            asked = waiting.pop(0)
            error = answer.error()
            if error is None:
                asked.callback(answer)
            else:
                self._count(answer)
                asked.errback(error)

    async def _look(self, key: Key, seat: Seat) -> Answer:
        """Follow a name through its aliases to an answer."""
        name, kind = key
        chain: list[str] = []
        ttl, authentic = int(LONGEST), True
        deadline = self._reactor.seconds() + DEADLINE
        while True:
            reading = await self._query(name, kind, deadline, seat)
            chain += reading.chain
            authentic = authentic and reading.authentic
            if reading.ttl >= 0:
                ttl = min(ttl, reading.ttl)
            if not reading.alias:
                break
            following = wire_name(reading.alias)
            if len(chain) > packets.MAX_CHAIN or len(set(chain)) < len(chain) or following in {None, key[0]}:
                raise NoAnswerError("a loop or a long chain of aliases")
            assert following is not None
            name = following
        now = self._reactor.seconds()
        if reading.values:
            return Answer(reading.values, now + ttl, tuple(chain), authentic=authentic)
        lasting = min(ttl, LONGEST_ABSENCE) if reading.ttl >= 0 else min(ttl, UNTOLD_ABSENCE)
        absent = "no such name" if reading.code == packets.NO_NAME else f"no {kind.upper()} record"
        return Answer((), now + lasting, tuple(chain), absent=absent, authentic=authentic)

    # One name of it, at all servers.

    async def _query(self, name: bytes, kind: str, deadline: float, seat: Seat) -> Reading:
        """Ask the servers in turn until one answers; raises NoAnswerError with what the last one did."""
        why = "no name server"
        for wait in WAITS:
            silent = False
            for server in self._in_order():
                left = deadline - self._reactor.seconds()
                if left <= 0:
                    self.standing.unanswered(why)
                    raise NoAnswerError(why)
                try:
                    reading = await self._ask(server, name, kind, min(wait, left))
                except NoAnswerError as error:
                    silent, why = True, f"{server}: {error}"
                    self.counts.timeouts += 1
                    self._lame[server] = self._reactor.seconds() + LAME
                    continue
                self._lame.pop(server, None)
                self.standing.answered()
                if reading.code in {packets.OK, packets.NO_NAME}:
                    return reading
                why = f"{server}: {reading.why}"
            if not silent:
                break  # all have spoken; the same question would get the same answer
            await seat.linger()
        else:
            self.standing.unanswered(why)
        raise NoAnswerError(why)

    def _in_order(self) -> list[Server]:
        """Return the servers, those that were silent lately behind the others."""
        now = self._reactor.seconds()
        return sorted(self.servers, key=lambda server: self._lame.get(server, 0.0) > now)

    async def _ask(self, server: Server, name: bytes, kind: str, wait: float) -> Reading:
        """Ask one server, by TCP too where its answer did not fit."""
        reading = await self._send(server, name, kind, wait, edns=True)
        if reading.code in packets.WITHOUT_EDNS:
            return await self._send(server, name, kind, wait, edns=False)
        return reading

    async def _send(self, server: Server, name: bytes, kind: str, wait: float, *, edns: bool) -> Reading:
        packet = packets.question(name, kind, secrets.randbelow(1 << 16), edns=edns)

        def read(got: bytes) -> Reading:
            return packets.read(got, packet, name.decode("ascii"), kind)

        self.counts.queries += 1
        reading = await self._exchange.udp(server, packet, read, wait)
        if reading.truncated:
            self.counts.queries += 1
            self.counts.tcp += 1
            reading = await self._exchange.tcp(server, packet, read, max(wait, WAITS[1]))
        return reading

    # What is shown.

    def rows(self, name: str = "") -> list[Row]:
        """-> list of dns.cache/1 rows, what was asked for last first; those of ``name`` alone where it is given."""
        now = self._reactor.seconds()
        wanted = wire_name(name) if name else None
        return [
            {
                "name": key[0].decode("ascii"),
                "kind": key[1],
                "values": [packets.shown_value(value) for value in answer.values],
                "result": answer.fault or answer.absent or "found",
                "ttl": int((answer.until - now) * 1000),
                "authentic": answer.authentic,
            }
            for key, answer in self.cache.items(now)
            if not name or key[0] == wanted
        ]

    def status(self) -> Row:
        """-> a dns/1 row: the servers and the counts."""
        row: dict[str, Any] = {field.name: getattr(self.counts, field.name) for field in fields(self.counts)}
        return {
            "servers": [str(server) for server in self.servers],
            "entries": len(self.cache),
            "octets": self.cache.octets,
            "asking": len(self._looking),
            **row,
        }

    def flush(self, name: str = "") -> int:
        """Forget what is known of ``name``, of all names where it is "" -> how many answers that were."""
        if not name:
            return self.cache.flush()
        wire = wire_name(name)
        return 0 if wire is None else self.cache.flush(wire)
