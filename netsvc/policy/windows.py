"""Counts in windows of time: kept here, and added up with the other nodes' within a second (floor 3).

Whoever asks is answered at once, from what is known here.  What was counted goes
to the shared counters once a second, in one statement for all keys, and their
answer is what counts from then on: nodes may together let through what they
counted apart within that second.  Where nothing is shared (SQLite has one node)
nothing is written at all, and a restart begins anew.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.interfaces import ICounters
    from netsvc.logbook import Logbook

LAG_S = 1.0
"""How old the other nodes' counts may be."""
MAX_KEYS = 50_000
"""Keys a limit is kept for at a time; beyond, the oldest half is forgotten."""
LOG_S = 60.0
"""Seconds between two log lines about one key."""
BATCH = 1000
"""Keys handed to the shared counters in one unit of work."""


class Window:
    """One key's window: ``used`` as shared, ``pending`` counted here since, ``until`` its end (clock seconds)."""

    __slots__ = ("logged", "pending", "refused", "until", "used")

    def __init__(self, until: float) -> None:
        self.used = self.pending = self.refused = 0
        self.until = until
        self.logged = False


class Windows:
    """One limit: what each key has used of it in its window of ``seconds``.  ``most`` 0: there is no limit."""

    __slots__ = ("_keys", "most", "name", "realm", "seconds")

    def __init__(self, name: str, realm: int, seconds: int) -> None:
        self.name = name
        self.realm = realm
        self.seconds = seconds
        self.most = 0
        self._keys: dict[str, Window] = {}

    def at(self, key: str, now: float) -> Window:
        """Return the window of ``key``, begun anew where the last one has ended."""
        window = self._keys.get(key)
        if window is None or now >= window.until:
            if len(self._keys) >= MAX_KEYS:
                self._keys = {name: kept for name, kept in self._keys.items() if now < kept.until}
                for name in list(self._keys)[: max(len(self._keys) - MAX_KEYS // 2, 0)]:
                    del self._keys[name]
            window = self._keys[key] = Window(now + self.seconds)
        return window

    def clear(self, key: str) -> bool:
        """Forget ``key``; say whether it was known."""
        return self._keys.pop(key, None) is not None

    def largest(self, now: float, limit: int) -> list[tuple[str, Window]]:
        """Return the keys that have used most."""
        there = [(key, window) for key, window in self._keys.items() if now < window.until]
        return heapq.nlargest(limit, there, key=lambda pair: pair[1].used + pair[1].pending)


Wanted = tuple[Windows, str, int]
"""A limit, a key, and how much of it is wanted."""


class Ledger:
    """All windows of a policy, and their way to the shared counters."""

    def __init__(self, counters: ICounters, clock: Any, logbook: Logbook) -> None:
        """Share through ``counters``; ``clock`` is the reactor."""
        self._counters = counters
        self._clock = clock
        self._logbook = logbook
        self._dirty: dict[tuple[Windows, str], Window] = {}
        self._sharing: Deferred[None] | None = None
        self._timer: Any = None

    def take(self, wanted: Sequence[Wanted]) -> Wanted | None:
        """Count all of ``wanted``, or, where one of them is over its limit, nothing; return that one."""
        now = self._clock.seconds()
        windows: list[Window] = []
        for limit, key, amount in wanted:
            window = limit.at(key, now)
            if limit.most and window.used + window.pending + amount > limit.most:
                self._refuse(limit, key, window)
                return limit, key, amount
            windows.append(window)
        for (limit, key, amount), window in zip(wanted, windows, strict=True):
            window.pending += amount
            self._mark(limit, key, window)
        return None

    def add(self, limit: Windows, key: str, amount: int) -> None:
        """Count what has happened, whatever the limit."""
        window = limit.at(key, self._clock.seconds())
        window.pending += amount
        self._mark(limit, key, window)

    def full(self, limit: Windows, key: str, amount: int = 1) -> bool:
        """Say whether there is no room for ``amount`` more of ``key``; nothing is counted."""
        window = limit.at(key, self._clock.seconds())
        if limit.most and window.used + window.pending + amount > limit.most:
            self._refuse(limit, key, window)
            return True
        return False

    def _refuse(self, limit: Windows, key: str, window: Window) -> None:
        window.refused += 1
        if not window.logged:
            window.logged = True
            self._clock.callLater(LOG_S, setattr, window, "logged", False)
            self._logbook.event("limit.reached", limit=limit.name, key=key, most=limit.most, n=window.refused)
        self._mark(limit, key, window)  # another node may have cleared it meanwhile

    def _mark(self, limit: Windows, key: str, window: Window) -> None:
        if not self._counters.shared:
            return
        self._dirty[limit, key] = window
        if self._timer is None and self._sharing is None:
            self._timer = self._clock.callLater(LAG_S, self._share)

    def _share(self) -> None:
        self._timer = None
        self._sharing = Deferred.fromCoroutine(self._share_all())
        self._sharing.addErrback(lambda failure: self._logbook.failure("policy.failed", failure, policy="limits"))
        self._sharing.addBoth(self._shared)

    def _shared(self, _: object) -> None:
        self._sharing = None
        if self._dirty and self._timer is None:
            self._timer = self._clock.callLater(LAG_S, self._share)

    async def _share_all(self) -> None:
        dirty, self._dirty = list(self._dirty.items()), {}
        for at in range(0, len(dirty), BATCH):
            part = [(limit, key, window, window.pending) for (limit, key), window in dirty[at : at + BATCH]]
            entries = [(limit.realm, key, amount, limit.seconds * 1000) for limit, key, _, amount in part]
            found = await self._counters.add(entries)
            now = self._clock.seconds()
            for (_, _, window, amount), (used, left_ms) in zip(part, found, strict=True):
                window.pending -= amount
                window.used = used
                window.until = now + left_ms / 1000

    async def clear(self, limit: Windows, key: str) -> int:
        """Forget ``key``, on all nodes -> 1 when it was known here or there."""
        known = limit.clear(key)
        self._dirty.pop((limit, key), None)
        if self._counters.shared and await self._counters.clear(limit.realm, key):
            known = True
        return int(known)
