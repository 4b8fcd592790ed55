"""DNS lists, weighed."""

from twisted.trial.unittest import SynchronousTestCase

from netsvc.records import PASS
from tests.policy.guestly import PEER, Asked

LISTS = ("bl.example.net=127.0.0.[2..11]*3", "two.example.net", "good.example.net*-2")
AT = "7.2.0.192."


class Lists(SynchronousTestCase):
    def asked(self, zone, lists=LISTS, **changes):
        return Asked("dnsbl", {AT + name: records for name, records in zone.items()}, lists=lists, **changes)

    def judge(self, case, **facts):
        session = case.session(**facts)
        assert self.successResultOf(case.ask("connect", session)) is PASS
        return self.successResultOf(case.ask("rcpt", session))

    def test_the_sum_decides(self):
        both = {"bl.example.net": {"A": ["127.0.0.4"], "TXT": ["bad\r\nmail"]}, "two.example.net": {"A": ["127.0.0.2"]}}
        case = self.asked(both, threshold=4)
        verdict = self.judge(case)
        assert verdict.action == "reject"
        assert bytes(verdict.reply) == (
            b"550 5.7.1 Client [192.0.2.7] is listed by bl.example.net, two.example.net: bad\\x0d\\x0amail\r\n"
        )
        assert verdict.why == "score 4 by bl.example.net, two.example.net"
        case = self.asked(both | {"good.example.net": {"A": ["127.0.0.3"]}}, threshold=4)
        assert self.judge(case) is PASS
        case = self.asked(both, threshold=9, tag_at=2)
        assert self.judge(case).tags == ("dnsbl",)
        case = self.asked(both, threshold=4, action="defer")
        assert self.judge(case).reply.code == 450
        case = self.asked(both, threshold=4, action="tag")
        assert self.judge(case).action == "tag"
        assert ("TXT", AT + "bl.example.net") not in case.resolver.asked

    def test_answers_are_filtered_and_complaints_are_no_listing(self):
        case = self.asked({"bl.example.net": {"A": ["127.0.0.12"]}, "two.example.net": {"A": ["127.255.255.254"]}})
        assert self.judge(case) is PASS
        assert self.judge(case) is PASS
        assert case.ground.logbook.named("dnsbl.not_served") == [
            {"list": "two.example.net", "answer": ["127.255.255.254"]}
        ]

    def test_clients_are_asked_about_once_a_while(self):
        case = self.asked({"bl.example.net": {"A": ["127.0.0.4"]}})
        for _ in range(3):
            assert self.judge(case).action == "reject"
        assert len(case.resolver.asked) == 4  # three lists, one reason
        assert "ask there for the reason" in self.judge(case).reply.text
        case.clock.advance(61)
        self.judge(case)
        assert len(case.resolver.asked) == 8

    def test_a_silent_list_counts_nothing(self):
        case = self.asked({"bl.example.net": {"A": ["127.0.0.4"]}, "two.example.net": "SERVFAIL"}, threshold=4)
        assert self.judge(case) is PASS
        case = self.asked({"bl.example.net": {"A": ["127.0.0.4"]}}, patience=2000)
        case.resolver.hold = True
        session = case.session()
        case.ask("connect", session)
        answer = case.ask("rcpt", session)
        self.assertNoResult(answer)
        case.clock.advance(2)
        assert self.successResultOf(answer) is PASS

    def test_the_answer_is_waited_for_at_rcpt(self):
        case = self.asked({"bl.example.net": {"A": ["127.0.0.4"]}})
        case.resolver.hold = True
        session = case.session()
        case.ask("connect", session)
        answers = [case.ask("rcpt", session) for _ in range(2)]
        case.resolver.hold = False
        case.resolver.release()
        assert [self.successResultOf(answer).action for answer in answers] == ["reject", "reject"]

    def test_no_reason_in_time(self):
        case = self.asked({"bl.example.net": {"A": ["127.0.0.4"]}}, lists=LISTS[:1])
        case.resolver.hold = True
        answer = case.ask("rcpt", case.session())
        case.resolver.release()
        self.assertNoResult(answer)  # the reason is asked for
        case.clock.advance(3)
        assert self.successResultOf(answer).action == "reject"

    def test_who_is_not_judged(self):
        case = self.asked({"bl.example.net": {"A": ["127.0.0.4"]}})
        session = case.session()
        for rcpt in ("postmaster@example.org", "POSTMASTER@example.net"):
            assert self.successResultOf(case.ask("rcpt", session, rcpt=rcpt)) is PASS
        for facts in ({"user": "ann"}, {"service": "submission"}):
            assert self.judge(case, **facts) is PASS
        case.site.become(relay_from=("192.0.2.0/24",))
        assert self.judge(case) is PASS
        assert case.resolver.asked == []

    def test_ipv6_and_peers_without_address(self):
        name = ".".join(reversed("20010db8" + "0" * 23 + "1")) + ".bl.example.net"
        case = Asked("dnsbl", {name: {"A": ["127.0.0.4"]}}, lists=LISTS)
        assert self.judge(case, peer="2001:db8::1").action == "reject"
        assert self.judge(case, peer="unknown") is PASS

    def test_settings_are_checked(self):
        for lists in ((), ("a b",)):
            with self.assertRaises(ValueError):
                self.asked({}, lists=lists)
        case = self.asked({"bl.example.net": {"A": ["127.0.0.4"]}})
        assert self.judge(case, peer=PEER).action == "reject"
        case.configure(lists=("two.example.net",))
        assert self.judge(case) is PASS
