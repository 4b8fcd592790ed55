"""The Telnet wire: C1 C2 C3 C5 C6 C14 C21 of the console's checklist."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.telnet import codec as wire
from netsvc.telnet.codec import (
    IAC,
    SB,
    SE,
    Codec,
    Command,
    Data,
    Flooded,
    Negotiation,
    Subnegotiation,
    double_iac,
    encode,
    subnegotiation,
)


def parse(data, codec=None):
    """The events of data fed whole, runs of data joined."""
    return joined((codec or Codec()).receive(data))


def joined(events):
    out = []
    for event in events:
        if isinstance(event, Data) and out and isinstance(out[-1], Data):
            out.append(Data(out.pop().data + event.data))
        else:
            out.append(event)
    return out


PIECES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"\r", b"\n", b"\0", b"\r\n", b"\r\0", b"\xff", b"\xff\xff", b"\xff\xfa", b"\xff\xf0", b"\xff\xfd\x01"]
    ),
    st.builds(subnegotiation, st.integers(0, 255), st.binary(max_size=8)),
)
STREAMS = st.lists(PIECES, max_size=20).map(b"".join)


@pytest.mark.parametrize("code", [c for c in range(256) if c not in (IAC, SB, *wire.VERBS)])
def test_c1_every_command_is_taken_and_none_ends_the_session(code):
    assert parse(b"a" + bytes((IAC, code)) + b"b") == [Data(b"a"), Command(code), Data(b"b")]


@given(STREAMS, st.data())
def test_c2_any_split_gives_the_same_events(stream, data):
    whole = parse(stream)
    codec = Codec()
    events = []
    rest = stream
    while rest:
        n = data.draw(st.integers(1, len(rest)))
        events += codec.receive(rest[:n])
        rest = rest[n:]
    assert joined(events) == whole
    codec = Codec()
    assert joined([e for i in range(len(stream)) for e in codec.receive(stream[i : i + 1])]) == whole


def test_c3_a_doubled_iac_is_one_byte_in():
    assert parse(b"a\xff\xffb") == [Data(b"a\xffb")]
    codec = Codec()
    assert codec.receive(b"\xff") == []
    assert codec.receive(b"\xff") == [Data(b"\xff")]


def test_c3_output_has_every_iac_doubled():
    assert double_iac(b"\xff\xffx") == b"\xff\xff\xff\xffx"
    assert encode("\xff") == b"\xc3\xbf"
    assert subnegotiation(31, b"\xff\0") == b"\xff\xfa\x1f\xff\xff\0\xff\xf0"


@given(st.binary(max_size=300))
def test_c5_no_input_raises(data):
    for event in Codec().receive(data):
        assert isinstance(event, wire.Event)


def test_c6_an_empty_subnegotiation_is_nothing():
    assert parse(b"\xff\xfa\xff\xf0x") == [Data(b"x")]


def test_c6_iac_in_a_subnegotiation_is_made_single():
    assert parse(b"\xff\xfa\x1f\xff\xff\0\xff\xff\0\xff\xf0") == [Subnegotiation(31, b"\xff\0\xff\0")]


def test_c6_an_empty_value():
    assert parse(b"\xff\xfa\x18\xff\xf0") == [Subnegotiation(24, b"")]


def test_c6_a_missing_se_loses_neither_what_follows_nor_the_value():
    assert parse(b"\xff\xfa\x18\0x\xff\xfd\x01y") == [Subnegotiation(24, b"\0x"), Negotiation(253, 1), Data(b"y")]
    assert parse(b"\xff\xfa\xff\xfa\x18\0\xff\xf0") == [Subnegotiation(24, b"\0")]


def test_c6_a_long_one_is_discarded_until_its_end():
    fits = b"x" * wire.SUBNEGOTIATION_LIMIT
    assert parse(b"\xff\xfa\x18" + fits + b"\xff\xf0") == [Subnegotiation(24, fits)]
    codec = Codec()
    assert parse(b"\xff\xfa\x18" + fits + b"x" + b"\xff\xf0z", codec) == [Data(b"z")]
    assert parse(b"\xff\xfa\x18\0a\xff\xf0", codec) == [Subnegotiation(24, b"\0a")]


def test_an_endless_subnegotiation_is_a_flood_told_once_and_kept_nowhere():
    codec = Codec()
    events = codec.receive(b"\xff\xfa\x18")
    for _ in range(300):
        events += codec.receive(b"x" * 1024)
    assert events == [Flooded("subnegotiation without an end")]
    assert len(codec._sb) <= wire.SUBNEGOTIATION_LIMIT


def test_a_thousand_commands_are_a_flood():
    codec = Codec()
    assert not [e for e in codec.receive(b"\xff\xf1" * wire.COMMAND_FLOOD) if isinstance(e, Flooded)]
    assert codec.commands == wire.COMMAND_FLOOD
    events = codec.receive(b"\xff\xfd\x2a" * 3)
    assert [e for e in events if isinstance(e, Flooded)] == [Flooded("too many commands")]


@pytest.mark.parametrize("ends", [b"\r\n", b"\r\0", b"\n", b"\r"])
def test_c14_each_line_end_is_one_enter(ends):
    assert parse(b"a" + ends + b"b" + ends) == [Data(b"a\rb\r")]
    codec = Codec()
    events = [e for byte in b"a" + ends + b"b" + ends for e in codec.receive(bytes((byte,)))]
    assert joined(events) == [Data(b"a\rb\r")]


def test_c14_line_ends_may_be_mixed():
    assert parse(b"a\rb\nc\r\nd\r\0e\n\nf\r\rg\0") == [Data(b"a\rb\rc\rd\re\r\rf\r\rg")]


def test_c14_a_bare_cr_counts_at_once_and_what_belongs_to_it_is_swallowed_later():
    codec = Codec()
    assert codec.receive(b"x\r") == [Data(b"x\r")]
    assert codec.receive(b"\n") == []
    assert codec.receive(b"\n") == [Data(b"\r")]
    assert codec.receive(b"\r") == [Data(b"\r")]
    assert codec.receive(b"\xff\xf1\0y") == [Command(wire.NOP), Data(b"y")]


def test_c21_a_line_ends_in_exactly_one_crlf():
    assert encode("a\nb\r\nc") == b"a\r\nb\r\nc"
    assert encode("é\n") == b"\xc3\xa9\r\n"


def test_what_cannot_be_encoded_does_not_raise():
    assert encode("\ud800") == b"?"


@given(STREAMS)
def test_no_event_holds_more_than_came_in(stream):
    total = sum(len(e.data) for e in Codec().receive(stream) if isinstance(e, Data | Subnegotiation))
    assert total <= len(stream)


def test_se_alone_is_a_command_like_any_other():
    assert parse(bytes((IAC, SE))) == [Command(SE)]


def test_nothing_is_told_after_a_flood():
    codec = Codec()
    codec.receive(b"\xff\xf1" * (wire.COMMAND_FLOOD + 1))
    assert codec.receive(b"data\xff\xf1") == []


def test_doubled_iacs_among_data_are_one_event():
    assert Codec().receive(b"a\xff\xff\xff\xffb\xff\xff") == [Data(b"a\xff\xffb\xff")]
