"""The SMTP door on real sockets: what only a kernel can show."""

import socket

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from netsvc.mail import reply as r
from netsvc.sessions import Sessions
from netsvc.smtpd.factory import SmtpFactory
from netsvc.smtpd.listener import SmtpListenerSettings
from tests.fakes import FakeLogbook

OPENING = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n"


class Service:
    """Takes all; ``commit`` is what commits return."""

    def __init__(self):
        self.sessions = Sessions()
        self.commit_result = None
        self.size = 0
        self.aborts = 0
        self.id = 5

    def verify_connection(self, session):
        return None

    verify_helo = verify_connection

    def verify_sender(self, session, path, params):
        self.facts = session
        return succeed(r.SENDER_OK)

    def verify_recipient(self, session, path, params):
        return succeed(r.RECIPIENT_OK)

    def submit(self, envelope):
        return self

    def write(self, data):
        self.size += len(data)

    def commit(self):
        return self.commit_result or succeed(5)

    def abort(self):
        self.aborts += 1


class Client(Protocol):
    """Keeps what it reads; ``until(words)`` and ``lost`` are Deferreds."""

    def __init__(self):
        self.data = b""
        self.lost = Deferred()
        self.waits = []

    def connectionMade(self):
        self.factory.made.callback(self)

    def dataReceived(self, data):
        self.data += data
        self.look()

    def look(self):
        for wait in list(self.waits):
            words, deferred = wait
            if words in self.data:
                self.waits.remove(wait)
                deferred.callback(self.data)

    def until(self, words):
        deferred = Deferred()
        self.waits.append((words, deferred))
        self.look()
        return deferred

    def connectionLost(self, reason):
        self.lost.callback(None)


class SocketTests(TestCase):
    timeout = 20

    def setUp(self):
        self.service = Service()
        self.logbook = FakeLogbook()
        self.factory = self.serve()

    def serve(self, **settings):
        factory = SmtpFactory(self.service, SmtpListenerSettings("smtp", "mx", **settings), self.logbook, reactor)
        self.port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(self.close, factory, self.port)
        return factory

    async def close(self, factory, port):
        await port.stopListening()
        await factory.stop()

    def client(self):
        factory = ClientFactory()
        factory.noisy = False
        factory.made = Deferred()
        factory.protocol = Client
        reactor.connectTCP("127.0.0.1", self.port.getHost().port, factory)
        return factory.made

    async def test_a_message(self):
        client = await self.client()
        await client.until(b"220 ")
        client.transport.write(OPENING + b"x\r\n.\r\n")
        await client.until(b" queued\r\n")
        self.assertTrue(self.service.facts.loopback)
        client.transport.write(b"QUIT\r\n")
        await client.lost
        self.assertTrue(client.data.endswith(b"221 2.0.0 mx closing connection\r\n"))
        self.assertEqual(self.logbook.named("session.fault"), [])

    async def test_the_last_words_arrive_under_unread_data(self):
        client = await self.client()
        client.transport.write(b"GET / HTTP/1.1\r\n" + b"x" * 1_000_000)
        await client.until(b"554 5.5.1")
        client.transport.loseConnection()
        await client.lost

    async def test_a_client_that_does_not_read_takes_no_memory(self):
        client = await self.client()
        await client.until(b"220 ")
        (connection,) = self.factory.connections
        transport = connection._transport
        transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.transport.pauseProducing()
        sent = 40_000
        client.transport.write(b"HELP\r\n" * sent)
        for _ in range(200):
            await deferLater(reactor, 0.001, lambda: None)
            if connection._outlet.full:
                break
        self.assertTrue(connection._outlet.full)
        waiting = len(transport.dataBuffer) + transport._tempDataLen
        self.assertLess(waiting, 64 * 1024)
        self.assertLess(connection._dialogue.session.backlog, 3 * 65536)
        client.transport.resumeProducing()
        client.transport.write(b"QUIT\r\n")
        await client.lost
        self.assertEqual(client.data.count(b"214 "), sent)
        self.assertIn(b"221 2.0.0", client.data[-100:])

    async def test_the_deadline_ends_a_client_that_does_not_read(self):
        self.factory = self.serve(command_timeout=0.2)
        client = await self.client()
        await client.until(b"220 ")
        (connection,) = self.factory.connections
        connection._transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.transport.pauseProducing()
        client.transport.write(b"HELP\r\n" * 100_000)
        while self.factory.connections:
            await deferLater(reactor, 0.01, lambda: None)
        self.assertEqual(self.logbook.named("session.fault")[0]["why"], "replies not read")
        client.transport.resumeProducing()
        client.transport.abortConnection()
        await client.lost

    async def test_kicked_while_nothing_is_read(self):
        self.service.commit_result = Deferred()
        client = await self.client()
        client.transport.write(OPENING + b"x\r\n.\r\n")
        await client.until(b"354 ")
        (connection,) = self.factory.connections
        client.transport.write(b"NOOP\r\n" * 100)
        while not connection._paused:
            await deferLater(reactor, 0.001, lambda: None)
        connection.kick()
        self.service.commit_result.callback(5)
        await client.lost
        self.assertIn(b" queued\r\n421 4.3.2", client.data)
        while self.factory.connections:
            await deferLater(reactor, 0.001, lambda: None)

    async def test_a_half_closed_connection_gets_its_250(self):
        self.service.commit_result = Deferred()
        client = await self.client()
        client.transport.write(OPENING + b"x\r\n.\r\n")
        client.transport.loseWriteConnection()
        await client.until(b"354 ")
        await deferLater(reactor, 0.02, lambda: None)
        self.service.commit_result.callback(5)
        await client.lost
        self.assertIn(b" queued\r\n", client.data)
        self.assertEqual(self.logbook.named("session.fault"), [])

    async def test_a_connection_reset_before_the_reply(self):
        self.service.commit_result = Deferred()
        client = await self.client()
        client.transport.write(OPENING + b"x\r\n.\r\n")
        await client.until(b"354 ")
        handle = client.transport.getHandle()
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.transport.abortConnection()
        await client.lost
        self.service.commit_result.callback(5)
        while self.factory.connections:
            await deferLater(reactor, 0.01, lambda: None)
        self.assertEqual(self.service.aborts, 0)

    async def test_a_write_into_a_lost_connection(self):
        client = await self.client()
        await client.until(b"220 ")
        (connection,) = self.factory.connections
        connection._transport.getHandle().shutdown(socket.SHUT_RDWR)
        connection._outlet.write(b"words\r\n")
        connection._outlet.close(linger=True)
        await client.lost
        while self.factory.connections:
            await deferLater(reactor, 0.01, lambda: None)
        self.assertEqual(client.data, b"220 mx ESMTP netsvc\r\n")

    async def test_closing_what_the_kernel_has_closed(self):
        client = await self.client()
        await client.until(b"220 ")
        (connection,) = self.factory.connections
        unconnected = socket.socket()
        self.addCleanup(unconnected.close)
        connection._transport.getHandle = lambda: unconnected
        self.assertFalse(connection._outlet.close(linger=True))
        await client.lost

    async def test_stop(self):
        client = await self.client()
        await client.until(b"220 ")
        await self.factory.stop()
        await client.lost
        self.assertIn(b"421 4.3.2", client.data)
