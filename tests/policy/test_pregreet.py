"""The pre-greet test."""

from twisted.trial.unittest import SynchronousTestCase

from netsvc.policy import pregreet as pregreet_module
from netsvc.records import PASS
from tests.policy.guestly import Asked


class PreGreeting(SynchronousTestCase):
    def asked(self, **changes):
        return Asked("pregreet", site={"relay_from": ("127.0.0.0/8",)}, **changes)

    def test_the_patient_wait_once(self):
        case = self.asked()
        session = case.session()
        answer = case.ask("connect", session)
        case.clock.advance(5.9)
        self.assertNoResult(answer)
        case.clock.advance(0.1)
        assert self.successResultOf(answer) is PASS
        assert self.successResultOf(case.ask("connect", case.session())) is PASS
        self.assertNoResult(case.ask("connect", case.session("192.0.2.8")))
        case.clock.advance(24 * 3600)
        self.assertNoResult(case.ask("connect", case.session()))

    def test_early_talkers_are_refused_each_time(self):
        case = self.asked()
        for _ in range(2):
            session = case.session()
            answer = case.ask("connect", session)
            session.early = True
            case.clock.advance(6)
            verdict = self.successResultOf(answer)
            assert (verdict.action, verdict.reply.code, verdict.reply.status) == ("reject", 554, "5.5.1")
            assert "before the greeting" in verdict.why

    def test_or_marked(self):
        case = self.asked(action="tag")
        answer = case.ask("connect", case.session(early=True))
        case.clock.advance(6)
        assert self.successResultOf(answer).tags == ("early-talker",)

    def test_who_is_not_tested(self):
        case = self.asked(exempt=("192.0.2.9",))
        for session in (
            case.session("127.0.0.1"),
            case.session("192.0.2.9"),
            case.session(service="submission"),
            case.session("local"),
        ):
            assert self.successResultOf(case.ask("connect", session)) is PASS
        case.configure(wait=0)
        assert self.successResultOf(case.ask("connect", case.session())) is PASS

    def test_bounds(self):
        self.patch(pregreet_module, "MAX_WAITING", 2)
        self.patch(pregreet_module, "MAX_KNOWN", 1)
        case = self.asked()
        waiting = [case.ask("connect", case.session(f"192.0.2.{n}")) for n in range(2)]
        assert self.successResultOf(case.ask("connect", case.session())) is PASS
        case.clock.advance(6)
        assert [self.successResultOf(each) for each in waiting] == [PASS, PASS]
        again = case.ask("connect", case.session("192.0.2.0"))
        self.assertNoResult(again)
        again.cancel()
        self.failureResultOf(again)
        assert not case.clock.getDelayedCalls()

    def test_settings_are_checked(self):
        with self.assertRaises(ValueError):
            self.asked(exempt=("nonsense",))
