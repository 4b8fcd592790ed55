"""The gate: order, deadlines, breakers, counts, and how verdicts add up."""

import pytest
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides
from zope.interface.verify import verifyObject

from netsvc.commands import Setting
from netsvc.interfaces import ILimits, IPolicies, IPolicy, IWitness
from netsvc.mail import reply
from netsvc.mail.address import Address
from netsvc.mail.envelope import Envelope, Recipient, SessionFacts
from netsvc.policy import gate as gate_module
from netsvc.policy.gate import MAX_DELAY, shown
from netsvc.policy.turnstile import FAILURES, OPEN_S
from netsvc.records import PASS, Verdict
from tests.fakes import FakeDirectory, FakeLogbook, FakeMaker, FakePolicy, FakeSite, gate

REJECT = Verdict("reject", reply.RELAY_DENIED, "no")
ACCEPT = Verdict("accept", reply.RECIPIENT_OK)
SETTINGS = (Setting("weight", "int", 3, low=1, high=9), Setting("wait", "duration", 2000), Setting("lists", "list", ()))


class Case(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.log = FakeLogbook()
        self.site = FakeSite()
        self.envelope = Envelope(SessionFacts("S1", "192.0.2.1", 1, "smtp", "mx1.example.org"))

    def gate(self, *policies):
        return gate(*policies, clock=self.clock, logbook=self.log, site=self.site)

    def ask(self, gated, stage="rcpt"):
        return maybeDeferred(gated.ask, stage, self.envelope)

    def answer(self, gated, stage="rcpt"):
        return self.successResultOf(self.ask(gated, stage))


class Adding(Case):
    def test_promise(self):
        assert verifyObject(IPolicies, self.gate())

    def test_nothing_on_is_nothing_to_ask(self):
        gated = self.gate(FakeMaker(FakePolicy(), usual=False))
        assert gated.stages == frozenset()
        assert self.answer(gated) is PASS

    def test_in_order_and_the_first_decision_wins(self):
        last, first, never = FakePolicy(REJECT, name="b"), FakePolicy(name="c"), FakePolicy(ACCEPT, name="a")
        gated = self.gate(FakeMaker(never, order=900), FakeMaker(last), FakeMaker(first, order=100))
        verdict = self.answer(gated)
        assert (verdict.action, verdict.reply, verdict.why, verdict.by) == ("reject", reply.RELAY_DENIED, "no", "b")
        assert (len(first.asked), len(last.asked), never.asked) == (1, 1, [])
        assert [row["name"] for row in gated.rows()] == ["c", "b", "a"]

    def test_tags_headers_holds_and_delays_add_up(self):
        gated = self.gate(
            FakePolicy(Verdict("tag", tags=("bulk", "two words"), header=b"A: 1\r\n", delay=1), name="a"),
            FakePolicy(Verdict("hold", why="odd\x1b", tags=("bulk",), delay=2), name="b"),
            FakePolicy(Verdict("hold", why="odder"), name="c"),
            FakePolicy(Verdict("accept", reply.RECIPIENT_OK, header=b"B: 2\r\n"), name="d"),
        )
        asked = self.ask(gated)
        self.clock.advance(2.9)
        self.assertNoResult(asked)
        self.clock.advance(0.2)
        verdict = self.successResultOf(asked)
        assert (verdict.action, verdict.reply) == ("accept", reply.RECIPIENT_OK)
        assert (verdict.tags, verdict.header) == (("bulk", "two_words"), b"A: 1\r\nB: 2\r\n")
        assert (verdict.held_by, verdict.held_why) == ("b", "odd\\x1b")

    def test_what_is_left_when_nobody_decides(self):
        for verdict, action in (
            (Verdict("hold", why="x"), "hold"),
            (Verdict("tag", tags=("x",)), "tag"),
            (Verdict("pass"), "pass"),
        ):
            assert self.answer(self.gate(FakePolicy(verdict))).action == action

    def test_a_delay_has_its_bounds(self):
        self.patch(gate_module, "MAX_HELD_BACK", 1)
        gated = self.gate(FakePolicy(Verdict("tag", delay=1e9)))
        first = self.ask(gated)
        self.answer(gated)  # there is no room to hold another back
        self.clock.advance(MAX_DELAY)
        self.successResultOf(first)
        self.assertNoResult(self.ask(gated))

    def test_when_the_service_stops_nobody_is_held_back(self):
        gated = self.gate(FakePolicy(Verdict("tag", tags=("x",), delay=20)))
        asked = self.ask(gated)
        gated.release()
        self.clock.advance(0)
        assert self.successResultOf(asked).tags == ("x",)
        assert self.answer(gated).tags == ("x",)
        assert self.clock.getDelayedCalls() == []

    def test_witnesses_are_told(self):
        class Witness(FakePolicy):
            told = ()

            def unknown(self, session):
                self.told += ("unknown",)

            def accepted(self, session, domain, size):
                self.told += (domain, size)
                raise RuntimeError("not heeded")

        witness = Witness()
        directlyProvides(witness, IPolicy, IWitness)
        gated = self.gate(witness, FakePolicy(name="deaf"))
        gated.unknown(self.envelope.session)
        gated.accepted(self.envelope.session, "example.net", 7)
        assert witness.told == ("unknown", "example.net", 7)
        assert self.log.named("policy.failed")[0]["stage"] == "witness"

    def test_limits_of_all_that_count(self):
        class Counting(FakePolicy):
            names = ("counting.a",)

            def holders(self):
                rows = [
                    {"name": "counting.a", "key": key, "used": used, "limit": 10} for key, used in (("x", 1), ("y", 9))
                ]
                return succeed(rows)

            def clear(self, name, key):
                return succeed(1)

        counting = Counting()
        directlyProvides(counting, IPolicy, ILimits)
        gated = self.gate(counting, FakePolicy(name="other"))
        assert [row["key"] for row in self.successResultOf(gated.limits())] == ["y", "x"]
        assert self.successResultOf(gated.clear_limit("counting.a", "x")) == 1
        error = self.failureResultOf(gated.clear_limit("counting.b", "x"), LookupError)
        assert "did you mean counting.a?" in str(error.value)

    def test_what_an_operator_types(self):
        settings = (*SETTINGS, Setting("flag", "bool", False), Setting("big", "size", 5), Setting("text", "str", ""))
        gated = self.gate(FakeMaker(FakePolicy(), settings=settings))
        typed = {
            "weight": "5",
            "wait": "1m30s",
            "lists": "a, b c",
            "flag": "yes",
            "on": "off",
            "big": "5M",
            "text": "7",
        }
        assert [gated.typed("fake", key, text) for key, text in typed.items()] == [
            5, "1m30s", ("a", "b", "c"), True, False, "5M", "7",
        ]  # fmt: skip
        for key, text in (
            ("weight", "x"),
            ("weight", "99"),
            ("flag", "maybe"),
            ("on_failure", "stop"),
            ("nothing", "1"),
        ):
            with pytest.raises(ValueError, match=key):
                gated.typed("fake", key, text)
        with pytest.raises(LookupError, match="did you mean fake"):
            gated.typed("fakes", "on", "true")

    def test_answers_that_take_time(self):
        slow, slower = Deferred(), Deferred()
        gated = self.gate(
            FakePolicy(Verdict("tag", tags=("x",)), name="a"),
            FakePolicy(slow, name="b"),
            FakePolicy(name="c"),
            FakePolicy(slower, name="d"),
            FakePolicy(ACCEPT, name="e"),
        )
        asked = self.ask(gated)
        self.clock.advance(0.5)
        slow.callback(PASS)
        self.assertNoResult(asked)
        slower.callback(REJECT)
        verdict = self.successResultOf(asked)
        assert (verdict.action, verdict.by, verdict.tags) == ("reject", "d", ("x",))
        rows = {row["name"]: row for row in gated.rows()}
        assert (rows["b"]["pass"], rows["b"]["mean"], rows["b"]["max"]) == (1, 500.0, 500.0)
        assert rows["e"]["accept"] == 0
        assert self.clock.getDelayedCalls() == []


class Content(Case):
    """T35: nothing keeps the answer to the end of data for long, however many policies are asked."""

    def ask_three(self, deadline):
        self.policies = [FakePolicy(Deferred(), ("content",), name) for name in "abc"]
        gated = self.gate(*(FakeMaker(policy, deadline=deadline) for policy in self.policies))
        return self.ask(gated, "content")

    def test_all_together_have_30_seconds(self):
        asked = self.ask_three(20_000)
        self.clock.advance(20)
        self.clock.advance(9.9)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.clock.advance(0)
        assert self.successResultOf(asked).action == "pass"
        assert all(policy.asked for policy in self.policies)

    def test_or_as_long_as_one_of_them(self):
        asked = self.ask_three(60_000)
        self.clock.advance(59.9)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.clock.advance(0)
        assert self.successResultOf(asked).action == "pass"


class Failing(Case):
    def breaking(self, verdict, times=FAILURES):
        gated = self.gate(FakePolicy(verdict))
        for _ in range(times):
            assert self.answer(gated).action == "pass"
        return gated, gated.rows()[0]

    def test_one_that_raises_is_passed_over_counted_and_told_of_once_a_minute(self):
        def boom():
            raise RuntimeError("boom\x1b")

        gated, row = self.breaking(boom, 3)
        assert (row["failed"], row["breaker"], row["error"]) == (3, "closed", "RuntimeError: boom\\x1b")
        assert [fields["n"] for fields in self.log.named("policy.failed")] == [1]
        self.clock.advance(60)
        self.answer(gated)
        assert [fields["n"] for fields in self.log.named("policy.failed")] == [1, 3]

    def test_one_that_fails_in_its_deferred(self):
        failing = Deferred()
        gated = self.gate(FakePolicy(failing))
        asked = self.ask(gated)
        failing.errback(RuntimeError("later"))
        assert self.successResultOf(asked).action == "pass"
        assert self.answer(self.gate(FakePolicy(RuntimeError("at once")))).action == "pass"

    def test_what_is_no_verdict(self):
        for wrong in (
            lambda: None,
            lambda: "yes",
            lambda: Deferred().callback("yes"),
            lambda: self.fired("yes"),
            lambda: self.fired(Verdict("perhaps")),
            lambda: self.fired(Verdict("reject", reply.RECIPIENT_OK)),
        ):
            _, row = self.breaking(wrong, 1)
            assert row["failed"] == 1
        later = Deferred()
        asked = self.ask(self.gate(FakePolicy(later)))
        later.callback("yes")
        assert self.successResultOf(asked).action == "pass"

    def fired(self, value):
        deferred = Deferred()
        deferred.callback(value)
        return deferred

    def test_one_that_is_late(self):
        cancelled = []
        silent = Deferred(cancelled.append)
        gated = self.gate(FakeMaker(FakePolicy(silent), deadline=1000))
        asked = self.ask(gated)
        self.clock.advance(1)
        assert self.successResultOf(asked).action == "pass"
        assert len(cancelled) == 1
        row = gated.rows()[0]
        assert (row["late"], row["failed"], row["error"]) == (1, 1, "LateError: no answer within 1 s")
        silent.addErrback(lambda _: None)

    def test_one_whose_canceller_raises(self):
        def stubborn(_):
            raise RuntimeError("never")

        gated = self.gate(FakePolicy(Deferred(stubborn)))
        asked = self.ask(gated)
        self.clock.advance(5)
        assert self.successResultOf(asked).action == "pass"
        assert len(self.log.named("policy.failed")) == 2

    def test_the_site_may_want_mail_to_wait(self):
        self.site.become(policies={"fake": {"on_failure": "defer"}})
        gated = self.gate(FakePolicy(RuntimeError("x")))
        verdict = self.answer(gated)
        assert (verdict.action, verdict.reply.code, verdict.by) == ("defer", 451, "fake")

    def test_the_breaker_opens_and_one_question_closes_it(self):
        policy = FakePolicy(RuntimeError("x"))
        gated = self.gate(policy)
        for _ in range(FAILURES + 3):
            self.answer(gated)
        row = gated.rows()[0]
        assert (len(policy.asked), row["breaker"], row["skipped"]) == (FAILURES, "open", 3)
        self.clock.advance(OPEN_S)
        policy.verdict = probe = Deferred()
        asked = self.ask(gated)
        assert gated.rows()[0]["breaker"] == "probing"
        assert self.answer(gated).action == "pass"  # no second question meanwhile
        assert len(policy.asked) == FAILURES + 1
        probe.callback(PASS)
        self.successResultOf(asked)
        policy.verdict = REJECT
        assert self.answer(gated).action == "reject"
        assert gated.rows()[0]["breaker"] == "closed"
        assert [fields["state"] for fields in self.log.named("policy.breaker")] == ["open", "closed"]

    def test_a_probe_that_fails_opens_it_anew(self):
        policy = FakePolicy(RuntimeError("x"))
        gated = self.gate(policy)
        for _ in range(FAILURES):
            self.answer(gated)
        self.clock.advance(OPEN_S)
        self.answer(gated)
        assert gated.rows()[0]["breaker"] == "open"
        self.answer(gated)
        assert len(policy.asked) == FAILURES + 1


class Stages(Case):
    """A policy asks a service at one stage alone; what it passes at others is no answer of that service."""

    def setUp(self):
        super().setUp()
        self.policy = FakePolicy(Verdict("pass"))
        self.policy.stages = ("rcpt", "content")

    def busy(self, check):
        self.policy.check = check
        return self.gate(FakeMaker(self.policy, deadline=1000))

    def messages(self, gated, count):
        for _ in range(count):
            self.answer(gated, "rcpt")
            asked = self.ask(gated, "content")
            self.clock.advance(1)
            assert self.successResultOf(asked).action == "pass"
        return gated.rows()[0]

    def dead(self, *_):
        failing = Deferred()
        self.clock.callLater(0.1, failing.errback, ConnectionRefusedError("refused"))
        return failing

    def test_it_is_not_asked_where_it_has_nothing_to_do(self):
        stages_asked = []
        gated = self.busy(lambda stage, *_: stages_asked.append(stage) or PASS)
        assert gated.stages == {"rcpt", "content"}
        self.policy.configure = lambda values: setattr(self.policy, "stages", ("content",))
        self.policy.stages = ("rcpt", "content")
        gated = self.busy(self.policy.check)
        assert gated.stages == {"content"}
        row = self.messages(gated, 1)
        assert (stages_asked, row["stages"], row["pass"]) == (["content"], ["content"], 1)

    def test_the_breaker_opens_where_the_service_is_dead(self):
        gated = self.busy(lambda stage, *_: PASS if stage == "rcpt" else self.dead())
        assert self.messages(gated, FAILURES - 1)["breaker"] == "closed"
        row = self.messages(gated, 1)
        assert (row["breaker"], row["failed"]) == ("open", FAILURES)

    def test_and_where_it_hangs(self):
        gated = self.busy(lambda stage, *_: PASS if stage == "rcpt" else Deferred())
        row = self.messages(gated, FAILURES)
        assert (row["breaker"], row["late"]) == ("open", FAILURES)

    def test_an_answer_at_once_closes_nothing_and_the_next_decides(self):
        slow = [self.dead]
        gated = self.busy(lambda stage, *_: PASS if stage == "rcpt" else slow[0]())
        self.messages(gated, FAILURES)
        self.clock.advance(OPEN_S)
        self.answer(gated, "rcpt")
        assert gated.rows()[0]["breaker"] == "probing"
        assert self.log.named("policy.breaker")[-1]["state"] == "open"

        def well():
            answer = Deferred()
            self.clock.callLater(0.1, answer.callback, PASS)
            return answer

        slow[0] = well
        asked = self.ask(gated, "content")
        self.clock.advance(1)
        self.successResultOf(asked)
        assert gated.rows()[0]["breaker"] == "closed"
        assert self.log.named("policy.breaker")[-1]["state"] == "closed"


class Needed(Case):
    """A policy without whose answer nothing can be said for good."""

    def needed(self, policy, **more):
        maker = FakeMaker(policy, **more)
        maker.needed = True
        return maker

    def test_its_failure_is_never_passed_over(self):
        policy = FakePolicy(RuntimeError("x"))
        gated = self.gate(self.needed(policy))
        for _ in range(FAILURES + 3):
            verdict = self.answer(gated)
            assert (verdict.action, verdict.reply.code) == ("defer", 451)
        assert len(policy.asked) == FAILURES + 3
        assert gated.rows()[0]["breaker"] == "closed"
        policy.verdict = ACCEPT
        assert self.answer(gated).action == "accept"
        self.flushLoggedErrors(RuntimeError)

    def test_nor_where_the_site_says_so(self):
        self.site.become(policies={"fake": {"on_failure": "skip"}})
        gated = self.gate(self.needed(FakePolicy(Deferred()), deadline=1000))
        asked = self.ask(gated)
        self.clock.advance(1)
        assert self.successResultOf(asked).action == "defer"
        assert gated.rows()[0]["on_failure"] == "defer"
        assert gated.settings("fake")[3]["choices"] == ["defer"]

    def test_nor_where_it_cannot_be_made(self):
        broken = self.needed(FakePolicy())
        broken.policy = ValueError("no")
        assert self.answer(self.gate(broken)).action == "defer"


class TimeOfOthers(Case):
    """What the policies before it have used up of the content's time is no fault of a policy."""

    def policies(self, deadline):
        slow = FakeMaker(FakePolicy(Deferred(), name="slow", stages=("content",)), order=1, deadline=deadline)
        second = FakePolicy(Deferred(), name="second", stages=("content",))
        return self.gate(slow, FakeMaker(second, order=2, deadline=20_000)), second

    def test_its_breaker_stays_as_it_is(self):
        gated, second = self.policies(29_000)
        for n in range(FAILURES + 1):
            gated._turnstiles["slow"]._open_until = 0.0
            gated._turnstiles["slow"].policy.verdict = Deferred()
            second.verdict = Deferred()
            asked = self.ask(gated, "content")
            self.clock.advance(29)
            self.assertNoResult(asked)
            self.clock.advance(1)
            self.successResultOf(asked)
            assert (len(second.asked), gated.rows()[1]["late"], gated.rows()[1]["breaker"]) == (n + 1, n + 1, "closed")


class Following(Case):
    def test_settings_of_the_site(self):
        policy = FakePolicy(REJECT)
        gated = self.gate(FakeMaker(policy, settings=SETTINGS, usual=False))
        assert (policy.values, gated.stages) == ([], frozenset())
        self.site.become(policies={"fake": {"on": True, "weight": 5, "wait": "1m30s", "lists": ("a", "b"), "order": 7}})
        assert policy.values == [{"weight": 5, "wait": 90_000, "lists": ("a", "b")}]
        assert gated.stages == {"mail", "rcpt"}
        assert self.answer(gated).action == "reject"
        self.site.become(policies={"fake": {"on": False}})
        assert self.answer(gated) is PASS
        self.site.become(policies={"fake": {"on": False}}, relay_from=("192.0.2.0/24",))
        assert len(policy.values) == 1

    def test_shown_settings(self):
        gated = self.gate(FakeMaker(FakePolicy(), settings=SETTINGS))
        self.site.become(policies={"fake": {"wait": "90s", "weight": 77}})
        rows = {row["key"]: row for row in gated.settings("fake")}
        assert (rows["wait"]["value"], rows["wait"]["default"], rows["wait"]["set"]) == ("90s", "2s", True)
        assert (rows["weight"]["value"], rows["weight"]["set"]) == ("3", False)
        assert list(rows) == ["on", "order", "deadline", "on_failure", "weight", "wait", "lists"]
        assert gated.settings("nobody") is None
        assert self.log.named("policy.misconfigured")[0]["key"] == "weight"

    def test_a_policy_this_node_does_not_have(self):
        self.site.become(policies={"theirs": {"on": True}})
        self.gate()
        assert self.log.named("policy.misconfigured")[0]["policy"] == "theirs"

    def test_a_policy_that_cannot_be_made(self):
        maker = FakeMaker(FakePolicy())
        maker.policy = ValueError("needs a host")
        gated = self.gate(maker)
        assert self.answer(gated).action == "pass"
        row = gated.rows()[0]
        assert (row["error"], row["skipped"]) == ("needs a host", 1)
        assert (gated.fault("fake"), gated.fault("nothing")) == ("needs a host", "")
        self.site.become(policies={"fake": {"on": False}})
        assert gated.fault("fake") == ""

    def test_one_that_makes_no_policy(self):
        maker = FakeMaker(FakePolicy())
        maker.policy = object()
        assert self.gate(maker).rows()[0]["error"] == "object does not provide IPolicy"

    def test_one_that_breaks_when_configured_keeps_its_values(self):
        policy = FakePolicy(REJECT)
        gated = self.gate(FakeMaker(policy, settings=SETTINGS))

        def broken(values):
            raise RuntimeError("bad")

        policy.configure = broken
        self.site.become(policies={"fake": {"weight": 4}})
        assert gated.rows()[0]["error"] == "bad"
        assert self.log.named("policy.failed")[0]["stage"] == "configure"
        assert self.answer(gated).action == "reject"


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "str", ""), (True, "bool", "true"), (False, "bool", "false"), ((), "list", ""), (("a", "b"), "list", "a b"),
        (5, "int", "5"), ("x", "str", "x"), (90_000, "duration", "90s"), (0, "duration", "0s"), (1500, "duration", "1500ms"),
        (1 << 20, "size", "1M"), (0, "size", "0"), (1000, "size", "1000"),
    ],
)  # fmt: skip
def test_values_are_shown_as_they_are_written(value, kind, text):
    assert shown(value, kind) == text


