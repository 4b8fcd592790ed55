"""Turns of what may only be done so many times at once; whoever waits can be sent away."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable


class Turns:
    """``limit()`` says how many there are; it may change.  ``await take()`` says whether there is one for us."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._waiting: deque[Deferred[bool]] = deque()
        self._closed = False
        self.taken = 0

    async def take(self) -> bool:
        """Wait for a turn -> True; False when there will be none any more.  Whoever took one must ``leave``."""
        if self._closed:
            return False
        if self.taken < self._limit():
            self.taken += 1
            return True
        waiter: Deferred[bool] = Deferred()
        self._waiting.append(waiter)
        return await waiter

    def leave(self) -> None:
        """Give a turn back."""
        self.taken -= 1
        while self._waiting and self.taken < self._limit():
            self.taken += 1
            self._waiting.popleft().callback(True)

    def close(self) -> None:
        """Send away all who wait, and who come."""
        self._closed = True
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            waiter.callback(False)
