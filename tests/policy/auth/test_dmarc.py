"""DMARC: RFC 9989 (records, tree walk, alignment, policy), and pct of RFC 7489."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from netsvc.policy.auth.dmarc import DmarcCheck, organization_of, read_dmarc, walk_names
from tests.zones import FakeResolver

ZONE = {
    "_dmarc.example.com": {"TXT": ["v=DMARC1; p=reject; sp=quarantine; np=reject", "other"]},
    "mail.example.com": {"A": ["192.0.2.1"]},
    "mx.example.com": {"MX": [[0, "mail.example.com"]]},
    "temp.example.com": "SERVFAIL",
    "_dmarc.strict.example": {"TXT": ["v=DMARC1;p=reject;aspf=s;adkim=s"]},
    "_dmarc.testing.example": {"TXT": ["v=DMARC1; p=reject; t=y"]},
    "_dmarc.half.example": {"TXT": ["v=DMARC1; p=quarantine; pct=50"]},
    "_dmarc.temp.example": "SERVFAIL",
    "_dmarc.suffix.example": {"TXT": ["v=DMARC1; p=none; sp=quarantine; np=reject; psd=y"]},
    "_dmarc.branch.corp.example": {"TXT": ["v=DMARC1; p=quarantine; psd=n"]},
    "_dmarc.corp.example": {"TXT": ["v=DMARC1; p=reject"]},
}


def check(author, spf="", dkim=(), *, unsure=False, draw=99, zone=ZONE):
    running = DmarcCheck(FakeResolver(zone), lambda: draw).run(author, spf, dkim, unsure=unsure)
    return Deferred.fromCoroutine(running).result


def test_records():
    record = read_dmarc("x.example", [b"v=spf1", b" v = DMARC1 ; p=Reject; rua=mailto:a@x.example; pct=20; adkim=S"])
    assert (record.policy, record.below, record.missing, record.percent) == ("reject", "reject", "reject", 20)
    assert (record.strict_dkim, record.strict_spf, record.testing, record.psd) == (True, False, False, "u")
    odd = read_dmarc("x.example", [b"v=DMARC1; p=maybe; sp=none; pct=x; unknown=1"])
    assert (odd.policy, odd.below, odd.percent) == ("none", "none", 100)
    assert read_dmarc("x.example", [b"v=DMARC1; pct=999"]).percent == 100


@pytest.mark.parametrize(
    "records",
    [
        [],
        [b"v=DMARC1; p=none", b"v=DMARC1; p=none"],
        [b"p=none; v=DMARC1"],
        [b"v=DMARC2; p=none"],
        [b"v=DMARC1; p"],
        [b"v"],
    ],
)
def test_no_record(records):
    assert read_dmarc("x.example", records) is None


def test_4_10_tree_walk_names():
    assert walk_names("a.mail.example.com") == ["a.mail.example.com", "mail.example.com", "example.com", "com"]
    long = "a.b.c.d.e.f.g.h.i.j.mail.example.com"
    assert walk_names(long) == [
        long, "g.h.i.j.mail.example.com", "h.i.j.mail.example.com", "i.j.mail.example.com", "j.mail.example.com",
        "mail.example.com", "example.com", "com",
    ]  # fmt: skip
    assert walk_names("com") == ["com"]


def test_4_10_2_organizations():
    found = [read_dmarc(name, [text]) for name, text in [("a.b.example", b"v=DMARC1"), ("example", b"v=DMARC1;psd=y")]]
    assert organization_of("a.b.example", found) == "b.example"
    assert organization_of("x.example", []) == "x.example"
    assert organization_of("a.b.example", found[:1]) == "a.b.example"
    assert organization_of("example", found[1:]) == "example"
    own = read_dmarc("b.example", [b"v=DMARC1; psd=n"])
    assert organization_of("a.b.example", [own, *found[1:]]) == "b.example"


@pytest.mark.parametrize(
    ("author", "spf", "dkim", "result"),
    [
        ("example.com", "example.com", [], "pass"),
        ("example.com", "", ["example.com"], "pass"),
        ("example.com", "bounce.example.com", [], "pass"),
        ("mail.example.com", "", ["example.com"], "pass"),
        ("mail.example.com", "", ["other.example.net", "bounce.example.com"], "pass"),
        ("example.com", "example.net", ["badexample.com", "x.org"], "fail"),
        ("strict.example", "a.strict.example", ["a.strict.example"], "fail"),
        ("strict.example", "strict.example", [], "pass"),
        ("a.suffix.example", "b.suffix.example", [], "fail"),
        ("x.a.suffix.example", "y.a.suffix.example", [], "pass"),
        ("branch.corp.example", "corp.example", [], "fail"),
        ("x.branch.corp.example", "y.branch.corp.example", [], "pass"),
        ("example.net", "example.net", [], "none"),
        ("temp.example", "", [], "temperror"),
        ("x" * 64 + ".example", "", [], "none"),
    ],
)
def test_4_4_alignment(author, spf, dkim, result):
    assert check(author, spf, dkim).result == result


@pytest.mark.parametrize(
    ("author", "policy", "found_at"),
    [
        ("example.com", "reject", "example.com"),
        ("mail.example.com", "quarantine", "example.com"),
        ("mx.example.com", "quarantine", "example.com"),
        ("nosuch.example.com", "reject", "example.com"),
        ("testing.example", "quarantine", "testing.example"),
        ("half.example", "none", "half.example"),
        ("a.suffix.example", "reject", "suffix.example"),
        ("suffix.example", "none", "suffix.example"),
        ("x.branch.corp.example", "quarantine", "branch.corp.example"),
        ("x.corp.example", "reject", "corp.example"),
    ],
)
def test_what_the_domain_wants(author, policy, found_at):
    result = check(author)
    assert (result.result, result.policy, result.found_at) == ("fail", policy, found_at)


def test_a_sample_is_drawn():
    assert check("half.example", draw=49).policy == "quarantine"
    assert check("half.example", draw=50).policy == "none"


def test_what_is_not_sure_is_no_failure():
    assert check("example.com", unsure=True).result == "temperror"
    assert check("example.com", "example.com", unsure=True).result == "pass"
    assert check("temp.example.com").result == "temperror"  # whether it exists cannot be said


def test_questions_are_bounded():
    names = FakeResolver(ZONE)
    deep = ".".join(f"l{n}" for n in range(60)) + ".example.org"
    Deferred.fromCoroutine(DmarcCheck(names, lambda: 0).run(deep, "", [], unsure=False))
    assert len(names.asked) <= 9


@given(st.binary(max_size=100))
def test_any_record(data):
    read_dmarc("x.example", [b"v=DMARC1;" + data])
