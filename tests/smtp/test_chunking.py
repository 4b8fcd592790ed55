"""Chunks (BDAT, RFC 3030; T21): dialogues whole, byte by byte and cut anywhere, and what hostile ones come to."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsvc.mail import reply as r
from netsvc.mail.address import Address
from netsvc.smtp.events import ContentDropped, ContentEnded, DataRequested, SessionEnded
from netsvc.smtp.lines import LineBuffer
from netsvc.smtp.states import State
from netsvc.smtp.terms import Terms
from tests.smtp.dialogues import ENVELOPE, TERMS, Talk, answer, cut, lines, talk

ANN, ME = Address("ann", "example.org"), Address("me", "example.net")
BINARY = lines("EHLO c", "MAIL FROM:<me@example.net> BODY=BINARYMIME", "RCPT TO:<ann@example.org>")
AGAIN = lines("MAIL FROM:<me@example.net>", "RCPT TO:<ann@example.org>")
QUEUED = [250, 250, 250]


def bdat(data, last=False):
    return b"BDAT %d%s\r\n" % (len(data), b" LAST" if last else b"") + data


def test_one_chunk():
    t = talk(ENVELOPE + bdat(b"Subject: x\r\n\r\n.\r\n..dot\r\n", last=True) + b"QUIT\r\n")
    assert t.codes == [*QUEUED, 250, 221]
    assert t.messages == [(ME, (ANN,), b"Subject: x\r\n\r\n.\r\n..dot\r\n")]
    assert t.events[3:] == [DataRequested(), ContentEnded(24), SessionEnded("quit")]


def test_chunks_in_one_group():
    """RFC 3030 2, RFC 2920: the command, its octets and the next command may come together."""
    t = talk(ENVELOPE + bdat(b"Subject: x\r") + bdat(b"\n\r\nab") + bdat(b"") + bdat(b"c\r\n", last=True) + AGAIN)
    assert t.codes == [*QUEUED, 250, 250, 250, 250, 250, 250]
    assert b"250 2.0.0 11 octets received\r\n" in t.output
    assert t.messages == [(ME, (ANN,), b"Subject: x\r\n\r\nabc\r\n")]
    assert t.session.state is State.RCPT


def test_nothing_is_a_message_too():
    assert talk(ENVELOPE + b"BDAT 0 LAST\r\n").messages == [(ME, (ANN,), b"")]
    t = talk(ENVELOPE + bdat(b"a\r\n") + b"bdat 0 last\r\n")
    assert t.messages == [(ME, (ANN,), b"a\r\n")]


def test_nothing_in_a_chunk_is_a_command():
    inside = b"\r\n.\r\nQUIT\r\nMAIL FROM:<x@y>\r\nBDAT 5 LAST\r\n"
    assert talk(ENVELOPE + bdat(inside, last=True)).messages == [(ME, (ANN,), inside)]


@pytest.mark.parametrize(
    ("before", "code"),
    [
        (b"", 503),
        (lines("EHLO c"), 503),
        (lines("EHLO c", "MAIL FROM:<a@b>"), 503),
        (lines("EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<nobody@b>"), 554),
    ],
)
def test_a_chunk_where_none_may_be_is_consumed(before, code):
    """T21: its octets are never read as commands."""
    t = talk(before + bdat(b"QUIT\r\nDATA\r\n") + bdat(b"QUIT\r\n", last=True) + b"NOOP\r\n")
    assert t.codes[before.count(b"\n") :] == [code, code, 250]
    assert t.session.errors == 2
    assert t.messages == []


def test_too_many_of_them_end_the_session():
    t = talk(bdat(b"x" * 50) * 30, Terms("mx.example.org", max_errors=3))
    assert t.codes == [503, 503, 421]


@pytest.mark.parametrize("what", ["DATA", "RCPT TO:<eve@example.org>", "MAIL FROM:<x@y>"])
def test_between_chunks_there_is_no_way_back(what):
    """RFC 3030 2: DATA after BDAT is 503; the message can go on."""
    t = talk(ENVELOPE + bdat(b"a\r\n") + lines(what) + bdat(b"b\r\n", last=True))
    assert t.codes == [*QUEUED, 250, 503, 250]
    assert t.messages == [(ME, (ANN,), b"a\r\nb\r\n")]


def test_rset_forgets_what_has_come():
    t = talk(ENVELOPE + bdat(b"a\r\n") + lines("RSET") + AGAIN + bdat(b"b\r\n", last=True))
    assert ContentDropped() in t.events
    assert t.messages == [(ME, (ANN,), b"b\r\n")]
    assert talk(ENVELOPE + lines("RSET")).events[-1] != ContentDropped()


def test_ehlo_forgets_it_too():
    t = talk(ENVELOPE + bdat(b"a\r\n") + lines("EHLO d") + AGAIN + bdat(b"b\r\n", last=True))
    assert t.messages == [(ME, (ANN,), b"b\r\n")]


@pytest.mark.parametrize("line", ["BDAT", "BDAT x", "BDAT -1", "BDAT 5 FIRST", "BDAT 5 LAST x", "BDAT LAST", "BDAT 5x"])
def test_a_chunk_of_no_size_ends_the_session(line):
    """What follows it could not be told from commands."""
    t = talk(ENVELOPE + lines(line, "NOOP", "NOOP"))
    assert t.codes == [*QUEUED, 501]
    assert t.events[-1] == SessionEnded("chunk of no size")


@pytest.mark.parametrize("size", ["100001", "9" * 20, "9" * 21, "9" * 500])
def test_a_chunk_over_the_limit_ends_the_session(size):
    t = talk(ENVELOPE + lines(f"BDAT {size} LAST", "NOOP"))
    assert t.codes == [*QUEUED, 552]
    assert t.last.startswith("552 5.3.4 ")
    assert t.events[-1] == SessionEnded("chunk over the limit")


def test_chunks_together_over_the_limit_end_it_too():
    t = talk(ENVELOPE + bdat(b"x\r\n" * 20_000) + bdat(b"x\r\n" * 20_000, last=True))
    assert t.codes == [*QUEUED, 250, 552]


def test_without_a_limit_any_size_of_20_digits_may_come():
    t = talk(ENVELOPE + lines("BDAT 99999999999999999999 LAST", "NOOP"), Terms("mx.example.org"))
    assert (t.codes, t.session.state) == (QUEUED, State.DATA)
    t = talk(ENVELOPE + lines("BDAT 100000000000000000000 LAST", "NOOP"), Terms("mx.example.org"))
    assert t.codes == [*QUEUED, 501]


def refusing(event):
    return r.NO_SPACE if isinstance(event, DataRequested) else answer(event)


def test_a_refusal_is_said_when_the_octets_have_come():
    """RFC 3030 4.2: refused octets are dropped; each further chunk is refused, the last ends the transaction."""
    t = talk(ENVELOPE + bdat(b"QUIT\r\n") + bdat(b"QUIT\r\n") + bdat(b"QUIT\r\n", last=True) + AGAIN, answer=refusing)
    assert t.codes == [*QUEUED, 452, 452, 452, 250, 250]
    assert t.messages == []
    t = talk(ENVELOPE + bdat(b"QUIT\r\n") + lines("RSET") + AGAIN, answer=refusing)
    assert t.codes == [*QUEUED, 452, 250, 250, 250]


def test_a_421_is_said_at_once():
    def leaving(event):
        return r.SHUTTING_DOWN if isinstance(event, DataRequested) else answer(event)

    t = talk(ENVELOPE + bdat(b"QUIT\r\n"), answer=leaving)
    assert t.codes == [*QUEUED, 421]
    assert t.session.state is State.CLOSED


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([b"a\nb\r\n"], "bare <LF>"),
        ([b"a\rb\r\n"], "bare <CR>"),
        ([b"a\r", b"b\r\n"], "bare <CR>"),
        ([b"a\r\n", b"b\r"], "bare <CR>"),
        ([b"a\0b\r\n"], "NUL"),
        ([b"a\0b\n\r\n"], "NUL"),
    ],
)
def test_bare_newlines_are_refused_at_the_end(pieces, words):
    """T1 holds for chunks as for DATA, unless the content is BINARYMIME."""
    chunks = b"".join(bdat(piece) for piece in pieces) + b"BDAT 0 LAST\r\n"
    t = talk(ENVELOPE + chunks)
    assert t.codes == [*QUEUED, *[250] * len(pieces), 550]
    assert words in t.last
    assert t.messages == []
    assert talk(BINARY + chunks).messages == [(ME, (ANN,), b"".join(pieces))]


def test_bare_newlines_can_be_made_whole():
    terms = Terms("mx.example.org", bare_newline="normalize")
    t = talk(ENVELOPE + bdat(b"a\nb\rc\r") + bdat(b"\nd\r") + bdat(b"", last=True), terms)
    assert t.messages == [(ME, (ANN,), b"a\r\nb\r\nc\r\nd\r\n")]


def test_binary_content_comes_in_chunks_only():
    """RFC 3030 3."""
    t = talk(BINARY + lines("DATA") + bdat(b"\0\n\r", last=True))
    assert t.codes == [*QUEUED, 503, 250]
    assert t.messages == [(ME, (ANN,), b"\0\n\r")]


@settings(max_examples=100)
@given(
    st.lists(st.binary(max_size=30) | st.sampled_from([b"\r", b"\n", b"\r\n", b".\r\n", b"\0"]), max_size=8),
    st.randoms(),
)
def test_any_chunks_of_any_octets(pieces, rng):
    """However a message is divided into chunks, and the octets into segments, the message and the verdict are one."""
    data = b"".join(pieces)
    whole = talk(ENVELOPE + bdat(data, last=True))
    chunks = b"".join(bdat(piece) for piece in pieces) + b"BDAT 0 LAST\r\nNOOP\r\n"
    divided = Talk(cut(ENVELOPE + chunks, rng))
    assert divided.messages == whole.messages
    assert divided.codes == [*QUEUED, *[250] * len(pieces), whole.codes[-1], 250]
    binary = Talk(cut(BINARY + chunks, rng))
    assert binary.messages == [(ME, (ANN,), data)]


def test_many_small_chunks_at_once_cost_little():
    """One read of 256 KiB full of chunks of one octet: linear, not quadratic."""
    data = ENVELOPE + b"BDAT 1\r\na" * 30_000 + b"BDAT 0 LAST\r\n"
    began = time.process_time()
    t = Talk([data])
    assert t.messages == [(ME, (ANN,), b"a" * 30_000)]
    assert time.process_time() - began < 5


def test_many_small_segments_behind_a_chunk():
    lines = LineBuffer()
    lines.push(b"abc")
    lines.push(b"def")
    lines.push(b"gh")
    assert [lines.take(2), lines.take(2), lines.take(2), lines.take(9)] == [b"ab", b"c", b"de", b"f"]
    assert (lines.take(1), lines.take(2), lines.take(5), len(lines)) == (b"g", b"h", b"", 0)


def test_the_terms_of_the_tests_have_a_limit():
    assert TERMS.max_message_size == 100_000


def test_what_has_come_is_counted():
    t = Talk([ENVELOPE + b"BDAT 9\r\nabc"])
    assert t.session.content_size == 3
    t.session.receive_data(b"defghi")
    t.take(answer)
    assert t.session.content_size == 0  # between chunks
    assert Talk([bdat(b"abc")[:-1]]).session.content_size == 0  # of a chunk that is refused
