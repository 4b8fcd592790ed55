"""A connection a proxy passes on: its PROXY header is read before anything is said, and the client is who it names.

A listed peer must send the header, at once and whole; what else it sends ends the connection without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.interfaces import IProtocol
from zope.interface import implementer

from netsvc.smtp.proxy import ProxyError, ProxyReader

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, ITransport
    from twisted.python.failure import Failure

    from netsvc.smtp.proxy import ProxyHeader
    from netsvc.smtpd.factory import SmtpFactory

HEADER_SECONDS = 10.0
"""How long a proxy has for its header."""


class Client(NamedTuple):
    """Who is served: IP address as text or "local", port, whether it is this host; ``proxy`` is who passed it on."""

    host: str
    port: int
    loopback: bool
    proxy: str = ""


def is_loopback(host: str) -> bool:
    """Whether an IP address as text is this host's own."""
    return host.startswith("127.") or host == "::1"


def peer_of(address: IAddress | None) -> tuple[str, int, bool]:
    """Return (IP address as text or "local", port, whether it is this host) of a peer."""
    host = getattr(address, "host", None)
    if host is None:
        return "local", 0, True
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return host, getattr(address, "port", 0), is_loopback(host)


@implementer(IProtocol)
class ProxiedConnection:
    """Reads the header, then hands its transport to the session's own connection."""

    __slots__ = ("_deadline", "_factory", "_over", "_peer", "_reader", "_transport", "where")

    def __init__(self, factory: SmtpFactory, where: str) -> None:
        """Be ready for ``makeConnection``; ``where`` is the slot's place."""
        self._factory = factory
        self.where = where
        self._reader = ProxyReader()
        self._over = False
        self._deadline = 0.0
        self._transport: Any = None
        self._peer: tuple[str, int, bool] = ("", 0, False)

    def makeConnection(self, transport: ITransport) -> None:
        """Take the transport and wait for the header."""
        self._transport = transport
        self._peer = peer_of(transport.getPeer())
        self._deadline = self._factory.clock.seconds() + min(HEADER_SECONDS, self._factory.settings.command_timeout)
        self._factory.opened(self)

    def connectionMade(self) -> None:
        """Do nothing: ``makeConnection`` has done it (IProtocol)."""

    def dataReceived(self, data: bytes) -> None:
        """Take what the proxy sent."""
        if self._over:
            return
        try:
            header = self._reader.feed(data)
        except ProxyError as error:
            self._refuse(str(error))
            return
        if header is not None:
            self._hand_over(header)

    def _hand_over(self, header: ProxyHeader) -> None:
        self._over = True
        host, port, loopback = self._peer
        if header.source:
            client = Client(header.source, header.port, is_loopback(header.source), host)
        else:
            client = Client(host, port, loopback, host)
        factory, transport = self._factory, self._transport
        connection = factory.connection(self.where, client)
        transport.protocol = connection
        connection.makeConnection(transport)
        factory.gone(self)
        if self._reader.rest:
            transport.protocol.dataReceived(self._reader.rest)  # who has it now: the session, or TLS before it

    def connectionLost(self, reason: Failure) -> None:
        """Give the place back."""
        del reason
        self._factory.gone(self)

    def _refuse(self, why: str) -> None:
        self._over = True
        settings, host = self._factory.settings, self._peer[0]
        self._factory.logbook.event("smtp.proxy_refused", listener=settings.listener, proxy=host, why=why)
        self.drop()

    # What the factory calls.

    def expire(self, now: float) -> None:
        """End when the header has not come in time."""
        if now >= self._deadline and not self._over:
            self._refuse("no header in time")

    def drain(self) -> None:
        """End: nothing has begun."""
        self.drop()

    def cut(self) -> None:
        """End: the grace is over."""
        self.drop()

    def drop(self) -> None:
        """End the connection."""
        self._over = True
        self._transport.abortConnection()
