"""Room for sessions: one number for all SMTP listeners together, kept below the limit of open files (T18).

Two small parts of it are kept for clients of this host and for submission
listeners, so that a flood from outside locks out neither the operator's own
mail nor the users'.  When most of the room is taken the listeners are under
stress: deadlines get short until it is better by a good deal.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from netsvc.interfaces import ISlots

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.logbook import Logbook

RESERVED_DESCRIPTORS = 200
"""File descriptors left to the store, deliveries and the console."""
UNLIMITED = 100_000
"""Sessions where open files have no limit."""
STRESS_PERCENT, CALM_PERCENT = 80, 60
"""Share of the slots above which stress begins, and below which it ends."""
MOST_KEPT = 50
"""Slots kept for loopback, and as many for submission; a tenth of all where that is less."""

COMMON, SUBMISSION, LOOPBACK = "common", "submission", "loopback"
"""Where a slot is from."""


def descriptor_cap() -> int:
    """Return how many sessions the limit of open files allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return UNLIMITED
    return max(soft - RESERVED_DESCRIPTORS, soft // 4, 1)


@implementer(ISlots)
class Slots:
    """See ISlots.  ``cap`` slots in all, what is kept included."""

    def __init__(self, cap: int, logbook: Logbook) -> None:
        """All are free."""
        self.cap = max(cap, 1)
        self.kept = min(MOST_KEPT, self.cap // 10)
        self.used = 0
        self.refused = 0
        self.stressed = False
        self.most = 0
        self._logbook = logbook
        self._free = {COMMON: self.cap - 2 * self.kept, SUBMISSION: self.kept, LOOPBACK: self.kept}
        self._enter = self.cap * STRESS_PERCENT // 100
        self._leave = self.cap * CALM_PERCENT // 100
        self._watchers: list[Callable[[], object]] = []

    def find(self, *, submission: bool, loopback: bool) -> str:
        """See ISlots."""
        free = self._free
        if free[COMMON] > 0:
            return COMMON
        if submission and free[SUBMISSION] > 0:
            return SUBMISSION
        if loopback and free[LOOPBACK] > 0:
            return LOOPBACK
        self.refused += 1
        return ""

    def take(self, where: str) -> None:
        """See ISlots."""
        self._free[where] -= 1
        used = self.used = self.used + 1
        self.most = max(self.most, used)
        if used > self._enter and not self.stressed:
            self._set(True)

    def release(self, where: str) -> None:
        """See ISlots."""
        self._free[where] += 1
        used = self.used = self.used - 1
        if self.stressed and used <= self._leave:
            self._set(False)

    def watch(self, callback: Callable[[], object]) -> None:
        """See ISlots."""
        self._watchers.append(callback)

    def _set(self, on: bool) -> None:
        self.stressed = on
        name = "smtp.stress_began" if on else "smtp.stress_ended"
        self._logbook.event(name, used=self.used, limit=self.cap)
        for callback in self._watchers:
            callback()

    def rows(self) -> list[dict[str, Any]]:
        """See ISlots."""
        kept = {where: self.kept - self._free[where] for where in (SUBMISSION, LOOPBACK)}
        why = f"deadlines are short: more than {STRESS_PERCENT} % are taken" if self.stressed else ""
        rows = [
            {
                "name": "smtp-sessions", "state": "stressed" if self.stressed else "ok", "value": self.used,
                "limit": self.cap, "most": self.most, "count": self.refused, "unit": "sessions", "why": why,
            }
        ]  # fmt: skip
        for where, used in kept.items():
            rows.append({"name": f"smtp-kept-for-{where}", "value": used, "limit": self.kept, "unit": "sessions"})
        return rows
