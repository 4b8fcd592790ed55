"""The greylisting policy, over counters that do as they are told."""

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from netsvc.policy.greylist import network_of
from netsvc.records import PASS
from tests.policy.guestly import Asked


class Counted:
    def __init__(self):
        self.asked = []
        self.answer = succeed((300_000, "new"))

    def greylist(self, triplet, delay_ms, times):
        self.asked.append((triplet, delay_ms, times))
        answer, self.answer = self.answer, succeed((0, "passed"))
        return answer


class Greylisting(SynchronousTestCase):
    def asked(self, **changes):
        case = Asked("greylist", site={"relay_domains": ("partner.example", ".below.example")})
        case.ground.counters = self.counters = Counted()
        case.policy = case.maker.make(case.ground)
        case.configure(**changes)
        return case

    def judge(self, case, rcpt="bob@example.org", **facts):
        return self.successResultOf(case.ask("rcpt", case.session(**facts), rcpt=rcpt))

    def test_the_first_is_to_come_again(self):
        case = self.asked()
        verdict = self.judge(case)
        assert (verdict.action, bytes(verdict.reply)) == (
            "defer",
            b"450 4.7.1 Greylisted, try again in 300 seconds\r\n",
        )
        assert "192.0.2.0/24 comes for the first time" in verdict.why
        day = 86_400_000
        triplet = ("192.0.2.0/24", "carol@example.net", "bob@example.org")
        assert self.counters.asked == [(triplet, 300_000, (2 * day, 36 * day, 5))]
        self.counters.answer = succeed((1500, "early"))
        verdict = self.judge(case, rcpt="Bob@Example.org")
        assert verdict.reply.text.endswith("in 2 seconds")
        assert "too early" in verdict.why

    def test_what_was_let_through_is_remembered_for_a_minute(self):
        case = self.asked()
        self.counters.answer = succeed((0, "passed"))
        for _ in range(3):
            assert self.judge(case) is PASS
        assert len(self.counters.asked) == 1
        case.clock.advance(61)
        assert self.judge(case) is PASS
        assert len(self.counters.asked) == 2
        case.configure()
        assert self.judge(case) is PASS
        assert len(self.counters.asked) == 3

    def test_what_is_refused_anyway_is_not_asked_to_come_again(self):
        case = self.asked()
        for rcpt in ("nobody@example.org", "x@elsewhere.example", "postmaster@example.org"):
            assert self.judge(case, rcpt=rcpt) is PASS
        assert self.counters.asked == []
        for rcpt in ("x@partner.example", "x@a.below.example"):
            self.counters.answer = succeed((1, "new"))
            assert self.judge(case, rcpt=rcpt).action == "defer"

    def test_our_own_pass(self):
        case = self.asked(exempt=("198.51.100.0/24",))
        for facts in ({"user": "ann"}, {"peer": "198.51.100.1"}, {"service": "lmtp"}):
            assert self.judge(case, **facts) is PASS
        assert self.counters.asked == []

    def test_answers_that_take_time(self):
        case = self.asked()
        self.counters.answer = Deferred()
        counted, resolved = self.counters.answer, Deferred()
        resolve = case.ground.directory.resolve
        case.ground.directory.resolve = lambda address: resolved
        case.policy = case.maker.make(case.ground)
        case.configure()
        answer = case.ask("rcpt", case.session())
        self.assertNoResult(answer)
        from netsvc.mail.address import parse_address

        resolved.callback(self.successResultOf(resolve(parse_address("bob@example.org"))))
        self.assertNoResult(answer)
        counted.callback((1000, "new"))
        assert self.successResultOf(answer).action == "defer"

    def test_spf(self):
        case = self.asked(spf="domain")
        case.resolver.records["example.net"] = {"TXT": ["v=spf1 ip4:192.0.2.0/30 ip4:192.0.2.7 -all"]}
        case.resolver.records["down.example"] = "SERVFAIL"
        assert "spf:example.net comes for the first time" in self.judge(case).why
        assert self.judge(case) is PASS
        assert self.judge(case, peer="192.0.2.9") is PASS
        keys = [triplet[0] for triplet, _, _ in self.counters.asked]
        assert keys == ["spf:example.net", "spf:example.net", "192.0.2.0/24"]
        for sender in ("x@down.example", "x@none.example"):
            self.successResultOf(case.ask("rcpt", case.session(), sender=sender))
        self.successResultOf(case.ask("rcpt", case.session("unknown")))
        assert {triplet[0] for triplet, _, _ in self.counters.asked[2:]} == {"192.0.2.0/24", "unknown"}
        case.configure(spf="exempt")
        self.counters.answer = succeed((1, "new"))
        assert self.judge(case) is PASS
        assert self.judge(case, peer="192.0.2.9").action == "defer"

    def test_spf_that_does_not_answer_is_not_waited_for(self):
        case = self.asked(spf="exempt")
        case.resolver.hold = True
        answer = case.ask("rcpt", case.session())
        self.assertNoResult(answer)
        case.clock.advance(8)
        assert self.successResultOf(answer).action == "defer"

    def test_settings_are_checked(self):
        with self.assertRaises(ValueError):
            self.asked(window=1000, delay=2000)

    def test_networks(self):
        assert network_of("192.0.2.77", (24, 64)) == "192.0.2.0/24"
        assert network_of("2001:db8:1:2:3::4%eth0", (24, 64)) == "2001:db8:1:2::/64"
