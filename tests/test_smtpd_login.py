"""Logging in at the SMTP door: what its clients are offered, hear, and how long they wait (T22)."""

import base64
from types import SimpleNamespace

from twisted.cred.error import LoginDenied, LoginFailed, UnauthorizedLogin
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.interfaces import IMailLogin, IScramLogin, ISubmitter
from netsvc.sasl.verifier import make_verifier
from netsvc.smtpd.factory import SmtpFactory
from netsvc.smtpd.guard import Guard, Locks
from netsvc.smtpd.listener import SmtpListenerSettings
from netsvc.smtpd.login import MailPassword
from tests.fakes import FakeLogbook
from tests.test_smtpd import FakeService

HERE = IPv4Address("TCP", "127.0.0.1", 4711)
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
PENCIL = str(make_verifier("pencil", SALT, 4096))


class Portal:
    """Lets in whose password is ``good``; ``error`` is what every login fails with; ``asked`` keeps credentials."""

    def __init__(self):
        self.asked = []
        self.error = None

    def login(self, credentials, mind, *interfaces):
        assert interfaces == (ISubmitter,)
        self.asked.append(credentials)
        if self.error is not None:
            return self.error if isinstance(self.error, Deferred) else fail(self.error)
        if IScramLogin.providedBy(credentials):
            right, name = credentials.proves(PENCIL), credentials.username
        else:
            assert IMailLogin.providedBy(credentials)
            right, name = credentials.password == b"good", credentials.username.decode()
        if not right:
            return fail(UnauthorizedLogin("wrong name or password"))
        return succeed((ISubmitter, SimpleNamespace(name=name, address=name), lambda: None))


class Verifiers:
    error = None

    def verifier(self, name):
        return fail(self.error) if self.error else succeed(PENCIL)


class Case(SynchronousTestCase):
    def setUp(self):
        self.clock, self.log, self.service = Clock(), FakeLogbook(), FakeService()
        self.portal, self.verifiers = Portal(), Verifiers()
        self.locks = Locks(None, self.portal, self.verifiers, self.log, self.clock)

    def connect(self, peer=HERE, **settings):
        chosen = {"service": "submission", "auth": "required", "allow_cleartext_auth": True, **settings}
        own = SmtpListenerSettings("submission", "mx.example.org", **chosen)
        self.factory = SmtpFactory(self.service, own, self.log, self.clock, None, self.locks)
        protocol = self.factory.buildProtocol(peer)
        transport = StringTransport(peerAddress=peer)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        self.addCleanup(lambda: transport.protocol.connectionLost(Failure(ConnectionDone())))
        self.t = transport
        return self.say("EHLO c.example")

    def say(self, line):
        self.t.clear()
        self.t.protocol.dataReceived(line.encode() + b"\r\n")
        return self.t.value().decode()

    def plain(self, name="ann@example.org", password="good"):
        return self.say("AUTH PLAIN " + base64.b64encode(f"\0{name}\0{password}".encode()).decode())

    @property
    def entry(self):
        return self.service.sessions.entries()[0]


class OfferTests(Case):
    def test_here_outside_tls_where_the_listener_says_so(self):
        self.assertIn("250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n", self.connect())
        self.assertNotIn("STARTTLS", self.say("EHLO c.example"))

    def test_nowhere_else_outside_tls(self):
        hello = self.connect(peer=IPv4Address("TCP", "192.0.2.7", 4711), tls="starttls")
        self.assertNotIn("AUTH", hello)
        self.assertIn("250-STARTTLS\r\n", hello)
        self.assertTrue(self.plain().startswith("538 5.7.11"))
        self.assertTrue(self.say("MAIL FROM:<ann@example.org>").startswith("530 5.7.0 Must issue a STARTTLS"))

    def test_no_scram_without_verifiers(self):
        self.locks = Locks(None, self.portal, None, self.log, self.clock)
        self.assertIn("250-AUTH PLAIN LOGIN\r\n", self.connect())

    def test_optional(self):
        self.connect(auth="optional")
        self.assertTrue(self.say("MAIL FROM:<ann@example.org>").startswith("250"))

    def test_off(self):
        self.assertNotIn("AUTH", self.connect(auth="off", tls="starttls"))
        self.assertTrue(self.plain().startswith("502"))

    def test_nothing_is_guarded_where_nothing_is_offered(self):
        self.connect(auth="off", service="transfer")
        self.assertIsNone(self.factory.guard)

    def test_a_guard_without_auth_inside_tls(self):
        guard = Guard(SmtpListenerSettings("s", "h", tls="implicit"), self.locks)
        self.assertEqual(guard.inside(None).mechanisms, ())
        self.assertTrue(guard.inside(None).tls)
        self.assertTrue(guard.implicit)


