"""TLS at the SMTP door, on real sockets: handshakes that come, fail, or never come (T3, T6)."""

import contextlib
import hashlib
import tempfile
from pathlib import Path

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from netsvc.certificates.shelf import Certificates
from netsvc.config.tls import TlsPair
from netsvc.smtpd.factory import SmtpFactory
from netsvc.smtpd.guard import Locks
from netsvc.smtpd.listener import SmtpListenerSettings
from netsvc.smtpd.tls import bindings_of, can_bind, describe, why_failed
from tests import certs
from tests.fakes import FakeLogbook
from tests.test_smtpd import FakeService
from tests.test_smtpd_login import Portal, Verifiers

HANDSHAKE = 31


@implementer(IHandshakeListener)
class Client(Protocol):
    """``data`` received; ``closed`` fires with it at the end; ``heard`` when ``until`` is in it."""

    def __init__(self, options=None):
        self.options = options
        self.data = b""
        self.closed = Deferred()
        self._waiting = []
        self.handle = None

    def handshakeCompleted(self):
        self.handle = self.transport.getHandle()

    def dataReceived(self, data):
        self.data += data
        self._look()

    def _look(self):
        for until, waiter in list(self._waiting):
            if until in self.data:
                self._waiting.remove((until, waiter))
                waiter.callback(self.data)

    def hear(self, until):
        waiter = Deferred()
        self._waiting.append((until, waiter))
        self._look()
        return waiter

    async def say(self, line, until=b"\r\n"):
        self.data = b""
        self.transport.write(line + b"\r\n")
        return (await self.hear(until)).decode()

    def secure(self):
        self.data = b""
        self.transport.startTLS(self.options or CertificateOptions(verify=False))

    def connectionLost(self, reason):
        self.closed.callback(self.data)


class DoorCase(TestCase):
    key = "ec"

    def setUp(self):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(lambda: [each.unlink() for each in folder.iterdir()] and folder.rmdir())
        certificate, key, self.certificate = certs.write(folder, key=certs.new_key(self.key))
        self.log, self.clock, self.service = FakeLogbook(), Clock(), FakeService()
        certificates = Certificates([TlsPair("", certificate, key)], self.log, now=lambda: 0)
        certificates.load()
        self.locks = Locks(certificates, Portal(), Verifiers(), self.log, self.clock)
        self.clients = []

    def listen(self, **settings):
        own = SmtpListenerSettings("smtp", "mx.example.org", **settings)
        self.factory = SmtpFactory(self.service, own, self.log, self.clock, None, self.locks)
        self.port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.addCleanup(self.finish)

    async def finish(self):
        for client in self.clients:
            if not client.closed.called:
                client.transport.abortConnection()
                await client.closed
        await self.port.stopListening()
        while self.factory.connections:
            await self.turn()

    def turn(self, seconds=0.01):
        return deferLater(reactor, seconds, lambda: None)

    async def connect(self, options=None):
        made = Deferred()
        client = Client(options)
        client.connectionMade = lambda: made.callback(client)
        factory = ClientFactory()
        factory.buildProtocol = lambda address: client
        reactor.connectTCP("127.0.0.1", self.port.getHost().port, factory)
        self.clients.append(client)
        await made
        while not self.factory.connections:
            await self.turn()
        return client

    @property
    def entry(self):
        return self.service.sessions.entries()[0]


