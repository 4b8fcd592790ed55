"""The look at a header section."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.mail.header import MAX_HEADER, HeaderScan

MESSAGE = (
    b"Received: from a\r\n\tby b\r\nReceived: from c\r\nMessage-ID:\r\n <one@example.org>\r\n"
    b"SUBJECT: Hello\r\n\tworld\r\n\r\nSubject: not this\r\nReceived: nor this\r\n"
)


def scan(*pieces):
    s = HeaderScan()
    for piece in pieces:
        s.feed(piece)
    s.close()
    return s


def test_what_it_finds():
    s = scan(MESSAGE)
    assert (s.hops, s.msgid, s.subject, s.too_long) == (2, "<one@example.org>", "Hello world", False)


@given(st.lists(st.integers(0, len(MESSAGE)), max_size=6))
def test_any_split_finds_the_same(cuts):
    cuts = [0, *sorted(cuts), len(MESSAGE)]
    s = scan(*[MESSAGE[a:b] for a, b in itertools.pairwise(cuts)])
    assert (s.hops, s.msgid, s.subject) == (2, "<one@example.org>", "Hello world")


def test_what_is_kept_ends_before_the_empty_line_however_it_was_cut():
    for header in (b"", b"A: b\r\n"):
        whole = header + b"\r\nbody"
        for a, b in itertools.combinations_with_replacement(range(len(whole) + 1), 2):
            kept = HeaderScan(keep=True)
            for piece in (whole[:a], whole[a:b], whole[b:]):
                kept.feed(piece)
            assert kept.header == header, (a, b)


def test_byte_by_byte():
    s = scan(*[MESSAGE[i : i + 1] for i in range(len(MESSAGE))])
    assert (s.hops, s.subject) == (2, "Hello world")


def test_no_header_at_all():
    s = scan(b"\r\nSubject: body\r\n")
    assert (s.hops, s.msgid, s.subject) == (0, "", "")
    assert scan().done


def test_header_without_end():
    assert scan(b"Subject: only").subject == "only"
    assert scan(b"Subject: one\r\nSubject: two\r\nMessage-ID: <1>\r\nMessage-ID: <2>\r\n").subject == "one"


def test_too_long_a_header():
    s = HeaderScan()
    for _ in range(MAX_HEADER // 65536 + 2):
        s.feed(b"X: " + b"y" * 65533)
    assert s.done
    assert s.too_long


def test_many_fields_are_counted():
    assert scan(b"Received: x\r\n" * 5000 + b"\r\n").hops == 5000


def test_a_field_begins_its_line():
    s = scan(b"X: Subject: no\r\n Received: no\r\nSubject : nor this\r\nsubject:yes\r\n\r\n")
    assert (s.hops, s.subject) == (0, "yes")


def test_long_values_are_cut():
    s = scan(b"Subject: " + b"a" * 5000 + b"\r\n\r\n")
    assert len(s.subject) == 250


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"=?utf-8?B?R3LDvMOfZQ==?=", "Grüße"),
        (b"=?iso-8859-1?q?Gr=FC=DFe_an?= =?utf-8?q?_alle?=", "Grüße an alle"),
        (b"=?utf-8?B?!!!?=", ""),
        (b"=?utf-8?B?R?=", "=?utf-8?B?R?="),
        (b"=?nonsense?q?x?=", "=?nonsense?q?x?="),
        (b"=?rot13?q?x?=", "=?rot13?q?x?="),
        (b"=?utf-8?q?=1B[2J?=", "\\x1b[2J"),
        (b"caf\xc3\xa9 \xff", "café \\xff"),
    ],
)
def test_encoded_words_are_decoded_for_showing(raw, shown):
    assert scan(b"Subject: " + raw + b"\r\n\r\n").subject == shown


@given(st.binary())
def test_any_bytes(data):
    s = scan(data, b"\r\n\r\n")
    assert "\x1b" not in s.subject + s.msgid
