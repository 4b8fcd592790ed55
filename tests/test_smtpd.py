"""The SMTP door: what it asks of the mailbox service, when, and what becomes of the connection."""

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.flightrecorder import lines_of
from netsvc.mail import reply as r
from netsvc.mail.address import NULL, Address
from netsvc.mail.ids import show_id
from netsvc.mail.reply import ReplyError
from netsvc.records import DoorRule
from netsvc.sessions import Sessions
from netsvc.smtpd.connection import LEAST_RATE
from netsvc.smtpd.factory import LOG_INTERVAL, SmtpFactory
from netsvc.smtpd.listener import SmtpListenerSettings
from netsvc.smtpd.proxied import peer_of
from netsvc.smtpd.slots import descriptor_cap
from tests.fakes import FakeLogbook

ENVELOPE = b"EHLO c.example\r\nMAIL FROM:<me@example.net>\r\nRCPT TO:<ann@example.org>\r\n"
OPENING = ENVELOPE + b"DATA\r\n"
SHUT_DOWN = b"421 4.3.2 mx.example.org is shutting down, closing connection\r\n"
ENDED = b"421 4.3.2 mx.example.org closing connection\r\n"


class FakeSubmission:
    """Knobs are the service's: ``pressure`` ``write_error`` ``commit`` ``commit_error`` ``abort_error``."""

    def __init__(self, service, envelope):
        self.service = service
        self.envelope = envelope
        self.id = 1 << 40
        self.pieces = []
        self.commits = 0
        self.aborts = 0

    def write(self, data):
        if self.service.write_error:
            raise self.service.write_error
        self.pieces.append(data)
        return self.service.pressure

    def commit(self):
        self.commits += 1
        if self.service.commit_error:
            raise self.service.commit_error
        return self.service.commit or succeed(self.id)

    def abort(self):
        self.aborts += 1
        if self.service.abort_error:
            raise self.service.abort_error

    @property
    def content(self):
        return b"".join(self.pieces)


class FakeService:
    """A mailbox service that takes all; answers are values, Deferreds or exceptions, and can be set for each step."""

    def __init__(self):
        self.sessions = Sessions()
        self.sender = r.SENDER_OK
        self.recipient = r.RECIPIENT_OK
        self.welcome = self.helo = None
        self.pressure = self.write_error = self.commit = self.commit_error = self.abort_error = self.submit_error = None
        self.asked = []
        self.submissions = []

    def answer(self, value):
        if isinstance(value, Exception):
            raise value
        return value if isinstance(value, Deferred) else succeed(value)

    def verify_connection(self, session):
        return None if self.welcome is None else self.answer(self.welcome)

    def verify_helo(self, session):
        return None if self.helo is None else self.answer(self.helo)

    def verify_sender(self, session, path, params):
        self.asked.append(("sender", session, path, dict(params)))
        return self.answer(self.sender)

    def verify_recipient(self, session, path, params):
        self.asked.append(("recipient", session, path, dict(params)))
        return self.answer(self.recipient.pop(0) if isinstance(self.recipient, list) else self.recipient)

    def submit(self, envelope):
        if self.submit_error:
            raise self.submit_error
        self.submissions.append(FakeSubmission(self, envelope))
        return self.submissions[-1]


