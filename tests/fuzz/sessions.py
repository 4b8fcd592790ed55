"""SMTP sessions under fuzz: the server's in each of its services, with TLS and AUTH, and the client's."""

from __future__ import annotations

from netsvc.mail import reply as r
from netsvc.mail.envelope import Wishes
from netsvc.smtp.client import ClientSession
from netsvc.smtp.clientevents import Completed, SendContent
from netsvc.smtp.events import (
    AuthAnswered,
    AuthRequested,
    ClientReplaced,
    ContentDropped,
    ContentEnded,
    ContentReceived,
    DataRequested,
    Greeted,
    Pause,
    RecipientGiven,
    SenderGiven,
    SessionEnded,
    StartTlsRequested,
)
from netsvc.smtp.lmtp import LmtpSession
from netsvc.smtp.offering import Transaction
from netsvc.smtp.replies import PeerError
from netsvc.smtp.security import NOTHING, Offer, challenge
from netsvc.smtp.server import ServerSession
from netsvc.smtp.states import State
from netsvc.smtp.terms import Terms
from tests.fuzz.spoiling import Target, pieces_of, spoiled

OPENING = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
SEEDS = [
    OPENING + b"DATA\r\nHi\r\n..\r\n.\r\nQUIT\r\n",
    OPENING + b"RCPT TO:<e@f>\r\nDATA\r\nA: b\r\n\r\n.x\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<g@h>\r\nDATA\r\n\r\n.\r\n",
    b"HELO c\r\nMAIL FROM:<> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<Postmaster>\r\nRSET\r\nNOOP\r\n",
    b"EHLO [192.0.2.1]\r\nVRFY x\r\nEXPN y\r\nHELP\r\nBDAT 5 LAST\r\nMAIL\r\n",
    OPENING + b"BDAT 3\r\nHi\rBDAT 4\r\n\nyouRSET\r\nBDAT 0 LAST\r\n",
    OPENING + b"BDAT 7\r\nA: b\r\n\rBDAT 1 LAST\r\n\nNOOP\r\n",
    (
        b"EHLO c\r\nMAIL FROM:<a@b> BODY=BINARYMIME SMTPUTF8 RET=FULL ENVID=x+2B\r\n"
        b"RCPT TO:<\xc3\xbc@d> NOTIFY=NEVER ORCPT=utf-8;\\x{FC}@d\r\nBDAT 5 LAST\r\n\0\r\n.\r"
    ),
    b'EHLO c\r\nMAIL FROM:<"a b"@c>\r\nRCPT TO:<@x,@y:z@w>\r\nDATA\r\n\r\n.\r\n',
    b"LHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@d>\r\nDATA\r\nHi\r\n.\r\nQUIT\r\n",
    b"EHLO c\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b> HOLDFOR=60 BY=120;RT MT-PRIORITY=3\r\nRCPT TO:<c@d>\r\n",
    b"EHLO c\r\nAUTH LOGIN\r\nYQ==\r\nYg==\r\nMAIL FROM:<a@b> AUTH=<>\r\n",
    b"EHLO c\r\nAUTH SCRAM-SHA-256\r\nbiwsbj1hLHI9Yg==\r\n*\r\nNOOP\r\n",
    b"EHLO c\r\nSTARTTLS\r\nEHLO c\r\n",
    b"XCLIENT ADDR=192.0.2.1 NAME=[UNAVAILABLE] LOGIN=a+20b\r\nEHLO c\r\nMAIL FROM:<a@b>\r\n",
]
PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b".",
    b"\r\n.\r\n",
    b"\n.\n",
    b".\r\n",
    b"DATA\r\n",
    b"RCPT TO:<nobody@x>\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"RSET\r\n",
    b"<",
    b">",
    b'"',
    b"\\",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b" ",
    b"=",
    b"*\r\n",
    b"x" * 2100,
    b"GET / HTTP/1.0\r\n",
    b"EHLO z\r\n",
    b"BDAT 2\r\n",
    b"BDAT 2 LAST\r\n",
    b"BDAT 99999999999999999999999\r\n",
    b"AUTH PLAIN =\r\n",
    b"STARTTLS\r\n",
    b"\x16\x03\x01",
    b"9",
]
INSIDE = Offer(tls=True, mechanisms=("SCRAM-SHA-256", "PLAIN", "LOGIN"))
OFFERS = [
    NOTHING,
    Offer(starttls=True, encrypt_first=True, demand=r.STARTTLS_FIRST),
    INSIDE,
    Offer(tls=True, mechanisms=("PLAIN",), demand=r.AUTH_REQUIRED),
]
TERMS = [
    Terms("mx", 50, 3, 5),
    Terms("mx", 50, 3, 5, "normalize"),
    Terms("mx", 0, 3, 5, max_messages=1),
    Terms("mx", 1000, 2, 9, service="lmtp"),
    Terms("mx", 1000, 2, 9, service="submission", clock=lambda: 1.9e9),
    Terms("mx", 1000, 100, 50, xclient=True),
]
GOOD = {StartTlsRequested: r.READY_FOR_TLS, DataRequested: r.START_MAIL, ClientReplaced: r.GREETING.fill(hostname="mx")}
BAD = [r.UNKNOWN_USER, r.NOT_TAKEN, r.NO_SPACE, r.SHUTTING_DOWN]
AT_ONCE = 12_288
"""Octets of a dialogue: commands that come in greater numbers are taken in many turns of the reactor by the door."""


