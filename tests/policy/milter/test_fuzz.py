"""200,000 answers of a filter made of good ones, spoiled: MilterError or events, nothing else."""

import random
import struct

from netsvc.policy.milter.codec import Answer, Change, MilterError, MilterReader, Terms, packet
from netsvc.policy.milter.headers import made_fields

INPUTS = 200_000
SEEDS = [
    packet(b"O", struct.pack("!III", 6, 0x1FF, 0xFF080)),
    packet(b"y", b"550-5.7.1 a\r\n550 5.7.1 b %% c\0"),
    packet(b"h", b"X-Spam\0yes\n really\0") + packet(b"c"),
    packet(b"i", b"\0\0\0\1X-A\0b\0") + packet(b"m", b"\0\0\0\1X-A\0\0"),
    packet(b"+", b"<a@b>\0") + packet(b"2", b"<a@b>\0X\0") + packet(b"-", b"<a@b>\0") + packet(b"e", b"<>\0"),
    packet(b"b", b"new body") + packet(b"q", b"odd\0") + packet(b"a"),
    packet(b"p") * 3 + packet(b"t") + packet(b"4"),
]
TOKENS = [
    b"",
    b"\0",
    b"\0\0\0\1",
    b"\xff\xff\xff\xff",
    b"\0\0\0\5",
    b"y",
    b"h",
    b"\r\n",
    b"\x1b",
    b"999",
    b"%",
    b"q\0",
    b"\xc3\x28",
]


def test_spoiled_answers():
    rng = random.Random(6)
    events = errors = 0
    for _ in range(INPUTS):
        data = rng.choice(SEEDS)
        for _ in range(rng.randrange(4)):
            a, b = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
            data = data[:a] + rng.choice(TOKENS) + data[b if rng.random() < 0.3 else a :]
        cut = rng.randrange(len(data) + 1)
        reader = MilterReader()
        try:
            found = reader.feed(data[:cut]) + reader.feed(data[cut:])
        except MilterError:
            errors += 1
            continue
        events += len(found)
        for event in found:
            if isinstance(event, Change):
                field, _ = made_fields([(event.name, event.value)])
                assert field.count(b"\n") == field.count(b"\r\n") == field.count(b"\r")
            elif isinstance(event, Answer):
                assert event.kind != "reply" or 400 <= event.code <= 599
            else:
                assert isinstance(event, Terms)
    assert events > INPUTS / 2
    assert errors > INPUTS / 20
