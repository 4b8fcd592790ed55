"""Options by the Q method: C4 of the console's checklist."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.telnet.codec import DO, DONT, WILL, WONT
from netsvc.telnet.options import BINARY, ECHO, NAWS, SGA, TM, TTYPE, Options, Side, State

OPTION = 1
S = State


def side(state):
    """A side with one option brought to a state by the moves that lead there."""
    it = Side(WILL, WONT, frozenset({OPTION}))
    ways = {
        S.NO: "",
        S.YES: "y",
        S.WANTYES: "e",
        S.WANTYES_OPPOSITE: "ed",
        S.WANTNO: "yd",
        S.WANTNO_OPPOSITE: "yde",
    }
    for step in ways[state]:
        {"y": it.hear_yes, "e": it.enable, "d": it.disable}[step](OPTION)
    assert it.state(OPTION) is state
    return it


YES, NO = bytes((255, WILL, OPTION)), bytes((255, WONT, OPTION))


@pytest.mark.parametrize(
    ("state", "after", "sent"),
    [
        (S.NO, S.YES, YES),
        (S.YES, S.YES, b""),
        (S.WANTNO, S.NO, b""),
        (S.WANTNO_OPPOSITE, S.YES, b""),
        (S.WANTYES, S.YES, b""),
        (S.WANTYES_OPPOSITE, S.WANTNO, NO),
    ],
)
def test_c4_hearing_yes(state, after, sent):
    it = side(state)
    assert (it.hear_yes(OPTION), it.state(OPTION)) == (sent, after)


@pytest.mark.parametrize(
    ("state", "after", "sent"),
    [
        (S.NO, S.NO, b""),
        (S.YES, S.NO, NO),
        (S.WANTNO, S.NO, b""),
        (S.WANTNO_OPPOSITE, S.WANTYES, YES),
        (S.WANTYES, S.NO, b""),
        (S.WANTYES_OPPOSITE, S.NO, b""),
    ],
)
def test_c4_hearing_no(state, after, sent):
    it = side(state)
    assert (it.hear_no(OPTION), it.state(OPTION)) == (sent, after)


@pytest.mark.parametrize(
    ("state", "after", "sent"),
    [
        (S.NO, S.WANTYES, YES),
        (S.YES, S.YES, b""),
        (S.WANTNO, S.WANTNO_OPPOSITE, b""),
        (S.WANTNO_OPPOSITE, S.WANTNO_OPPOSITE, b""),
        (S.WANTYES, S.WANTYES, b""),
        (S.WANTYES_OPPOSITE, S.WANTYES, b""),
    ],
)
def test_c4_wanting(state, after, sent):
    it = side(state)
    assert (it.enable(OPTION), it.state(OPTION)) == (sent, after)


@pytest.mark.parametrize(
    ("state", "after", "sent"),
    [
        (S.NO, S.NO, b""),
        (S.YES, S.WANTNO, NO),
        (S.WANTNO, S.WANTNO, b""),
        (S.WANTNO_OPPOSITE, S.WANTNO, b""),
        (S.WANTYES, S.WANTYES_OPPOSITE, b""),
        (S.WANTYES_OPPOSITE, S.WANTYES_OPPOSITE, b""),
    ],
)
def test_c4_wanting_no_more(state, after, sent):
    it = side(state)
    assert (it.disable(OPTION), it.state(OPTION)) == (sent, after)


def test_c4_what_is_not_accepted_is_refused_and_leaves_no_state():
    options = Options()
    assert options.hear(WILL, 38) == bytes((255, DONT, 38))
    assert options.hear(DO, 37) == bytes((255, WONT, 37))
    assert options.him.state(38) is S.NO
    for option in range(256):
        options.hear(WILL, option)
        options.hear(DO, option)
    assert len(options.him._states) == 4
    assert len(options.us._states) == 3


def test_c4_an_announcement_of_the_present_state_is_never_answered():
    options = Options()
    options.opening()
    for verb, option in ((DO, ECHO), (DO, SGA), (WILL, NAWS), (WILL, TTYPE)):
        assert [options.hear(verb, option) for _ in range(3)] == [b"", b"", b""]
    assert options.hear(DONT, 99) == options.hear(WONT, 99) == b""


def test_binary_is_accepted_when_the_client_begins():
    options = Options()
    assert options.hear(WILL, BINARY) == bytes((255, DO, BINARY))
    assert options.hear(DO, BINARY) == bytes((255, WILL, BINARY))


def test_do_timing_mark_is_not_a_state():
    options = Options()
    assert options.hear(DO, TM) == b""
    assert options.us.state(TM) is S.NO


@given(st.lists(st.tuples(st.sampled_from([WILL, WONT, DO, DONT]), st.integers(0, 40)), max_size=60))
def test_c4_no_answer_is_longer_than_what_it_answers(moves):
    options = Options()
    options.opening()
    for verb, option in moves:
        answer = options.hear(verb, option)
        assert len(answer) in (0, 3)


def test_c4_two_ends_never_answer_each_other_for_ever():
    rng = random.Random(7)
    for _ in range(200):
        ends = (Options(), Options())
        wires = [bytearray(ends[0].opening()), bytearray()]
        for _ in range(rng.randrange(12)):
            who = rng.randrange(2)
            move = rng.choice([ends[who].us.enable, ends[who].us.disable, ends[who].him.enable, ends[who].him.disable])
            wires[who] += move(rng.choice([ECHO, SGA, NAWS, TTYPE, BINARY, 99]))
        for turn in itertools.count():
            if not any(wires):
                break
            assert turn < 200
            who = rng.choice([w for w in (0, 1) if wires[w]])
            _, verb, option = wires[who][:3]
            del wires[who][:3]
            wires[1 - who] += ends[1 - who].hear(verb, option)
        for option in (ECHO, SGA, NAWS, TTYPE, BINARY):
            for a, b in (ends, ends[::-1]):
                if a.us.state(option) is S.YES:
                    assert b.him.state(option) is S.YES
