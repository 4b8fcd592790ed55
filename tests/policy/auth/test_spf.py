"""SPF evaluated: RFC 7208 4 to 7, with zones of our own."""

import pytest
from twisted.internet.defer import Deferred

from netsvc.policy.auth.spf import SpfCheck, SpfClient, client_ip
from tests.zones import FakeResolver

ZONE = {
    "example.com": {
        "TXT": ["v=spf1 +mx a:colo.example.com/28 -all", "something else"],
        "MX": [[10, "mail-a.example.com"]],
    },
    "mail-a.example.com": {"A": ["192.0.2.129"], "AAAA": ["2001:db8::129"]},
    "colo.example.com": {"A": ["192.0.2.20"]},
    "two.example": {"TXT": ["v=spf1 -all", "v=spf1 +all"]},
    "bad.example": {"TXT": ["v=spf1 -all oops"]},
    "empty.example": {"TXT": ["v=spf1"]},
    "include.example": {"TXT": ["v=spf1 include:example.com ~all"]},
    "includenone.example": {"TXT": ["v=spf1 include:none.example ~all"]},
    "includebad.example": {"TXT": ["v=spf1 include:bad.example ~all"]},
    "includenoname.example": {"TXT": ["v=spf1 include:%{l} ~all"]},
    "includetemp.example": {"TXT": ["v=spf1 include:temp.example ~all"]},
    "temp.example": "SERVFAIL",
    "atemp.example": {"TXT": ["v=spf1 a:temp.example -all"]},
    "redirect.example": {"TXT": ["v=spf1 redirect=example.com"]},
    "redirectnone.example": {"TXT": ["v=spf1 redirect=none.example"]},
    "redirectnoname.example": {"TXT": ["v=spf1 redirect=%{l}"]},
    "loop.example": {"TXT": ["v=spf1 include:loop.example"]},
    "redirectloop.example": {"TXT": ["v=spf1 redirect=redirectloop.example"]},
    "ip6.example": {"TXT": ["v=spf1 ip6:2001:db8::/32 a:mail-a.example.com -all"]},
    "ptr.example": {"TXT": ["v=spf1 ptr -all"]},
    "host.ptr.example": {"A": ["192.0.2.65"]},
    "192.0.2.65": {"PTR": ["liar.ptr.example", "host.ptr.example"]},
    "liar.ptr.example": {"A": ["192.0.2.66"]},
    "192.0.2.67": "SERVFAIL",
    "p.example": {"TXT": ["v=spf1 exists:%{p}.p.example -all"]},
    "host.ptr.example.p.example": {"A": ["127.0.0.2"]},
    "unknown.p.example": {"A": ["127.0.0.2"]},
    "exists.example": {"TXT": ["v=spf1 exists:%{ir}.%{v}.%{l1r-}.%{h}.exists.example -all"]},
    "3.2.0.192.in-addr.joe.client.example.net.exists.example": {"A": ["127.0.0.2"]},
    "voids.example": {"TXT": ["v=spf1 a:v1.example a:v2.example a:v3.example +all"]},
    "twovoids.example": {"TXT": ["v=spf1 a:v1.example a:v2.example +all"]},
    "many.example": {"TXT": ["v=spf1 " + "a:colo.example.com " * 11 + "+all"]},
    "ten.example": {"TXT": ["v=spf1 " + "a:colo.example.com " * 10 + "+all"]},
    "manymx.example": {"TXT": ["v=spf1 mx -all"], "MX": [[n, f"mx{n}.manymx.example"] for n in range(11)]},
    "nullmx.example": {"TXT": ["v=spf1 mx ?all"], "MX": [[0, "."]]},
    "nomech.example": {"TXT": ["v=spf1 a:%{l} ~all"]},
    "voidptr.example": {"TXT": ["v=spf1 a:v1.example a:v2.example ptr +all"]},
    "ptrtwice.example": {"TXT": ["v=spf1 ptr:a.example ptr:b.example -all"]},
    "long.example": {"TXT": ["v=spf1 exists:" + "%{d}." * 60 + "example -all"]},
}


def check(sender, ip="192.0.2.129", helo="client.example.net", scope="mailfrom"):
    running = Deferred.fromCoroutine(SpfCheck(FakeResolver(ZONE), SpfClient(client_ip(ip), helo, sender)).run(scope))
    return running.result


