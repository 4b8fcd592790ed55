"""Telnet inside TLS (telnets, port 992): the Telnet listener behind Twisted's TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.protocols.tls import TLSMemoryBIOFactory

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress

    from netsvc.console.telnet import TelnetFactory
    from netsvc.interfaces import IHouse


class Encrypted(TLSMemoryBIOFactory):
    """Doors of ``inner``, reached by TLS.  The time to log in includes the handshake."""

    for_operators = True

    def __init__(self, inner: TelnetFactory, house: IHouse) -> None:
        super().__init__(house.tls, False, inner, house.clock)
        self._inner = inner

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return the TLS side of a door, None where there is no door for ``addr``."""
        door = self._inner.buildProtocol(addr)
        return None if door is None else self.protocol(self, door)

    def stop(self) -> Deferred[Any]:
        """See TelnetFactory."""
        return self._inner.stop()
