"""How much of each destination's mail is in memory: little of a slow one, much of a fast one.

A lane begins with a few leased deliveries, doubles while they leave within a
second, halves while they wait.  A destination that was left alone for its
failures gets one delivery, a probe, until one connection has worked.  What slow
destinations hold is not counted against the others' memory, and when they hold
much each has one.  So no destination, however slow, and no thousand of them,
takes the place of others (SMTP.md *fairness*).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netsvc.delivery.rates import Rate
from netsvc.delivery.retry import FAILURES_TO_DEAD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netsvc.delivery.allowances import Allowances
    from netsvc.mail.message import DueDestination, Leased

FEW = 5
MANY = 500
QUICK_MS = 1_000
SLOW_MS = 5_000
MOST_LEASED = 2_000
"""Deliveries in memory, besides those at slow destinations."""
MOST_SLOW = 4_000
"""Deliveries in memory that wait at slow destinations; above half of it each of those has one."""
LOOK_MS = 1_000
"""How often it is counted what slow destinations hold."""
MOST_RECIPIENTS = 100
"""Recipients in one transaction."""
MOST_LANES = 10_000
LONG_REST_MS = 5_000
MOST_REST_MS = 60_000
"""A destination that has had what its rate allows is left alone in the store, when this is worth it, for so long."""


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
    slow: bool = False
    rate: Rate | None = None

    def room(self, now: int) -> int:
        """Return how many more deliveries may be leased: none before half of them have left; a probe where it died."""
        if self.dead_until > now:
            return 0
        if self.streak >= FAILURES_TO_DEAD:
            return 0 if self.out else 1
        if self.out * 2 > self.allow:
            return 0
        return self.allow - self.out if self.rate is None else min(self.allow - self.out, self.rate.room(now))

    def leased(self, count: int, now: int) -> None:
        """Note that ``count`` deliveries were leased."""
        self.out += count
        self.leased_at = now

    def began(self, messages: int, now: int) -> None:
        """Note that ``messages`` go out."""
        if self.rate is not None:
            self.rate.take(messages, now)

    def left(self, count: int, now: int) -> bool:
        """Note that ``count`` deliveries are done with; True when this made room for more."""
        had_room = self.out * 2 <= self.allow
        self.out -= count
        waited = now - self.leased_at
        self.slow = waited > SLOW_MS
        if self.streak >= FAILURES_TO_DEAD:
            return not self.out
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

    def hear(self, streak: int) -> None:
        """Note what the store says: a destination was left alone ``streak`` times in a row, by any node.

        0 while this lane believes it dead: it works again elsewhere, or an operator said to forget it.
        """
        if self.dead_until:  # the store is only being told
            return
        if not streak and self.streak >= FAILURES_TO_DEAD:
            self.streak = self.alone_until = 0
        elif streak and self.streak < FAILURES_TO_DEAD:
            self.streak = FAILURES_TO_DEAD - 1 + streak
            self.allow = FEW

    def obey(self, rate: tuple[int, int] | None, now: int) -> None:
        """Keep to ``rate``, (messages, ms)."""
        if rate is None:
            self.rate = None
        elif self.rate is None or (self.rate.count, self.rate.span) != rate:
            self.rate = Rate(*rate, now)

    def idle(self, now: int) -> bool:
        """Say whether nothing needs to be remembered."""
        return not (self.out or self.streak or self.dead_until) and (self.rate is None or self.rate.rested(now))


class Lanes:
    """All destinations this node has to do with.  ``held`` counts what is leased, and not yet settled, of all."""

    def __init__(self, allowances: Allowances) -> None:
        self.allowances = allowances
        self.lanes: dict[int, Lane] = {}
        self.full = 0
        """Destinations of the last look that had work and no room."""
        self.resting: dict[int, int] = {}
        """{destination: until when} of those that have had what their rate allows, and that only this node sends to."""
        self._rested: dict[int, int] = {}
        self._busy: dict[int, Lane] = {}
        self._slow = 0
        self._counted_at = 0
        self._tidy_above = MOST_LANES

    def get(self, dest_id: int) -> Lane:
        """Return a destination's lane."""
        lane = self.lanes.get(dest_id)
        if lane is None:
            lane = self.lanes[dest_id] = Lane(dest_id)
        return lane

    def leased(self, dest_id: int, now: int) -> Lane:
        """Note that a delivery of a destination was leased."""
        lane = self.get(dest_id)
        lane.leased(1, now)
        self._busy[dest_id] = lane
        return lane

    def left(self, dest_id: int, count: int, now: int) -> bool:
        """Note that ``count`` deliveries are done with; True when this made room for more."""
        lane = self.lanes[dest_id]
        room = lane.left(count, now)
        if not lane.out:
            self._busy.pop(dest_id, None)
        return room

    def space(self, held: int, now: int) -> int:
        """Return how many deliveries more may be in memory when ``held`` are."""
        if held * 2 < MOST_LEASED:
            return MOST_LEASED - held
        if not 0 <= now - self._counted_at < LOOK_MS:
            self._counted_at = now
            self._slow = 0
            for lane in self._busy.values():
                if lane.slow or now - lane.leased_at > SLOW_MS:
                    lane.slow = True
                    self._slow += lane.out
        return MOST_LEASED - max(held - min(self._slow, MOST_SLOW), 0)

    def open(self, due: Iterable[DueDestination], now: int) -> list[tuple[Lane, int]]:
        """Return the lanes of ``due`` that have room, and how much."""
        self.allowances.look()
        out = []
        self.full = 0
        for dest_id, _, key, streak in due:
            lane = self.get(dest_id)
            lane.key = key or lane.key
            lane.hear(streak)
            room = self._room(lane, now)
            if room:
                out.append((lane, room))
                continue
            self.full += 1
            if lane.rate is not None and not lane.out and self.allowances.of(lane.key).alone:
                until = lane.rate.next_at(now)
                if until - now >= LONG_REST_MS:
                    self.resting[dest_id] = min(until, now + MOST_REST_MS)
        return out

    def rests(self, now: int) -> list[tuple[int, int]]:
        """Return, once, whom the store is to leave alone: (destination, until when; 0: no longer)."""
        told = list(self.resting.items())
        self.resting.clear()
        if told:
            known = self._rested | dict(told)
            self._rested = {dest_id: until for dest_id, until in known.items() if until > now}
        return told

    def reopen(self) -> None:
        """Have nobody rest any longer: what is allowed has changed, maybe after the look that had somebody rest."""
        self.resting = dict.fromkeys(self._rested, 0)
        self._rested = {}

    def _room(self, lane: Lane, now: int) -> int:
        allowed = self.allowances.of(lane.key)
        lane.obey(allowed.rate, now)
        if not allowed.connections or (lane.streak >= FAILURES_TO_DEAD and not allowed.first):
            return 0
        room = lane.room(now)
        if lane.slow and room and self._slow * 2 > MOST_SLOW:
            return 0 if lane.out or self._slow >= MOST_SLOW else 1
        return room

    def wants(self, lanes: list[tuple[Lane, int]], space: int) -> list[tuple[int, int]]:
        """Return what to lease, (destination, how many), so that each of ``lanes`` gets its part of ``space``."""
        wants = []
        for n, (lane, room) in enumerate(lanes):
            take = min(room, max(space // (len(lanes) - n), 1), space)
            if take > 0:
                wants.append((lane.dest_id, take))
                space -= take
        return wants

    def tidy(self, now: int) -> None:
        """Forget lanes without anything to remember, when there are many."""
        if len(self.lanes) > self._tidy_above:
            self.lanes = {dest_id: lane for dest_id, lane in self.lanes.items() if not lane.idle(now)}
            self._tidy_above = max(MOST_LANES, 2 * len(self.lanes))


def rest_of_messages(rows: list[Leased], wants: list[tuple[int, int]], space: int) -> list[tuple[int, int]]:
    """Return what to lease besides, so that a message to many at one destination is not cut into pieces."""
    found: dict[int, list[Leased]] = {}
    for row in rows:
        found.setdefault(row.dest_id, []).append(row)
    more = []
    for dest_id, n in wants:
        same = found.get(dest_id, [])
        if len(same) == n:
            size = sum(1 for row in same if row.message_id == same[-1].message_id)
            take = min(MOST_RECIPIENTS - size, space)
            if size > 1 and take > 0:
                more.append((dest_id, take))
                space -= take
    return more