class StartTlsTests(DoorCase):
    def setUp(self):
        super().setUp()
        self.listen(tls="starttls", auth="optional")

    async def secured(self, options=None):
        client = await self.connect(options)
        await client.hear(b"220 mx.example.org ESMTP")
        await client.say(b"EHLO c.example", b"\r\n250 ")
        assert "220 2.0.0" in await client.say(b"STARTTLS")
        client.secure()
        return client

    async def test_a_session_begins_anew(self):
        client = await self.secured()
        self.assertIn("503 5.5.1", await client.say(b"MAIL FROM:<a@example.net>"))
        self.assertEqual(self.entry.helo, "")
        hello = await client.say(b"EHLO again.example", b"\r\n250 ")
        self.assertIn("250-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n", hello)
        self.assertNotIn("STARTTLS", hello)
        self.assertRegex(self.entry.tls, r"TLSv1\.3 TLS_\w+")
        self.assertIn("250 2.1.0", await client.say(b"MAIL FROM:<a@example.net>"))
        self.assertEqual(self.service.asked[0][1].tls, self.entry.tls)
        self.assertIn("221 2.0.0", await client.say(b"QUIT"))
        await client.closed

    async def test_tls_1_2(self):
        client = await self.secured(CertificateOptions(verify=False, lowerMaximumSecurityTo=TLSVersion.TLSv1_2))
        await client.say(b"EHLO again.example", b"\r\n250 ")
        self.assertRegex(self.entry.tls, r"TLSv1\.2 ECDHE-\w+-(AES\d+-GCM|CHACHA20)-\w+")

    async def test_t3_clear_text_behind_the_220_is_no_command(self):
        client = await self.connect()
        await client.say(b"EHLO c.example", b"\r\n250 ")
        await client.say(b"STARTTLS")
        client.data = b""
        client.transport.write(b"EHLO evil.example\r\n")
        self.assertNotIn(b"250", await client.closed)
        self.assertEqual(len(self.log.named("tls.failed")), 1)

    async def test_t3_glued_is_told_and_logged(self):
        client = await self.connect()
        await client.say(b"EHLO c.example", b"\r\n250 ")
        self.assertIn("554 5.5.1", await client.say(b"STARTTLS\r\nEHLO evil.example"))
        client.transport.loseConnection()
        await client.closed
        self.assertEqual(len(self.log.named("smtp.starttls_injection")), 1)
        self.assertEqual(self.log.named("tls.failed"), [])

    async def test_replies_that_are_not_read_before_the_switch(self):
        client = await self.connect()
        await client.say(b"EHLO c.example", b"\r\n250 ")
        client.transport.pauseProducing()
        client.transport.write(b"HELP\r\n" * 50_000 + b"STARTTLS\r\n")
        await self.turn(0.05)
        client.data = b""
        client.transport.resumeProducing()
        while not client.data.endswith(b"220 2.0.0 Ready to start TLS\r\n"):
            self.clock.advance(0)
            await self.turn(0)
        client.secure()
        self.assertIn("250 2.0.0", await client.say(b"NOOP"))


class ImplicitTests(DoorCase):
    def setUp(self):
        super().setUp()
        self.listen(tls="implicit", auth="optional")

    async def test_nothing_is_said_before_the_handshake(self):
        client = await self.connect()
        await self.turn(0.02)
        self.assertEqual(client.data, b"")
        client.secure()
        self.assertIn(b"220 mx.example.org ESMTP netsvc\r\n", await client.hear(b"\r\n"))
        self.assertNotIn("STARTTLS", await client.say(b"EHLO c.example", b"\r\n250 "))

    async def test_t6_a_handshake_that_never_comes(self):
        client = await self.connect()
        self.clock.pump([1.0] * (HANDSHAKE - 2))
        self.assertEqual(len(self.factory.connections), 1)
        self.clock.pump([1.0] * 5)
        self.assertEqual(await client.closed, b"")
        while self.factory.connections:
            await self.turn()
        (failed,) = self.log.named("tls.failed")
        self.assertEqual((failed["why"], failed["peer"]), ("timeout", "127.0.0.1"))
        self.assertEqual(self.service.sessions.entries(), [])

    async def test_t6_a_handshake_that_stops_in_the_middle(self):
        client = await self.connect()
        client.transport.write(b"\x16\x03\x01\x02\x00\x01")
        await self.turn(0.02)
        self.clock.pump([1.0] * (HANDSHAKE + 5))
        await client.closed
        self.assertEqual(self.log.named("tls.failed")[0]["why"], "timeout")

    async def test_t6_garbage(self):
        for junk in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"EHLO c.example\r\n",
            b"\0" * 1000,
            b"\x16\x03\x01\xff\xff" + b"x" * 9,
        ):
            client = await self.connect()
            client.transport.write(junk)
            client.transport.loseWriteConnection()
            self.assertNotIn(b"220", await client.closed)
        while self.factory.connections:
            await self.turn()
        self.assertEqual(len(self.log.named("tls.failed")), 4)
        self.assertEqual({level for level, name, _ in self.log.records if name == "session.fault"}, set())

    async def test_ends_while_the_handshake_is_awaited(self):
        for end in ("kick", "drain", "cut"):
            client = await self.connect()
            (connection,) = self.factory.connections
            getattr(connection, end)()
            self.assertEqual(await client.closed, b"")
            while self.factory.connections:
                await self.turn()
        self.assertEqual([each["why"] for each in self.log.named("tls.failed")], ["kicked", "shutdown", "grace over"])

    async def test_a_client_that_goes_again(self):
        client = await self.connect()
        client.transport.loseConnection()
        await client.closed
        while self.factory.connections:
            await self.turn()
        self.assertEqual(len(self.log.named("tls.failed")), 1)


