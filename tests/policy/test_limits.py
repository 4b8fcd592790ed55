"""Limits in windows, sessions at a time, unknown recipients; alone, and shared by two nodes."""

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.interfaces import ILimits, IPolicy, IWitness
from netsvc.mail.address import NULL, Address
from netsvc.mail.envelope import Envelope, SessionFacts
from netsvc.plugins.netsvc_policies import limits
from netsvc.policy import windows as windows_module
from netsvc.policy.limits import Limits
from netsvc.policy.windows import LAG_S, LOG_S, Ledger, Windows
from tests.fakes import FakeGround, FakeSessions, FakeSite

USUAL = {setting.name: setting.default for setting in limits.settings}


class SharedCounters:
    """What several nodes' counters would say: one dict for all."""

    def __init__(self, clock, shared=True):
        self.clock, self.shared = clock, shared
        self.rows, self.calls, self.error, self.waiting = {}, [], None, None

    def add(self, entries):
        self.calls.append(list(entries))
        if self.error is not None:
            raise self.error
        if self.waiting is not None:
            return self.waiting
        return succeed([self.one(*entry) for entry in entries])

    def one(self, realm, key, amount, window):
        now = self.clock.seconds() * 1000
        used, until = self.rows.get((realm, key), (0, 0))
        if until <= now:
            used, until = 0, now + window
        self.rows[realm, key] = used + amount, until
        return used + amount, until - now

    def most(self, realm, limit):
        now = self.clock.seconds() * 1000
        return succeed([(key, used, until - now) for (at, key), (used, until) in self.rows.items() if at == realm])

    def clear(self, realm, key):
        return succeed(int(self.rows.pop((realm, key), None) is not None))


