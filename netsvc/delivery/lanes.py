"""How much of each destination's mail is in memory: little of a slow one, much of a fast one.

A lane begins with a few leased deliveries, doubles while they leave within a
second, halves while they wait.  So no destination, however slow, takes the place
of others (SMTP.md *fairness*).
"""

from __future__ import annotations

from dataclasses import dataclass

FEW = 5
MANY = 500
QUICK_MS = 1_000
SLOW_MS = 5_000


@dataclass(slots=True)
class Lane:
    """One destination.  Times are ms; ``out`` counts its leased deliveries, ``streak`` failed connections in a row."""

    dest_id: int
    key: str = ""
    allow: int = FEW
    out: int = 0
    streak: int = 0
    proved: bool = False
    dead_until: int = 0
    alone_until: int = 0
    """Until when it was decided to leave it alone; ``dead_until`` is forgotten once the store knows."""
    leased_at: int = 0

    def room(self, now: int) -> int:
        """Return how many more deliveries may be leased: none before half of them have left."""
        if self.dead_until > now or self.out * 2 > self.allow:
            return 0
        return self.allow - self.out

    def leased(self, count: int, now: int) -> None:
        """Note that ``count`` deliveries were leased."""
        self.out += count
        self.leased_at = now

    def left(self, count: int, now: int) -> bool:
        """Note that ``count`` deliveries are done with; True when this made room for more."""
        had_room = self.out * 2 <= self.allow
        self.out -= count
        waited = now - self.leased_at
        if self.out * 2 > self.allow or had_room:
            if waited > SLOW_MS and self.allow > FEW:
                self.allow = max(self.allow // 2, FEW)
            return False
        if waited <= QUICK_MS:
            self.allow = min(self.allow * 2, MANY)
        elif waited > SLOW_MS:
            self.allow = max(self.allow // 2, FEW)
        return True

    def known(self) -> None:
        """Note that the store knows how long the destination is left alone: operators may change that there."""
        self.dead_until = 0

    def failed(self, in_a_row: bool) -> None:
        """Note that a connection could not be made, for the next time ``in_a_row``: begin small again."""
        self.streak += in_a_row
        self.allow = FEW
