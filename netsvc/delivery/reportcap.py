"""Not too many reports to one sender: whoever forges a sender must not have us fill his mailbox (SMTP.md T11).

Counted on each node, by hours, in memory.  What is withheld is counted too, and
told in the next report that is made: nobody is to think that all went well.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3600.0
MOST_SENDERS = 10_000
"""Senders that are remembered; of those beyond, the longest unheard of are forgotten."""


@dataclass(slots=True)
class _Hour:
    begun: float
    made: int = 0
    withheld: int = 0


class ReportCap:
    """Says whether a report may be made.  ``now`` gives seconds by a clock that never steps."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Know nobody."""
        self._now = now
        self._senders: OrderedDict[str, _Hour] = OrderedDict()

    def allows(self, sender: str, most: int) -> bool:
        """Count a report to ``sender``, of whom ``most`` an hour (0: any number) may be told; False: not this one."""
        if not most:
            return True
        now, key = self._now(), sender.lower()
        hour = self._senders.get(key)
        if hour is None or now - hour.begun >= HOUR:
            hour = self._senders[key] = _Hour(now, 0, 0 if hour is None else hour.withheld)
        self._senders.move_to_end(key)
        while len(self._senders) > MOST_SENDERS:
            self._senders.popitem(last=False)
        if hour.made >= most:
            hour.withheld += 1
            return False
        hour.made += 1
        return True

    def give_back(self, sender: str) -> None:
        """Count one less: the report that was allowed has not been made, and will be asked for again."""
        hour = self._senders.get(sender.lower())
        if hour is not None and hour.made:
            hour.made -= 1

    def withheld(self, sender: str) -> int:
        """Return how many were not made since the last one that was, and begin anew."""
        hour = self._senders.get(sender.lower())
        if hour is None:
            return 0
        count, hour.withheld = hour.withheld, 0
        return count
