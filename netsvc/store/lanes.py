"""Storage threads: lanes that write in groups, readers, and the one way back into the reactor.

A lane's thread takes all units of work that wait (at most 128), runs them in
one transaction and commits once: no linger, the group forms while the commit
before is being made durable.  All results of a batch go back to the reactor in
one call.  A unit that raises does not take its neighbours down: the batch is
rolled back and run again with a savepoint a unit.  A commit that fails fails
every unit of its batch, and nothing of it is kept.
"""

from __future__ import annotations

import threading
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from netsvc.records import StoreUnavailableError
from netsvc.store.tx import BULK, CommitFailedError, Link, Tx, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.store.ticks import Clock

BATCH = 128
RETRIES = 5
IDLE_S = 1.0
BULKS = 1
"""Units of low priority in one batch: each may be long."""


class Unit:
    """One unit of work and the Deferred it fires.  ``gathered`` units of one ``work`` are run by one call."""

    __slots__ = ("deferred", "gathered", "item", "priority", "work")

    def __init__(self, work: Callable[..., Any], priority: int, item: Any = None, *, gathered: bool = False) -> None:
        """Take ``work(tx)``, or when gathered ``work(tx, items) -> results``."""
        self.work = work
        self.priority = priority
        self.item = item
        self.gathered = gathered
        self.deferred: Deferred[Any] = Deferred()


Done = tuple["Deferred[Any]", Any]
"""A Deferred and what to fire it with; an exception is a failure."""


def fire(done: list[Done]) -> None:
    """Fire Deferreds with their results; in the reactor thread."""
    for deferred, value in done:
        if deferred.called:  # cancelled meanwhile
            continue
        if isinstance(value, BaseException):
            deferred.errback(value)
        else:
            deferred.callback(value)


class Outbox:
    """Results on their way to the reactor: one call there for all that have gathered."""

    def __init__(self, call_from_thread: Callable[..., Any]) -> None:
        """Use the reactor's ``callFromThread``."""
        self._call = call_from_thread
        self._waiting: deque[list[Done]] = deque()
        self._armed = False

    def post(self, done: list[Done]) -> None:
        """Have ``done`` fired in the reactor thread."""
        self._waiting.append(done)
        if not self._armed:
            self._armed = True
            self._call(self._drain)

    def _drain(self) -> None:
        self._armed = False  # before looking: who appends after this look arms again
        while self._waiting:
            fire(self._waiting.popleft())


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
        """Run and commit ``batch``; return what each Deferred is to be fired with.  Never raises."""
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
                        return [(batch[0].deferred, error)]
                    apart = True
                    continue
                tries += 1
                if verdict is Verdict.AGAIN and tries <= RETRIES:
                    continue
                if verdict is not Verdict.KEPT:
                    self.failures += 1
                    why = CommitFailedError(f"not stored: {error}", full=verdict is Verdict.FULL)
                    why.__cause__ = error
                    return [(unit.deferred, why) for unit in batch]
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
                done.append((unit.deferred, unit.work(tx)))
            elif unit.work in groups:
                members = groups.pop(unit.work)
                results = unit.work(tx, [m.item for m in members])
                done.extend((m.deferred, r) for m, r in zip(members, results, strict=True))

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
            done.append((unit.deferred, result))


class Lane:
    """A thread that writes."""

    def __init__(self, name: str, batches: Batches, outbox: Outbox) -> None:
        """Name the thread; ``batches`` is only ever run there."""
        self._batches = batches
        self._outbox = outbox
        self._inbox: SimpleQueue[list[Unit] | None] = SimpleQueue()
        self._ready: tuple[deque[Unit], ...] = (deque(), deque(), deque())
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, units: list[Unit]) -> None:
        """Hand units over; from any thread."""
        self._inbox.put(units)

    def stop(self) -> None:
        """End after all that was handed over before."""
        self._inbox.put(None)

    def join(self, seconds: float) -> None:
        """Wait for the end, off the reactor thread or when it is known to be near."""
        self._thread.join(seconds)

    def _sort(self, units: list[Unit] | None) -> None:
        if units is None:
            self._closing = True
            return
        for unit in units:
            self._ready[unit.priority].append(unit)

    def _loop(self) -> None:
        inbox = self._inbox
        wait: float | None = IDLE_S
        while True:
            if not any(self._ready):
                if self._closing:
                    break
                try:
                    self._sort(inbox.get(timeout=wait))
                    wait = IDLE_S
                except Empty:
                    wait = 0.0 if self._batches.link.idle() else None
                    continue
            for _ in range(inbox.qsize()):
                self._sort(inbox.get_nowait())
            batch = self._take()
            if batch:
                self._outbox.post(self._batches.run(batch))
                self._batches.link.tidy()
        self._batches.link.close()

    def _take(self) -> list[Unit]:
        batch: list[Unit] = []
        for priority, waiting in enumerate(self._ready):
            room = BATCH - len(batch)
            if priority == BULK:
                room = min(room, BULKS)
            if len(waiting) <= room:
                batch.extend(waiting)
                waiting.clear()
            else:
                batch.extend(waiting.popleft() for _ in range(room))
        return batch


class Readers:
    """Threads that read, each on its own link, sharing one queue."""

    def __init__(self, links: list[Link], clock: Clock, outbox: Outbox) -> None:
        """One thread a link."""
        self._inbox: SimpleQueue[Unit | None] = SimpleQueue()
        self._clock = clock
        self._outbox = outbox
        self._threads = [
            threading.Thread(target=self._loop, args=(link,), name=f"netsvc-read-{n}", daemon=True)
            for n, link in enumerate(links)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def put(self, unit: Unit) -> None:
        """Hand a read over."""
        self._inbox.put(unit)

    def stop(self) -> None:
        """End after all that was handed over before."""
        for _ in self._threads:
            self._inbox.put(None)

    def join(self, seconds: float) -> None:
        """Wait for the end."""
        for thread in self._threads:
            thread.join(seconds)

    def _loop(self, link: Link) -> None:
        opened = False
        while (unit := self._inbox.get()) is not None:
            try:
                if not opened:
                    link.open()
                    opened = True
            except Exception as error:  # noqa: BLE001  told to who asked
                result: Any = StoreUnavailableError(f"the store cannot be read: {error}")
            else:
                result = read_once(link, self._clock, unit.work)
            self._outbox.post([(unit.deferred, result)])
        link.close()


def read_once(link: Link, clock: Clock, work: Callable[[Tx], Any]) -> Any:
    """Run a read; return its result, or the exception it failed with.  Tried again when a connection was lost."""
    for last in (False, True):
        try:
            result = work(link.begin(clock.now()))
            link.rollback()
            return result
        except Exception as error:  # noqa: BLE001  told to who asked
            verdict = link.failed(error, committing=False)
            if verdict is Verdict.UNIT:
                return error
            if last or verdict is not Verdict.AGAIN:
                return StoreUnavailableError(f"the store cannot be read: {error}")
    raise AssertionError  # pragma: no cover  the second round always returns
