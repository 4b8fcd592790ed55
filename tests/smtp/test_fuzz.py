"""50,000 dialogues made of good ones, spoiled: nothing raises, and every command has its reply."""

import random

from netsvc.mail import reply as r
from netsvc.smtp.events import (
    ContentDropped,
    ContentEnded,
    ContentReceived,
    DataRequested,
    Pause,
    SenderGiven,
    SessionEnded,
)
from netsvc.smtp.server import ServerSession
from netsvc.smtp.states import State
from netsvc.smtp.terms import Terms

INPUTS = 50_000
SEEDS = [
    b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nHi\r\n..\r\n.\r\nQUIT\r\n",
    b"HELO c\r\nMAIL FROM:<> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<Postmaster>\r\nRSET\r\nNOOP\r\n",
    b"EHLO [192.0.2.1]\r\nVRFY x\r\nEXPN y\r\nHELP\r\nBDAT 5 LAST\r\nMAIL\r\n",
    b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 3\r\nHi\rBDAT 4\r\n\nyou\r\nRSET\r\nBDAT 0 LAST\r\n",
    (
        b"EHLO c\r\nMAIL FROM:<a@b> BODY=BINARYMIME SMTPUTF8 RET=FULL ENVID=x+2B\r\nRCPT TO:<\xc3\xbc@d> NOTIFY=NEVER\r\n"
        b"BDAT 5 LAST\r\n\0\r\n.\r"
    ),
    b'EHLO c\r\nMAIL FROM:<"a b"@c>\r\nRCPT TO:<@x,@y:z@w>\r\nDATA\r\n\r\n.\r\n',
]
TOKENS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b".",
    b"\r\n.\r\n",
    b"DATA\r\n",
    b"RCPT TO:<nobody@x>\r\n",
    b"<",
    b">",
    b'"',
    b"\\",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b" ",
    b"=",
    b"x" * 2100,
    b"GET / HTTP/1.0\r\n",
    b"EHLO z\r\n",
    b"\x16\x03\x01",
]
REPLIES = [r.OK, r.OK, r.OK, r.OK, r.UNKNOWN_USER, r.NOT_TAKEN, r.SHUTTING_DOWN]


def spoil(rng):
    data = rng.choice(SEEDS)
    for _ in range(rng.randrange(5)):
        a, b = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        data = data[:a] + rng.choice(TOKENS) + data[b if rng.random() < 0.25 else a :]
    return data


def drive(session, rng):
    """Answer whatever is asked, well or badly; return the size of the content given out."""
    size = 0
    while True:
        event = session.next_event()
        kind = type(event)
        if kind is Pause or kind is SessionEnded:
            session.take_output()
            return size
        if kind is ContentReceived:
            size += len(event.data)
        elif kind is ContentDropped:
            continue
        elif kind is ContentEnded and event.fault is not None:
            session.send(event.fault)
        else:
            if kind is SenderGiven:
                assert str(event.path).isprintable()
            reply = rng.choice(REPLIES)
            session.send(r.START_MAIL if reply is r.OK and kind is DataRequested else reply)


def test_fuzz_50000_dialogues():
    rng = random.Random(5321)
    terms = [Terms("mx", 50, 3, 5, choice) for choice in ("reject", "normalize")]
    ends = set()
    for n in range(INPUTS):
        session = ServerSession(terms[n & 1])
        data = spoil(rng)
        where = rng.randrange(len(data) + 1)
        for chunk in (data[:where], data[where:]):
            session.receive_data(chunk)
            drive(session, rng)
        assert session.asked is None
        assert session.backlog < 2048
        ends.add(session.state)
    assert ends == set(State) - {State.COMMIT}