class LoginTests(Case):
    def setUp(self):
        super().setUp()
        self.connect()

    def test_plain(self):
        self.assertEqual(self.plain(), "235 2.7.0 Authentication succeeded\r\n")
        (asked,) = self.portal.asked
        verifyObject(IMailLogin, asked)
        self.assertEqual((asked.username, asked.password, asked.source), (b"ann@example.org", b"good", "127.0.0.1"))
        self.assertEqual(self.entry.user, "ann@example.org")
        self.assertTrue(self.say("MAIL FROM:<ann@example.org>").startswith("250"))
        self.assertEqual(self.service.asked[0][1].user, "ann@example.org")
        (said,) = self.log.named("auth.ok")
        self.assertEqual((said["user"], said["mechanism"], said["tls"]), ("ann@example.org", "PLAIN", ""))

    def test_login(self):
        self.assertEqual(self.say("AUTH LOGIN"), "334 VXNlcm5hbWU6\r\n")
        self.assertEqual(self.say(base64.b64encode(b"ann").decode()), "334 UGFzc3dvcmQ6\r\n")
        self.assertTrue(self.say(base64.b64encode(b"good").decode()).startswith("235"))

    def test_scram_rfc_7677(self):
        self.patch(__import__("netsvc.smtpd.login", fromlist=["x"]).secrets, "token_urlsafe",
                   lambda n: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")  # fmt: skip
        first = base64.b64encode(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").decode()
        challenge = base64.b64decode(self.say(f"AUTH SCRAM-SHA-256 {first}")[4:])
        self.assertEqual(
            challenge, b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        )
        final = (
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        )
        last = base64.b64decode(self.say(base64.b64encode(final).decode())[4:])
        self.assertEqual(last, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        self.assertEqual(self.entry.user, "")
        self.assertTrue(self.say("").startswith("235"))
        self.assertEqual(self.entry.user, "user")
        verifyObject(IScramLogin, self.portal.asked[0])

    def test_scram_is_cancelled(self):
        self.say("AUTH SCRAM-SHA-256 " + base64.b64encode(b"n,,n=user,r=abc").decode())
        self.assertTrue(self.say("*").startswith("501"))
        self.assertTrue(self.say("MAIL FROM:<user@example.org>").startswith("530"))

    def test_a_store_that_does_not_answer(self):
        self.portal.error = OSError("gone")
        self.assertEqual(self.plain(), "454 4.7.0 Temporary authentication failure\r\n")
        self.verifiers.error = OSError("gone")
        first = base64.b64encode(b"n,,n=user,r=abc").decode()
        self.assertTrue(self.say(f"AUTH SCRAM-SHA-256 {first}").startswith("454"))
        self.assertEqual(len(self.log.named("auth.fault")), 2)
        self.portal.error = LoginFailed("busy")
        self.assertTrue(self.plain().startswith("454"))
        self.assertEqual(len(self.log.named("auth.fault")), 2)
        self.portal.error = None
        self.assertTrue(self.plain().startswith("235"))

    def test_malformed_responses_are_no_failures(self):
        for _ in range(5):
            self.assertTrue(self.say("AUTH PLAIN AAAA").startswith("501 5.5.2"))
        self.assertEqual(self.log.named("auth.failed"), [])

    def test_t20_malformed_responses_without_end_end_the_session(self):
        for _ in range(9):
            self.assertTrue(self.say("AUTH PLAIN AAAA").startswith("501 5.5.2"))
        self.assertTrue(self.say("AUTH PLAIN AAAA").startswith("421 4.7.0"))

    def test_a_client_that_goes_while_it_is_checked(self):
        self.portal.error = Deferred()
        self.assertEqual(self.plain(), "")
        self.t.protocol.connectionLost(Failure(ConnectionDone()))
        self.portal.error.callback((ISubmitter, SimpleNamespace(name="ann", address="ann"), None))
        self.assertEqual(len(self.service.sessions.entries()), 0)

    def test_nothing_behind_is_read_while_it_is_checked(self):
        waiting = self.portal.error = Deferred()
        self.plain()
        self.assertEqual(self.say("MAIL FROM:<ann@example.org>"), "")
        self.t.clear()
        waiting.callback((ISubmitter, SimpleNamespace(name="ann", address="ann"), None))
        said = self.t.value().decode()
        self.assertTrue(said.startswith("235"))
        self.assertIn("\r\n250 2.1.0", said)


class FailureTests(Case):
    def setUp(self):
        super().setUp()
        self.connect()

    def failing(self, **more):
        """-> (the reply, how many seconds it took)."""
        said, began = self.plain(password="wrong", **more), self.clock.seconds()
        while not said:
            self.clock.advance(0.5)
            said = self.t.value().decode()
            self.assertLess(self.clock.seconds() - began, 60)
        return said, self.clock.seconds() - began

    def test_t22_waits_grow_and_the_tenth_ends_it(self):
        took = []
        for _ in range(9):
            said, seconds = self.failing()
            self.assertEqual(said, "535 5.7.8 Authentication credentials invalid\r\n")
            took.append(seconds)
        self.assertEqual(took, [0, 0, 0, 1, 2, 3, 4, 5, 6])
        said, _ = self.failing()
        self.assertTrue(said.startswith("421 4.7.0 mx.example.org too many failed logins"))
        self.assertEqual(len(self.log.named("auth.failed")), 10)

    def test_t22_every_reason_sounds_the_same(self):
        said = {self.failing()[0]}
        self.portal.error = LoginDenied("no mailbox")
        said.add(self.plain())
        self.portal.error = None
        said.add(self.plain(name="a\x07b"))
        self.assertEqual(said, {"535 5.7.8 Authentication credentials invalid\r\n"})
        self.assertEqual(
            [each["why"] for each in self.log.named("auth.failed")],
            ["wrong name or password", "no mailbox", "the name: control characters are prohibited"],
        )

    def test_t22_the_log_has_the_name_escaped_and_no_password(self):
        self.failing(name="a\u202eb")
        self.plain(name="ann", password="sesame")
        for each in self.log.named("auth.failed"):
            self.assertNotIn("\u202e", each["user"])
        everything = str(self.log.records)
        self.assertNotIn("sesame", everything)
        self.assertNotIn("good", everything)

    def test_no_repr_shows_a_password(self):
        self.assertNotIn("sesame", repr(MailPassword("ann", "sesame", "")))
