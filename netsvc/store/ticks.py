"""The store's clock and the ids made from it.

The clock follows the monotonic one and is corrected towards the wall (SQLite)
or the database's clock (PostgreSQL).  It never goes back, and a jump of more
than an hour is not followed until the next start: a clock set years ahead must
not expire the queue (SMTP.md T37).
"""

from __future__ import annotations

import threading
import time
from time import monotonic_ns

from netsvc.mail.ids import EPOCH_MS, make_id

HOUR = 3_600_000
LAST = 4095
"""The last sequence number of a millisecond."""
SLEW = 0.1
"""How much slower the clock may run to let a slower one catch up."""


def wall() -> int:
    """Return the process's wall clock, ms since 1970."""
    return time.time_ns() // 1_000_000


def _mono() -> int:
    return monotonic_ns() // 1_000_000


class Clock:
    """Milliseconds since 1970 that never go back within one process."""

    def __init__(self, start: int | None = None) -> None:
        """Begin at ``start`` (ms), now when None."""
        self._base = (wall() if start is None else start) - _mono()
        self._last = 0
        self._synced = _mono()
        self.jump = 0
        """How far the outer clock is away, when that is too far to be followed."""

    def now(self) -> int:
        """Return the time; never less than before."""
        t = self._base + monotonic_ns() // 1_000_000
        if t < self._last:
            return self._last
        self._last = t
        return t

    def sync(self, outer: int) -> None:
        """Follow the clock that shows ``outer`` now."""
        mono = _mono()
        elapsed = mono - self._synced
        self._synced = mono
        diff = outer - (self._base + mono)
        if abs(diff) > HOUR:
            self.jump = diff
            return
        self.jump = 0
        self._base += diff if diff >= 0 else max(diff, -int(elapsed * SLEW))

    def set(self, outer: int) -> None:
        """Take ``outer`` as the time, whatever it was: at start, and in tests."""
        self._base = outer - _mono()
        self._last = min(self._last, outer)
        self._synced = _mono()

    def advance(self, ms: int) -> None:
        """Go ``ms`` ahead (tests)."""
        self._base += ms


class Ids:
    """Ids of one node: ms since 2020, node, sequence; each above all before, in whatever thread it is asked for."""

    def __init__(self, clock: Clock) -> None:
        """Make ids by ``clock``, of node 1 until ``start`` says otherwise."""
        self._clock = clock
        self._lock = threading.Lock()
        self._node = 1
        self._ms = 0
        self._next = 0

    def start(self, node: int, last: int) -> None:
        """Make ids of ``node`` from now on, all above ``last`` (the highest in the store, 0 for none)."""
        with self._lock:
            self._node = node
            self._ms = max(self._ms, (last >> 22) + EPOCH_MS + 1 if last else 0)
            self._next = 0

    def one(self) -> int:
        """Return a fresh id."""
        with self._lock:
            now = self._clock.now()
            if now > self._ms:
                self._ms = now
                self._next = 0
            elif self._next > LAST:
                self._ms += 1
                self._next = 0
            number = self._next
            self._next += 1
            return make_id(self._ms, self._node, number)

    def many(self, n: int) -> list[int]:
        """Return ``n`` fresh ids, rising."""
        out: list[int] = []
        with self._lock:
            now = self._clock.now()
            if now > self._ms:
                self._ms = now
                self._next = 0
            while n:
                if self._next > LAST:
                    self._ms += 1
                    self._next = 0
                take = min(n, LAST + 1 - self._next)
                first = make_id(self._ms, self._node, self._next)
                out.extend(range(first, first + take))
                self._next += take
                n -= take
        return out
