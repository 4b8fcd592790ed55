"""Outcomes on their way into the store: whatever has gathered is settled in one unit of work.

One settle is under way at a time while the next batch gathers.  An outcome is
kept until the store has it: a store that does not answer is asked again
(SMTP.md T34: what a peer has taken is recorded before anything else happens to it).
After a batch that it did not take its parts are tried one by one, and what it does
not take then goes to the end: one that it will never take must not keep the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.delivery.ground import Ground
    from netsvc.mail.outcome import Outcome, Report, Settled

MOST_AT_ONCE = 500
"""Outcomes in one unit of work."""
LINGER = 0.01
"""Seconds for which a batch gathers after the last was settled."""
FIRST_PAUSE = 0.5
LAST_PAUSE = 30.0
"""Seconds before the store is asked again."""

Batch = list[tuple["Sequence[Outcome]", "Sequence[Report]"]]


class Settler:
    """Takes outcomes; ``settled(answer, outcomes, reports)`` is called when the store has them."""

    def __init__(self, ground: Ground, settled: Callable[[Settled, list[Outcome], list[Report]], None]) -> None:
        self._ground = ground
        self._settled = settled
        self._waiting: Batch = []
        self._single = 0
        """How many parts are yet to be tried one by one."""
        self._running = False
        self._idle: list[Deferred[None]] = []
        self._given_up = False

    def add(self, outcomes: Sequence[Outcome], reports: Sequence[Report] = ()) -> None:
        """Settle ``outcomes`` and their ``reports`` in one unit of work, soon."""
        self._waiting.append((outcomes, reports))
        if not self._running:
            self._running = True
            running = Deferred.fromCoroutine(self._run())
            running.addErrback(lambda failure: self._ground.logbook.failure("delivery.fault", failure, what="settling"))

    def drained(self) -> Deferred[None]:
        """Return what fires when nothing waits and nothing is under way."""
        done: Deferred[None] = Deferred()
        if not self._running:
            done.callback(None)
        else:
            self._idle.append(done)
        return done

    def give_up(self) -> None:
        """Ask a store that does not answer no more: what it does not have is tried again after the restart."""
        self._given_up = True

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        try:
            while self._waiting:
                await deferLater(self._ground.reactor, LINGER)
                batch = self._take()
                outcomes = [outcome for group, _ in batch for outcome in group]
                reports = [report for _, group in batch for report in group]
                try:
                    settled = await self._ground.spool.settle(outcomes, reports)
                except Exception:  # noqa: BLE001 - the store's errors are its own; outcomes must not be lost for one
                    self._ground.logbook.failure("delivery.fault", None, what="the store does not take outcomes")
                    if self._given_up:
                        self._waiting.clear()
                        break
                    self._keep(batch)
                    await deferLater(self._ground.reactor, pause)
                    pause = min(pause * 2, LAST_PAUSE)
                    continue
                pause = FIRST_PAUSE
                self._settled(settled, outcomes, reports)
        finally:
            self._running = False
            idle, self._idle = self._idle, []
            for done in idle:
                done.callback(None)

    def _keep(self, batch: Batch) -> None:
        """Keep what the store did not take."""
        if len(batch) > 1:
            self._single = len(batch)
            self._waiting[:0] = batch
        else:
            self._waiting += batch

    def _take(self) -> Batch:
        if self._single:
            self._single -= 1
            return [self._waiting.pop(0)]
        count = 0
        for n, (outcomes, _) in enumerate(self._waiting):
            count += len(outcomes)
            if count >= MOST_AT_ONCE:
                batch, self._waiting = self._waiting[: n + 1], self._waiting[n + 1 :]
                return batch
        batch, self._waiting = self._waiting, []
        return batch
