"""Command lines out of chunks."""

import pytest

from netsvc.smtp.lines import LIMIT, LineBuffer, LineTooLongError


def pops(buffer):
    """Return all lines, ... for one too long."""
    out = []
    while True:
        try:
            line = buffer.pop()
        except LineTooLongError:
            out.append(...)
            continue
        if line is None:
            return out
        out.append(line)


def fed(chunks):
    buffer = LineBuffer()
    out = []
    for chunk in chunks:
        buffer.push(chunk)
        out += pops(buffer)
    return out, buffer.take()


@pytest.mark.parametrize(
    ("data", "expected", "left"),
    [
        (b"", [], b""),
        (b"NOOP", [], b"NOOP"),
        (b"NOOP\r\n", [b"NOOP"], b""),
        (b"NOOP\r\nQUIT\r\nx", [b"NOOP", b"QUIT"], b"x"),
        (b"NOOP\nQUIT\r\n", [b"NOOP\nQUIT"], b""),
        (b"NOOP\rQUIT\r\r\n", [b"NOOP\rQUIT\r"], b""),
        (b"\r\n\r\n", [b"", b""], b""),
        (b"a\r", [], b"a\r"),
        (b"x" * (LIMIT - 2) + b"\r\n", [b"x" * (LIMIT - 2)], b""),
        (b"x" * (LIMIT - 1) + b"\r\nNOOP\r\n", [..., b"NOOP"], b""),
        (b"x" * (LIMIT * 5) + b"\r\nNOOP\r\n", [..., b"NOOP"], b""),
        (b"x" * (LIMIT * 5) + b"\nMAIL\n" + b"\r\nNOOP\r\n", [..., b"NOOP"], b""),
        (b"x" * (LIMIT - 1) + b"\r" + b"y\r\nNOOP\r\n", [..., b"NOOP"], b""),
    ],
)
def test_lines_however_cut(data, expected, left):
    for size in (len(data) or 1, 1, 2, 3, 1000):
        assert fed([data[i : i + size] for i in range(0, len(data), size)]) == (expected, left)


def test_t02_a_line_without_end_takes_no_memory():
    buffer = LineBuffer()
    for _ in range(1000):
        buffer.push(b"x" * 1000)
        assert buffer.pop() is None
        assert len(buffer) < LIMIT + 1000
    buffer.push(b"\r\nNOOP\r\n")
    assert pops(buffer) == [..., b"NOOP"]


def test_what_waits_is_kept_in_its_chunks_and_given_in_order():
    buffer = LineBuffer()
    for chunk in (b"A\r\nB", b"\r\nC\r\n", b"rest"):
        buffer.push(chunk)
    assert len(buffer) == 13
    assert buffer.pop() == b"A"
    assert len(buffer) == 10
    assert pops(buffer) == [b"B", b"C"]
    assert buffer.take() == b"rest"
    assert buffer.take() == b""
    assert len(buffer) == 0
