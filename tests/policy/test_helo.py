"""What guests call themselves."""

from twisted.trial.unittest import SynchronousTestCase

from netsvc.policy.helo import literal_of
from netsvc.records import PASS
from tests.policy.guestly import PEER, Asked

ZONE = {
    "client.example.net": {"A": [PEER]},
    "mailonly.example.net": {"MX": [[0, "client.example.net"]]},
    "mx1.example.org": {"A": ["198.51.100.1"], "AAAA": ["2001:db8::25"]},
    "down.example.net": "SERVFAIL",
}
ALL = dict.fromkeys(("syntax", "own_name", "bare", "literal", "unresolvable"), "reject")


class Names(SynchronousTestCase):
    def judge(self, helo, peer=PEER, **changes):
        case = Asked("helo", ZONE, **(ALL | changes))
        session = case.session(peer, helo)
        assert self.successResultOf(case.ask("helo", session)) is PASS
        return self.successResultOf(case.ask("rcpt", session))

    def why(self, helo, peer=PEER):
        verdict = self.judge(helo, peer)
        return verdict.why.partition(": ")[2] if verdict is not PASS else ""

    def test_good_names(self):
        for helo in (
            "client.example.net",
            "Client.Example.NET.",
            "mailonly.example.net",
            "down.example.net",
            f"[{PEER}]",
        ):
            assert self.why(helo) == ""
        assert self.why("[IPv6:2001:DB8::7]", "2001:db8::7") == ""

    def test_findings(self):
        for helo, words in {
            "under_score!.example": "neither a host name",
            "192.0.2.7": "neither a host name",
            "[192.0.2.300]": "neither a host name",
            "[client]": "neither a host name",
            "MX1.example.org": "of ours",
            "example.org": "of ours",
            "localhost": "of ours",
            "[198.51.100.1]": "of ours",
            "[IPv6:2001:db8::25]": "of ours",
            "[127.0.0.1]": "of ours",
            "client": "not a fully qualified",
            "[192.0.2.8]": "not the address",
            "nowhere.example.net": "no address and no mail exchanger",
        }.items():
            assert words in self.why(helo), helo

    def test_each_finding_has_its_setting(self):
        verdict = self.judge("client")
        assert (verdict.action, verdict.reply.code) == ("reject", 550)
        assert bytes(verdict.reply) == b"550 5.7.1 HELO name client refused: it is not a fully qualified name\r\n"
        assert self.judge("client", bare="defer").reply.code == 450
        assert self.judge("client", bare="tag").tags == ("helo-bare",)
        assert self.judge("client", bare="off") is PASS
        assert self.judge("localhost", own_name="tag").action == "reject"  # not qualified either
        assert self.judge("localhost", own_name="tag", bare="tag").tags == ("helo-own-name", "helo-bare")
        assert self.judge("nowhere.example.net", unresolvable="off") is PASS

    def test_who_is_not_judged(self):
        case = Asked("helo", ZONE, **ALL)
        for session in (case.session(helo="x", user="ann"), case.session(helo="")):
            assert self.successResultOf(case.ask("helo", session)) is PASS
            assert self.successResultOf(case.ask("rcpt", session)) is PASS
        assert self.successResultOf(case.ask("rcpt", case.session(helo="x"), rcpt="postmaster@example.org")) is PASS

    def test_the_name_is_waited_for_at_rcpt(self):
        case = Asked("helo", ZONE, **ALL)
        case.resolver.hold = True
        session = case.session(helo="nowhere.example.net")
        case.ask("helo", session)
        answer = case.ask("rcpt", session)
        self.assertNoResult(answer)
        case.resolver.hold = False
        case.resolver.release()
        assert self.successResultOf(answer).action == "reject"

    def test_our_addresses_may_be_unknown(self):
        case = Asked("helo", {"mx1.example.org": "SERVFAIL"}, **ALL)
        assert self.successResultOf(case.ask("rcpt", case.session(helo="[192.0.2.8]"))).action == "reject"

    def test_literals(self):
        assert literal_of("[192.0.2.1]") == "192.0.2.1"
        assert literal_of("[IPv6:2001:DB8::1]") == "2001:db8::1"
        assert literal_of("192.0.2.1") is None
        assert literal_of("[x]") is None
