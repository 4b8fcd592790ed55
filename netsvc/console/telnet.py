"""The console's Telnet listener (CONSOLE.md 4): who may connect, and how many.

A connection is greeted with the opening, the banner and ``Username: `` in one
write, and nothing waits for the client's answers: until it agrees to our echo it
is taken for one that edits and shows its own lines.  When the client has closed
its side, what it sent is still run and answered, then the connection ends.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import Factory

from netsvc.console.shell import IDLE_SECONDS
from netsvc.console.telnetdoor import TelnetDoor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.interfaces import IAddress

    from netsvc.interfaces import IHouse

STOP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class TelnetListenerSettings:
    """One listener.  Seconds, and how many sessions there may be.

    ``allow_cleartext_from``: networks beside loopback; ``encrypted``: connections come inside TLS, from anywhere.
    """

    listener: str = "console"
    allow_cleartext_from: tuple[str, ...] = ()
    encrypted: bool = False
    login_timeout: float = 60.0
    idle_timeout: float = IDLE_SECONDS
    half_open: int = 32
    half_open_a_source: int = 4
    sessions: int = 64
    sessions_a_user: int = 8
    reserved_for_loopback: int = 2

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> TelnetListenerSettings:
        """Return the settings a protocol plugin is handed.  Raises ValueError."""
        networks = tuple(settings.get("allow_cleartext_from", ()))
        for network in networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(f"allow_cleartext_from: {error}") from None
        return cls(listener=settings.get("listener", "console"), allow_cleartext_from=networks)


class TelnetFactory(Factory):
    """One console listener."""

    noisy = False
    for_operators = True
    """No block keeps operators out."""

    def __init__(self, house: IHouse, settings: Mapping[str, Any] | TelnetListenerSettings) -> None:
        """Take ``settings`` as a protocol plugin is handed them.  Raises ValueError with words fit to be shown."""
        if not isinstance(settings, TelnetListenerSettings):
            settings = TelnetListenerSettings.read(settings)
        self.house = house
        self.settings = settings
        self._networks = [ipaddress.ip_network(network) for network in settings.allow_cleartext_from]
        self._doors: set[TelnetDoor] = set()
        self._stopping = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return a door, or None: the connection is closed before any byte is sent (S4, S8)."""
        peer = str(getattr(addr, "host", "") or "local")
        why = self._refusal(peer)
        if why:
            self.house.logbook.event("operator.refused", session="", user="", source=peer, why=why)
            return None
        door = TelnetDoor(self, peer)
        self._doors.add(door)
        return door

    def _refusal(self, peer: str) -> str:
        settings = self.settings
        loopback = self.is_loopback(peer)
        half_open = [door for door in self._doors if not door.user]
        spare = settings.reserved_for_loopback if loopback else 0
        if self._stopping:
            return "stopping"
        if not loopback and not settings.encrypted and not self._allowed(peer):
            return "not in allow_cleartext_from"
        if len(half_open) >= settings.half_open + spare:
            return "too many connections without a login"
        if sum(door.peer == peer for door in half_open) >= settings.half_open_a_source:
            return "too many connections from there without a login"
        if len(self._doors) - len(half_open) >= settings.sessions + spare:
            return "too many sessions"
        return ""

    def is_loopback(self, peer: str) -> bool:
        """Whether ``peer`` is this machine."""
        address = _address(peer)
        return address is None or address.is_loopback

    def _allowed(self, peer: str) -> bool:
        address = _address(peer)
        return address is None or any(address in network for network in self._networks)

    def admit(self, door: TelnetDoor, user: str) -> bool:
        """Count ``door`` for ``user`` -> False when that is one too many."""
        if sum(other.user == user for other in self._doors) >= self.settings.sessions_a_user:
            return False
        door.user = user
        return True

    def forget(self, door: TelnetDoor) -> None:
        """Take ``door`` for closed."""
        self._doors.discard(door)

    def stop(self) -> Deferred[Any]:
        """Tell everybody, end the sessions -> Deferred that fires when all are gone."""
        self._stopping = True
        doors = list(self._doors)
        for door in doors:
            door.tell("The service is stopping.")
            door.leave(STOP_SECONDS)
        return DeferredList([door.gone for door in doors])


def _address(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address ``peer`` is, an IPv4 one where it is mapped into IPv6; None for none (a unix socket)."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
