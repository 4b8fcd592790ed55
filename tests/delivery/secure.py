"""Peers inside TLS for delivery tests: real handshakes in memory, without a socket."""

import contextlib

import trustme
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from netsvc.delivery.tlscontext import Authorities
from tests.delivery.fakes import FakeTransport, FarEnd


class Raw:
    """What lies below the TLS of the near end."""

    disconnecting = False

    def __init__(self, transport):
        self.transport = transport

    def write(self, data):
        if not self.transport.closed:
            self.transport.written += data

    def loseConnection(self):
        self.transport.end("lost")

    def abortConnection(self):
        self.transport.end("aborted")

    def getPeer(self):
        return self.transport.getPeer()


class SecureTransport(FakeTransport):
    """The near end, which may begin TLS as Twisted's TCP transports do."""

    tls = None
    reactor = None

    def end(self, how):
        """End it; within TLS the protocol hears of it a moment later, as from Twisted's transports."""
        if self.tls is None:
            super().end(how)
        elif not self.closed:
            self.closed = how
            self.reactor.callLater(0, self.protocol.connectionLost, Failure(ConnectionDone()))

    def startTLS(self, check):
        factory = TLSMemoryBIOFactory(check, True, None)
        self.tls = TLSMemoryBIOProtocol(factory, self.protocol, False)
        self.protocol = self.tls
        self.tls.makeConnection(Raw(self))

    def getHandle(self):
        return self.tls.getHandle()

    def write(self, data):
        if self.tls is None:
            super().write(data)
        elif not self.closed:
            self.tls.write(data)

    def loseConnection(self):
        if self.tls is None:
            super().loseConnection()
        else:
            self.tls.loseConnection()


class SecureEnd(FarEnd):
    """The peer's side: ``shake`` begins TLS with ``leaf``'s certificate; from then on ``say`` and ``heard`` are in it."""

    def __init__(self, reactor, protocol, host):
        self.reactor = reactor
        self.far = None
        self.transport = SecureTransport(host)
        self.transport.reactor = reactor
        self.transport.protocol = self.protocol = protocol
        protocol.makeConnection(self.transport)

    def shake(self, leaf, version=None):
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        if version is not None:
            context.set_max_proto_version(version)
            context.set_min_proto_version(version)
            context.set_cipher_list(b"ALL:@SECLEVEL=0")
        leaf.configure_cert(context)
        self.far = SSL.Connection(context, None)
        self.far.set_accept_state()
        self.refused = None
        for _ in range(6):
            self.pump()
            try:
                self.far.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as why:
                self.refused = why
            self.flush()
        return self

    def pump(self):
        """Take what the near end has written."""
        data, self.transport.written = self.transport.written, b""
        if data:
            self.far.bio_write(data)

    def flush(self):
        """Hand over what the far end has to send."""
        with contextlib.suppress(SSL.WantReadError):
            while data := self.far.bio_read(1 << 16):
                if not self.transport.closed:
                    self.transport.protocol.dataReceived(data)
        self.reactor.advance(0)

    def heard(self):
        if self.far is None:
            return super().heard() if self.transport.tls is None else b""  # the beginning of a handshake
        self.pump()
        out = b""
        with contextlib.suppress(SSL.WantReadError, SSL.ZeroReturnError, SSL.SysCallError):
            while data := self.far.recv(1 << 16):
                out += data
        return out

    def say(self, *lines):
        for line in lines:
            if self.far is None:
                self.transport.protocol.dataReceived(line)
                self.reactor.advance(0)
            else:
                self.far.send(line)
                self.flush()
        return self.heard()


def authority(folder):
    """-> (a new CA, Authorities that trust it)"""
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    path = folder / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return ca, Authorities(str(path))