def dialogue(rng):
    """Return what a client says, how it is cut, where it says it, and how often it is answered well."""
    data = spoiled(rng, SEEDS, PIECES, 6)[:AT_ONCE]
    whim = rng.randrange(1 << 30)
    return rng.choice(TERMS), rng.choice(OFFERS), pieces_of(rng, data), whim


class Talk:
    """A session that is answered by the number of the answer, so that cutting the same data changes nothing."""

    def __init__(self, terms, offer, whim):
        self.session = ServerSession(terms, offer)
        self.whim = whim
        self.answers = 0
        self.output = b""
        self.content = b""
        self.taken = []
        self.heard = []
        self.encrypted = False
        self.ended = False

    def hear(self, data):
        session = self.session
        session.receive_data(data)
        while True:
            event = session.next_event()
            if isinstance(event, Pause):
                self.output += session.take_output()
                self.heard.append(session.take_heard())
                if event is not Pause.FLUSH:
                    assert event is Pause.NEED_DATA
                    return
            elif isinstance(event, ContentReceived):
                self.content += event.data
            elif isinstance(event, SessionEnded):
                self.ended = True
                self.output += session.take_output()
                return
            elif isinstance(event, ContentDropped):
                self.content = b""
            else:
                self.answer(event)

    def answer(self, event):
        session = self.session
        self.answers += 1
        self.encrypted |= isinstance(event, StartTlsRequested)
        well = (self.whim >> (self.answers % 30)) & 1 or self.whim & 7
        if isinstance(event, SenderGiven | RecipientGiven):
            assert str(event.path).isprintable()
        if isinstance(event, ContentEnded):
            if event.fault is None:  # how much comes of one with a fault depends on how it was cut
                assert event.size == len(self.content)
                self.taken.append(self.content)
            self.content = b""
        if isinstance(event, ContentEnded) and event.fault is not None:
            session.send(event.fault)
        elif isinstance(event, ContentEnded) and session.terms.lmtp and self.whim & 8:
            session.send_each([r.OK if well else r.NOT_TAKEN] * len(session.recipients))
        elif not well:
            session.send(BAD[self.whim % len(BAD)])
        elif isinstance(event, AuthRequested | AuthAnswered):
            session.send(challenge(b"more") if (self.whim + self.answers) & 1 else r.AUTHENTICATED)
        else:
            session.send(GOOD.get(type(event), r.OK))
            if isinstance(event, Greeted):  # a transaction that had begun with chunks is over
                self.content = b""
            if isinstance(event, StartTlsRequested) and not session.backlog and session.state is State.CONNECTED:
                session.secured(INSIDE)

    @property
    def facts(self):
        session = self.session
        return self.output, self.taken, session.state, session.errors, session.commands, session.messages


def read_dialogue(given):
    """Nothing raises, every reply is one, and cutting changes nothing; understood: content came."""
    terms, offer, pieces, whim = given
    talk = Talk(terms, offer, whim)
    for piece in pieces:
        talk.hear(piece)
    session = talk.session
    assert session.asked is None
    assert session.backlog < 12_288
    assert (session.state is State.CLOSED) == talk.ended
    heard = b"\r\n".join([*talk.heard, session.take_heard()])
    assert not [line for line in heard.split(b"\r\n") if line.startswith(b"AUTH PLAIN AGEAYg")]
    for line in talk.output.split(b"\r\n")[:-1]:
        assert line[:3].isdigit(), line
        assert line.decode("ascii").isprintable()
    assert talk.output.endswith(b"\r\n")
    if whim & 3 == 0 and not talk.encrypted:  # behind STARTTLS it matters what has come already
        whole = Talk(terms, offer, whim)
        whole.hear(b"".join(pieces))
        assert whole.facts == talk.facts
    return bool(talk.taken)


