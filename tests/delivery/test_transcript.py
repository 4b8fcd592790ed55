"""The record of a dialogue."""

from netsvc.delivery.transcript import MAX_OCTETS, Transcript
from netsvc.smtp.replies import PeerReply


def test_lines():
    clock = [10.0]
    heard = []
    record = Transcript(lambda: clock[0], lambda direction, line: heard.append((direction, line)))
    record.note("connecting")
    clock[0] = 10.25
    dialogue = [("<", PeerReply(250, (b"a\x1b", b"b"))), (">", b"MAIL FROM:<\xff>\r\n")]
    record.take(dialogue)
    record.take(dialogue)
    record.sent(12)
    assert bytes(record) == b"0 - connecting\n250 < 250 a\\x1b / b\n250 > MAIL FROM:<\\xff>\n250 > <12 octets>"
    assert heard == [("-", "connecting"), ("<", "250 a\\x1b / b"), (">", "MAIL FROM:<\\xff>"), (">", "<12 octets>")]
    assert record.ms == 250


def test_bounds():
    heard = []
    record = Transcript(lambda: 0.0, lambda *said: heard.append(said))
    for _ in range(1000):
        record.take([("<", PeerReply(250, ("é".encode() * 900,)))])
    assert len(bytes(record)) <= MAX_OCTETS
    assert bytes(record).endswith(b"the rest is left out")
    assert len(heard) == 1000
