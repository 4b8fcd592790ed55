"""The resolver on a clock and servers that do as they are told."""

from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.interfaces import IResolver
from netsvc.records import NameNotFoundError, NameTemporaryError
from netsvc.resolver import resolver as resolver_module
from netsvc.resolver.exchange import NoAnswerError
from netsvc.resolver.names import Server
from netsvc.resolver.packets import Reading
from netsvc.resolver.resolver import DEADLINE, Resolver, host_servers
from netsvc.resolver.seats import MAX_AT_ONCE
from netsvc.settings import DeliverySettings
from tests.fakes import FakeLogbook, FakeSite

ONE, TWO = Server("192.0.2.1"), Server("192.0.2.2")
FOUND = Reading(values=("192.0.2.80",), ttl=60)


class Servers:
    """``answers`` in turn: a Reading, an exception, or None (silence until the time is over); ``asked`` is kept."""

    def __init__(self, clock, *answers):
        self.clock = clock
        self.answers = list(answers)
        self.asked = []

    def _answer(self, seconds):
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            return fail(answer)
        if answer is None:
            silent = Deferred()
            call = self.clock.callLater(seconds, lambda: silent.errback(NoAnswerError("silent")))
            return silent.addErrback(lambda failure: (call.active() and call.cancel(), failure)[1])
        return answer if isinstance(answer, Deferred) else succeed(answer)

    async def udp(self, server, packet, read, seconds):
        self.asked.append(("udp", server, seconds, packet[-11:].startswith(b"\0\0\x29")))
        return await self._answer(seconds)

    async def tcp(self, server, packet, read, seconds):
        self.asked.append(("tcp", server, seconds, True))
        return await self._answer(seconds)


