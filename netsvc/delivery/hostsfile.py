"""Names that this host knows by itself: ``localhost`` (RFC 6761 6.3) and what /etc/hosts says.

They count for the hosts that routes name, as the operator of a host expects; what
MX records lead to is looked up in the DNS alone.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTS = Path("/etc/hosts")
LOOK = 60.0
"""Seconds between two looks at the file."""
MOST_OCTETS = 1 << 20
LOCALHOST = ("127.0.0.1", "::1")


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """Return the addresses of each name in the text of a hosts(5) file."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.split("\n"):
        words = line.partition("#")[0].split()
        try:
            address = str(ipaddress.ip_address(words[0])) if words else ""
        except ValueError:
            continue
        for name in words[1:]:
            known = found.get(name.lower(), ())
            if address not in known:
                found[name.lower()] = (*known, address)
    return found


def read_hosts(path: Path = HOSTS) -> dict[str, tuple[str, ...]]:
    """Return what the file says; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return parse_hosts(file.read(MOST_OCTETS).decode("utf-8", "replace"))
    except OSError:
        return {}


class KnownHosts:
    """What the file said at the last look; it is looked at again off the reactor's thread."""

    def __init__(self, reactor: Any, now: Callable[[], float], path: Path = HOSTS) -> None:
        """Read the file: nothing is served yet."""
        self._reactor = reactor
        self._now = now
        self._path = path
        self._names = read_hosts(path)
        self._look_at = now() + LOOK

    def addresses(self, name: str) -> tuple[str, ...]:
        """Return the addresses of ``name`` (lower case, no final dot), none where it is not known here."""
        if name == "localhost" or name.endswith(".localhost"):
            return LOCALHOST
        if self._now() >= self._look_at:
            self._look_at = self._now() + LOOK
            self._reactor.callInThread(self._look)
        return self._names.get(name, ())

    def _look(self) -> None:
        self._reactor.callFromThread(self._take, read_hosts(self._path))

    def _take(self, names: dict[str, tuple[str, ...]]) -> None:
        self._names = names
