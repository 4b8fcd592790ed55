"""Jobs: what operators do to many items, in short slices that hold nobody up.

A job's ids are frozen in the store before it begins, so it goes on after a
restart where it stopped, and what it did can be taken back.  Each slice is one
unit of work of the lowest priority, sized to take about 10 ms of the writer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from netsvc.records import Row, Selection, StoreError, StoreUnavailableError
from netsvc.store import jobrows
from netsvc.store.tx import BULK

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from twisted.python.failure import Failure

    from netsvc.store.engine import Engine

FREEZE = 2_000
"""Ids kept in one unit of work."""
FIRST, MOST, LEAST = 500, 2_000, 50
"""Items of the first slice, and of any."""
AIM_S = 0.010
AGAIN_S = 1.0
TRIES = 60
"""How often, and how long apart, a slice is tried again while the store does not answer."""
POLL_S = 0.5
"""How often a job of another node is looked at."""


class Jobs:
    """The jobs of one store, as this process sees them.  ``wake`` is called when work has come due."""

    _log = Logger()

    def __init__(self, engine: Engine, wake: Callable[[], None], clock: Any) -> None:
        """Run jobs on ``engine``; ``clock`` (the reactor) is for waiting only."""
        self._engine = engine
        self._wake = wake
        self._clock = clock
        self._running: dict[int, list[Deferred[Row]]] = {}

    @property
    def _node(self) -> jobrows.Node:
        return self._engine.node_id, self._engine.epoch

    async def start(self, verb: str, selection: Selection, args: Mapping[str, Any], actor: str) -> int:
        """Freeze the ids, then let the job run; return its number."""
        ids = selection.ids
        plan = jobrows.make_plan(verb, args, actor, selection.described, len(ids))
        node = self._node
        number = await self._engine.write(lambda tx: jobrows.create(tx, node, plan), BULK)
        for at in range(0, len(ids), FREEZE):
            part, was = ids[at : at + FREEZE].tolist(), selection.was[at : at + FREEZE].tolist()
            await self._freezing(number, self._engine.write(_freeze(number, part, was), BULK))
        await self._begin(number)
        return number

    async def undo(self, undone: int, actor: str) -> int:
        """Start the job that takes ``undone`` back; return its number."""
        node = self._node
        plan = await self._engine.read(lambda tx: jobrows.plan_undo(tx, undone, actor))
        number = await self._engine.write(lambda tx: jobrows.create(tx, node, plan), BULK)
        after: int | None = 0
        while after is not None:
            after = await self._freezing(number, self._engine.write(_freeze_undo(number, undone, after), BULK))
        await self._begin(number)
        return number

    async def _freezing(self, number: int, write: Deferred[Any]) -> Any:
        try:
            return await write
        except BaseException:
            await self._engine.write(lambda tx: jobrows.cancel(tx, number), BULK)
            raise

    async def _begin(self, number: int) -> None:
        node = self._node
        if await self._engine.write(lambda tx: jobrows.begin(tx, number, node), BULK):
            self._go(self._run(number), number)

    def _go(self, run: Coroutine[Any, Any, None], number: int) -> None:
        self._running[number] = []
        Deferred.fromCoroutine(run).addErrback(self._failed, number)

    def _failed(self, failure: Failure, number: int) -> None:
        """End the waiting; a job the store did not answer goes on after the next start, a broken one is cancelled."""
        waiting = self._running.pop(number, [])
        if not isinstance(failure.value, StoreUnavailableError):
            self._log.failure("job {number} stopped", failure, number=number)
            self._engine.write(lambda tx: jobrows.cancel(tx, number), BULK).addErrback(lambda _: None)
        for deferred in waiting:
            deferred.errback(failure)

    async def _run(self, number: int) -> None:
        limit = FIRST
        node = self._node
        tries = 0
        while True:
            try:
                progress = await self._engine.write(_step(number, node, limit), BULK)
            except StoreUnavailableError:
                tries += 1
                if self._engine.closed or tries > TRIES:
                    raise
                await deferLater(self._clock, AGAIN_S)
                continue
            tries = 0
            if progress.due:
                self._wake()
            if progress.over:
                break
            limit = _next_limit(limit, progress)
        row = await self._engine.read(lambda tx: jobrows.job(tx, number))
        for deferred in self._running.pop(number, []):
            deferred.callback(row or {})

    async def resume(self) -> list[int]:
        """Go on with the jobs whose process is gone; return their numbers."""
        node = self._node
        numbers = await self._engine.write(lambda tx: jobrows.adopt(tx, node), BULK)
        for number in numbers:
            self._go(self._run(number), number)
        return numbers

    async def cancel(self, number: int) -> bool:
        """Stop a job after its present slice."""
        return await self._engine.write(lambda tx: jobrows.cancel(tx, number))

    async def wait(self, number: int) -> Row:
        """Return the job's row when it has ended."""
        while True:
            if number in self._running:
                ended: Deferred[Row] = Deferred()
                self._running[number].append(ended)
                return await ended
            row = await self._engine.read(lambda tx: jobrows.job(tx, number))
            if row is None:
                raise StoreError(f"There is no job {number}")
            if row["state"] != "running":
                return row
            if number not in self._running:
                await deferLater(self._clock, POLL_S)


def _freeze(number: int, ids: list[int], was: list[int]) -> Callable[[Any], None]:
    return lambda tx: jobrows.freeze(tx, number, ids, was)


def _freeze_undo(number: int, undone: int, after: int) -> Callable[[Any], int | None]:
    return lambda tx: jobrows.freeze_undo(tx, number, undone, after, FREEZE)


def _step(number: int, node: jobrows.Node, limit: int) -> Callable[[Any], jobrows.Progress]:
    return lambda tx: jobrows.step(tx, number, node, limit)


def _next_limit(limit: int, progress: jobrows.Progress) -> int:
    """Return a slice's size that would have taken about AIM_S, not changing too fast."""
    if progress.seconds <= 0:
        return limit
    fitting = int(limit * AIM_S / progress.seconds)
    return max(LEAST, min(MOST, 2 * limit, max(limit // 2, fitting)))
