r"""Where content ends, what it is, and dots: in, out, and both."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.mail.reply import BARE_CR, BARE_LF, NUL_BYTE
from netsvc.smtp.transparency import NORMALIZE, ContentReceiver, DotStuffer, stuff

PIECES = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"\0", b"\r\n.\r\n", b"\r\n.", b"bc"]))


def receive(chunks, **settings):
    """Return (receiver, content, what follows the end)."""
    receiver = ContentReceiver(**settings)
    content, rest = b"", b""
    for chunk in chunks:
        if receiver.ended:
            rest += chunk
            continue
        piece, rest = receiver.receive(chunk)
        content += piece
    return receiver, content, rest


def slowly(wire):
    """Return (content, rest) of good content by the book: line by line."""
    out = []
    while True:
        line, ended, wire = wire.partition(b"\r\n")
        if not ended:
            return None
        if line == b".":
            return b"".join(out), wire
        out.append((line[1:] if line.startswith(b".") else line) + b"\r\n")


@pytest.mark.parametrize(
    ("wire", "content"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b".a\r\n..b\r\n...\r\n.\r\n", b"a\r\n.b\r\n..\r\n"),
        (b"a.\r\n.\r\n", b"a.\r\n"),
        (b"..\r\n..\r\n.\r\n", b".\r\n.\r\n"),
        (b"\r\n..\r\n\r\n.\r\n", b"\r\n.\r\n\r\n"),
    ],
)
def test_content(wire, content):
    for chunks in ([wire + b"QUIT\r\n"], [bytes([c]) for c in wire + b"QUIT\r\n"]):
        receiver, got, rest = receive(chunks)
        assert (got, rest, receiver.fault) == (content, b"QUIT\r\n", None)
        assert receiver.size == len(content)
        assert receiver.ended


@given(PIECES, st.randoms(use_true_random=False), st.sampled_from(["reject", NORMALIZE]), st.sampled_from([0, 5]))
def test_cuts_change_nothing(pieces, rng, bare_newline, limit):
    wire = b"".join(pieces) + b"\r\n.\r\nrest"
    settings = {"bare_newline": bare_newline, "limit": limit}
    whole, content, rest = receive([wire], **settings)
    assert whole.ended
    for size in (1, 2, 3, 7):
        chunks, left = [], wire
        while left:
            n = rng.randint(1, size)
            chunks.append(left[:n])
            left = left[n:]
        receiver, got, after = receive(chunks, **settings)
        assert (after, receiver.fault, receiver.bare_newline) == (rest, whole.fault, whole.bare_newline)
        if whole.fault is None:
            assert (got, receiver.size) == (content, whole.size)


@given(PIECES)
def test_good_content_is_what_the_book_says(pieces):
    wire = b"".join(pieces) + b"\r\n.\r\nrest"
    receiver, content, rest = receive([wire])
    if receiver.fault is None:
        assert (content, rest) == slowly(wire)
    else:
        body = wire[: wire.find(b"\r\n.\r\n") + 2] if not wire.startswith(b".\r\n") else b""
        text = body.replace(b"\r\n", b"")
        assert receiver.fault in {BARE_LF, BARE_CR, NUL_BYTE}
        assert (b"\n" in text) or (b"\r" in text) or (b"\0" in text)


def test_normalized_content_holds_no_bare_newline_and_ends_in_the_same_place():
    wire = b"a\nb\rc\r\r\nd\n.\ne\n.\r\nf\r.\rg\n\n.\r\n\r\n.\r\nrest"
    receiver, content, rest = receive([wire], bare_newline=NORMALIZE)
    assert receiver.fault is None
    assert receiver.bare_newline
    assert content == b"a\r\nb\r\nc\r\n\r\nd\r\n.\r\ne\r\n.\r\nf\r\n.\r\ng\r\n\r\n.\r\n\r\n"
    assert receiver.size == len(content)
    assert rest == b"rest"


def test_a_nul_is_refused_also_when_newlines_are_normalized():
    receiver, content, _ = receive([b"a\0b\nc\r\n.\r\n"], bare_newline=NORMALIZE)
    assert receiver.fault is NUL_BYTE
    assert content == b""


@pytest.mark.parametrize(("size", "fault"), [(99, None), (100, None), (101, 552)])
def test_size_is_counted_after_unstuffing(size, fault):
    wire = b"..\r\n" + b"x" * (size - 5) + b"\r\n.\r\n"
    receiver, content, _ = receive([wire], limit=100)
    assert receiver.size == size
    if fault:
        assert receiver.fault.code == fault
        assert receiver.fault.status == "5.3.4"
        assert content == b""
    else:
        assert receiver.fault is None
        assert len(content) == size


def test_t15_what_is_over_the_limit_is_read_and_not_kept():
    receiver = ContentReceiver(limit=1000)
    got = 0
    for _ in range(1000):
        piece, _ = receiver.receive(b"x" * 998 + b"\r\n")
        got += len(piece)
    assert got <= 1000
    assert receiver.size >= 998_000
    assert len(receiver._tail) <= 4
    receiver.receive(b".\r\n")
    assert receiver.ended
    assert receiver.fault.code == 552


def test_t24_each_octet_is_looked_at_once():
    """What is kept from chunk to chunk is at most 4 octets, whatever comes: the work grows with the input alone."""
    rng = random.Random(1)
    receiver = ContentReceiver()
    for _ in range(5000):
        receiver.receive(rng.choice([b"\r\n", b"\r\n.", b".", b"\r", b"\n.\r", b"a" * 50]))
        assert len(receiver._tail) <= 4
        assert not receiver.ended or receiver._tail == b""
        if receiver.ended:
            receiver = ContentReceiver()


@given(st.binary(max_size=60), st.randoms(use_true_random=False))
def test_stuffed_and_received_is_the_same(content, rng):
    chunks, left = [], content
    while left:
        n = rng.randint(1, 5)
        chunks.append(left[:n])
        left = left[n:]
    wire = b"".join(stuff(chunks))
    assert wire == b"".join(stuff([content]))
    receiver, got, rest = receive([wire])
    assert receiver.ended
    assert rest == b""
    assert receiver.fault in {None, NUL_BYTE}
    cleaned = b"\r\n".join(part.replace(b"\r", b" ").replace(b"\n", b" ") for part in content.split(b"\r\n"))
    if cleaned and not cleaned.endswith(b"\r\n"):
        cleaned += b"\r\n"
    if receiver.fault is None:
        assert got == cleaned


@pytest.mark.parametrize(
    ("chunks", "wire"),
    [
        ([], b".\r\n"),
        ([b""], b".\r\n"),
        ([b"a"], b"a\r\n.\r\n"),
        ([b"a\r\n"], b"a\r\n.\r\n"),
        ([b"."], b"..\r\n.\r\n"),
        ([b"a\r", b"\n", b"."], b"a\r\n..\r\n.\r\n"),
        ([b"a\r"], b"a \r\n.\r\n"),
        ([b"a\r", b"b\nc\r\n"], b"a b c\r\n.\r\n"),
        ([b"x\n.\nMAIL FROM:<>"], b"x . MAIL FROM:<>\r\n.\r\n"),
        ([b"x\r.\r\n"], b"x .\r\n.\r\n"),
        ([b"\r"], b" \r\n.\r\n"),
    ],
)
def test_t01_nothing_but_the_end_ends_what_we_send(chunks, wire):
    assert b"".join(stuff(chunks)) == wire


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b"\r\n.\r\n"]), max_size=20))
def test_t01_content_sent_holds_one_end_of_data(chunks):
    wire = b"\r\n" + b"".join(stuff(chunks))
    assert wire.find(b"\r\n.\r\n") == len(wire) - 5
    text = wire.replace(b"\r\n", b"")
    assert b"\r" not in text
    assert b"\n" not in text


def test_a_stuffer_says_nothing_of_nothing():
    stuffer = DotStuffer()
    assert stuffer.push(b"") == b""
    assert stuffer.push(b"\r") == b""
    assert stuffer.push(b"\n") == b"\r\n"
    assert stuffer.finish() == b".\r\n"


NOTABLE = [b"\r\n.", b"\r\n..", b"\n", b"\r", b"\0", b"\r\r\n", b"\n.\r\n", b"\r\n.\r", b"\r.\r\n", b""]


@pytest.mark.parametrize("bare_newline", ["reject", NORMALIZE])
@pytest.mark.parametrize("seed", range(6))
def test_a_long_chunk_is_read_as_short_ones_are(seed, bare_newline):
    """Long chunks are looked at in another way: the same content and the same fault must come of it."""
    rng = random.Random(seed)
    for _ in range(40):
        lines = [b"x" * rng.randrange(120) for _ in range(rng.choice([10, 300, 900]))]
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(lines))
            lines[at] = lines[at][:40] + rng.choice(NOTABLE) + lines[at][40:]
        wire = b"\r\n".join(lines) + b"\r\n.\r\nQUIT\r\n"
        cut = rng.randrange(len(wire))
        whole, short, two = (
            receive(chunks, bare_newline=bare_newline)
            for chunks in ([wire], [wire[i : i + 777] for i in range(0, len(wire), 777)], [wire[:cut], wire[cut:]])
        )
        for other in (short, two):
            assert other[0].fault == whole[0].fault
            assert other[2] == whole[2]
            if whole[0].fault is None:
                assert other[1] == whole[1]
                assert other[0].size == whole[0].size