@pytest.mark.parametrize(
    ("section", "sender", "ip", "result"),
    [
        ("2.6.1", "joe@none.example", "192.0.2.1", "none"),
        ("4.3", "joe@localhost", "192.0.2.1", "none"),
        ("4.3", "joe@" + "x" * 64 + ".example", "192.0.2.1", "none"),
        ("4.3", "joe@a..example", "192.0.2.1", "none"),
        ("4.3", "postmaster@[192.0.2.1]", "192.0.2.1", "none"),
        ("4.4", "joe@temp.example", "192.0.2.1", "temperror"),
        ("4.5", "joe@two.example", "192.0.2.1", "permerror"),
        ("4.6", "joe@bad.example", "192.0.2.1", "permerror"),
        ("4.7", "joe@empty.example", "192.0.2.1", "neutral"),
        ("4.6.4 terms", "joe@many.example", "192.0.2.1", "permerror"),
        ("4.6.4 terms", "joe@ten.example", "192.0.2.1", "pass"),
        ("4.6.4 voids", "joe@voids.example", "192.0.2.1", "permerror"),
        ("4.6.4 voids", "joe@twovoids.example", "192.0.2.1", "pass"),
        ("4.6.4 mx", "joe@manymx.example", "192.0.2.1", "permerror"),
        ("4.6.4 loop", "joe@loop.example", "192.0.2.1", "permerror"),
        ("5.1", "joe@example.com", "192.0.2.200", "fail"),
        ("5.2 pass", "joe@include.example", "192.0.2.129", "pass"),
        ("5.2 fail", "joe@include.example", "192.0.2.200", "softfail"),
        ("5.2 none", "joe@includenone.example", "192.0.2.1", "permerror"),
        ("5.2 permerror", "joe@includebad.example", "192.0.2.1", "permerror"),
        ("5.2 temperror", "joe@includetemp.example", "192.0.2.1", "temperror"),
        ("5.2 no name", "joe@includenoname.example", "192.0.2.1", "permerror"),
        ("5.3", "joe@example.com", "192.0.2.17", "pass"),
        ("5.3 cidr", "joe@example.com", "192.0.2.33", "fail"),
        ("5.3 no name", "@nomech.example", "192.0.2.33", "softfail"),
        ("5.3 temperror", "joe@atemp.example", "192.0.2.33", "temperror"),
        ("5.4", "joe@example.com", "192.0.2.129", "pass"),
        ("5.4 AAAA", "joe@example.com", "2001:db8::129", "pass"),
        ("5.4 null MX", "joe@nullmx.example", "192.0.2.1", "neutral"),
        ("5.5", "joe@ptr.example", "192.0.2.65", "pass"),
        ("5.5 not validated", "joe@ptr.example", "192.0.2.66", "fail"),
        ("5.5 DNS error", "joe@ptr.example", "192.0.2.67", "fail"),
        ("5.5 voids", "joe@voidptr.example", "192.0.2.99", "permerror"),
        ("5.5 twice", "joe@ptrtwice.example", "192.0.2.65", "fail"),
        ("5.6", "joe@ip6.example", "2001:db8:1::1", "pass"),
        ("5.6 other family", "joe@ip6.example", "192.0.2.1", "fail"),
        ("5.6 mapped", "joe@example.com", "::ffff:192.0.2.129", "pass"),
        ("5.7", "joe@exists.example", "192.0.2.3", "pass"),
        ("5.7 other", "ann@exists.example", "192.0.2.3", "fail"),
        ("6.1", "joe@redirect.example", "192.0.2.129", "pass"),
        ("6.1 none", "joe@redirectnone.example", "192.0.2.1", "permerror"),
        ("6.1 no name", "joe@redirectnoname.example", "192.0.2.1", "permerror"),
        ("6.1 loop", "joe@redirectloop.example", "192.0.2.1", "permerror"),
        ("7.3 p", "joe@p.example", "192.0.2.65", "pass"),
        ("7.3 p unknown", "joe@p.example", "192.0.2.99", "pass"),
        ("7.3 long", "joe@long.example", "192.0.2.1", "fail"),
    ],
)
def test_rfc7208(section, sender, ip, result):
    assert check(sender, ip).result == result, section


def test_what_is_told():
    result = check("Joe@EXAMPLE.com")
    assert (result.domain, result.why, result.scope) == ("example.com", "example.com: +mx", "mailfrom")
    assert check("postmaster@none.example", scope="helo").scope == "helo"
    assert SpfClient(client_ip("192.0.2.1"), "x", "@example.com").local == "postmaster"


def test_4_6_4_questions_are_bounded():
    names = FakeResolver(ZONE)
    running = Deferred.fromCoroutine(SpfCheck(names, SpfClient(client_ip("192.0.2.1"), "x", "joe@loop.example")).run())
    assert running.result.result == "permerror"
    assert len(names.asked) <= 12


def test_a_resolver_that_takes_no_such_name():
    class Picky(FakeResolver):
        def a(self, name):
            raise ValueError(name)

    running = SpfCheck(Picky(ZONE), SpfClient(client_ip("192.0.2.20"), "x", "joe@ten.example")).run()
    assert Deferred.fromCoroutine(running).result.result == "permerror"  # each is an answer with nothing in it


def test_addresses_of_the_other_family_or_none_do_not_match():
    zone = {"odd.example": {"TXT": ["v=spf1 a -all"], "A": ["2001:db8::1", "no address"]}}
    running = SpfCheck(FakeResolver(zone), SpfClient(client_ip("192.0.2.20"), "x", "joe@odd.example")).run()
    assert Deferred.fromCoroutine(running).result.result == "fail"


def test_7_3_the_best_validated_name_is_taken():
    zone = {
        "p.example": {"TXT": ["v=spf1 exists:%{p}.q.example -all"], "A": ["192.0.2.1"]},
        "x.p.example": {"A": ["192.0.2.1"]},
        "192.0.2.1": {"PTR": ["x.p.example", "p.example"]},
        "p.example.q.example": {"A": ["127.0.0.1"]},
    }
    running = SpfCheck(FakeResolver(zone), SpfClient(client_ip("192.0.2.1"), "x", "joe@p.example")).run()
    assert Deferred.fromCoroutine(running).result.result == "pass"
    zone["192.0.2.1"]["PTR"] = [f"n{n}.example" for n in range(3)]
    running = SpfCheck(FakeResolver(zone), SpfClient(client_ip("192.0.2.1"), "x", "joe@p.example")).run()
    assert Deferred.fromCoroutine(running).result.result == "fail"
