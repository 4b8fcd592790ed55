"""The door under spoiled dialogues, with answers that come at once or late: always the same replies in the same order."""

import random

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from netsvc.mail import reply as r
from netsvc.mail.reply import ReplyError
from netsvc.sessions import Sessions
from netsvc.smtpd.factory import SmtpFactory
from netsvc.smtpd.listener import SmtpListenerSettings
from tests.fakes import FakeLogbook

INPUTS = 800
SEEDS = [
    b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nHi\r\n..\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<no@d>\r\nQUIT\r\n",
    b"HELO c\r\nMAIL FROM:<> SIZE=10\r\nRCPT TO:<no@d>\r\nDATA\r\nRSET\r\nNOOP\r\nHELP\r\n",
    b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<full@d>\r\nDATA\r\n" + b"x" * 300 + b"\r\n.\r\nNOOP\r\nQUIT\r\n",
]
TOKENS = [b"\r\n", b"\n", b"\r", b"\0", b".", b"\r\n.\r\n", b"DATA\r\n", b"<", b'"', b"\xff", b"x" * 2100, b"QUIT\r\n"]
PEER = IPv4Address("TCP", "192.0.2.1", 1)


class Service:
    """Answers by the address alone, now or when ``fire`` is called; keeps what was committed."""

    def __init__(self, rng):
        self.rng = rng
        self.sessions = Sessions()
        self.late = []
        self.kept = []

    def answer(self, value):
        if self.rng is None or self.rng.random() < 0.5:
            return value if isinstance(value, Deferred) else succeed(value)
        deferred = Deferred()
        self.late.append((deferred, value))
        return deferred

    def fire(self):
        while self.late:
            deferred, value = self.late.pop(0)
            deferred.callback(value)

    def verify_connection(self, session):
        return None

    verify_helo = verify_connection

    def verify_sender(self, session, path, params):
        return self.answer(r.SENDER_OK)

    def verify_recipient(self, session, path, params):
        return self.answer(r.UNKNOWN_USER if path.local == "no" else r.RECIPIENT_OK)

    def submit(self, envelope):
        return Submission(self, envelope)


class Submission:
    id = 5

    def __init__(self, service, envelope):
        self.service = service
        self.envelope = envelope
        self.content = b""
        self.aborted = False

    def write(self, data):
        assert not self.aborted
        self.content += data
        if self.service.rng is not None and self.service.rng.random() < 0.3:
            return self.service.answer(None)
        return None

    def commit(self):
        if self.envelope.recipients[0].address.local == "full":
            return self.service.answer(Failure(ReplyError(r.NO_SPACE)))
        self.service.kept.append((self.envelope.recipients, self.content))
        return self.service.answer(self.id)

    def abort(self):
        self.aborted = True


def run(data, rng, logbook):
    """Return (replies, what was kept) of ``data`` said to a door, whole if ``rng`` is None."""
    service = Service(rng)
    factory = SmtpFactory(service, SmtpListenerSettings("smtp", "mx", max_message_size=200), logbook, Clock())
    protocol = factory.buildProtocol(PEER)
    transport = StringTransport(PEER, PEER)
    protocol.makeConnection(transport)
    while data:
        n = len(data) if rng is None else rng.randint(1, 60)
        protocol.dataReceived(data[:n])
        data = data[n:]
        if service.late and rng.random() < 0.5:
            service.fire()
    service.fire()
    protocol.connectionLost(Failure(ConnectionDone()))
    assert not factory.connections
    assert not service.sessions.rows()
    return transport.value(), service.kept


def spoil(rng):
    data = rng.choice(SEEDS)
    for _ in range(rng.randrange(4)):
        a, b = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        data = data[:a] + rng.choice(TOKENS) + data[b if rng.random() < 0.25 else a :]
    return data


def test_late_answers_and_cuts_change_nothing():
    rng = random.Random(25)
    logbook = FakeLogbook()
    kept = 0
    for _ in range(INPUTS):
        data = spoil(rng)
        whole = run(data, None, logbook)
        assert run(data, rng, logbook) == whole
        kept += len(whole[1])
    assert kept > INPUTS / 20
    assert not logbook.named("smtp.fault")
