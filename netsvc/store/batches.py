"""Batches: units of work that share one transaction and one commit, whoever waits for them.

A unit that raises does not take its neighbours down: the batch is rolled back
and run again with a savepoint a unit.  A commit that fails fails every unit of
its batch, and nothing of it is kept.  No Twisted here: the writer process
(writerprocess.py) runs batches too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from netsvc.store.tx import CommitFailedError, Link, Tx, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

RETRIES = 5


class Unit:
    """One unit of work and who waits for it.

    ``gathered`` units of one ``work`` are run by one call.  ``waiter`` is whoever is to be told, a Deferred.
    """

    __slots__ = ("gathered", "item", "priority", "waiter", "work")

    def __init__(
        self, work: Callable[..., Any], priority: int, item: Any = None, *, gathered: bool = False, waiter: Any = None
    ) -> None:
        """Take ``work(tx)``, or when gathered ``work(tx, items) -> results``."""
        self.work = work
        self.priority = priority
        self.item = item
        self.gathered = gathered
        self.waiter = waiter


Done = tuple[Any, Any]
"""Who waits, and what it is to be told; an exception is a failure."""


class Clock(Protocol):
    """What says the time."""

    def now(self) -> int:
        """Return ms since 1970."""
        ...


class Batches:
    """Runs batches on one link; in whatever thread it is called."""

    def __init__(self, link: Link, clock: Clock) -> None:
        """Run on ``link``."""
        self.link = link
        self._clock = clock
        self.undone: list[Callable[[], None]] = []
        """Called whenever something was rolled back: what was remembered of it must be forgotten."""
        self.commits = 0
        self.failures = 0

    def run(self, batch: list[Unit]) -> list[Done]:
        """Run and commit ``batch``; return what each who waits is to be told.  Never raises."""
        apart = False
        tries = 0
        while True:
            done: list[Done] = []
            committing = False
            try:
                tx = self.link.begin(self._clock.now())
                if apart:
                    self._apart(tx, batch, done)
                else:
                    self._together(tx, batch, done)
                committing = True
                self.link.commit()
            except Exception as error:  # noqa: BLE001  whatever a unit or a driver raises is told to who asked
                verdict = self.link.failed(error, committing=committing)
                self._undo()
                if verdict is Verdict.UNIT and not apart:
                    if len(batch) == 1:
                        return [(batch[0].waiter, error)]
                    apart = True
                    continue
                tries += 1
                if verdict is Verdict.AGAIN and tries <= RETRIES:
                    continue
                if verdict is not Verdict.KEPT:
                    self.failures += 1
                    why = CommitFailedError(f"not stored: {error}", full=verdict is Verdict.FULL)
                    why.__cause__ = error
                    return [(unit.waiter, why) for unit in batch]
            self.commits += 1
            return done

    def _undo(self) -> None:
        for forget in self.undone:
            forget()

    def _together(self, tx: Tx, batch: list[Unit], done: list[Done]) -> None:
        groups: dict[Callable[..., Any], list[Unit]] = {}
        for unit in batch:
            if unit.gathered:
                groups.setdefault(unit.work, []).append(unit)
        for unit in batch:
            if not unit.gathered:
                done.append((unit.waiter, unit.work(tx)))
            elif unit.work in groups:
                members = groups.pop(unit.work)
                results = unit.work(tx, [m.item for m in members])
                done.extend((m.waiter, r) for m, r in zip(members, results, strict=True))

    def _apart(self, tx: Tx, batch: list[Unit], done: list[Done]) -> None:
        for unit in batch:
            self.link.savepoint()
            try:
                result = unit.work(tx, [unit.item])[0] if unit.gathered else unit.work(tx)
            except Exception as error:
                if not self.link.spares(error):
                    raise
                self.link.forget(keep=False)
                self._undo()
                result = error
            else:
                self.link.forget(keep=True)
            done.append((unit.waiter, result))
