"""What is watched as it happens, on its way to a terminal that may be slow: bounded; what is lost is counted."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from netsvc.telnet.keys import Key

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from netsvc.flightrecorder import Item
    from netsvc.telnet.keys import Press

WAITING = 1000
"""Items that wait for a slow terminal."""

A_SECOND = 200
"""Items taken in a second; what comes beyond is counted and dropped."""


class Stream:
    """Items on their way.  ``wanted(entry)`` says whose are looked at; ``dropped`` counts the lines that were not."""

    def __init__(self, clock: IReactorTime, wanted: Callable[[object], bool], lines: int) -> None:
        """End by itself after ``lines`` lines."""
        self._clock = clock
        self._wanted = wanted
        self._left = lines
        self._waiting: deque[Item] = deque()
        self._waiter: Deferred[None] | None = None
        self._second = 0
        self._taken = 0
        self.dropped = 0
        self.over = False

    def take(self, item: Item) -> None:
        """Take an item from the recorder: whoever is traced waits for nothing here."""
        if self.over or not self._wanted(item[1]):
            return
        lines = count_lines(item)
        if self._left <= 0:
            self.end()
            return
        second = int(self._clock.seconds())
        if second != self._second:
            self._second, self._taken = second, 0
        self._taken += 1
        if self._taken > A_SECOND or len(self._waiting) >= WAITING:
            self.dropped += lines
            return
        self._left -= lines
        self._waiting.append(item)
        self._wake()

    def end(self) -> None:
        """Take no more; who reads gets what waits, then the end."""
        self.over = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)

    async def read(self) -> Item | None:
        """Return the next item; None at the end."""
        while not self._waiting:
            if self.over:
                return None
            self._waiter = Deferred(self._forget)
            await self._waiter
        return self._waiting.popleft()

    @property
    def ready(self) -> bool:
        """Whether an item waits."""
        return bool(self._waiting)

    def _forget(self, waiter: Deferred[None]) -> None:
        if self._waiter is waiter:
            self._waiter = None


def count_lines(item: Item) -> int:
    """Return how many lines an item is about."""
    heard, said = item[2], item[3]
    if said is None:
        return len(heard)
    count = (heard.count(b"\r\n") + 1 if heard else 0) + said.count(b"\r\n")
    return count + (item[4] > 0)


def take_stop(typed: deque[Press]) -> int:
    """Take a line ``stop`` from the front of what was typed -> how much it counts there, 0 when it is not there."""
    if Key.ENTER not in typed:
        return 0
    line = list(typed)[: typed.index(Key.ENTER) + 1]
    if "".join(press for press in line if isinstance(press, str)).strip().lower() != "stop":
        return 0
    for _ in line:
        typed.popleft()
    return sum(len(press) if isinstance(press, str) else 1 for press in line)
