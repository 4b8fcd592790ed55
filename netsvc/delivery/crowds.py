"""So many connections to one address at a time, whichever domains' mail they carry (SMTP.md T38).

Hosts take the mail of many domains, and each domain is a destination of its own:
without this, a thousand of them would open thousands of connections to one host.
Whoever finds no room waits for it; a connection that idles there makes room.  Of
an address that failed lately only one connection is tried at a time: what else
wants to go there is told so at once, and goes on to the next host.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable


class Room(Enum):
    """What ``take`` came to."""

    TAKEN = 1
    FULL = 2
    TRIED = 3
    """It failed lately, and somebody is trying it."""


@dataclass(slots=True)
class _Crowd:
    open: int = 0
    unproved: int = 0
    waiting: deque[Deferred[None]] = field(default_factory=deque)
    idle: list[Callable[[], None]] = field(default_factory=list)


class Crowds:
    """Connections by address and port.  ``limit()`` says how many there may be; ``lately`` whether one failed there."""

    def __init__(self, limit: Callable[[], int], lately: Callable[[str, int], bool]) -> None:
        self._limit = limit
        self._lately = lately
        self._crowds: dict[tuple[str, int], _Crowd] = {}

    def __len__(self) -> int:
        """How many addresses there are connections to."""
        return len(self._crowds)

    def take(self, address: str, port: int) -> Room:
        """Take room for one connection, where there is any; whoever took it must ``leave``."""
        crowd = self._crowds.get((address, port))
        if crowd is None:
            crowd = self._crowds[address, port] = _Crowd()
        elif crowd.unproved and self._lately(address, port):
            return Room.TRIED
        elif crowd.open >= self._limit():
            return Room.FULL
        crowd.open += 1
        crowd.unproved += 1
        return Room.TAKEN

    def proved(self, address: str, port: int) -> None:
        """Note that the peer of a connection is ready."""
        self._crowds[address, port].unproved -= 1

    def leave(self, address: str, port: int, *, proved: bool) -> None:
        """Give room back, to who waits longest; to all who wait where the address has failed: they need not."""
        crowd = self._crowds[address, port]
        crowd.open -= 1
        crowd.unproved -= not proved
        awake = len(crowd.waiting) if self._lately(address, port) else 1
        for _ in range(min(awake, len(crowd.waiting))):
            crowd.waiting.popleft().callback(None)
        self._tidy(address, port)

    def _tidy(self, address: str, port: int) -> None:
        crowd = self._crowds.get((address, port))
        if crowd is not None and not crowd.open and not crowd.waiting:
            del self._crowds[address, port]

    async def wait(self, address: str, port: int) -> None:
        """Wait until there may be room where it is full."""
        crowd = self._crowds[address, port]
        waiting: Deferred[None] = Deferred()
        crowd.waiting.append(waiting)
        if crowd.idle:
            crowd.idle.pop(0)()
        try:
            await waiting
        except BaseException:  # it is given up
            crowd.waiting.remove(waiting)
            self._tidy(address, port)
            raise

    def wanted(self, address: str, port: int) -> bool:
        """Say whether somebody waits for room."""
        return bool(self._crowds[address, port].waiting)

    def rest(self, address: str, port: int, end: Callable[[], None]) -> None:
        """Have ``end()`` called, once, when the room of a connection that idles is wanted."""
        self._crowds[address, port].idle.append(end)

    def end_rest(self, address: str, port: int, end: Callable[[], None]) -> None:
        """Idle no longer."""
        idle = self._crowds[address, port].idle
        if end in idle:
            idle.remove(end)
