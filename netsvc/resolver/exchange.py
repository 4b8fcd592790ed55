"""One question to one name server, by UDP or TCP.

Each question by UDP has a socket of its own, so that its port is as hard to
guess as its number, connected, so that the kernel lets nobody else's packets in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from netsvc.resolver.packets import MAX_PACKET, Reading, StrangePacketError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from netsvc.resolver.names import Server

    Reader = Callable[[bytes], Reading]
    """Reads a packet; raises StrangePacketError for one that is no answer to the question."""

MAX_STRANGE = 100
"""Packets of others that one socket bears before the question is given up."""


class NoAnswerError(Exception):
    """A server that did not answer, and why."""


class _Datagrams(DatagramProtocol):
    """The socket of one question."""

    noisy = False  # or Twisted tells the log of each

    def __init__(self, server: Server, packet: bytes, read: Reader) -> None:
        self._server = server
        self._packet = packet
        self._read = read
        self._strange = 0
        self.answer: Deferred[Reading] = Deferred()

    def startProtocol(self) -> None:
        """Ask."""
        assert self.transport is not None
        try:
            self.transport.connect(self._server.host, self._server.port)
            self.transport.write(self._packet)  # type: ignore[call-arg] # connected: it needs no address
        except OSError as error:  # no route
            self._fail(NoAnswerError(error.strerror or "cannot be reached"))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take an answer; leave other packets alone, as long as they are few."""
        del addr
        try:
            reading = self._read(datagram)
        except StrangePacketError:
            self._strange += 1
            if self._strange >= MAX_STRANGE:
                self._fail(NoAnswerError("flooded with strange packets"))
            return
        if not self.answer.called:
            self.answer.callback(reading)

    def connectionRefused(self) -> None:
        """Give up: nobody serves there."""
        self._fail(NoAnswerError("refused"))

    def stopProtocol(self) -> None:
        """Give up, unless the answer is there: epoll tells of a refusal as of a socket that is lost."""
        self._fail(NoAnswerError("refused"))

    def _fail(self, error: Exception) -> None:
        if not self.answer.called:
            self.answer.errback(error)


class _Stream(Protocol):
    """The connection of one question."""

    def __init__(self, packet: bytes, read: Reader) -> None:
        self._packet = packet
        self._read = read
        self._got = b""
        self.answer: Deferred[Reading] = Deferred()

    def connectionMade(self) -> None:
        """Ask."""
        assert self.transport is not None
        self.transport.write(len(self._packet).to_bytes(2) + self._packet)

    def dataReceived(self, data: bytes) -> None:
        """Gather the answer, which is as long as it says at its beginning."""
        self._got += data
        if len(self._got) < 2 or self.answer.called:
            return
        length = int.from_bytes(self._got[:2])
        if length > MAX_PACKET:
            self.answer.errback(NoAnswerError(f"an answer of {length} octets"))
        elif len(self._got) >= 2 + length:
            try:
                self.answer.callback(self._read(self._got[2 : 2 + length]))
            except StrangePacketError as error:
                self.answer.errback(NoAnswerError(str(error)))

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Give up, unless the answer is there."""
        del reason
        if not self.answer.called:
            self.answer.errback(NoAnswerError("connection lost"))


class Exchange:
    """Asks name servers over the network; ``reactor`` gives sockets and time."""

    def __init__(self, reactor: Any) -> None:
        """Have nothing under way."""
        self._reactor = reactor

    async def udp(self, server: Server, packet: bytes, read: Reader, seconds: float) -> Reading:
        """Ask by UDP -> Reading.  Fails with NoAnswerError, after ``seconds`` at the latest."""
        asking = _Datagrams(server, packet, read)
        try:
            port = self._reactor.listenUDP(0, asking, interface="::" if ":" in server.host else "0.0.0.0")  # noqa: S104 - connected at once
        except CannotListenError as error:
            raise NoAnswerError(f"no socket: {error.socketError}") from None
        try:
            return await self._in_time(asking.answer, seconds)
        finally:
            port.stopListening()

    async def tcp(self, server: Server, packet: bytes, read: Reader, seconds: float) -> Reading:
        """Ask by TCP -> Reading.  Fails with NoAnswerError, after ``seconds`` at the latest."""
        kind = TCP6ClientEndpoint if ":" in server.host else TCP4ClientEndpoint
        asking = _Stream(packet, read)
        begun = self._reactor.seconds()
        try:
            factory = Factory.forProtocol(lambda: asking)
            factory.noisy = False
            await kind(self._reactor, server.host, server.port, timeout=seconds).connect(factory)
        except Exception as error:  # noqa: BLE001 - whatever keeps a connection from being made
            raise NoAnswerError(f"no connection: {type(error).__name__}") from None
        try:
            return await self._in_time(asking.answer, max(begun + seconds - self._reactor.seconds(), 0.01))
        finally:
            assert asking.transport is not None
            asking.transport.abortConnection()  # type: ignore[attr-defined] # every stream's has it

    async def _in_time(self, answer: Deferred[Reading], seconds: float) -> Reading:
        try:
            return await answer.addTimeout(seconds, self._reactor)
        except defer.TimeoutError:
            raise NoAnswerError(f"no answer in {seconds:g} s") from None
