"""Mail out over real sockets on loopback, from a store that keeps its promises in memory."""

import tempfile
from pathlib import Path

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineReceiver
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from netsvc.delivery.routing import Router
from netsvc.delivery.runner import DeliveryService
from netsvc.delivery.terms import TlsLevel, TlsTerms
from netsvc.delivery.tlspolicy import TlsPolicies
from netsvc.mail.message import Message, NewDelivery
from netsvc.settings import DAY
from netsvc.store.store import open_store
from tests.delivery.secure import authority
from tests.fakes import FakeDirectory, FakeLogbook, FakeSessions, FakeSite

BODY = b"Subject: hi\r\n\r\n.dots\r\n..\r\nend\r\n"


class Peer(LineReceiver):
    """A small scripted server: refuses who is told to be refused, keeps the rest."""

    content = None

    def connectionMade(self):
        self.factory.connections.append(self)
        self.sendLine(b"220 peer.example")

    def connectionLost(self, reason):
        self.factory.connections.remove(self)

    def lineReceived(self, line):
        if self.content is not None:
            if line == b".":
                self.factory.messages.append(b"\r\n".join([*self.content, b""]))
                self.content = None
                self.sendLine(b"250 2.0.0 taken")
            else:
                self.content.append(line.removeprefix(b"."))
            return
        verb = line[:4].upper()
        if verb == b"EHLO":
            self.sendLine(b"250-peer.example\r\n250 PIPELINING")
        elif verb == b"RCPT":
            self.sendLine({b"never": b"550 5.1.1 no such user", b"later": b"450 4.2.1 busy"}.get(line[9:14], b"250 ok"))
        elif verb == b"DATA":
            self.content = []
            self.sendLine(b"354 go")
        elif verb == b"QUIT":
            self.sendLine(b"221 bye")
            self.transport.loseConnection()
        else:
            self.sendLine(b"250 ok")


class LoopbackTest(TestCase):
    async def setUp(self):
        self.factory = Factory.forProtocol(Peer)
        self.factory.noisy = False
        self.factory.messages, self.factory.connections = [], []
        site = FakeSite()
        policies = self.tls(site)
        self.port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.route = f"[127.0.0.1]:{self.port.getHost().port}"
        self.store = await open_store("memory", "", reactor=None, node_name="mx1", version="1")
        self.spool = self.store.spool
        self.logbook = FakeLogbook()
        site.current = FakeSite(
            routes={"partner.example": self.route, "localhost.example": f"[localhost]:{self.port.getHost().port}"}
        ).current
        self.router = Router(site)
        self.service = DeliveryService(
            self.spool, FakeDirectory(), site, FakeSessions(), self.logbook, reactor, "mx1.example.org", tls=policies
        )
        self.service.startService()

    def tls(self, site):
        """Make what TLS must be like, None for the usual."""
        del site

    async def tearDown(self):
        await self.service.stopService()
        await self.port.stopListening()
        await self.store.close()
        while self.factory.connections:
            await deferLater(reactor, 0.01)

    async def accept(self, *rcpts):
        now, number = self.spool.now(), self.spool.new_id()
        message = Message(
            number, b"Received: here\r\n", "x@partner.example", "partner.example", len(BODY), now, now + DAY, len(rcpts)
        )
        rows = [
            NewDelivery(n, rcpt, rcpt.partition("@")[2], self.router.route(rcpt.partition("@")[2]), now)
            for n, rcpt in enumerate(rcpts, 1)
        ]
        await self.spool.accept(message, BODY, rows, [])
        return number

    async def until(self, event, count):
        for _ in range(500):
            if len(self.logbook.named(event)) >= count:
                return self.logbook.named(event)
            await deferLater(reactor, 0.01)
        raise AssertionError(self.logbook.records)

    async def test_delivered_deferred_bounced_and_reported(self):
        await self.accept("good@partner.example", "never@partner.example", "later@partner.example")
        done = await self.until("delivery.done", 4)
        self.assertEqual(
            {(one["rcpt"], one["result"], one["code"]) for one in done},
            {
                ("good@partner.example", "delivered", 250),
                ("never@partner.example", "bounced", 550),
                ("later@partner.example", "deferred", 450),
                ("x@partner.example", "delivered", 250),
            },
        )
        self.assertEqual(self.factory.messages[0], b"Received: here\r\n" + BODY)
        self.assertIn(b"Final-Recipient: rfc822; never@partner.example", self.factory.messages[1])
        self.assertEqual(len(self.factory.messages), 2)

    async def test_a_name_is_looked_up(self):
        await self.accept("good@localhost.example")
        [done] = await self.until("delivery.done", 1)
        self.assertEqual((done["result"], done["host"]), ("delivered", "localhost"))

    async def test_many(self):
        for n in range(50):
            await self.accept(f"u{n}@partner.example")
        await self.until("delivery.done", 50)
        self.assertEqual(len(self.factory.messages), 50)
        while self.service.leased:
            await deferLater(reactor, 0.01)
        self.assertEqual(await self.spool.due(10), [])


class Terms(TlsPolicies):
    """TLS from the first octet on, wherever mail goes."""

    async def hosts(self, domain, hosts, key=""):
        return [(host, TlsTerms(TlsLevel.VERIFY, source="site", implicit=True)) for host in hosts]


class ImplicitTlsTest(LoopbackTest):
    """The same inside TLS from the start, as on port 465."""

    def tls(self, site):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        ca, authorities = authority(Path(folder.name))
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        self.factory = TLSMemoryBIOFactory(Contexts(context), False, self.factory)
        self.factory.noisy = False
        self.factory.messages = self.factory.wrappedFactory.messages
        self.factory.connections = self.factory.wrappedFactory.connections
        return Terms(site, authorities=authorities)


@implementer(IOpenSSLServerConnectionCreator)
class Contexts:
    def __init__(self, context):
        self.context = context

    def serverConnectionForTLS(self, protocol):
        return SSL.Connection(self.context, None)
