"""SPF records and macros: RFC 7208 4.5, 4.6, 5, 6 and 7."""

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.policy.auth.spfrecord import (
    MAX_TERMS,
    Macro,
    SpfSyntaxError,
    expand,
    fitting,
    is_domain,
    is_spf,
    letters_of,
    read_domain_spec,
    read_record,
    read_spec,
)


@pytest.mark.parametrize(
    ("record", "is_one"),
    [(b"v=spf1", True), (b"V=SPF1 -all", True), (b"v=spf10", False), (b"v=spf2.0/mfrom", False), (b"", False)],
)
def test_4_5_what_is_an_spf_record(record, is_one):
    assert is_spf(record) is is_one


def test_a_whole_record():
    record = read_record(
        b"v=spf1 +A:b.example/24//64 ?mx ~ptr:c.example ip4:192.0.2.0/25 -ip6:2001:db8::/32 exists:%{ir}.x.example redirect=_spf.example.com x=%{c}"
    )
    assert [(m.result, m.name) for m in record.mechanisms] == [
        ("pass", "a"), ("neutral", "mx"), ("softfail", "ptr"), ("pass", "ip4"), ("fail", "ip6"), ("pass", "exists"),
    ]  # fmt: skip
    first = record.mechanisms[0]
    assert (first.spec, first.cidr4, first.cidr6) == (("b.example",), 24, 64)
    assert record.mechanisms[3].network == ipaddress.ip_network("192.0.2.0/25")
    assert record.mechanisms[5].spec == (Macro("i", reverse=True), ".x.example")
    assert record.redirect == ("_spf.example.com",)


@pytest.mark.parametrize(
    "record",
    [
        b"v=spf1 al", b"v=spf1 all:x.example", b"v=spf1 all/8", b"v=spf1 +", b"v=spf1 include", b"v=spf1 include:",
        b"v=spf1 include:com", b"v=spf1 exists", b"v=spf1 a:", b"v=spf1 a:example.123", b"v=spf1 a:example.-b",
        b"v=spf1 a:b.example/33", b"v=spf1 a/", b"v=spf1 a/01", b"v=spf1 a//129", b"v=spf1 mx/1/2", b"v=spf1 ip4",
        b"v=spf1 ip4:", b"v=spf1 ip4:1.2.3", b"v=spf1 ip4:1.2.3.4/33", b"v=spf1 ip4:1.2.3.4/", b"v=spf1 ip4:::1",
        b"v=spf1 ip6:1.2.3.4", b"v=spf1 ip6:::1%eth0", b"v=spf1 ip6:::1/129", b"v=spf1 ptr/8", b"v=spf1 ptr:",
        b"v=spf1 redirect=", b"v=spf1 redirect=a.example redirect=b.example", b"v=spf1 exp=a.example exp=b.example",
        b"v=spf1 a:%", b"v=spf1 a:%x.example", b"v=spf1 a:%{", b"v=spf1 a:%{z}.example", b"v=spf1 a:%{d0}.example",
        b"v=spf1 a:%{d:}.example", b"v=spf1 a:%{c}.example", b"v=spf1 a:b\x01c.example", b"v=spf1 x=%{q}",
        b"v=spf1 \xc3\xa4ll", b"v=spf1 a@b", b"v=spf1 " + b"a " * (MAX_TERMS + 1),
    ],
)  # fmt: skip
def test_4_6_a_mistake_anywhere_is_one_of_the_record(record):
    with pytest.raises(SpfSyntaxError):
        read_record(record)


VALUES = {"s": "strong-bad@email.example.com", "l": "strong-bad", "o": "email.example.com", "d": "email.example.com",
          "i": "192.0.2.3", "v": "in-addr", "h": "mx.example.net", "p": "unknown"}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%%a%_b%-", "%a b%20"),
        ("%{S}", "strong-bad%40email.example.com"),
        ("%{d.-}", "email.example.com"),
    ],
)
def test_7_4_expansion_examples(text, expanded):
    assert expand(read_spec(text), VALUES) == expanded


def test_letters_and_names():
    assert letters_of(read_spec("%{ir}.%{d2}.x")) == {"i", "d"}
    assert read_spec("%{t}", exp=True) == (Macro("t"),)
    assert read_domain_spec("a.example.") == ("a.example.",)
    assert fitting("a.example.") == "a.example"
    assert len(fitting("x" * 60 + (".y" * 200))) == 253
    assert len(fitting("x" * 300)) == 253
    assert is_domain("a.example")
    assert is_domain("localhost", dots=0)
    assert not is_domain("localhost")
    assert not is_domain("a..example")
    assert not is_domain("a." + "x" * 64)
    assert not is_domain("ä.example")
    assert not is_domain("a.b" * 100)


@given(st.binary(max_size=200))
def test_whatever_it_is_it_is_read_or_refused(data):
    with contextlib.suppress(SpfSyntaxError):
        read_record(b"v=spf1 " + data)
