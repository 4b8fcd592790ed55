"""Telling senders that mail is late though nobody tries it, for its destination is left alone.

What is tried is told of when the attempt fails.  Behind a destination that is
down only some mail is tried at all; the rest is looked for here, once a minute,
each message once in an hour at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.interfaces import ISite, ISpool
    from netsvc.mail.message import Leased

MOST = 200
"""Deliveries told of in one unit of work."""
STEPS = 50
"""Units of work in one look."""
ANEW = 60
"""Looks after which all is looked at again: what was being tried the first time may be left alone now."""


class Lateness:
    """``take(rows)`` is handed what is leased; ``space()`` says for how many deliveries there is room."""

    def __init__(
        self, spool: ISpool, site: ISite, take: Callable[[list[Leased]], None], space: Callable[[], int]
    ) -> None:
        """Begin with the oldest."""
        self._spool = spool
        self._site = site
        self._take = take
        self._space = space
        self._after = 0
        self._looks = 0

    async def look(self) -> None:
        """Find what is late and not told."""
        warn = self._site.current.delivery.warn
        if not warn:
            return
        self._looks += 1
        if self._looks % ANEW == 0:
            self._after = 0
        for _ in range(STEPS):
            room = min(self._space(), MOST)
            if room <= 0:
                return
            rows, after = await self._spool.unwarned(self._after, self._spool.before(warn), room)
            if rows:
                self._take(rows)
            if after == self._after:
                return
            self._after = after
