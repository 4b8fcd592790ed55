"""What was said, kept by reference within bounds, and made into lines when asked."""

import tracemalloc
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from netsvc.flightrecorder import LINE, MOST, SHOWN, FlightRecorder, lines_of, shorten

A = SimpleNamespace(number=1)
B = SimpleNamespace(number=2)


def texts(item):
    return [(line.direction, line.text) for line in lines_of(item)]


def test_items_become_lines_content_first():
    item = (5, A, b"MAIL FROM:<a@b>\r\nRCPT TO:<\x1b[2J>", b"250-one\r\n250 two\r\n", 700, 0)
    assert texts(item) == [
        ("note", "content of 700 octets"),
        ("in", "MAIL FROM:<a@b>"),
        ("in", "RCPT TO:<\\x1b[2J>"),
        ("out", "250-one"),
        ("out", "250 two"),
    ]
    assert texts((5, A, b"", b"", 0, 0)) == []
    assert [line.at for line in lines_of(item)] == [5] * 5


def test_the_oldest_is_forgotten_first():
    recorder = FlightRecorder(3000)
    assert recorder.oldest is None
    for n in range(100):
        recorder.keep(n, A if n < 99 else B, b"x" * 100, b"", 0)
        assert recorder.octets <= 3000
    assert 5 <= len(recorder.items()) <= 10
    assert recorder.items()[-1][0] == 99
    assert [item[0] for item in recorder.items(97)] == [97, 98, 99]
    assert recorder.oldest == recorder.items()[0][0] > 80
    assert recorder.find(2) is B
    assert recorder.find(1) is A
    assert recorder.find(3) is None


def test_sums_are_right_whatever_goes_in_and_out():
    recorder = FlightRecorder(6000)
    for n in range(200):
        recorder.keep(n, A, b"y" * (n * 37 % 9000), b"z" * (n % 50), 0)
        recorder.keep_lines(n, A, (("<", "w" * (n % 80)),) * (n % 4), last=n % 9 == 0)
        assert 0 <= recorder.octets <= 6000
    recorder = FlightRecorder(0)
    recorder.keep(1, A, b"x", b"", 0)
    assert recorder.octets == 0
    assert recorder.items() == []


def test_memory_is_what_it_says():
    recorder = FlightRecorder(1 << 20)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for n in range(20_000):
        recorder.keep(1_795_442_712_000 + n, SimpleNamespace(number=n), bytes(60), bytes([n % 256]) * 30, 0)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    # Sessions themselves are counted at their end; here each item has one of its own.
    assert grown < 2.5 * (1 << 20)


def test_followers_are_told_until_they_leave():
    recorder = FlightRecorder(0)
    seen, others = [], []
    leave = recorder.follow(seen.append)
    recorder.follow(others.append)
    assert recorder.followers == 2
    recorder.keep(1, A, b"x", b"", 0)
    leave()
    leave()
    recorder.keep(2, A, b"y", b"", 0)
    assert [item[0] for item in seen] == [1]
    assert [item[0] for item in others] == [1, 2]


def test_long_pieces_are_shortened():
    many = b"\r\n".join(b"RCPT TO:<r%d@example.org>" % n for n in range(1000))
    short = shorten(many)
    assert len(short) <= MOST
    assert short.endswith(b" more lines)")
    assert len(shorten(b"x" * 5000)) == LINE
    recorder = FlightRecorder()
    recorder.keep(1, A, many, b"250 ok\r\n" * 1000, 0)
    [item] = recorder.items()
    assert len(item[2]) + len(item[3]) <= MOST + 100
    assert all(len(text) <= SHOWN for _, text in texts(item))


@settings(max_examples=200)
@given(st.binary(max_size=9000), st.binary(max_size=6000))
def test_no_line_is_unsafe(heard, said):
    recorder = FlightRecorder()
    recorder.keep(1, A, heard, said, 0)
    for item in recorder.items():
        for _, text in texts(item):
            assert "\x1b" not in text
            assert "\n" not in text
            assert len(text) <= SHOWN
