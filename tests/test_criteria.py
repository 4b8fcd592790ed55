"""Filters evaluated over rows in memory."""

import pytest

from netsvc.criteria import OBJECTS, OPERATORS, And, Glob, Network, Not, Or, Regex, Test, field, matches
from netsvc.mail.ids import parse_id, show_id
from netsvc.patterns import MAX_PATTERN, PatternError, compile_glob, compile_regex

NOW = 1_700_000_000_000
ID = show_id(1 << 40)
ITEM = {
    "id": ID + ".2",
    "state": "deferred",
    "domain": "Example.com",
    "rcpt": "ann@example.com",
    "sender": "News@shop.example",
    "peer": "10.1.2.3",
    "size": 2048,
    "queued": NOW - 7_200_000,
    "next": NOW + 60_000,
    "last": None,
    "attempts": 3,
    "code": None,
    "tls": None,
    "held_why": "INC-812 x",
}


def queue(name, op, value):
    return matches(Test(name, op, value), "queue", ITEM, NOW)


@pytest.mark.parametrize(
    ("name", "op", "value", "expected"),
    [
        ("domain", "=", "example.COM", True),
        ("domain", "=", "example.co", False),
        ("domain", "!=", "example.com", False),
        ("domain", "=", Glob("*.com"), True),
        ("domain", "=", Glob("exampl?.com"), True),
        ("domain", "=", Glob("e?.com"), False),
        ("domain", "in", ("a", Glob("EX*")), True),
        ("domain", "in", ("a", "b"), False),
        ("dest", "=", "example.com", True),
        ("held-why", "~", Regex("inc-[0-9]+"), True),
        ("held-why", "!~", Regex("inc-[0-9]+"), False),
        ("held-why", "~", Regex("^x"), False),
        ("tls", "=", "", True),
        ("tls", "!=", "", False),
        ("state", "=", "deferred", True),
        ("state", "in", ("hold", "active"), False),
        ("id", "=", (parse_id(ID), None), True),
        ("id", "=", (parse_id(ID), 2), True),
        ("id", "=", (parse_id(ID), 1), False),
        ("id", "!=", (5, None), True),
        ("id", "in", ((5, None), (parse_id(ID), 2)), True),
        ("size", ">", 2047, True),
        ("size", ">=", 2048, True),
        ("size", "<", 2048, False),
        ("size", "<=", 2048, True),
        ("size", "=", 2048, True),
        ("code", "=", 450, False),
        ("code", "!=", 450, True),
        ("code", "<", 450, False),
        ("code", "in", (450, 451), False),
        ("age", ">", 3_600_000, True),
        ("age", "<", 3_600_000, False),
        ("due", "<", 61_000, True),
        ("due", "<", 60_000, False),
        ("last", "<", NOW, False),
        ("bounce", "=", False, True),
        ("bounce", "!=", False, False),
        ("sender-domain", "=", "shop.example", True),
        ("from", "=", Glob("news@*"), True),
        ("peer", "=", "10.1.2.3", True),
        ("peer", "=", "10.1.2.4", False),
        ("peer", "=", Network("10.0.0.0/8"), True),
        ("peer", "!=", Network("10.0.0.0/8"), False),
        ("peer", "=", Network("2001:db8::/32"), False),
        ("peer", "=", "nonsense", False),
        ("peer", "~", Regex("^10[.]"), True),
        ("peer", "in", ("10.1.2.4", Network("10.1.0.0/16")), True),
    ],
)
def test_each_operator(name, op, value, expected):
    assert queue(name, op, value) is expected


def test_and_or_not():
    yes, no = Test("size", ">", 1), Test("size", "<", 1)
    for expr, expected in [
        (And((yes, yes)), True),
        (And((yes, no)), False),
        (Or((no, yes)), True),
        (Or((no, no)), False),
        (Not(no), True),
        (Not(yes), False),
        (And((yes, Not(Or((no, no))))), True),
    ]:
        assert matches(expr, "queue", ITEM, NOW) is expected


def test_what_is_reckoned_from_other_columns():
    assert matches(Test("age", "<", 1000), "history", {"done": NOW - 10, "queued": NOW - 99_999}, NOW)
    assert matches(Test("age", "=", 5), "queue", {"age": 5}, NOW)
    assert not matches(Test("due", ">", -999_999), "queue", {"next": None}, NOW)
    assert matches(Test("bounce", "=", True), "queue", {"sender": ""}, NOW)
    assert matches(Test("sender-domain", "=", "x"), "queue", {"sender_domain": "x"}, NOW)
    assert matches(Test("sender-domain", "=", ""), "queue", {"sender": ""}, NOW)
    assert matches(Test("idle", ">", 4), "session", {"idle": 5}, NOW)


def test_addresses_in_other_clothes():
    mapped = {"peer": "::ffff:10.1.2.3"}
    assert matches(Test("peer", "=", Network("10.0.0.0/8")), "session", mapped, NOW)
    assert not matches(Test("peer", "=", Network("10.0.0.0/8")), "session", {"peer": None}, NOW)
    assert matches(Test("peer", "=", ""), "session", {"peer": None}, NOW)
    assert matches(Test("peer", "=", "unix"), "session", {"peer": "UNIX"}, NOW)


def test_an_id_that_is_none_matches_no_id():
    assert not matches(Test("id", "=", (5, None)), "queue", {"id": "rubbish"}, NOW)
    assert matches(Test("id", "=", "s12"), "session", {"id": "S12"}, NOW)


def test_unknown_field_is_an_error():
    with pytest.raises(KeyError):
        matches(Test("domian", "=", "x"), "queue", ITEM, NOW)


def test_patterns_are_refused_with_their_own_error():
    for bad in ("(", "(?<x", "a{1001}", "x" * (MAX_PATTERN + 1), "((a{100}){100}){100}"):
        with pytest.raises(PatternError):
            compile_regex(bad)
    with pytest.raises(PatternError):
        compile_glob("*" * (MAX_PATTERN + 1))


def test_half_of_a_character_is_in_no_pattern():
    for compile_ in (compile_regex, compile_glob):
        with pytest.raises(PatternError):
            compile_("\ud800")


def test_globs_take_everything_else_literally():
    assert compile_glob("a.b[c]+(*)").search("A.B[C]+(anything)")
    assert not compile_glob("a.b").search("axb")
    assert compile_glob("*é*").search("xÉy")
    assert compile_glob("a*b").search("a\n\nb")


def test_the_table_of_fields_is_sound():
    for fields in OBJECTS.values():
        names = [name for f in fields for name in (f.name, *f.aliases)]
        assert len(names) == len(set(names))
        for f in fields:
            assert f.kind in OPERATORS
            assert bool(f.words) == (f.kind == "enum")
    assert field("to", "queue").name == "rcpt"
    assert field("sender-domain", "queue").row_key == "sender_domain"
    assert field("nothing", "queue") is None
