"""When to try again, when to warn, when to give up (quiet: no clock, no chance of its own).

Times are milliseconds since 1970 by the store's clock.  A message expires when
its time is over *and* it has been tried a few times, so that a clock that jumps
ahead does not return a whole queue (SMTP.md T37).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.message import FLAG_BY_RETURN, FLAG_LATER, FLAG_REPORT, FLAG_WARNED

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.mail.message import Leased
    from netsvc.settings import DeliverySettings

JITTER = 0.1
"""Part of a wait by which it may be shorter or longer."""
MIN_ATTEMPTS = 3
"""Attempts before a message may expire, however old it is."""
SECOND = 1_000
DEAD_FIRST = 5 * 60 * SECOND
DEAD_MOST = 60 * 60 * SECOND
"""How long a destination that cannot be reached is left alone: doubled from the first to the last."""
FAILURES_TO_DEAD = 3
"""Connection failures in a row after which a destination is left alone."""


def wait_after(attempts: int, settings: DeliverySettings) -> int:
    """Return the wait, without jitter, after ``attempts`` failures (1 and more)."""
    schedule = settings.retry or (DEAD_FIRST,)
    return max(schedule[min(max(attempts, 1), len(schedule)) - 1], SECOND)


def jittered(wait: int, chance: Callable[[], float]) -> int:
    """Return ``wait`` made up to a tenth shorter or longer; ``chance`` gives 0 <= x < 1."""
    return max(int(wait * (1 + JITTER * (2 * chance() - 1))), 1)


def next_due(now: int, row: Leased, settings: DeliverySettings, chance: Callable[[], float]) -> int:
    """Return when to try ``row`` again after its present attempt failed.

    Never in the past, never later than the longest wait from now; an attempt is made when it should have been
    delivered, and the last as the message expires.
    """
    due = now + jittered(wait_after(row.attempts, settings), chance)
    if now < row.by_at < due:
        due = row.by_at
    return row.expires_at if now < row.expires_at < due else due


def has_expired(now: int, row: Leased, settings: DeliverySettings, lived: int | None = None) -> bool:
    """Say whether ``row``, whose attempt failed for now, is to be given up.

    ``lived``: what the clock would say had it only gone on since the message came (ISpool.lived).
    """
    if is_past_its_time(now, row):
        return True
    over = (now if lived is None else lived) >= row.expires_at
    return over and row.attempts >= min(MIN_ATTEMPTS, len(settings.retry) + 1)


def is_worth_warning(now: int, row: Leased, settings: DeliverySettings, lived: int | None = None) -> bool:
    """Say whether the sender should hear now, for the first time, that ``row`` is late; ``lived`` as above."""
    if not row.sender or row.flags & (FLAG_WARNED | FLAG_REPORT):
        return False
    if row.by_at:
        return now >= row.by_at
    begun = row.received_at
    if row.flags & FLAG_LATER:  # its life began when it was released
        begun = max(begun, row.expires_at - settings.expire)
    return settings.warn > 0 and (now if lived is None else lived) - begun >= settings.warn


def is_past_its_time(now: int, row: Leased) -> bool:
    """Say whether ``row`` is to be returned because it was not delivered by the time its sender set (RFC 2852)."""
    return bool(row.by_at and row.flags & FLAG_BY_RETURN) and now >= row.by_at


def dead_for(streak: int, chance: Callable[[], float]) -> int:
    """Return how long to leave a destination alone after ``streak`` connection failures in a row; 0: try on."""
    if streak < FAILURES_TO_DEAD:
        return 0
    doublings = min(streak - FAILURES_TO_DEAD, 10)
    return jittered(min(DEAD_FIRST << doublings, DEAD_MOST), chance)
