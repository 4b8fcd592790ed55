"""Who is kept out for wrong passwords, and how that is lifted (see throttle)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netsvc.accounts.throttle import MAIL_REALM, REALM

if TYPE_CHECKING:
    from netsvc.interfaces import ICounters
    from netsvc.records import Row

DOORS: Final = {REALM: "console", MAIL_REALM: "mail"}
ANY: Final = "*"


def lock_row(realm: int, key: str, until: int) -> Row:
    """Return the lock/1 row of a locked key; ``throttle.counted`` says what keys are."""
    source, _, name = key.partition(" ")  # a name that is none may hold blanks
    return {
        "door": DOORS[realm],
        "name": "" if name == ANY else name,
        "source": "" if source == ANY else source,
        "until": until,
    }


async def locks(counters: ICounters) -> list[Row]:
    """Return the lock/1 rows of all that are locked, at the console first."""
    return [lock_row(*found) for found in await counters.locks(tuple(DOORS))]


async def lift(counters: ICounters, name: str) -> tuple[int, int]:
    """Forget the wrong passwords of ``name`` from wherever -> (locks lifted, counts in all); networks stay locked."""
    lifted: tuple[int, int] = await counters.clear_named(tuple(DOORS), name)
    return lifted
