"""Header sections taken apart: RFC 5322 2.2, 3.4, and hostile ones (T23)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.policy.auth.fields import MAX_AUTHORS, MAX_FIELDS, MAX_FROM, author_domains, read_header


def test_fields():
    header = read_header(b"From: a@example.com\r\nSubject : b\r\n  c\r\n\td\r\nX:\r\n")
    assert [(f.name, f.value) for f in header.fields] == [
        (b"from", b" a@example.com\r\n"),
        (b"subject", b" b\r\n  c\r\n\td\r\n"),
        (b"x", b"\r\n"),
    ]
    assert header.complete
    assert header.named(b"subject")[0].relaxed() == b"subject:b c d\r\n"
    assert header.named(b"to") == []


def test_a_section_that_is_cut():
    assert read_header(b"From: a").fields[0].raw == b"From: a"
    assert read_header(b"").fields == ()
    assert (read_header(b"A: b\r\nodd\r\n").size, read_header(b"A: b\r\n").size) == (6, 6)


@pytest.mark.parametrize(
    "line", [b"no field here\r\n", b": empty\r\n", b"\xff: x\r\n", b"a b: x\r\n", b"n" * 2000 + b":\r\n"]
)
def test_what_is_no_field_ends_it(line):
    header = read_header(b"A: 1\r\n" + line + b"B: 2\r\n")
    assert [f.name for f in header.fields] == [b"a"]


def test_too_many_fields():
    header = read_header(b"A: 1\r\n" * (MAX_FIELDS + 1))
    assert len(header.fields) == MAX_FIELDS
    assert not header.complete


@given(st.lists(st.sampled_from([b"A:", b" ", b"\r\n", b"\r", b"\n", b"x", b":", b"\0", b"\xff"])).map(b"".join))
def test_nothing_is_lost_or_made_up(section):
    fields = read_header(section).fields
    assert section.startswith(b"".join(f.raw for f in fields))


@pytest.mark.parametrize(
    ("value", "domains"),
    [
        (b"joe@example.com", ("example.com",)),
        (b"Joe <joe@Example.COM>", ("example.com",)),
        (b'"Joe <x@evil.example>" <joe@example.com>', ("example.com",)),
        (b'"a\\"b@c" <joe@example.com>', ("example.com",)),
        (b"(c (nested \\) x@y) @z) joe@example.com (d)", ("example.com",)),
        (b"a@b.example, Joe <joe@example.com>, c@b.example", ("b.example", "example.com")),
        (b"Group: a@b.example, c@d.example;", ("b.example", "d.example")),
        (b"joe@\r\n example.com", ("example.com",)),
        (b"<@route.example:joe@example.com>", ("example.com",)),
        ("Jö <jö@bücher.example>".encode(), ("xn--bcher-kva.example",)),
        (b'"quoted local"@example.com', ("example.com",)),
        (b"joe@example.com.", ("example.com",)),
        (b"joe@_x.example", ("_x.example",)),
        (b"", None),
        (b"nobody", None),
        (b"@example.com", None),
        (b"a@b@example.com", None),
        (b"<<a@b.example>>", None),
        (b"<a@b.example", None),
        (b"<a@b.example> c@d.example", None),
        (b"a@[192.0.2.1]", None),
        (b"a@" + b"x" * 64 + b".example", None),
        (b"a@" + b"x." * 130 + b"example", None),
        (b"a@" + "ä".encode() * 70 + b".example", None),
        (b"a@b.example, nobody", None),
        (b",".join(b"a@b.example" for _ in range(MAX_AUTHORS + 1)), None),
        (b"x" * (MAX_FROM + 1), None),
        (b'"open', None),
    ],
)
def test_authors(value, domains):
    assert author_domains(read_header(b"From: " + value + b"\r\n")) == domains


def test_from_must_be_there_once():
    assert author_domains(read_header(b"To: a@b.example\r\n")) is None
    assert author_domains(read_header(b"From: a@b.example\r\nFROM: c@d.example\r\n")) is None


@given(st.text(alphabet='<>@,;:"()\\ab. ä\r\n', max_size=60))
def test_any_from_is_read(text):
    domains = author_domains(read_header(b"From: " + text.replace("\r", "").replace("\n", "\r\n ").encode() + b"\r\n"))
    assert domains is None or all(domain.isascii() and domain for domain in domains)
