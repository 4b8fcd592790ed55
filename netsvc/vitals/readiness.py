"""Whether mail is taken: there is room for it, and the store keeps what it is given (T31, T32).

Space is measured every few seconds in a thread.  Below one and a half times the
largest message MAIL is answered 452, and so it is after a commit failed for want
of space, until there is some.  A commit that failed otherwise is trouble with the
disk or the database: from that moment MAIL is answered 451, until a write has
been made durable on a connection opened anew and the files have been looked
through.  Nothing is started again for that, and deliveries and operators go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred

from netsvc.mail.reply import NO_SPACE, NOT_TAKEN, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.interfaces import ICheckup
    from netsvc.logbook import Logbook

EVERY_S: Final = 3.0
"""Seconds between two measurements while all is well."""
SOON_S: Final = 1.0
"""Seconds between two while mail is refused: it is taken again at most two seconds after it can be."""
DAMAGED_S: Final = 60.0
"""Seconds between two looks through files that are damaged."""
WELL, FULL, UNWELL = "ok", "full", "failed"


def needed(limit: int) -> int:
    """Return the octets that must be free for messages of up to ``limit`` octets to be taken."""
    return limit + (limit >> 1)


class Readiness:
    """See the module.  ``in_thread(function)`` returns a Deferred; ``clock`` is the reactor."""

    def __init__(
        self,
        checkup: ICheckup,
        logbook: Logbook,
        clock: Any,
        in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
        largest: int = 0,
    ) -> None:
        """Take mail until something is known against it; ``largest`` is the largest message of any listener."""
        self.state = WELL
        self.why = ""
        self.since = 0.0
        self.free: int | None = None
        self.total: int | None = None
        self.failed = 0
        self._checkup = checkup
        self._logbook = logbook
        self._clock = clock
        self._in_thread = in_thread
        self.need = needed(largest)
        self._hard = False  # a commit failed for want of space
        self._seen = False
        self._running: Deferred[None] | None = None
        self._timer: Any = None
        self._stopped = True

    def refusal(self, limit: int) -> Reply | None:
        """Return why no message of up to ``limit`` octets is taken now, None when it is."""
        if self.state is UNWELL:
            return NOT_TAKEN
        if self._hard or (self.free is not None and self.free < needed(limit)):
            return NO_SPACE
        return None

    def not_stored(self, error: BaseException) -> None:
        """Hear that a commit failed: for want of space, or for worse."""
        full = bool(getattr(error, "full", False))
        self._hard = self._hard or full
        self._set(FULL if full else UNWELL, str(error))
        self._look_soon()

    # What goes on by itself.

    def start(self) -> None:
        """Begin to look, at once."""
        self._stopped = False
        self._turn()

    def stop(self) -> Deferred[None] | None:
        """End; return a Deferred where something is still being looked at."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        return self._running

    def _turn(self) -> None:
        self._timer = None
        self._running = Deferred.fromCoroutine(self._look()).addErrback(self._broken).addCallback(self._again)

    def _broken(self, failure: Any) -> float:
        if not failure.check(CancelledError):
            self._logbook.failure("store.failed", failure, what="looking at the store")
        return EVERY_S

    def _again(self, seconds: float) -> None:
        self._running = None
        if not self._stopped:
            self._timer = self._clock.callLater(seconds, self._turn)

    def _look_soon(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.reset(0)

    async def _look(self) -> float:
        """Look once; return in how many seconds to look again."""
        try:
            self.free, self.total, failed = await self._in_thread(self._checkup.measure)
        except OSError as error:
            self._set(UNWELL, str(error))
            return SOON_S
        if failed > self.failed and self._seen and self.state is WELL:
            self._set(UNWELL, "a commit failed")  # one of nobody's mail: whether it was the disk is found out now
        self.failed, self._seen = failed, True
        enough = self.free is None or self.free >= self.need
        if self.state is WELL and not enough:
            self._set(FULL, f"{self.free} octets are free")
        if self.state is WELL:
            return EVERY_S
        if not enough:
            return SOON_S
        return await self._recover()

    async def _recover(self) -> float:
        """Take mail again if a write is durable and, after more than want of space, the files are whole."""
        try:
            await self._checkup.probe()
            if self.state is UNWELL:
                damage = await self._in_thread(self._checkup.examine)
                if damage:
                    self.why = damage
                    self._logbook.event("store.unwell", why=damage)
                    return DAMAGED_S
        except Exception as error:  # noqa: BLE001 - whatever it is, the store is not well
            self.why = str(error)
            return SOON_S
        name = "store.well" if self.state is UNWELL else "store.disk_ok"
        fields: dict[str, object] = {} if self.state is UNWELL else {"free": self.free}
        self._logbook.event(name, took_ms=round((self._clock.seconds() - self.since) * 1000), **fields)
        self.state, self.why, self._hard = WELL, "", False
        return EVERY_S

    def _set(self, state: str, why: str) -> None:
        """Stop taking mail; once for each trouble there is a line in the log."""
        if self.state == state or self.state is UNWELL:
            return
        if self.state is WELL:
            self.since = self._clock.seconds()
        self.state, self.why = state, why
        if state is FULL:
            self._logbook.event("store.disk_low", free=self.free, needed=self.need)
        else:
            self._logbook.event("store.unwell", why=why)

    def rows(self) -> list[dict[str, Any]]:
        """Return health/1 rows: the disk, and the store."""
        low = self.free is not None and self.free < self.need
        rows: list[dict[str, Any]] = []
        if self.free is not None:
            rows.append(
                {
                    "name": "disk-free", "state": FULL if low or self.state is FULL else "ok", "value": self.free,
                    "limit": self.need, "unit": "octets",
                    "why": f"mail is refused with 452 below {self.need} octets" if low else "",
                }
            )  # fmt: skip
        state, why = (UNWELL, f"mail is refused with 451: {self.why}") if self.state is UNWELL else ("ok", "")
        rows.append({"name": "store", "state": state, "count": self.failed, "unit": "failed commits", "why": why})
        return rows