class BindingTests(TestCase):
    """Channel bindings, against what another implementation of TLS sees."""

    async def bindings(self, version, kind="ec"):
        certificate, key, value = certs.make(key=certs.new_key(kind))
        folder = Path(tempfile.mkdtemp())
        (folder / "c.pem").write_bytes(certificate)
        (folder / "k.pem").write_bytes(key)
        self.addCleanup(lambda: [each.unlink() for each in folder.iterdir()] and folder.rmdir())
        server = Certificates([TlsPair("", folder / "c.pem", folder / "k.pem")], FakeLogbook(), now=lambda: 0)
        server.load()
        one = server.serverConnectionForTLS(None)
        one.set_accept_state()
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(version)
        other = SSL.Connection(context, None)
        other.set_connect_state()
        for _ in range(6):
            for a, b in ((other, one), (one, other)):
                with contextlib.suppress(SSL.WantReadError):
                    a.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    b.bio_write(a.bio_read(1 << 16))
        return one, other, value

    async def test_tls_1_3(self):
        one, other, value = await self.bindings(SSL.TLS1_3_VERSION)
        found = bindings_of(one)
        self.assertEqual(found["tls-exporter"], other.export_keying_material(b"EXPORTER-Channel-Binding", 32, b""))
        der = value.public_bytes(certs.Encoding.DER)
        self.assertEqual(found["tls-server-end-point"], hashlib.sha256(der).digest())
        self.assertTrue(can_bind(one))
        self.assertTrue(describe(one).startswith("TLSv1.3 "))

    async def test_tls_1_2(self):
        one, _, _ = await self.bindings(SSL.TLS1_2_VERSION)
        self.assertEqual(set(bindings_of(one)), {"tls-server-end-point"})
        self.assertTrue(can_bind(one))

    async def test_a_certificate_whose_signature_has_no_hash(self):
        one, _, _ = await self.bindings(SSL.TLS1_2_VERSION, "ed25519")
        self.assertEqual(bindings_of(one), {})
        self.assertFalse(can_bind(one))
        one, _, _ = await self.bindings(SSL.TLS1_3_VERSION, "ed25519")
        self.assertEqual(set(bindings_of(one)), {"tls-exporter"})

    def test_outside_tls_there_are_none(self):
        self.assertEqual(bindings_of(None), {})

    def test_why_handshakes_fail(self):
        self.assertEqual(why_failed(SSL.Error([("lib", "", "wrong version number")])), "wrong version number")
        self.assertEqual(why_failed(SSL.Error([])), "TLS error")
        self.assertEqual(why_failed(OSError()), "OSError")
        self.assertEqual(why_failed(None), "None")
