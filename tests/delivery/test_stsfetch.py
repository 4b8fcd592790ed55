"""Fetching policies over HTTPS from a host on loopback, honest and hostile."""

import pytest
import trustme
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from netsvc.delivery import stsfetch
from netsvc.delivery.stsfetch import StsFetcher
from netsvc.delivery.stspolicy import MOST_OCTETS, StsError
from netsvc.delivery.tlscontext import Authorities
from tests.zones import FakeResolver

NAME = "mta-sts.example.org"
GOOD = b"version: STSv1\r\nmode: none\r\nmax_age: 1\r\n"


def answer(body=GOOD, status=b"200 OK", kind=b"text/plain", more=b""):
    length = b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 " + status + b"\r\nContent-Type: " + kind + b"\r\n" + length + more + b"\r\n" + body


class Host(Protocol):
    """Answers every request with ``answer``, octets or a list of them; closes then where ``closes``."""

    got = b""

    def dataReceived(self, data):
        self.got += data
        if self.got.endswith(b"\r\n\r\n"):
            self.factory.requests.append(self.got)
            self.got = b""
            pieces = self.factory.answer
            for piece in [pieces] if isinstance(pieces, bytes) else pieces:
                self.transport.write(piece)
            if self.factory.closes:
                self.transport.loseConnection()

    def connectionMade(self):
        self.factory.made.append(self)

    def connectionLost(self, reason):
        self.factory.made.remove(self)
        if not self.factory.made and self.factory.over is not None:
            over, self.factory.over = self.factory.over, None
            over.callback(None)


class StsFetchTests(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ca = trustme.CA()
        cls.leaf = cls.ca.issue_cert(NAME)
        cls.other = cls.ca.issue_cert("mta-sts.example.net")

    def setUp(self):
        with self.ca.cert_pem.tempfile() as path:
            self.authorities = Authorities(path)
        self.factory = Factory.forProtocol(Host)
        self.factory.noisy = False
        self.factory.answer, self.factory.closes = answer(), False
        self.factory.requests, self.factory.made, self.factory.over = [], [], None
        self.zone = {NAME: {"A": ["127.0.0.1"]}}
        self.port = self.serve(self.leaf)

    def serve(self, leaf):
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        leaf.configure_cert(context)

        @implementer(IOpenSSLServerConnectionCreator)
        class Creator:
            def serverConnectionForTLS(self, tlsProtocol):
                return SSL.Connection(context, None)

        port = reactor.listenSSL(0, self.factory, Creator(), interface="127.0.0.1")
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        self.addCleanup(self.ended)
        return port.getHost().port

    def ended(self):
        """Wait for the end of every connection: each fetch ends its own."""
        if self.factory.made:
            self.factory.over = Deferred()
        return self.factory.over

    def fetch(self, **options):
        options = {"authorities": self.authorities, "port": lambda: self.port, **options}
        self.fetcher = StsFetcher(reactor, FakeResolver(self.zone), **options)
        return Deferred.fromCoroutine(self.fetcher.fetch("example.org"))

    async def fails(self, words, **options):
        with pytest.raises(StsError, match=words):
            await self.fetch(**options)

    async def test_a_policy(self):
        assert await self.fetch() == GOOD
        [request] = self.factory.requests
        assert request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
        assert b"Host: mta-sts.example.org\r\n" in request

    async def test_the_forms_an_answer_may_have(self):
        self.factory.answer = answer(kind=b"Text/Plain ; charset=utf-8")
        assert await self.fetch() == GOOD
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.factory.answer = [head, b"%x\r\n" % len(GOOD), GOOD, b"\r\n0\r\n\r\n"]
        assert await self.fetch() == GOOD

    async def test_the_next_address(self):
        self.zone[NAME]["A"] = ["127.0.0.9", "127.0.0.1"]
        assert await self.fetch() == GOOD

    async def test_what_is_no_answer(self):
        moved = answer(b"", b"301 Moved", more=b"Location: https://elsewhere.example/\r\n")
        for answered, words in (
            (moved, "answers 301"),
            (answer(status=b"404 No"), "answers 404"),
            (answer(status=b"500 No"), "answers 500"),
            (answer(kind=b"text/html"), "not text/plain"),
            (answer(kind=b"text/plainer"), "not text/plain"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "not text/plain"),
            (answer(b"x" * (MOST_OCTETS + 1)), "more than"),
            (b"SSH-2.0-x\r\n", "ParseError"),
        ):
            self.factory.answer = answered
            await self.fails(words)

    async def test_one_that_is_cut_short(self):
        self.factory.closes = True
        for answered in (
            answer()[:-5],
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
            + GOOD,  # no length: nobody knows whether it is whole
        ):
            self.factory.answer = answered
            await self.fails("cut short")

    async def test_headers_without_end(self):
        self.factory.answer = [b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n" * 9000]
        await self.fails("Connection")

    async def test_one_that_never_ends(self):
        self.patch(stsfetch, "PATIENCE", 0.05)
        self.factory.answer = answer()[:-5]
        await self.fails("no policy in 0.05 s")
        self.factory.answer = b"HTTP/1.1 200 OK\r\n"
        await self.fails("no policy in 0.05 s")

    async def test_a_certificate_for_another_name(self):
        self.port = self.serve(self.other)
        await self.fails("does not bear mta-sts.example.org, but mta-sts.example.net")
        assert self.factory.requests == []

    async def test_an_authority_nobody_trusts(self):
        await self.fails("authority is not", authorities=None)
        assert self.factory.requests == []

    async def test_nobody_there(self):
        self.zone[NAME]["A"] = ["127.0.0.9"]
        await self.fails("Connection")

    async def test_addresses_that_may_not_be_used(self):
        await self.fails("no address that may be used", allowed=lambda address: address != "127.0.0.1")
        assert self.factory.made == []

    async def test_names_without_an_address(self):
        self.zone[NAME] = "SERVFAIL"
        await self.fails("cannot be looked up now")
        del self.zone[NAME]
        await self.fails("no address")
