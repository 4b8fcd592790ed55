"""So many messages in so long a time (quiet: the time is handed in)."""

from __future__ import annotations

BURST = 10
"""A tenth of what a time allows may go at once."""


class Rate:
    """At most ``count`` messages in any ``span`` ms, a few at once and the rest evenly.

    A virtual clock: each message moves ``_booked`` on by the interval, and may go as long as that is not further
    ahead than the burst.
    """

    __slots__ = ("_ahead", "_booked", "_interval", "count", "span")

    def __init__(self, count: int, span: int, now: int) -> None:
        """Begin with one message's room: what went before the start is not known."""
        self.count, self.span = count, span
        burst = max(count // BURST, 1)
        self._interval = span / (count - burst + 1)
        self._ahead = self._interval * (burst - 1)
        self._booked = now + self._ahead

    def room(self, now: int) -> int:
        """Return how many messages may go now."""
        spare = now + self._ahead - max(self._booked, now)
        return 0 if spare < 0 else int(spare / self._interval + 1e-4) + 1

    def take(self, count: int, now: int) -> None:
        """Note that ``count`` messages go."""
        self._booked = max(self._booked, now) + self._interval * count

    def rested(self, now: int) -> bool:
        """Say whether as much may go as at any time."""
        return self._booked <= now

    def next_at(self, now: int) -> int:
        """Return when the next message may go, ms; never before ``now``."""
        return max(int(self._booked - self._ahead) + 1, now)