class Resolving(SynchronousTestCase):
    def make(self, *answers, servers=(ONE,)):
        self.clock = Clock()
        self.log = FakeLogbook()
        self.servers = Servers(self.clock, *answers)
        self.resolver = Resolver(servers, self.clock, self.log, self.servers)
        return self.resolver

    def test_promise(self):
        assert verifyObject(IResolver, self.make())

    def test_remembered_as_long_as_its_ttl(self):
        resolver = self.make(FOUND, FOUND)
        for _ in range(2):
            assert self.successResultOf(resolver.a("example.org")) == ["192.0.2.80"]
        self.clock.advance(59)
        assert self.successResultOf(resolver.a("EXAMPLE.org.")) == ["192.0.2.80"]
        assert len(self.servers.asked) == 1
        self.clock.advance(1)
        self.successResultOf(resolver.a("example.org"))
        assert len(self.servers.asked) == 2
        assert (resolver.counts.lookups, resolver.counts.hits, resolver.counts.queries) == (4, 2, 2)

    def test_equal_questions_are_asked_once(self):
        waiting = Deferred()
        resolver = self.make(waiting)
        first, second, third = (resolver.a("example.org") for _ in range(3))
        second.cancel()
        self.failureResultOf(second)
        waiting.callback(FOUND)
        assert self.successResultOf(first) == self.successResultOf(third) == ["192.0.2.80"]
        assert resolver.counts.joined == 2

    def test_absence(self):
        resolver = self.make(Reading(3, ttl=30), Reading(0, ttl=-1))
        self.failureResultOf(resolver.a("example.org"), NameNotFoundError)
        error = self.failureResultOf(resolver.a("example.org"), NameNotFoundError)
        assert "no such name" in str(error.value)
        error = self.failureResultOf(resolver.mx("example.org"), NameNotFoundError)
        assert "no MX record" in str(error.value)
        self.clock.advance(30)
        assert [row["kind"] for row in resolver.rows()] == ["mx"]
        self.clock.advance(30)
        assert resolver.rows() == []

    def test_names_that_cannot_be(self):
        resolver = self.make()
        for name in ("", "a..b", "x" * 64):
            self.failureResultOf(resolver.a(name), NameNotFoundError)
        self.failureResultOf(resolver.ptr("local"), NameNotFoundError)
        assert self.servers.asked == []

    def test_a_fault_is_tried_at_the_next_server(self):
        resolver = self.make(Reading(5, why="REFUSED"), FOUND, servers=(ONE, TWO))
        assert self.successResultOf(resolver.a("example.org")) == ["192.0.2.80"]
        resolver = self.make(Reading(5, why="REFUSED"), Reading(2, why="SERVFAIL"), servers=(ONE, TWO))
        error = self.failureResultOf(resolver.a("example.org"), NameTemporaryError)
        assert str(error.value) == "192.0.2.2:53: SERVFAIL"
        assert len(self.servers.asked) == 2
        self.failureResultOf(resolver.a("example.org"), NameTemporaryError)
        assert len(self.servers.asked) == 2
        self.clock.advance(5)
        self.servers.answers = [FOUND]
        self.successResultOf(resolver.a("example.org"))
        assert self.log.named("dns.failed")[0]["why"] == "192.0.2.2:53: SERVFAIL"

    def test_silence_is_asked_again_and_the_silent_last(self):
        resolver = self.make(None, FOUND, FOUND, servers=(ONE, TWO))
        answer = resolver.a("example.org")
        self.clock.advance(1.5)
        assert self.successResultOf(answer) == ["192.0.2.80"]
        self.successResultOf(resolver.a("other.example"))
        assert [server for _, server, _, _ in self.servers.asked] == [ONE, TWO, TWO]
        assert resolver.counts.timeouts == 1

    def test_all_is_over_at_the_deadline(self):
        resolver = self.make(servers=(ONE, TWO))
        answer = resolver.a("example.org")
        for _ in range(40):
            self.clock.advance(0.5)
        error = self.failureResultOf(answer, NameTemporaryError)
        assert "silent" in str(error.value) or "no answer" in str(error.value)
        assert len(self.servers.asked) >= 5
        assert not self.clock.getDelayedCalls()

    def test_a_server_that_stalls_is_left(self):
        resolver = self.make(Deferred())
        answer = resolver.a("example.org")
        self.clock.advance(DEADLINE)
        assert f"{DEADLINE:g} s" in str(self.failureResultOf(answer, NameTemporaryError).value)

    def test_truncated_answers_come_by_tcp(self):
        resolver = self.make(Reading(truncated=True), FOUND)
        assert self.successResultOf(resolver.txt("example.org")) == ["192.0.2.80"]
        assert [how for how, *_ in self.servers.asked] == ["udp", "tcp"]

    def test_servers_that_do_not_know_edns(self):
        resolver = self.make(Reading(1, why="FORMERR"), FOUND)
        self.successResultOf(resolver.a("example.org"))
        assert [edns for *_, edns in self.servers.asked] == [True, False]

    def test_aliases_are_asked_for(self):
        resolver = self.make(Reading(alias="b.example", chain=("b.example",), ttl=7), FOUND)
        answer = self.successResultOf(resolver.ask("a", "a.example"))
        assert (answer.values, answer.chain, answer.until) == (("192.0.2.80",), ("b.example",), 7)

    def test_loops_of_aliases_end(self):
        for alias in ("a.example", "x" * 64):
            resolver = self.make(Reading(alias=alias, chain=(alias,), ttl=7))
            self.failureResultOf(resolver.a("a.example"), NameTemporaryError)
        resolver = self.make(*[Reading(alias=f"c{n}.example", chain=(f"c{n}.example",), ttl=7) for n in range(20)])
        self.failureResultOf(resolver.a("a.example"), NameTemporaryError)
        assert len(self.servers.asked) == 9
        resolver = self.make(
            *[Reading(alias=f"c{n % 2}.example", chain=(f"c{n % 2}.example",), ttl=7) for n in range(9)]
        )
        self.failureResultOf(resolver.a("a.example"), NameTemporaryError)
        assert len(self.servers.asked) == 3

    def test_no_more_sockets_than_there_may_be(self):
        resolver = self.make(*[Deferred() for _ in range(MAX_AT_ONCE + 5)])
        asked = [resolver.a(f"n{n}.example") for n in range(MAX_AT_ONCE + 5)]
        assert len(self.servers.asked) == MAX_AT_ONCE
        assert resolver.status()["asking"] == MAX_AT_ONCE + 5
        self.patch(resolver_module, "MAX_FLIGHTS", MAX_AT_ONCE + 5)
        self.failureResultOf(resolver.a("one.more.example"), NameTemporaryError)
        resolver.stop()
        for each in asked:
            self.failureResultOf(each, NameTemporaryError)
        assert resolver.rows() == []

    def test_mail_that_goes_out_is_not_kept_waiting_by_mail_that_comes_in(self):
        resolver = self.make(*[Deferred() for _ in range(MAX_AT_ONCE)], FOUND, FOUND)
        self.patch(resolver_module, "MAX_FLIGHTS", MAX_AT_ONCE + 1)
        asked = [resolver.a(f"n{n}.example") for n in range(MAX_AT_ONCE + 1)]
        self.failureResultOf(resolver.a("one.more.example"), NameTemporaryError)
        assert self.successResultOf(resolver.look("a", "out.example")).values == ("192.0.2.80",)
        waiting = asked[-1]
        assert not waiting.called
        assert self.successResultOf(resolver.look("a", f"n{MAX_AT_ONCE}.example")).values == ("192.0.2.80",)
        assert self.successResultOf(waiting) == ["192.0.2.80"]
        resolver.stop()
        for each in asked[:-1]:
            self.failureResultOf(each, NameTemporaryError)

    def test_validated_answers(self):
        here = Server("127.0.0.1")
        authentic = Reading(values=("192.0.2.80",), ttl=60, authentic=True, chain=("b.example",))
        for servers, dnssec, answer, expected in (
            ((here,), False, authentic, True),
            ((here,), False, FOUND, False),
            ((here, ONE), False, authentic, False),
            ((ONE,), False, authentic, False),
            ((ONE,), True, authentic, True),
            ((ONE,), True, FOUND, False),
        ):
            resolver = self.make(answer)
            resolver.obey(
                FakeSite(delivery=DeliverySettings(dns=tuple(str(server) for server in servers), dnssec=dnssec))
            )
            for _ in range(2):  # from memory too
                found = self.successResultOf(resolver.look("a", "example.org"))
                assert (found.validated, found.chain) == (expected, answer.chain)
        resolver = self.make(Reading(3, ttl=30))
        self.failureResultOf(resolver.look("mx", "example.org"), NameNotFoundError)
        self.failureResultOf(resolver.look("mx", "example.org"), NameNotFoundError)

    def test_our_own_mistakes_are_told(self):
        resolver = self.make(ZeroDivisionError())
        self.failureResultOf(resolver.a("example.org"), NameTemporaryError)
        assert [name for level, name, _ in self.log.records if level == "failure"] == ["dns.fault"]
        quiet = Resolver((ONE,), self.clock, None, Servers(self.clock, ZeroDivisionError()))
        self.failureResultOf(quiet.a("example.org"), NameTemporaryError)

    def test_the_sites_servers_are_asked(self):
        site = FakeSite(delivery=DeliverySettings(dns=("192.0.2.2:53",)))
        resolver = self.make(FOUND, FOUND)
        resolver.obey(site)
        self.successResultOf(resolver.a("example.org"))
        assert self.servers.asked[0][1] == TWO
        site.become(delivery=DeliverySettings(dns=("192.0.2.2:53",)))
        self.successResultOf(resolver.a("example.org"))
        site.become(delivery=DeliverySettings(dns=("192.0.2.1:53",)))
        self.successResultOf(resolver.a("example.org"))
        assert [server for _, server, _, _ in self.servers.asked] == [TWO, ONE]
        site.become()
        assert resolver.servers == host_servers()

    def test_the_hosts_servers_are_read_again_while_they_are_asked(self):
        resolver = self.make(FOUND, FOUND, FOUND, FOUND)
        now = []
        self.patch(resolver_module, "host_servers", lambda: (ONE,))
        self.clock.callInThread = lambda call: call()
        self.clock.callFromThread = lambda call, *args: now.append((call, args))
        site = FakeSite()
        resolver.obey(site)
        self.successResultOf(resolver.a("a.example"))
        assert now == []
        self.clock.advance(60)
        self.successResultOf(resolver.a("b.example"))
        ((call, _),) = now
        call((TWO,))
        assert resolver.servers == (TWO,)
        self.successResultOf(resolver.a("c.example"))
        assert len(now) == 1
        site.become(delivery=DeliverySettings(dns=("192.0.2.1:53",)))
        call((TWO,))
        assert resolver.servers == (ONE,)

    def test_the_hosts_servers(self):
        assert host_servers(Path("/nonexistent")) == (Server("127.0.0.1"),)

    def test_without_servers_nothing_can_be_said(self):
        resolver = self.make(servers=())
        self.failureResultOf(resolver.a("example.org"), NameTemporaryError)

    def test_what_is_shown_and_forgotten(self):
        resolver = self.make(FOUND, Reading(values=((10, "mx.example"),), ttl=60, authentic=True))
        self.successResultOf(resolver.a("example.org"))
        self.successResultOf(resolver.mx("example.net"))
        assert resolver.rows("Example.NET") == [
            {"name": "example.net", "kind": "mx", "values": ["10 mx.example"], "result": "found", "ttl": 60_000, "authentic": True}
        ]  # fmt: skip
        assert resolver.status()["servers"] == ["192.0.2.1:53"]
        assert resolver.rows("..") == []
        assert resolver.flush("..") == 0
        assert resolver.flush("example.org") == 1
        assert resolver.flush() == 1
