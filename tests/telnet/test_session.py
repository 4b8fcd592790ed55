"""One Telnet session: C7 C9 C10 C12 C13 C15 and the recordings of real clients."""

import pytest

from netsvc.telnet.codec import COMMAND_FLOOD, Flooded
from netsvc.telnet.session import (
    MARK,
    AbortOutput,
    AreYouThere,
    EchoChanged,
    MarkWanted,
    Named,
    Resized,
    TelnetSession,
    Typed,
    capable,
    window,
)

OPENING = bytes.fromhex("fffb01 fffb03 fffd1f fffd18")


def begun():
    session = TelnetSession()
    session.open()
    assert session.take() == OPENING
    return session


def test_c7_opening_is_exactly_these_twelve_bytes():
    session = begun()
    assert session.take() == b""
    assert session.echo is None
    assert not session.agreed


INETUTILS = (
    "fffd26 fffb26 fffd03 fffb18 fffb1f fffb20 fffb21 fffb22 fffb27 fffd05 fffd01 fffd03 fffb1f fffa1f00500018fff0"
    "fffb18 fffa1800585445524d2d323536434f4c4f52fff0"
)
CLIENTS = {
    "inetutils, unsolicited on port 23": (
        INETUTILS,
        "fffc26 fffe26 fffa1801fff0 fffe20 fffe21 fffe22 fffe27 fffc05",
    ),
    "busybox": ("fffd01 fffd03 fffb1f fffa1f00500018fff0 fffb18 fffa1800787465726dfff0", "fffa1801fff0"),
    "plink": (
        "fffb1f fffb20 fffb18 fffb27 fffd01 fffb03 fffd03 fffa1f00500018fff0 fffa1800585445524dfff0",
        "fffe20 fffa1801fff0 fffe27 fffd03",
    ),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_real_clients_get_what_they_need_and_nothing_twice(name):
    said, answer = CLIENTS[name]
    session = begun()
    events = session.receive(bytes.fromhex(said))
    assert session.take() == bytes.fromhex(answer)
    assert events[0] == EchoChanged(on=True)
    assert Resized(80, 24) in events
    assert events[-1].capable
    assert session.agreed


def test_curl_starts_binary_by_itself():
    session = begun()
    session.receive(bytes.fromhex("fffd01 fffd03 fffb1f fffa1f00000000fff0 fffc18 fffb00 fffd00"))
    assert session.take() == bytes.fromhex("fffd00 fffb00")
    assert session.agreed


def test_c13_nc_refuses_everything_and_gets_no_answer():
    session = begun()
    events = session.receive(bytes.fromhex("fffe01 fffe03 fffc1f fffc18"))
    assert events == [EchoChanged(on=False)]
    assert session.take() == b""
    assert session.echo is False
    assert not session.agreed


def test_echo_without_suppress_go_ahead_is_not_agreed():
    session = begun()
    session.receive(bytes.fromhex("fffd01 fffe03"))
    assert session.echo is True
    assert not session.agreed
    assert session.receive(bytes.fromhex("fffd01")) == []
    assert session.receive(bytes.fromhex("fffe01")) == [EchoChanged(on=False)]


def test_c8_echo_may_be_switched_while_it_runs():
    session = begun()
    session.receive(bytes.fromhex("fffe01"))
    assert session.receive(bytes.fromhex("fffd01")) == [EchoChanged(on=True)]
    assert session.take() == bytes.fromhex("fffb01")


@pytest.mark.parametrize(
    ("sent", "size"),
    [
        ("00500018", (80, 24)),
        ("00000000", (80, 24)),
        ("ffffff ff", (1000, 500)),
        ("00010001", (20, 5)),
        ("01f40032", (500, 50)),
    ],
)
def test_c9_window_sizes_are_clamped(sent, size):
    session = begun()
    doubled = bytes.fromhex(sent).replace(b"\xff", b"\xff\xff")
    assert session.receive(b"\xff\xfb\x1f\xff\xfa\x1f" + doubled + b"\xff\xf0") == [Resized(*size)]
    assert window(*size) == Resized(*size)


def test_c9_a_size_of_the_wrong_length_is_ignored():
    session = begun()
    assert session.receive(bytes.fromhex("fffb1f fffa1f0050fff0")) == []


def test_c6_what_was_not_agreed_is_not_believed():
    session = begun()
    assert session.receive(bytes.fromhex("fffa1f00500018fff0 fffa1800787465726dfff0 fffa22010203fff0")) == []
    assert session.take() == b""


def test_c10_an_unknown_name_is_asked_again_until_it_repeats():
    session = begun()
    session.receive(bytes.fromhex("fffb18"))
    assert session.take() == bytes.fromhex("fffa1801fff0")
    assert session.receive(b"\xff\xfa\x18\0UNKNOWN\xff\xf0") == [Named("unknown", capable=False)]
    assert session.take() == bytes.fromhex("fffa1801fff0")
    assert session.receive(b"\xff\xfa\x18\0vt220\xff\xf0") == [Named("vt220", capable=True)]
    assert session.take() == b""


def test_c10_a_name_that_repeats_or_never_ends_is_not_asked_for_ever():
    session = begun()
    session.receive(bytes.fromhex("fffb18"))
    session.take()
    session.receive(b"\xff\xfa\x18\0dumb\xff\xf0")
    assert session.take()
    session.receive(b"\xff\xfa\x18\0dumb\xff\xf0")
    assert session.take() == b""
    for i in range(20):
        session.receive(b"\xff\xfa\x18\0odd%d\xff\xf0" % i)
    assert session.take() == bytes.fromhex("fffa1801fff0") * 3


def test_c10_a_name_may_hold_anything_and_is_cut():
    session = begun()
    session.receive(bytes.fromhex("fffb18"))
    (event,) = session.receive(b"\xff\xfa\x18\0X\x1b]0;T\x07\xc3\xa9erm" + b"y" * 100 + b"\xff\xf0")
    assert event.name == "x0term" + "y" * 34
    assert session.receive(b"\xff\xfa\x18\x01\xff\xf0") == []
    assert session.receive(b"\xff\xfa\x18\xff\xf0") == []


@pytest.mark.parametrize("name", ["xterm-256color", "XTERM", "vt100", "linux", "screen", "tmux-256color"])
def test_capable_terminals(name):
    assert capable(name)


@pytest.mark.parametrize("name", ["dumb", "network", "unknown", "", "vt52x"[:2]])
def test_terminals_that_are_not(name):
    assert not capable(name)


def test_c12_a_timing_mark_is_answered_after_what_was_typed_before():
    session = begun()
    events = session.receive(bytes.fromhex("fff4 fffd06") + b"x")
    assert events == [Typed(b"\x03"), MarkWanted(), Typed(b"x")]
    assert bytes.fromhex("fffb06") == MARK


def test_c15_commands_become_keys_in_their_place():
    session = begun()
    events = session.receive(b"a\xff\xf7b\xff\xf8\xff\xf3\xff\xee\xff\xec\xff\xed")
    assert b"".join(e.data for e in events) == b"a\x7fb\x15\x03\x03\x04\x1a"
    assert session.receive(b"\xff\xf5\xff\xf6\xff\xf1\xff\xf9\xff\xef\xff\xf2") == [AbortOutput(), AreYouThere()]


def test_a_flood_is_told():
    session = begun()
    events = session.receive(b"\xff\xf1" * (COMMAND_FLOOD + 1))
    assert events == [Flooded("too many commands")]
    assert session.commands == COMMAND_FLOOD + 1
