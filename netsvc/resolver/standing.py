"""Whether any name server answers at all: what is told the log and ``show health``.

Names that do not exist and servers that fail at one name are everyday; servers
that say nothing, lookup after lookup, are trouble of this host or its network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netsvc.logbook import Logbook

UNANSWERED = 3
"""Lookups in a row of which no server says anything: then the servers are down."""
LOG_S = 60.0
"""Seconds between two log lines while they are."""


class Standing:
    """See the module.  ``clock`` is the reactor."""

    def __init__(self, clock: Any, logbook: Logbook | None = None) -> None:
        """Take the servers to be well until something is known against them."""
        self.why = ""
        """What is wrong; "" while they answer."""
        self.count = 0
        """Lookups without an answer since the start."""
        self._clock = clock
        self._logbook = logbook
        self._streak = 0
        self._since = 0.0
        self._logged_at = 0.0
        self._untold = 0

    def answered(self) -> None:
        """Hear that a server said something, were it that it cannot tell."""
        self._streak = 0
        if self.why:
            self.why = ""
            if self._logbook is not None:
                self._logbook.event("dns.up", took_ms=round((self._clock.seconds() - self._since) * 1000))

    def unanswered(self, why: str) -> None:
        """Hear that a lookup ended without a word of any server; ``why`` is of the one asked last."""
        now = self._clock.seconds()
        self.count += 1
        self._untold += 1
        self._streak += 1
        if self._streak == 1:
            self._since = now
            self._untold = 1
        if self._streak < UNANSWERED:
            return
        begins, self.why = not self.why, why
        if begins or now >= self._logged_at + LOG_S:
            self._logged_at = now
            count, self._untold = self._untold, 0
            if self._logbook is not None:
                self._logbook.event("dns.down", n=count, why=why)

    def rows(self) -> list[dict[str, Any]]:
        """Return the health/1 row."""
        why = f"no name server answers; mail that needs one waits: {self.why}" if self.why else ""
        state = "failed" if self.why else "ok"
        return [{"name": "resolver", "state": state, "count": self.count, "unit": "lookups unanswered", "why": why}]