class DoorCase(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.logbook = FakeLogbook()
        self.service = FakeService()
        self.factory = self.build()

    def build(self, **settings):
        return SmtpFactory(
            self.service, SmtpListenerSettings("smtp", "mx.example.org", **settings), self.logbook, self.clock
        )

    def connect(self, factory=None, peer=None):
        peer = peer or IPv4Address("TCP", "192.0.2.7", 4711)
        protocol = (factory or self.factory).buildProtocol(peer)
        transport = StringTransport(peerAddress=peer)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return protocol, transport

    def say(self, transport, data):
        """Send ``data``; return what comes back."""
        transport.clear()
        transport.protocol.dataReceived(data)
        return transport.value()

    def codes(self, data):
        return [int(line[:3]) for line in data.split(b"\r\n")[:-1] if line[3:4] == b" "]

    def lose(self, transport):
        transport.protocol.connectionLost(Failure(ConnectionDone()))

    def advance(self, seconds):
        self.clock.pump([1.0] * int(seconds))


class DialogueTests(DoorCase):
    def test_one_message(self):
        _, t = self.connect()
        self.assertEqual(t.value(), b"220 mx.example.org ESMTP netsvc\r\n")
        self.assertEqual(self.codes(self.say(t, OPENING)), [250, 250, 250, 354])
        out = self.say(t, b"Subject: x\r\n\r\n..\r\n.\r\n")
        submission = self.service.submissions[0]
        self.assertEqual(out.decode(), f"250 2.0.0 {show_id(submission.id)} queued\r\n")
        self.assertEqual(submission.content, b"Subject: x\r\n\r\n.\r\n")
        self.assertEqual((submission.commits, submission.aborts), (1, 0))
        self.assertEqual(self.say(t, b"QUIT\r\n"), b"221 2.0.0 mx.example.org closing connection\r\n")
        self.assertTrue(t.disconnecting)
        self.lose(t)
        self.assertEqual(submission.aborts, 0)
        self.assertEqual(self.service.sessions.rows(), [])
        self.assertEqual(self.factory.connections, set())
        self.assertEqual(self.logbook.named("session.fault"), [])

    def test_replies_to_one_chunk_leave_in_one_write(self):
        writes = []
        _, t = self.connect()
        t.write = writes.append
        t.protocol.dataReceived(OPENING + b"x\r\n.\r\nQUIT\r\n")
        self.assertEqual(len(writes), 1)
        self.assertEqual(self.codes(writes[0]), [250, 250, 250, 354, 250, 221])

    def test_what_the_service_is_told(self):
        _, t = self.connect()
        self.say(t, b"EHLO c.example\r\nMAIL FROM:<> SIZE=7 BODY=8BITMIME\r\nRCPT TO:<ann@Example.ORG>\r\nDATA\r\n")
        (what, session, path, params), (_, _, rcpt, _) = self.service.asked
        self.assertEqual((what, path, params), ("sender", NULL, {"SIZE": "7", "BODY": "8BITMIME"}))
        self.assertEqual(rcpt, Address("ann", "example.org"))
        self.assertEqual((session.peer, session.port, session.listener), ("192.0.2.7", 4711, "smtp"))
        self.assertEqual((session.helo, session.extended, session.loopback), ("c.example", True, False))
        self.assertEqual(session.max_message_size, 50 * 1024 * 1024)
        envelope = self.service.submissions[0].envelope
        self.assertIs(envelope.session, session)
        self.assertEqual((envelope.reverse_path, envelope.size, envelope.body), (NULL, 7, "8BITMIME"))
        self.assertEqual([x.address for x in envelope.recipients], [rcpt])

    def test_the_registry_shows_where_the_dialogue_is(self):
        self.service.commit = Deferred()
        _, t = self.connect()
        entry = self.service.sessions.entries()[0]
        seen = [entry.state]
        for data in (b"EHLO c\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<a@b>\r\n", b"DATA\r\n", b"x\r\n.\r\n"):
            self.say(t, data)
            seen.append(entry.state)
        self.service.commit.callback(5)
        seen.append(entry.state)
        self.assertEqual(seen, ["connect", "helo", "mail", "rcpt", "data", "commit", "idle"])
        self.assertEqual((entry.commands, entry.messages, entry.helo), (4, 1, "c"))
        self.assertEqual(entry.octets, 49)
        self.assertEqual(entry.kind, "smtp-in")

    def test_recipients_refused_by_the_service(self):
        self.service.recipient = [r.UNKNOWN_USER, r.RECIPIENT_OK, r.RELAY_DENIED]
        _, t = self.connect()
        out = self.say(t, b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n")
        self.assertEqual(self.codes(out), [250, 250, 550, 250, 550, 354])
        self.assertEqual([str(x.address) for x in self.service.submissions[0].envelope.recipients], ["c@d"])

    def test_t10_a_relay_denied_is_what_the_client_hears(self):
        self.service.recipient = r.RELAY_DENIED
        _, t = self.connect()
        self.assertTrue(self.say(t, ENVELOPE).endswith(b"550 5.7.1 Relaying denied\r\n"))

    def test_a_421_of_the_service_ends_the_session(self):
        self.service.recipient = r.TOO_MANY_ERRORS.fill(hostname="mx")
        _, t = self.connect()
        self.assertEqual(self.codes(self.say(t, OPENING)), [250, 250, 421])
        self.assertTrue(t.disconnecting)


class WelcomeTests(DoorCase):
    """What is asked before the greeting, and of HELO."""

    def test_a_client_that_is_not_welcome_is_told_instead_of_greeted(self):
        self.service.welcome = r.NOT_SMTP
        _, t = self.connect()
        self.assertEqual(t.value(), bytes(r.NOT_SMTP))
        self.assertTrue(t.disconnecting)
        self.assertEqual(self.say(t, b"EHLO x\r\n"), b"")
        self.lose(t)
        self.assertEqual(self.service.sessions.rows(), [])

    def test_one_that_is(self):
        self.service.welcome = r.OK
        _, t = self.connect()
        self.assertEqual(self.codes(t.value()), [220])

    def test_the_greeting_waits_for_the_answer(self):
        self.service.welcome = asked = Deferred()
        protocol, t = self.connect()
        self.assertEqual(t.value(), b"")
        t.protocol.dataReceived(b"EHLO c.example\r\n")
        self.assertTrue(protocol._facts.early)
        self.assertEqual(t.producerState, "paused")
        asked.callback(r.OK)
        self.assertEqual(self.codes(t.value()), [220, 250])
        self.assertEqual(t.producerState, "producing")

    def test_who_waits_for_the_greeting_is_not_early(self):
        self.service.helo = asked = Deferred()
        protocol, t = self.connect()
        self.assertEqual(self.say(t, b"EHLO c.example\r\n"), b"")
        self.assertEqual(self.say(t, b"NOOP\r\n"), b"")
        self.assertFalse(protocol._facts.early)
        asked.callback(r.HELLO)
        self.assertEqual(self.codes(t.value()), [250, 250])

    def test_refused_after_a_while(self):
        self.service.welcome = asked = Deferred()
        _, t = self.connect()
        asked.callback(r.TOO_MANY_CONNECTIONS.fill(hostname="mx"))
        self.assertEqual(self.codes(t.value()), [421])
        self.assertTrue(t.disconnecting)

    def test_gone_before_the_answer(self):
        self.service.welcome = asked = Deferred()
        _, t = self.connect()
        self.lose(t)
        asked.callback(r.NOT_SMTP)
        self.assertEqual(t.value(), b"")
        self.assertEqual(self.service.sessions.rows(), [])

    def test_a_service_that_breaks_its_promise_greets(self):
        for broken in (RuntimeError("at once"), fail(RuntimeError("later"))):
            self.service.welcome = broken
            _, t = self.connect()
            self.assertEqual(self.codes(t.value()), [220])
        self.service.welcome, self.service.helo = None, RuntimeError("helo")
        _, t = self.connect()
        self.assertEqual(self.codes(self.say(t, b"EHLO c.example\r\n")), [451])
        self.assertEqual(len(self.logbook.named("smtp.fault")), 3)

    def test_helo_refused_is_not_given(self):
        self.service.helo = r.RELAY_DENIED
        _, t = self.connect()
        self.assertEqual(self.codes(self.say(t, b"HELO bad\r\nMAIL FROM:<>\r\n")), [550, 503])


class OrderTests(DoorCase):
    def test_replies_leave_in_command_order(self):
        first, second = Deferred(), Deferred()
        self.service.recipient = [first, second]
        _, t = self.connect()
        out = self.say(t, ENVELOPE + b"RCPT TO:<bob@example.org>\r\nNOOP\r\nVRFY x\r\n")
        self.assertEqual(self.codes(out), [250, 250])
        self.assertEqual(len(self.service.asked), 2)
        t.clear()
        first.callback(r.RECIPIENT_OK)
        self.assertEqual(self.codes(t.value()), [250])
        second.callback(r.UNKNOWN_USER)
        self.assertEqual(self.codes(t.value()), [250, 550, 250, 252])

    def test_while_an_answer_is_awaited_one_chunk_is_read_and_no_more(self):
        self.service.sender = Deferred()
        _, t = self.connect()
        self.say(t, b"EHLO c\r\nMAIL FROM:<>\r\n")
        self.assertEqual(t.producerState, "producing")
        self.say(t, b"RCPT TO:<a@b>\r\n")
        self.assertEqual(t.producerState, "paused")
        self.say(t, b"NOOP\r\n")
        self.service.sender.callback(r.SENDER_OK)
        self.assertEqual(t.producerState, "producing")
        self.assertEqual(self.codes(t.value()), [250, 250, 250])

    def test_an_answer_that_failed_already(self):
        self.service.sender = fail(ReplyError(r.NO_SPACE, "disk"))
        _, t = self.connect()
        self.assertEqual(self.codes(self.say(t, b"EHLO c\r\nMAIL FROM:<>\r\nNOOP\r\n")), [250, 452, 250])
        self.assertEqual(self.logbook.named("smtp.fault"), [])

    def test_an_exception_of_the_service_is_451_and_logged(self):
        for broken in (ValueError("x"), fail(ValueError("x")), Deferred(), succeed(None), succeed(r.START_MAIL)):
            self.service.sender = broken
            _, t = self.connect()
            out = self.say(t, b"EHLO c\r\nMAIL FROM:<>\r\nNOOP\r\n")
            if isinstance(broken, Deferred) and not broken.called:
                broken.errback(ValueError("x"))
                out = t.value()
            self.assertEqual(self.codes(out), [250, 451, 250])
            self.assertIn(b"451 4.3.0", out)
            self.assertEqual(len(self.logbook.named("smtp.fault")), 1)
            self.logbook.records.clear()

    def test_submit_may_fail(self):
        _, t = self.connect()
        for error, code in ((ReplyError(r.NO_SPACE), 452), (OSError("disk"), 451)):
            self.service.submit_error = error
            self.assertEqual(self.codes(self.say(t, OPENING)), [250, 250, 250, code])
        self.service.submit_error = None
        self.assertEqual(self.codes(self.say(t, b"DATA\r\n")), [354])


class ContentTests(DoorCase):
    def opened(self):
        _, t = self.connect()
        self.say(t, OPENING)
        return t, self.service.submissions[-1]

    def test_content_is_handed_on_as_it_comes(self):
        t, submission = self.opened()
        for n in range(5):
            self.say(t, b"%d" % n * 1000)
        self.assertEqual(len(submission.content), 5000)
        self.assertEqual(submission.commits, 0)

    def test_back_pressure(self):
        t, submission = self.opened()
        self.service.pressure = first = Deferred()
        self.say(t, b"one\r\n")
        self.say(t, b"two\r\n")
        self.assertEqual(t.producerState, "paused")
        self.say(t, b".\r\nNOOP\r\n")
        self.assertEqual(submission.content, b"one")  # its CR LF may begin the end of data
        self.service.pressure = None
        first.callback(None)
        self.assertEqual(t.producerState, "producing")
        self.assertEqual(submission.content, b"one\r\ntwo\r\n")
        self.assertEqual(self.codes(t.value()), [250, 250])

    def test_pressure_that_is_over_is_none(self):
        t, submission = self.opened()
        self.service.pressure = succeed(None)
        self.assertEqual(self.codes(self.say(t, b"one\r\n.\r\n")), [250])
        self.assertEqual(submission.commits, 1)

    def test_pressure_may_fail_against_its_promise(self):
        t, submission = self.opened()
        self.service.pressure = Deferred()
        self.say(t, b"one\r\n")
        self.service.pressure.errback(OSError("disk"))
        self.assertEqual(submission.aborts, 1)
        self.assertEqual(self.codes(self.say(t, b"two\r\n.\r\nNOOP\r\n")), [451, 250])
        self.assertEqual(submission.commits, 0)
        self.assertEqual(len(self.logbook.named("smtp.fault")), 1)

    def test_write_may_raise_against_its_promise(self):
        t, submission = self.opened()
        self.service.write_error = OSError("disk")
        self.service.abort_error = OSError("disk")
        self.assertEqual(self.codes(self.say(t, b"one\r\n" * 10)), [])
        self.assertEqual(self.codes(self.say(t, b"two\r\n.\r\nNOOP\r\n")), [451, 250])
        self.assertEqual((submission.commits, submission.aborts), (0, 1))
        self.assertEqual(len(self.logbook.named("smtp.fault")), 2)

    def test_t33_250_only_when_the_commit_has_fired(self):
        t, submission = self.opened()
        self.service.commit = Deferred()
        self.assertEqual(self.say(t, b"x\r\n.\r\nNOOP\r\n"), b"")
        self.assertEqual(submission.commits, 1)
        self.service.commit.callback(7 << 30)
        self.assertEqual(t.value(), b"250 2.0.0 %s queued\r\n250 2.0.0 Ok\r\n" % show_id(7 << 30).encode())

    def test_a_commit_refused(self):
        t, submission = self.opened()
        self.service.commit = fail(ReplyError(r.NO_SPACE, "ENOSPC"))
        self.assertEqual(self.codes(self.say(t, b"x\r\n.\r\nNOOP\r\n")), [452, 250])
        self.assertEqual(submission.aborts, 1)
        (told,) = self.logbook.named("mail.not_taken")
        self.assertEqual((told["msg"], told["code"], told["why"]), (submission.id, 452, "ENOSPC"))

    def test_t13_a_loop_is_refused_and_the_session_goes_on(self):
        t, _ = self.opened()
        self.service.commit = fail(ReplyError(r.MAIL_LOOP))
        self.assertEqual(self.codes(self.say(t, b"x\r\n.\r\n" + ENVELOPE)), [554, 250, 250, 250])
        self.assertEqual(self.logbook.named("mail.not_taken")[0]["why"], r.MAIL_LOOP.text)

    def test_a_commit_that_breaks(self):
        for late in (False, True):
            t, submission = self.opened()
            if late:
                self.service.commit_error, self.service.commit = None, Deferred()
                self.say(t, b"x\r\n.\r\n")
                self.service.commit.errback(ValueError("bug"))
                out = t.value()
            else:
                self.service.commit_error = ValueError("bug")
                out = self.say(t, b"x\r\n.\r\n")
            self.assertEqual(out, b"451 4.3.0 Requested action aborted: local error in processing\r\n")
            self.assertEqual(submission.aborts, 1)
        self.assertEqual(len(self.logbook.named("smtp.fault")), 2)

    def test_a_commit_that_fires_with_nonsense_is_no_250(self):
        t, _ = self.opened()
        self.service.commit = Deferred()
        self.say(t, b"x\r\n.\r\n")
        self.service.commit.callback("what?")
        self.assertEqual(t.value(), b"")
        self.assertEqual(len(self.logbook.named("smtp.fault")), 1)
        self.advance(310)
        self.assertEqual(self.codes(t.value()), [421])

    def test_t01_a_bare_newline_is_refused_and_logged_once_a_session(self):
        t, submission = self.opened()
        self.assertEqual(self.say(t, b"a\nb\r\n.\r\n"), b"550 5.5.2 bare <LF> received\r\n")
        self.assertEqual((submission.commits, submission.aborts), (0, 1))
        self.say(t, OPENING + b"a\nb\r\n.\r\n")
        self.assertEqual(len(self.logbook.named("smtp.bare_newline")), 1)
        self.assertEqual(self.logbook.named("smtp.bare_newline")[0]["peer"], "192.0.2.7")

    def test_t01_normalize(self):
        _, t = self.connect(self.build(bare_newline="normalize"))
        self.assertEqual(self.codes(self.say(t, OPENING + b"a\nb\r.\n.\r\nc\r\n.\r\n")), [250, 250, 250, 354, 250])
        self.assertEqual(self.service.submissions[0].content, b"a\r\nb\r\n.\r\n.\r\nc\r\n")

    def test_t15_too_large_is_read_to_its_end(self):
        _, t = self.connect(self.build(max_message_size=1000))
        self.say(t, OPENING)
        for _ in range(10):
            self.assertEqual(self.say(t, b"x" * 500), b"")
        self.assertEqual(self.codes(self.say(t, b"\r\n.\r\nNOOP\r\n")), [552, 250])
        submission = self.service.submissions[0]
        self.assertLessEqual(len(submission.content), 1000)
        self.assertEqual((submission.commits, submission.aborts), (0, 1))

    def test_t16_the_cap_of_recipients_is_the_listeners(self):
        _, t = self.connect(self.build(max_recipients=2))
        out = self.say(t, ENVELOPE + b"RCPT TO:<b@c>\r\nRCPT TO:<d@e>\r\nDATA\r\n")
        self.assertEqual(self.codes(out), [250, 250, 250, 250, 452, 354])
        self.assertEqual(len(self.service.asked), 3)


class EndTests(DoorCase):
    def test_a_connection_lost_in_a_transaction_aborts_it(self):
        _, t = self.connect()
        self.say(t, OPENING + b"half")
        self.lose(t)
        self.assertEqual(self.service.submissions[0].aborts, 1)
        self.assertEqual(self.logbook.named("session.fault")[0]["why"], "lost in data")

    def test_t34_a_connection_lost_in_the_commit_leaves_it_alone(self):
        self.service.commit = Deferred()
        _, t = self.connect()
        self.say(t, OPENING + b"x\r\n.\r\n")
        self.lose(t)
        self.service.commit.callback(5)
        self.assertEqual(self.service.submissions[0].aborts, 0)
        self.assertEqual(self.logbook.named("session.fault")[0]["why"], "lost in commit")

    def test_answers_that_come_too_late_go_nowhere(self):
        self.service.sender = Deferred()
        _, t = self.connect()
        self.say(t, b"EHLO c\r\nMAIL FROM:<>\r\n")
        self.lose(t)
        t.clear()
        self.service.sender.callback(r.SENDER_OK)
        self.assertEqual(t.value(), b"")

    def test_kicked(self):
        for said in (b"", b"EHLO c\r\n", OPENING + b"half"):
            _, t = self.connect()
            self.say(t, said)
            t.clear()
            self.service.sessions.entries()[-1].kick()
            self.assertEqual(t.value(), ENDED)
            self.assertTrue(t.disconnecting)
            self.service.sessions.entries()[-1].kick()
            self.assertEqual(self.say(t, b"NOOP\r\n"), b"")
            self.lose(t)
        self.assertEqual(self.service.submissions[0].aborts, 1)
        self.assertEqual([f["why"] for f in self.logbook.named("session.fault")], ["kicked"] * 3)

    def test_kicked_for_a_reason(self):
        _, t = self.connect()
        t.clear()
        self.assertIs(self.service.sessions.entries()[-1].kick("spam {run}\x1b, INC-812"), True)
        self.assertEqual(t.value(), b"421 4.7.0 mx.example.org closing connection: spam (run)\\x1b, INC-812\r\n")

    def test_kicked_during_the_commit_the_message_is_answered_first(self):
        for failure in (None, ReplyError(r.NO_SPACE)):
            self.service.commit = Deferred()
            _, t = self.connect()
            self.say(t, OPENING + b"x\r\n.\r\nMAIL FROM:<>\r\n")
            t.clear()
            entry = self.service.sessions.entries()[-1]
            self.assertIs(entry.kick("upgrade"), False)
            self.assertIs(entry.kick("upgrade now"), False)
            self.assertEqual(t.value(), b"")
            self.assertEqual(entry.row(0, "mx1")["state"], "commit")
            if failure is None:
                self.service.commit.callback(5)
            else:
                self.service.commit.errback(failure)
            self.assertEqual(self.codes(t.value()), [452 if failure else 250, 421])
            self.assertIn(b"closing connection: upgrade now", t.value())
            self.assertTrue(t.disconnecting)
            self.lose(t)
        self.assertEqual(self.service.submissions[0].commits, 1)
        self.assertEqual(self.service.submissions[0].aborts, 0)

    def test_what_is_said_is_recorded_without_content(self):
        _, t = self.connect()
        entry = self.service.sessions.entries()[0]
        self.say(t, OPENING)
        self.assertEqual(entry.row(0, "mx1")["sender"], "me@example.net")
        self.assertEqual(entry.recipients(), ["ann@example.org"])
        self.say(t, b"Subject: secret\r\n\r\nbody\r\n.\r\n")
        self.say(t, b"QUIT\r\n")
        self.lose(t)
        lines = [line for item in self.service.sessions.recorder.items() for line in lines_of(item)]
        self.assertEqual(
            [line.text for line in lines if line.direction != "out"],
            [
                "EHLO c.example",
                "MAIL FROM:<me@example.net>",
                "RCPT TO:<ann@example.org>",
                "DATA",
                "content of 25 octets",
                "QUIT",
                "the session has ended: quit",
            ],
        )
        self.assertEqual(lines[0].text, "220 mx.example.org ESMTP netsvc")
        self.assertNotIn("secret", " ".join(line.text for line in lines))

    def test_kicked_while_the_service_is_asked(self):
        self.service.sender = Deferred()
        _, t = self.connect()
        self.say(t, b"EHLO c\r\nMAIL FROM:<>\r\n")
        t.clear()
        self.service.sessions.entries()[0].kick()
        self.service.sender.callback(r.SENDER_OK)
        self.assertEqual(t.value(), ENDED)

    def test_kicked_by_the_service_itself(self):
        _, t = self.connect()
        entry = self.service.sessions.entries()[0]

        def verify(session, path, params):
            entry.kick()
            return succeed(r.SENDER_OK)

        self.service.verify_sender = verify
        self.assertEqual(self.codes(self.say(t, b"EHLO c\r\nMAIL FROM:<>\r\nNOOP\r\n")), [250, 421])

    def test_t20_too_many_errors(self):
        _, t = self.connect()
        self.assertEqual(self.codes(self.say(t, b"x\r\n" * 30)), [500] * 19 + [421])
        self.assertTrue(t.disconnecting)
        self.lose(t)
        self.assertEqual(self.logbook.named("session.fault")[0]["why"], "too many errors")


class TimeTests(DoorCase):
    def test_a_silent_client_is_told_after_the_timeout(self):
        _, t = self.connect()
        self.advance(299)
        self.assertFalse(t.disconnecting)
        t.clear()
        self.advance(7)
        self.assertEqual(t.value(), b"421 4.4.2 mx.example.org timeout, closing connection\r\n")
        self.assertTrue(t.disconnecting)
        self.advance(12)
        self.assertTrue(t.disconnected)
        self.lose(t)
        self.advance(10)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_octets_do_not_put_the_deadline_off(self):
        _, t = self.connect()
        for _ in range(310):
            t.protocol.dataReceived(b"x")
            self.advance(1)
        self.assertTrue(t.disconnecting)

    def test_commands_do(self):
        _, t = self.connect()
        for _ in range(4):
            self.advance(250)
            self.assertEqual(self.codes(self.say(t, b"NOOP\r\n")), [250])
        self.assertFalse(t.disconnecting)

    def test_our_own_time_does_not_count(self):
        self.service.sender = Deferred()
        _, t = self.connect()
        self.say(t, b"EHLO c\r\nMAIL FROM:<>\r\n")
        self.advance(1000)
        self.service.sender.callback(r.SENDER_OK)
        self.advance(280)
        self.assertFalse(t.disconnecting)
        self.advance(30)
        self.assertTrue(t.disconnecting)

    def test_content_must_make_progress(self):
        _, t = self.connect()
        self.say(t, OPENING)
        for _ in range(300):
            self.say(t, b"x" * LEAST_RATE)
            self.advance(1)
        self.assertFalse(t.disconnecting)
        for _ in range(130):
            self.say(t, b"x" * (LEAST_RATE - 1))
            self.advance(1)
        self.assertTrue(t.disconnecting)
        self.lose(t)
        self.assertEqual(self.service.submissions[0].aborts, 1)

    def test_replies_that_are_not_read(self):
        _, t = self.connect()
        self.say(t, b"EHLO c\r\n")
        t.producer.pauseProducing()
        self.assertEqual(self.say(t, b"NOOP\r\n"), b"")
        self.assertEqual(t.producerState, "paused")
        t.producer.resumeProducing()
        t.producer.resumeProducing()
        self.assertEqual(t.value(), b"250 2.0.0 Ok\r\n")
        self.assertEqual(t.producerState, "producing")
        t.producer.pauseProducing()
        self.advance(320)
        self.assertTrue(t.disconnected)
        t.producer.stopProducing()
        self.lose(t)
        self.assertEqual(self.logbook.named("session.fault")[0]["why"], "replies not read")

    def test_replies_stop_where_the_client_stops_reading(self):
        _, t = self.connect()
        written = []

        def write(data):
            written.append(data)
            t.producer.pauseProducing()

        t.write = write
        t.protocol.dataReceived(b"HELP\r\n" * 1000)
        self.assertLess(sum(map(len, written)), 30_000)
        for _ in range(100):
            t.producer.resumeProducing()
            self.clock.advance(0)
        self.assertEqual(b"".join(written).count(b"214 "), 1000)


class HalfClosedTests(DoorCase):
    def test_a_client_that_has_closed_its_side_still_gets_its_answer(self):
        self.service.commit = Deferred()
        p, t = self.connect()
        self.assertIsNone(IHalfCloseableProtocol(p, None))
        self.say(t, OPENING + b"x\r\n.\r\nNOOP\r\n")
        half = IHalfCloseableProtocol(p, None)
        self.assertIs(half, p)
        half.readConnectionLost()
        t.clear()
        self.service.commit.callback(5)
        self.assertEqual(self.codes(t.value()), [250, 250])
        self.assertTrue(t.disconnecting)
        p.writeConnectionLost()
        self.lose(t)
        self.assertEqual(self.logbook.named("session.fault"), [])

    def test_the_rest_of_its_transaction_is_forgotten(self):
        p, t = self.connect()
        self.say(t, OPENING)
        self.service.pressure = pressure = Deferred()
        self.say(t, b"half")
        IHalfCloseableProtocol(p).readConnectionLost()
        pressure.callback(None)
        self.assertTrue(t.disconnecting)
        self.assertEqual(self.service.submissions[0].aborts, 1)


class StopTests(DoorCase):
    def test_nobody_there(self):
        self.assertIsNone(self.successResultOf(self.factory.stop()))

    def test_idle_sessions_are_told_and_closed(self):
        transports = [self.connect()[1] for _ in range(3)]
        self.say(transports[1], b"EHLO c\r\n")
        self.say(transports[2], OPENING + b"x\r\n.\r\n")
        for t in transports:
            t.clear()
        done = self.factory.stop()
        for t in transports:
            self.assertNoResult(done)
            self.assertEqual(t.value(), SHUT_DOWN)
            self.assertTrue(t.disconnecting)
            self.lose(t)
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.logbook.named("session.fault"), [])

    def test_a_transaction_under_way_ends_with_its_own_reply(self):
        self.service.commit = Deferred()
        _, t = self.connect()
        self.say(t, OPENING)
        done = self.factory.stop()
        again = self.factory.stop()
        t.clear()
        self.say(t, b"x\r\n.\r\n" + ENVELOPE)
        self.service.commit.callback(5)
        self.assertEqual(self.codes(t.value()), [250, 250, 250, 250])  # what was pipelined may still be taken
        self.assertEqual(self.codes(self.say(t, b"RSET\r\nNOOP\r\n")), [250, 250, 421])
        self.lose(t)
        self.successResultOf(done)
        self.successResultOf(again)

    def test_between_transactions_is_between_transactions(self):
        _, t = self.connect()
        self.say(t, OPENING)
        done = self.factory.stop()
        self.assertEqual(self.codes(self.say(t, b"x\r\n.\r\n")), [250, 421])
        self.assertTrue(t.disconnecting)
        self.lose(t)
        self.successResultOf(done)

    def test_the_grace_ends(self):
        self.service.commit = Deferred()
        _, one = self.connect()
        _, two = self.connect()
        self.say(one, OPENING + b"half")
        self.say(two, OPENING + b"x\r\n.\r\n")
        done = self.factory.stop()
        self.advance(29)
        self.assertFalse(one.disconnecting)
        one.clear()
        two.clear()
        self.advance(2)
        self.assertEqual(one.value(), SHUT_DOWN)
        self.assertEqual(two.value(), b"")  # its message may be kept
        self.service.commit.callback(5)
        self.assertEqual(two.value(), b"250 2.0.0 0000000000005 queued\r\n" + SHUT_DOWN)
        self.advance(2)
        for t in (one, two):
            self.assertTrue(t.disconnected)
            self.assertNoResult(done)
            self.lose(t)
        self.successResultOf(done)
        self.assertEqual([s.aborts for s in self.service.submissions], [1, 0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_is_kept_out_is_told(self):
        for rule, words in (
            (
                DoorRule("block", "192.0.2.0/24", "spam", "op", 1),
                b"554 5.7.1 mx.example.org takes no mail from 192.0.2.7",
            ),
            (
                DoorRule("block", "192.0.2.0/24", "spam", "op", 1, 5),
                b"421 4.7.1 mx.example.org takes no mail from 192.0.2.7 for now",
            ),
            (DoorRule("pause", "mx/smtp", "disk", "op", 1), b"421 4.3.2 mx.example.org takes no mail here for now"),
        ):
            refusal = self.factory.turn_away(rule, "192.0.2.7")
            transport = StringTransport()
            refusal.makeConnection(transport)
            self.assertEqual(transport.value(), words + b"\r\n")
            self.assertTrue(transport.disconnecting)
            self.assertTrue(refusal.refusal)

    def test_who_comes_later_is_refused(self):
        _, one = self.connect()
        self.say(one, OPENING)
        self.factory.stop()
        _, late = self.connect()
        self.assertEqual(late.value(), SHUT_DOWN)
        self.assertTrue(late.disconnecting)


class FactoryTests(DoorCase):
    def test_promises(self):
        p, _ = self.connect()
        self.assertTrue(verifyObject(IProtocolFactory, self.factory))
        self.assertTrue(verifyObject(IProtocol, p))
        self.assertEqual(p.logPrefix(), "smtp")
        self.factory.doStart()
        self.factory.doStop()

    def test_the_cap(self):
        factory = self.build(max_connections=2)
        _, one = self.connect(factory)
        self.connect(factory)
        for _ in range(3):
            _, over = self.connect(factory)
            self.assertEqual(over.value(), b"421 4.7.0 mx.example.org too many connections\r\n")
            self.assertTrue(over.disconnecting)
        self.assertEqual(len(self.logbook.named("smtp.too_many_connections")), 1)
        self.clock.advance(LOG_INTERVAL)
        self.connect(factory)
        self.assertEqual(len(self.logbook.named("smtp.too_many_connections")), 2)
        self.lose(one)
        _, next_one = self.connect(factory)
        self.assertTrue(next_one.value().startswith(b"220 "))

    def test_nothing_is_said_in_clear_where_only_tls_is_spoken(self):
        factory = self.build(max_connections=1, tls="implicit")
        factory.connections.add(factory.connection("common", None))
        self.assertIsNone(factory.buildProtocol(None))
        self.assertEqual(len(self.logbook.named("smtp.too_many_connections")), 1)
        factory.connections.clear()
        factory.stop()
        self.assertIsNone(factory.buildProtocol(None))

    def test_the_cap_by_default_is_below_the_limit_of_descriptors(self):
        import resource

        limits = {(4096, 4096): 3896, (256, 256): 64, (1, 1): 1, (resource.RLIM_INFINITY, 0): 100_000}
        for limit, cap in limits.items():
            self.patch(resource, "getrlimit", lambda _, limit=limit: limit)
            self.assertEqual(descriptor_cap(), cap)

    def test_settings_that_no_session_could_keep(self):
        with self.assertRaises(ValueError):
            self.build(bare_newline="maybe")

    def test_peers(self):
        for address, peer in (
            (IPv4Address("TCP", "192.0.2.7", 25), ("192.0.2.7", 25, False)),
            (IPv4Address("TCP", "127.0.0.9", 25), ("127.0.0.9", 25, True)),
            (IPv6Address("TCP", "::1", 25), ("::1", 25, True)),
            (IPv6Address("TCP", "::ffff:127.0.0.1", 25), ("127.0.0.1", 25, True)),
            (IPv6Address("TCP", "2001:db8::1", 25), ("2001:db8::1", 25, False)),
            (UNIXAddress("/run/x"), ("local", 0, True)),
        ):
            self.assertEqual(peer_of(address), peer)

    def test_one_timer_serves_all_and_ends_with_the_last(self):
        transports = [self.connect()[1] for _ in range(10)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for t in transports:
            self.lose(t)
        self.advance(6)
        self.assertEqual(self.clock.getDelayedCalls(), [])
