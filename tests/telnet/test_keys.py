"""Bytes to keys: C16 C17 of the console's checklist."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.telnet.keys import Key, KeyReader, WindowSize


def keys(data, reader=None):
    return joined((reader or KeyReader()).feed(data))


def joined(presses):
    out = []
    for press in presses:
        if isinstance(press, str) and out and isinstance(out[-1], str):
            out.append(out.pop() + press)
        else:
            out.append(press)
    return out


SEQUENCES = {
    b"\x1b[A": Key.UP,
    b"\x1bOA": Key.UP,
    b"\x1b[B": Key.DOWN,
    b"\x1b[C": Key.RIGHT,
    b"\x1bOD": Key.LEFT,
    b"\x1b[H": Key.HOME,
    b"\x1bOH": Key.HOME,
    b"\x1b[1~": Key.HOME,
    b"\x1b[7~": Key.HOME,
    b"\x1b[F": Key.END,
    b"\x1b[4~": Key.END,
    b"\x1b[8~": Key.END,
    b"\x1b[3~": Key.DELETE,
    b"\x1b[1;5C": Key.WORD_RIGHT,
    b"\x1b[1;3D": Key.WORD_LEFT,
    b"\x1b[1;2C": Key.RIGHT,
    b"\x1b[1;5A": Key.UP,
    b"\x1bb": Key.WORD_LEFT,
    b"\x1bF": Key.WORD_RIGHT,
    b"\x1bd": Key.KILL_NEXT_WORD,
    b"\x1b.": Key.LAST_WORD,
    b"\x1b\x7f": Key.KILL_WORD,
    b"\x1bOM": Key.ENTER,
    b"\x1b\r": Key.ENTER,
    b"\r": Key.ENTER,
    b"\n": Key.ENTER,
    b"\x08": Key.BACKSPACE,
    b"\x7f": Key.BACKSPACE,
    b"\x03": Key.INTERRUPT,
    b"?": Key.QUESTION,
    b"\x1b\x1b[D": Key.LEFT,
    b"\x1b[8;24;80t": WindowSize(80, 24),
}


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_c16_sequences_are_keys_however_they_are_cut(sequence):
    assert keys(b"a" + sequence + b"b") == ["a", SEQUENCES[sequence], "b"]
    reader = KeyReader()
    stream = b"a" + sequence + b"b"
    assert joined([p for i in range(len(stream)) for p in reader.feed(stream[i : i + 1])]) == [
        "a",
        SEQUENCES[sequence],
        "b",
    ]


@pytest.mark.parametrize(
    "sequence",
    [
        b"\x1b[5~",
        b"\x1b[200~",
        b"\x1b[201~",
        b"\x1b[[A",
        b"\x1b[99;99;99X",
        b"\x1bOP",
        b"\x1bz",
        b"\x1b[" + b"1" * 200 + b"m",
        b"\x1b[8;1;t",
        b"\x1b[8;1;\xc2\xb2t",
        b"\x1b[8;99999999;99999999t",
        b"\x1b[t",
        b"\x1b[1;5~",
        b"\x00",
        b"\x1c",
    ],
)
def test_c16_unknown_sequences_are_swallowed(sequence):
    got = keys(b"a" + sequence + b"b")
    assert "".join(p for p in got if isinstance(p, str)).replace("²t", "") == "ab"


def test_c16_a_sequence_broken_off_by_a_control_is_not_inserted():
    assert keys(b"\x1b[1\rx") == [Key.ENTER, "x"]
    assert keys(b"\x1bO\x03") == [Key.INTERRUPT]


def test_c16_a_lone_escape_waits_and_is_flushed():
    reader = KeyReader()
    assert reader.feed(b"\x1b") == []
    assert reader.waiting
    reader.flush()
    assert not reader.waiting
    assert reader.feed(b"b") == ["b"]
    reader.flush()
    reader.feed(b"\x1b[")
    assert not reader.waiting
    reader.flush()
    assert reader.feed(b"A") == [Key.UP]


def test_c17_utf8_is_decoded_across_reads():
    reader = KeyReader()
    got = [p for byte in "é€😀".encode() for p in reader.feed(bytes((byte,)))]
    assert joined(got) == ["é€😀"]


def test_c17_what_is_not_utf8_is_one_replacement_and_the_rest_goes_on():
    assert keys(b"a\xe9b\xffc\r") == ["a\ufffdb\ufffdc", Key.ENTER]


@given(st.binary(max_size=120), st.lists(st.integers(1, 9), max_size=40))
def test_c16_c17_no_input_raises_and_no_split_matters(data, cuts):
    whole = keys(data)
    reader = KeyReader()
    got = []
    rest = data
    for cut in cuts:
        got += reader.feed(rest[:cut])
        rest = rest[cut:]
    got += reader.feed(rest)
    assert joined(got) == whole
    for press in whole:
        assert not isinstance(press, str) or not any(c < " " or c in "\x7f?" for c in press)
