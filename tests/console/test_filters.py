"""``where`` as it is typed."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsvc.commands import CommandError
from netsvc.console.filters import MAX_DEPTH, MAX_TESTS, parse_where
from netsvc.console.reader import AtCursor, Option, Reader
from netsvc.criteria import And, Glob, Network, Not, Or, Regex, Test
from netsvc.mail.ids import parse_id

NOW = 1_795_442_712_345
HOUR = 3_600_000
ID = "01ARZ3NDEKTSV"


def read(text, of="queue"):
    reader = Reader(text)
    return parse_where(reader, of, NOW), text[reader.pos :].strip()


@pytest.mark.parametrize(
    ("text", "expr"),
    [
        ("domain=gmail.com", Test("domain", "=", "gmail.com")),
        ("domain == gmail.com", Test("domain", "=", "gmail.com")),
        ("dom = *.example.com", Test("domain", "=", Glob("*.example.com"))),
        ("to=ann@x", Test("rcpt", "=", "ann@x")),
        ("FROM=a?", Test("sender", "=", Glob("a?"))),
        ("held_why~INC", Test("held-why", "~", Regex("INC"))),
        ('reason="rate limit"', Test("reason", "=", "rate limit")),
        ('tls=""', Test("tls", "=", "")),
        ("subject !~ x", Test("subject", "!~", Regex("x"))),
        ("state=def", Test("state", "=", "deferred")),
        ("state in (def, hold)", Test("state", "in", ("deferred", "hold"))),
        ("code not in (450,451)", Not(Test("code", "in", (450, 451)))),
        ("age>1h", Test("age", ">", HOUR)),
        ("due<-5m", Test("due", "<", -300_000)),
        ("age=1h", And((Test("age", ">=", HOUR), Test("age", "<", 2 * HOUR)))),
        ("age!=1h", Not(And((Test("age", ">=", HOUR), Test("age", "<", 2 * HOUR))))),
        ("last>-2h", Test("last", ">", NOW - 2 * HOUR)),
        ("size>=1k", Test("size", ">=", 1024)),
        ("peer=10.0.0.0/8", Test("peer", "=", Network("10.0.0.0/8"))),
        ("peer in (10.0.0.0/8,192.0.2.1)", Test("peer", "in", (Network("10.0.0.0/8"), "192.0.2.1"))),
        (f"id={ID}.2", Test("id", "=", (parse_id(ID), 2))),
        (f"msg={ID}", Test("id", "=", (parse_id(ID), None))),
        ("bounce", Test("bounce", "=", True)),
        ("bounce=no", Test("bounce", "=", False)),
        ("not bounce", Not(Test("bounce", "=", True))),
        ("(bounce)", Test("bounce", "=", True)),
        (
            "size>1 and size<9 or bounce",
            Or((And((Test("size", ">", 1), Test("size", "<", 9))), Test("bounce", "=", True))),
        ),
        (
            "size>1 AND (size<9 OR bounce)",
            And((Test("size", ">", 1), Or((Test("size", "<", 9), Test("bounce", "=", True))))),
        ),
        ("bounce and size>1", And((Test("bounce", "=", True), Test("size", ">", 1)))),
        ("bounce or size>1", Or((Test("bounce", "=", True), Test("size", ">", 1)))),
    ],
)
def test_filters(text, expr):
    assert read(text) == (expr, "")


def test_a_day_is_a_span():
    day = 1_795_392_000_000
    assert read("done=2026-11-23", "history")[0] == And((Test("done", ">=", day), Test("done", "<", day + 24 * HOUR)))
    assert read("queued<yesterday")[0] == Test("queued", "<", day - 24 * HOUR)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("age>1h limit 5", "limit 5"),
        ("age>1h | count", "| count"),
        ('reason=x reason "y"', 'reason "y"'),
        ("bounce limit 5", "limit 5"),
        ("bounce not", "not"),
        ("bounce | count", "| count"),
        ('age>1h "and" x', '"and" x'),
    ],
)
def test_where_a_filter_ends(text, rest):
    assert read(text)[1] == rest


@pytest.mark.parametrize(
    ("text", "code", "column"),
    [
        ("domian=x", "E201", 0),
        ("header:X=1", "E201", 0),
        ("a>1h", "E102", 0),
        ("", "E204", 0),
        ("=x", "E204", 0),
        (")", "E204", 0),
        ("age", "E204", 3),
        ("age 1h", "E204", 4),
        ("age>", "E204", 4),
        ("age> limit 5", "E204", 5),
        ("domain= limit", "E204", 8),
        ("age not 5", "E204", 8),
        ("age | count", "E204", 4),
        ("state not", "E204", 9),
        ("age>1h and", "E204", 10),
        ("age>5parsecs", "E202", 4),
        ("size>x", "E202", 5),
        ("state=foo", "E202", 6),
        ("id=xyz", "E202", 3),
        ("bounce=maybe", "E202", 7),
        ("peer=10.*", "E202", 5),
        ("queued<soon", "E202", 7),
        ("size~x", "E203", 4),
        ("age in (1h)", "E203", 4),
        ("rcpt~(", "E205", 5),
        ("rcpt=" + "*" * 1001, "E205", 5),
        ("state in deferred", "E204", 9),
        ("state in (deferred", "E204", 18),
        ("state in (deferred,", "E204", 19),
        ("state in ()", "E204", 10),
        ("(age>1h", "E204", 7),
        ("age>1h)", "E104", 6),
        ('rcpt="x', "E105", 5),
        ("(" * (MAX_DEPTH + 1), "E206", MAX_DEPTH),
        ("not " * (MAX_DEPTH + 1), "E206", None),
        ("bounce or " * (MAX_TESTS + 1), "E206", None),
        ("code in (" + "1," * (MAX_TESTS + 1) + "1)", "E206", None),
    ],
)
def test_errors(text, code, column):
    with pytest.raises(CommandError) as error:
        read(text)
    assert error.value.code == code
    if column is not None:
        assert error.value.column == column


def test_error_words():
    with pytest.raises(CommandError) as error:
        read("domian=x")
    assert error.value.message == 'No field "domian" on queue. Did you mean: domain'
    assert error.value.hint == "help fields queue"
    with pytest.raises(CommandError) as error:
        read("zzz=x")
    assert error.value.message == 'No field "zzz" on queue'
    with pytest.raises(CommandError) as error:
        read('age>"5 parsecs"')
    assert error.value.message == '"5 parsecs" is not a duration. Examples: 30s 5m 2h 1d'
    with pytest.raises(CommandError) as error:
        read("domain= limit")
    assert 'quoted: "limit"' in error.value.message
    with pytest.raises(CommandError) as error:
        read("size~x")
    assert error.value.message == "Field size takes = != < <= > >=, not ~"


def fits(text, of="queue", tail=()):
    with pytest.raises(AtCursor) as cursor:
        parse_where(Reader(text, completing=True), of, NOW, tail)
    return [o.word for o in cursor.value.options if not o.hidden], cursor.value.partial


def test_what_fits():
    assert "sender-domain" in fits("")[0]
    assert fits("dom")[1] == "dom"
    assert fits("age ")[0] == ["=", "!=", "<", "<=", ">", ">="]
    assert fits("state ")[0] == ["=", "!=", "in", "not in"]
    assert fits("state n")[1] == "n"
    assert fits("state not ")[0] == ["in"]
    assert fits("state=") == (["incoming", "active", "deferred", "hold", "recycled"], "")
    assert fits("state=de")[1] == "de"
    assert fits("state in ")[0] == ["("]
    assert fits("state in (")[0][0] == "incoming"
    assert fits("state in (hold ")[0] == [")"]
    assert fits("bounce=")[0] == ["true", "false"]
    assert fits("bounce ")[0] == ["=", "!="]
    assert fits("age>")[0] == ["VALUE"]
    assert fits("subject=")[0] == ["VALUE"]
    assert fits("age>1h ", tail=[Option("limit")])[0] == ["and", "or", "limit"]
    assert fits("(age>1h ", tail=[Option("limit")])[0] == ["and", "or", ")"]
    assert "domain" in fits("not ")[0]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_raises_the_declared_error_only(text):
    with contextlib.suppress(CommandError):
        read(text)
