"""Reverse names of clients."""

from twisted.trial.unittest import SynchronousTestCase

from netsvc.records import PASS
from tests.policy.guestly import PEER, Asked

GOOD = {PEER: {"PTR": ["other.example.net", "gone.example.net", "good.example.net"]}, "good.example.net": {"A": [PEER]},
        "other.example.net": {"A": ["192.0.2.1"]}}  # fmt: skip


class ReverseNames(SynchronousTestCase):
    def judge(self, zone, peer=PEER, **changes):
        self.case = Asked("reverse_dns", zone, **changes)
        self.facts = self.case.session(peer)
        assert self.successResultOf(self.case.ask("connect", self.facts)) is PASS
        return self.successResultOf(self.case.ask("rcpt", self.facts))

    def test_a_confirmed_name_is_kept(self):
        assert self.judge(GOOD) is PASS
        assert self.facts.rdns == "good.example.net"
        six = {"2001:db8::1": {"PTR": ["six.example.net"]}, "six.example.net": {"AAAA": ["2001:DB8::1"]}}
        assert self.judge(six, "2001:db8::1") is PASS
        assert self.facts.rdns == "six.example.net"

    def test_no_name(self):
        verdict = self.judge({})
        assert (verdict.action, verdict.tags) == ("tag", ("rdns-unnamed",))
        verdict = self.judge({}, unnamed="reject")
        assert (verdict.reply.code, verdict.reply.status) == (550, "5.7.25")
        assert self.judge({}, unnamed="defer").reply.code == 450
        assert self.judge({}, unnamed="off") is PASS

    def test_a_name_that_does_not_lead_back(self):
        verdict = self.judge({PEER: {"PTR": ["other.example.net"]}, "other.example.net": {"A": ["192.0.2.1"]}})
        assert verdict.tags == ("rdns-unconfirmed",)
        assert "other.example.net" in verdict.why
        assert self.facts.rdns == ""

    def test_what_cannot_be_looked_up_now(self):
        for zone in ({PEER: "SERVFAIL"}, {PEER: {"PTR": ["x.example.net"]}, "x.example.net": "SERVFAIL"}):
            assert self.judge(zone) is PASS
            assert self.judge(zone, unknown="defer").reply.status == "4.7.25"

    def test_no_more_than_ten_names(self):
        names = [f"n{n}.example.net" for n in range(20)]
        verdict = self.judge({PEER: {"PTR": names}, "n15.example.net": {"A": [PEER]}})
        assert verdict.tags == ("rdns-unconfirmed",)
        assert len(self.case.resolver.asked) == 11

    def test_our_own_are_looked_up_but_not_judged(self):
        assert self.judge(GOOD, exempt=("192.0.2.0/24",)) is PASS
        assert self.facts.rdns == "good.example.net"
        assert self.judge({}, "local", unnamed="reject") is PASS
        assert self.judge({}, unnamed="reject", exempt=(PEER,)) is PASS

    def test_the_name_is_waited_for_at_rcpt(self):
        case = Asked("reverse_dns", GOOD, unnamed="reject")
        case.resolver.hold = True
        session = case.session()
        case.ask("connect", session)
        answer = case.ask("rcpt", session)
        self.assertNoResult(answer)
        case.resolver.hold = False
        case.resolver.release()
        assert self.successResultOf(answer) is PASS
        assert session.rdns == "good.example.net"

    def test_postmaster_hears_from_all(self):
        case = Asked("reverse_dns", {}, unnamed="reject")
        assert self.successResultOf(case.ask("rcpt", case.session(), rcpt="postmaster@example.org")) is PASS
