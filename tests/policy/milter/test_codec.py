"""The milter protocol as bytes: every answer, every command, hostile ones, and cut anywhere."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.policy.milter import codec
from netsvc.policy.milter.codec import MAX_PACKET, Answer, Change, MilterError, MilterReader, Terms, packet
from netsvc.policy.milter.headers import MAX_FIELDS, MAX_LINE, MAX_OCTETS, made_field, made_fields

ANSWERS = [
    (b"O", struct.pack("!III", 6, 1, 2), Terms(6, 1, 2)),
    (b"c", b"", Answer("continue")),
    (b"a", b"", Answer("accept")),
    (b"r", b"", Answer("reject")),
    (b"t", b"", Answer("tempfail")),
    (b"d", b"", Answer("discard")),
    (b"s", b"", Answer("skip")),
    (b"p", b"", Answer("progress")),
    (b"f", b"", Answer("fail")),
    (b"4", b"", Answer("shutdown")),
    (b"y", b"550 5.7.1 no 100%% such\0", Answer("reply", 550, "5.7.1", "no 100% such")),
    (b"y", b"451-4.7.1 wait\r\n451 4.7.1 a bit\0", Answer("reply", 451, "4.7.1", "wait a bit")),
    (b"y", b"554\0", Answer("reply", 554)),
    (b"y", b"550 4.7.1 other class\0", Answer("reply", 550, "", "4.7.1 other class")),
    (b"h", b"X-A\0b\0", Change("header", b"X-A", b"b")),
    (b"i", b"\0\0\0\2X-A\0\0", Change("insert-header", b"X-A", b"", 2)),
    (b"m", b"\0\0\0\1X-A\0c\0", Change("change-header", b"X-A", b"c", 1)),
    (b"+", b"<a@b>\0", Change("add-recipient", b"<a@b>")),
    (b"2", b"<a@b>\0NOTIFY=NEVER\0", Change("add-recipient", b"<a@b>")),
    (b"-", b"<a@b>\0", Change("remove-recipient", b"<a@b>")),
    (b"e", b"<a@b>\0", Change("sender", b"<a@b>")),
    (b"b", b"new", Change("body", index=3)),
    (b"q", b"odd\0", Change("quarantine", value=b"odd")),
]


@pytest.mark.parametrize(("letter", "data", "event"), ANSWERS)
def test_answers(letter, data, event):
    assert MilterReader().feed(packet(letter, data)) == [event]


@given(st.lists(st.sampled_from(ANSWERS)), st.integers(1, 7))
def test_cut_anywhere(answers, size):
    data = b"".join(packet(letter, data) for letter, data, _ in answers)
    reader = MilterReader()
    events = []
    for at in range(0, len(data), size):
        events += reader.feed(data[at : at + size])
    assert events == [event for _, _, event in answers]


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\0",
        struct.pack("!I", MAX_PACKET + 1),
        b"\xff\xff\xff\xff",
        packet(b"O", b"short"),
        packet(b"z"),
        packet(b"h", b"X-A\0no end"),
        packet(b"h", b""),
        packet(b"i", b"\0"),
        packet(b"+", b"no end"),
        packet(b"q", b""),
        packet(b"y", b"250 2.0.0 fine\0"),
        packet(b"y", b"no code\0"),
        packet(b"y", b"55\0"),
        packet(b"y", b"\xb9\xb2\xb3 x\0"),
        packet(b"y", b""),
    ],
)
def test_hostile_answers(data):
    with pytest.raises(MilterError):
        MilterReader().feed(data)


@given(st.lists(st.binary(max_size=60)))
def test_any_bytes(pieces):
    reader = MilterReader()
    try:
        for piece in pieces:
            reader.feed(piece)
    except MilterError:
        pass


@given(st.sampled_from("Oyhim+2-ebqcartdspf4xYZ").map(str.encode), st.binary(max_size=80))
def test_any_packet(letter, data):
    with contextlib.suppress(MilterError):
        codec.read_packet(letter, data)


def test_commands():
    assert codec.offer() == b"\0\0\0\x0dO" + struct.pack("!III", 6, codec.ALL_ACTIONS, codec.OFFERED)
    assert codec.connect("mx", "192.0.2.1", 25) == packet(b"C", b"mx\0" + b"4\0\x19192.0.2.1\0")
    assert codec.connect("mx", "2001:db8::1", 25) == packet(b"C", b"mx\0" + b"6\0\x19IPv6:2001:db8::1\0")
    assert codec.connect("mx", "local", 0) == packet(b"C", b"mx\0U")
    assert codec.helo("a\0b") == packet(b"H", b"ab\0")
    assert codec.sender("a@b", ["SIZE=1"]) == packet(b"M", b"<a@b>\0SIZE=1\0")
    assert codec.recipient("ä@b") == packet(b"R", "<ä@b>\0".encode())
    assert codec.macros(b"C", {"j": "mx", "_": ""}) == packet(b"D", b"Cj\0mx\0")
    assert codec.header(b"A", b"b\n c") == packet(b"L", b"A\0b\n c\0")
    assert codec.body(b"x\0") == packet(b"B", b"x\0")
    assert codec.END_OF_BODY == b"\0\0\0\1E"


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        (b"X-A", b"b", b"X-A: b\r\n"),
        (b"X-A", b" b\n c\n\td", b"X-A: b\r\n c\r\n\td\r\n"),
        (b"X-A", b"b\r\nBcc: x", b"X-A: b\r\n\tBcc: x\r\n"),
        (b"X-A", b"b\n\n\n \n c\n", b"X-A: b\r\n c\r\n"),
        (b"X-A", b"", b"X-A:\r\n"),
        (b"X-A", b"a\rb\x1b\x00\xff", b"X-A: a?b???\r\n"),
        (b"", b"b", b""),
        (b"X A", b"b", b""),
        (b"X:", b"b", b""),
        (b"X\r\nBcc", b"b", b""),
        (b"x" * 77, b"b", b""),
    ],
)
def test_fields_made(name, value, field):
    assert made_field(name, value) == field


@given(st.binary(max_size=300))
def test_a_field_is_one_field(value):
    field = made_field(b"X-A", value)
    lines = field.split(b"\r\n")
    assert lines.pop() == b""
    assert all(line[:1] in (b" ", b"\t") and line.strip() for line in lines[1:])
    assert not set(field.replace(b"\r\n", b"")) - {9, *range(32, 127)}


def test_fields_are_bounded():
    assert max(map(len, made_field(b"X-A", b"b" * 20_000 + b"\n" + b"c" * 20_000).split(b"\r\n"))) <= MAX_LINE + 2
    made, left_out = made_fields([(b"X", b"y")] * (MAX_FIELDS + 2) + [(b"", b"")])
    assert (made.count(b"\r\n"), left_out) == (MAX_FIELDS, 3)
    made, left_out = made_fields([(b"X", (b"y" * 900 + b"\n ") * 15)] * 10)
    assert len(made) <= MAX_OCTETS
    assert left_out