BANNER = b"220 mx.example.net ESMTP\r\n"
EHLO = b"250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 10000\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
HELLOS = [
    EHLO,
    b"250-mx\r\n250 SIZE 10000\r\n",
    b"250-mx\r\n250-PIPELINING\r\n250-BINARYMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 CHUNKING\r\n",
    b"250-mx\r\n250-CHUNKING\r\n250-LIMITS RCPTMAX=1\r\n250 SIZE\r\n",
    b"250-mx\r\n250-REQUIRETLS\r\n250-MT-PRIORITY\r\n250-DELIVERBY 1\r\n250 SIZE 9999999999999999999999\r\n",
    b"500 what\r\n250 mx\r\n",
    b"250-mx\r\n250-8BITMIME\r\n250-SIZE \xc2\xb2\r\n250-SMTPUTF8\r\n250 DELIVERBY \xc2\xb2\r\n",
]
ANSWERS = [
    b"250 ok\r\n",
    b"250 2.0.0 ok\r\n",
    b"250-a\r\n250 b\r\n",
    b"354 go\r\n",
    b"550 5.1.1 no\r\n",
    b"421 bye\r\n",
    b"450 no\r\n",
]
ENDINGS = [b"\r\n", b"\n", b"\r", b"-", b" ", b"2", b"250-", b"\0", b"\xff", b"x" * 600, b"354 x\r\n", b"250 y\r\n"]
BODY = b"Subject: hi\r\n\r\n.dot\r\n"
TRANSACTIONS = [
    Transaction("alice@example.org", ("bob@example.net", "eve@example.net"), len(BODY), False),
    Transaction("", ("bob@example.net",), len(BODY), True),
    Transaction("\u00fc@example.org", ("bob@example.net",), len(BODY), True, Wishes(utf8=True, by=60, by_return=True)),
    Transaction("a@example.org", ("bob@example.net",), len(BODY), True, binary=True),
]


def peer(rng):
    """Return what a server says, and the transactions it is given."""
    said = [b"250 a\r\n", *(b"250 b\r\n" for _ in range(rng.randrange(1, 3))), b"354 c\r\n", b"250 d\r\n"] * 2
    for _ in range(rng.randrange(4)):
        said[rng.randrange(len(said))] = rng.choice(ANSWERS)
    said = [BANNER, rng.choice(HELLOS), *said]
    if rng.random() < 0.7:
        at = rng.randrange(len(said))
        said[at] = spoiled(rng, [said[at]], ENDINGS, 3)
    return [piece for line in said for piece in pieces_of(rng, line, 2)], rng.choice(TRANSACTIONS)


def read_peer(given, kind=ClientSession):
    """PeerError or events; nothing is delivered without a positive reply to its content."""
    pieces, transaction = given
    session = kind("mx1.example.org")
    known = ()
    delivered = refused = False
    sent = 0
    try:
        for piece in pieces:
            for event in session.receive(piece):
                if isinstance(event, SendContent):
                    sent += 1
                    session.content(BODY)
                    session.finish()
                elif isinstance(event, Completed):
                    assert len(event.verdicts) == len(transaction.recipients)
                    assert all(was in (None, now) for was, now in zip(known, event.verdicts, strict=False))
                    delivered |= any(verdict.delivered for verdict in event.verdicts)
            session.data_to_send()
            known = session.decided
            if session.state == "ready" and session.objection(transaction) is None:
                session.begin(transaction)
                session.data_to_send()
    except PeerError as why:
        assert str(why).isprintable()
        refused = True
    assert sent or not delivered
    return delivered and not refused


def store(rng):
    """Return what an LMTP server says, and the transactions it is given."""
    transaction = rng.choice(TRANSACTIONS)
    there = len(transaction.recipients)
    said = ([b"250 a\r\n"] * (1 + there) + [b"354 c\r\n"] + [b"250 d\r\n"] * there) * 2
    for _ in range(rng.randrange(4)):
        said[rng.randrange(len(said))] = rng.choice(ANSWERS)
    said = [BANNER, rng.choice(HELLOS), *said]
    if rng.random() < 0.7:
        at = rng.randrange(len(said))
        said[at] = spoiled(rng, [said[at]], ENDINGS, 3)
    return [piece for line in said for piece in pieces_of(rng, line, 2)], transaction


def read_store(given):
    """As ``read_peer``; what is decided of a recipient before the end stays decided."""
    return read_peer(given, LmtpSession)


TARGETS = [
    Target("server session", dialogue, read_dialogue, (0.03, 0.9)),
    Target("client session", peer, read_peer, (0.03, 0.95)),
    Target("LMTP client session", store, read_store, (0.03, 0.95)),
]