class Postmaster(Case):
    """RFC 5321 4.5.1: no policy but the recipient rule is asked at rcpt about a postmaster of ours."""

    def setUp(self):
        super().setUp()
        self.strict = FakePolicy(REJECT, name="strict")
        self.directory = FakeDirectory()
        rule = FakeMaker(FakePolicy(ACCEPT, name="recipient"), order=900)
        self.gated = gate(self.strict, rule, clock=self.clock, directory=self.directory, site=self.site)

    def verdict(self, local, domain):
        session = SessionFacts("S1", "192.0.2.1", 1, "smtp", "mx1.example.org")
        envelope = Envelope(session, recipients=(rcpt(local, domain),))
        return self.successResultOf(maybeDeferred(self.gated.ask, "rcpt", envelope))

    def test_rfc5321_4_5_1_the_postmaster_is_reached(self):
        for local, domain in (("Postmaster", ""), ("postmaster", "example.org"), ("POSTMASTER", "example.org")):
            assert self.verdict(local, domain).action == "accept"
        assert self.strict.asked == []

    def test_others_are_asked_about_as_ever(self):
        for local, domain in (("postmaster", "away.example"), ("postmaster+x", "example.org"), ("bob", "example.org")):
            assert self.verdict(local, domain).action == "reject"
        assert len(self.strict.asked) == 3

    def test_a_directory_that_does_not_answer(self):
        self.directory.error = ValueError("no")
        assert self.verdict("postmaster", "example.org").action == "reject"


def rcpt(local, domain):
    return Recipient(Address(local, domain))
