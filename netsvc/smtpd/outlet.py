"""Where replies leave.

A reply is a few octets for a socket that nearly always takes them at once.  On
plain TCP the outlet hands them straight to the socket and only what is left goes
through the transport's buffer, with its turn of the reactor.  While anything is
left the outlet is ``full``; whoever owns it stops reading until ``drained`` is
called, so that a client that does not read its replies costs no memory.  On any
other transport (TLS, tests) the transport's own pausing says the same.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.tcp import Connection
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress

    from netsvc.interfaces import ICertificates


class Transport(Protocol):
    """What the door needs of a stream transport; Twisted's have it all, spread over several interfaces."""

    def getPeer(self) -> IAddress: ...
    def getHandle(self) -> Any: ...
    def startTLS(self, contextFactory: object) -> object: ...
    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...


def nobody() -> None:
    """Be called for a connection that is gone."""


@implementer(IPushProducer, IPullProducer)
class Outlet:
    """The way out of one connection.  ``full``: what was written is not yet with the kernel."""

    __slots__ = ("_arming", "_direct", "_drained", "_transport", "full")

    def __init__(self, transport: Transport, drained: Callable[[], None]) -> None:
        """Have ``drained`` called whenever the outlet is no longer full."""
        self._transport = transport
        self._drained = drained
        self._direct = transport if isinstance(transport, Connection) and not transport.TLS else None
        self._arming = False
        self.full = False
        if self._direct is None:
            transport.registerProducer(self, True)
        else:
            with suppress(OSError):  # a UNIX socket has no such thing
                self._direct.setTcpNoDelay(True)

    def write(self, data: bytes) -> None:
        """Send ``data``, at once where possible."""
        direct = self._direct
        if direct is not None and not self.full:
            sent = direct.writeSomeData(data)
            if sent == len(data):
                return
            if isinstance(sent, int):  # else the connection is lost: the transport finds out by itself
                data = data[sent:]
            self.full = self._arming = True
            self._transport.registerProducer(self, False)
            self._arming = False
        self._transport.write(data)

    def secure(self, certificates: ICertificates) -> None:
        """Go on inside TLS, behind what was written before; ``write`` may be called at once."""
        transport = self._transport
        if self._direct is None or self.full:
            transport.unregisterProducer()
        self._direct = None
        self.full = False
        transport.startTLS(certificates)
        transport.registerProducer(self, True)

    def handle(self) -> Any:
        """Return the TLS session (OpenSSL.SSL.Connection)."""
        return self._transport.getHandle()

    def close(self, *, linger: bool) -> bool:
        """End our side once all is sent.  Return whether the client's end is awaited (only with ``linger``).

        Lingering, the socket is not closed under data we have not read: that would be a reset, which can destroy our
        last reply on its way.
        """
        if linger and self._direct is not None and not self.full:
            try:
                self._direct.getHandle().shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it is gone already
            else:
                return True
        if self._direct is None:
            self._transport.unregisterProducer()
        self._transport.loseConnection()
        return False

    def release(self) -> None:
        """Forget who is told, once the connection is gone: no circle of objects is left to the collector."""
        self._drained = nobody

    # What the transport calls.

    def pauseProducing(self) -> None:
        """Note that the transport's buffer is full."""
        self.full = True

    def resumeProducing(self) -> None:
        """Go on: all is sent."""
        if self._arming or not self.full:
            return
        self.full = False
        if self._direct is not None:
            self._transport.unregisterProducer()
        self._drained()

    def stopProducing(self) -> None:
        """Do nothing: the owner is told by ``connectionLost``."""