class Case(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.counters = SharedCounters(self.clock, shared=False)
        self.site = FakeSite()
        self.sessions = FakeSessions()
        self.ground = FakeGround(site=self.site, clock=self.clock, sessions=self.sessions, counters=self.counters)
        self.limits = self.make()

    def make(self, **values):
        made = Limits(self.ground)
        made.configure({**USUAL, **values})
        return made

    def session(self, peer="192.0.2.7", **facts):
        return SessionFacts("S1", peer, 1, "smtp", "mx1.example.org", **facts)

    def ask(self, stage, session=None, sender="me@example.net", size=0, made=None):
        session = session or self.session()
        session.sender = Address(*sender.split("@")) if sender else NULL
        envelope = Envelope(session, session.sender, size=size)
        return (made or self.limits).check(stage, session, envelope)

    def times(self, stage, count, **more):
        return [self.ask(stage, **more).action for _ in range(count)]


class Alone(Case):
    def test_promises(self):
        assert verifyObject(IPolicy, self.limits)
        assert verifyObject(ILimits, self.limits)
        assert verifyObject(IWitness, self.limits)

    def test_sessions_at_a_time(self):
        self.limits = self.make(connections=2, connections_network=3)
        for n in range(2):
            self.sessions.open("smtp-in", "192.0.2.7")
            assert self.ask("connect").action == "pass", n
        self.sessions.open("smtp-in", "192.0.2.7")
        verdict = self.ask("connect")
        assert (verdict.action, verdict.reply.code, verdict.reply.status) == ("defer", 421, "4.7.0")
        assert (verdict.why, verdict.quiet) == ("limits.connections of 192.0.2.7", True)
        self.sessions.open("smtp-in", "192.0.2.9")
        assert self.ask("connect", self.session("192.0.2.9")).why == "limits.connections_network of 192.0.2.0/24"
        self.ask("connect")
        told = self.ground.logbook.named("limit.reached")
        assert [(fields["limit"], fields["n"]) for fields in told] == [
            ("limits.connections", 1),
            ("limits.connections_network", 1),
        ]
        self.clock.advance(60)
        self.ask("connect")
        assert self.ground.logbook.named("limit.reached")[-1]["n"] == 3

    def test_what_is_remembered_of_crowds_is_bounded(self):
        self.limits = self.make(connections=1)
        self.limits._crowded = {str(n): 0.0 for n in range(10_001)}
        for _ in range(2):
            self.sessions.open("smtp-in", "192.0.2.7")
        self.ask("connect")
        assert len(self.limits._crowded) == 1

    def test_connections_a_minute(self):
        self.limits = self.make(connection_rate=3)
        assert self.times("connect", 4) == ["pass"] * 3 + ["defer"]
        assert self.ask("connect", self.session("192.0.2.8")).action == "pass"
        self.clock.advance(60)
        assert self.ask("connect").action == "pass"

    def test_messages_an_hour_by_whom(self):
        self.limits = self.make(messages=2, messages_network=3, messages_user=1, messages_domain=5)
        assert self.times("mail", 3) == ["pass", "pass", "defer"]
        other = self.session("192.0.2.8")
        assert self.ask("mail", other).action == "pass"
        verdict = self.ask("mail", other)
        assert (verdict.reply.code, verdict.reply.status) == (450, "4.7.1")
        assert verdict.why == "limits.messages_network of 192.0.2.0/24"
        user = self.session(user="bo")
        assert self.ask("mail", user).action == "pass"  # counted by its user, not by its address
        assert self.ask("mail", user).why == "limits.messages_user of bo"
        far = [self.session(f"198.51.{n}.1") for n in range(3)]
        assert [self.ask("mail", session).action for session in far] == ["pass", "defer", "defer"]
        assert self.ask("mail", far[1]).why == "limits.messages_domain of example.net"
        assert self.ask("mail", far[1], sender="").action == "pass"
        self.clock.advance(3600)
        assert self.ask("mail").action == "pass"

    def test_what_is_refused_is_not_counted(self):
        self.limits = self.make(messages=5, messages_domain=1)
        self.times("mail", 9)
        assert self.ask("mail", sender="me@other.example").action == "pass"
        rows = {(row["name"], row["key"]): row for row in self.successResultOf(self.limits.holders())}
        assert rows["limits.messages", "192.0.2.7"]["used"] == 2
        assert rows["limits.messages_domain", "example.net"]["refused"] == 8

    def test_recipients_an_hour(self):
        self.limits = self.make(recipients=2)
        assert self.times("rcpt", 3) == ["pass", "pass", "defer"]
        assert (self.ask("rcpt").reply.code, self.ask("rcpt").reply.status) == (450, "4.7.1")

    def test_octets_an_hour(self):
        self.limits = self.make(octets=1000, octets_user=10)
        session = self.session()
        assert self.ask("mail", session, size=1001).action == "defer"
        assert self.ask("mail", session, size=1000).action == "pass"
        self.limits.accepted(session, "example.net", 600)
        assert self.ask("mail", session, size=401).why == "limits.octets of 192.0.2.7"
        assert self.ask("mail", session).action == "pass"
        self.limits.accepted(session, "", 600)
        assert self.ask("mail", session).action == "defer"
        assert self.ask("mail", self.session("192.0.2.8")).action == "pass"

    def test_t12_unknown_recipients(self):
        session = self.session()
        seen = []
        for _ in range(21):
            verdict = self.ask("rcpt", session)
            seen.append((verdict.action, verdict.delay))
            session.unknown += 1
            self.limits.unknown(session)
        assert seen[:10] == [("pass", 0.0)] * 10
        assert [delay for _, delay in seen[10:20]] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
        assert seen[20] == ("defer", 0.0)
        verdict = self.ask("rcpt", session)
        assert (verdict.reply.code, verdict.reply.status) == (421, "4.7.0")
        session.unknown = 19
        self.limits = self.make(unknown_delay_max=2000)
        assert self.ask("rcpt", session).delay == 2

    def test_unknown_recipients_of_who_passes_mail_on(self):
        self.site.become(relay_from=("198.51.100.0/24",))
        self.limits = self.make(unknown_hourly=1)
        for session in (self.session("198.51.100.9"), self.session(service="lmtp")):
            session.unknown = 99
            self.limits.unknown(session)
            assert self.ask("rcpt", session).action == "pass"
            assert self.ask("connect", self.session(session.peer)).action == "pass"

    def test_unknown_recipients_of_many_sessions(self):
        self.limits = self.make(unknown_hourly=3)
        for _ in range(3):
            assert self.ask("connect").action == "pass"
            self.limits.unknown(self.session())
        assert self.ask("connect").reply.code == 421
        self.clock.advance(3600)
        assert self.ask("connect").action == "pass"

    def test_no_limits_at_all(self):
        self.limits = self.make(**{name: 0 for name, value in USUAL.items() if type(value) is int})
        session = self.session(unknown=99)
        for stage in self.limits.stages:
            assert set(self.times(stage, 500, session=session)) == {"pass"}
        self.limits.unknown(session)
        self.limits.accepted(session, "x.example", 1 << 40)
        assert self.successResultOf(self.limits.holders()) == []

    def test_who_is_exempt(self):
        self.limits = self.make(connection_rate=1, messages=1)
        self.site.become(limits_exempt=("192.0.2.0/24",))
        assert set(self.times("connect", 9)) == {"pass"}
        local = self.session("127.0.0.1", loopback=True)
        assert set(self.times("mail", 9, session=local)) == {"pass"}
        self.limits.unknown(local)
        self.limits.accepted(local, "", 9)
        self.limits = self.make(messages=1, exempt_loopback=False)
        assert self.times("mail", 2, session=local) == ["pass", "defer"]

    def test_who_holds_what(self):
        self.limits = self.make(connection_rate=3)
        self.sessions.open("smtp-in", "192.0.2.7")
        self.times("connect", 4)
        rows = {row["name"]: row for row in self.successResultOf(self.limits.holders()) if row["key"] == "192.0.2.7"}
        assert rows["limits.connections"] == {
            "name": "limits.connections", "key": "192.0.2.7", "used": 1, "limit": 50, "until": None, "refused": 0,
            "unit": None,
        }  # fmt: skip
        rate = rows["limits.connection_rate"]
        assert (rate["used"], rate["limit"], rate["until"], rate["refused"]) == (3, 3, 60_000, 1)
        assert set(rows) <= set(self.limits.names)

    def test_clearing(self):
        self.limits = self.make(connection_rate=1)
        self.times("connect", 2)
        clear = self.limits.clear
        assert self.successResultOf(clear("limits.connection_rate", "192.0.2.7")) == 1
        assert self.successResultOf(clear("limits.connection_rate", "192.0.2.7")) == 0
        assert self.ask("connect").action == "pass"
        self.failureResultOf(clear("limits.connections", "192.0.2.7"), LookupError)


class Shared(Case):
    def setUp(self):
        super().setUp()
        self.counters.shared = True
        self.limits, self.other = self.make(messages=10), self.make(messages=10)

    def test_two_nodes_count_together_within_a_second(self):
        assert self.times("mail", 6) == ["pass"] * 6
        assert self.times("mail", 4, made=self.other) == ["pass"] * 4
        self.clock.advance(LAG_S)
        # The first to share has not heard of the other yet: it hears with its next message.
        assert self.times("mail", 1, made=self.other) == ["defer"]
        self.ask("mail")
        self.clock.advance(LAG_S)
        assert self.times("mail", 1) == ["defer"]
        assert self.counters.rows[42, "192.0.2.7"][0] in (10, 11)

    def test_a_batch_a_second(self):
        for n in range(30):
            self.ask("mail", self.session(f"192.0.2.{n}"))
        self.clock.advance(LAG_S)
        assert len(self.counters.calls) == 1
        assert self.clock.getDelayedCalls() == []

    def test_what_is_counted_while_it_is_shared(self):
        self.ask("mail")
        self.counters.waiting = waiting = Deferred()
        self.clock.advance(LAG_S)
        self.ask("mail")
        self.counters.waiting = None
        (entries,) = self.counters.calls
        waiting.callback([self.counters.one(*entry) for entry in entries])
        self.clock.advance(LAG_S)
        assert self.counters.rows[42, "192.0.2.7"][0] == 2
        rows = {row["name"]: row for row in self.successResultOf(self.limits.holders())}
        assert rows["limits.messages"]["used"] == 2

    def test_a_store_that_fails(self):
        self.counters.error = RuntimeError("gone")
        self.ask("mail")
        self.clock.advance(LAG_S)
        assert len(self.ground.logbook.named("policy.failed")) == 1
        self.counters.error = None
        self.ask("mail")
        self.clock.advance(LAG_S)
        assert self.counters.rows[42, "192.0.2.7"][0] == 2  # nothing was lost

    def test_cleared_on_another_node(self):
        self.times("mail", 10)
        self.clock.advance(LAG_S)
        assert self.ask("mail").action == "defer"
        assert self.successResultOf(self.other.clear("limits.messages", "192.0.2.7")) == 1  # it was counted there
        assert self.successResultOf(self.other.clear("limits.messages", "192.0.2.7")) == 0
        self.clock.advance(LAG_S)
        assert self.ask("mail").action == "pass"

    def test_what_only_another_node_knows_is_shown(self):
        self.ask("mail")
        self.clock.advance(LAG_S)
        rows = {row["name"]: row for row in self.successResultOf(self.other.holders())}
        assert (rows["limits.messages"]["key"], rows["limits.messages"]["used"]) == ("192.0.2.7", 1)


class Bounds(Case):
    def test_keys_are_bounded(self):
        self.patch(windows_module, "MAX_KEYS", 10)
        windows = Windows("x", 40, 60)
        for n in range(25):
            windows.at(str(n), 0.0).used = 1
        assert len(windows.largest(0.0, 99)) <= 10
        assert windows.largest(99.0, 99) == []

    def test_told_of_once_a_minute(self):
        ledger = Ledger(self.counters, self.clock, self.ground.logbook)
        windows = Windows("x", 40, 3600)
        windows.most = 1
        for _ in range(5):
            ledger.take([(windows, "a", 1)])
        assert len(self.ground.logbook.named("limit.reached")) == 1
        self.clock.advance(LOG_S)
        ledger.take([(windows, "a", 1)])
        assert [fields["n"] for fields in self.ground.logbook.named("limit.reached")] == [1, 5]
