"""Storage threads: lanes that write in groups, readers, and the one way back into the reactor.

A lane's thread takes all units of work that wait (at most 128), runs them in
one transaction and commits once: no linger, the group forms while the commit
before is being made durable.  All results of a batch go back to the reactor in
one call.  How a batch is run is batches.py's.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from netsvc.records import StoreUnavailableError
from netsvc.store.tx import BULK, Link, Tx, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.store.batches import Batches, Done, Unit
    from netsvc.store.ticks import Clock

BATCH = 128
IDLE_S = 1.0
BULKS = 1
"""Units of low priority in one batch: each may be long."""


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


class Lane:
    """A thread that writes."""

    def __init__(
        self, name: str, batches: Batches, outbox: Outbox, turns: AbstractContextManager[None] | None = None
    ) -> None:
        """Name the thread; ``batches`` is only ever run there, and within its ``turns``."""
        self._batches = batches
        self._turns = nullcontext() if turns is None else turns
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
                    with self._turns:
                        wait = 0.0 if self._batches.link.idle() else None
                    continue
            for _ in range(inbox.qsize()):
                self._sort(inbox.get_nowait())
            batch = self._take()
            with self._turns:
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
            self._outbox.post([(unit.waiter, result)])
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
