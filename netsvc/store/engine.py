"""The engine: units of work in, Deferreds out, whichever database is below.

``write`` commits in groups, ``read`` never waits for writers, and both may be
called only in the reactor's thread; the work itself runs in a storage thread
(on the calling thread for the memory store, whose Deferreds have fired when
they are returned).  Work must be plain and short: it holds up all who wait.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from netsvc.records import StoreUnavailableError
from netsvc.store import schema
from netsvc.store.batches import Batches, Unit
from netsvc.store.lanes import Lane, Outbox, Readers, fire, read_once
from netsvc.store.ticks import Clock, Ids
from netsvc.store.tx import ACCEPT, BULK, SETTLE, Link, Links, Tx

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.store.errands import Errand
    from netsvc.store.writerpipe import WriterPipe

__all__ = ["ACCEPT", "BULK", "SETTLE", "Engine", "Tx"]

T = TypeVar("T")
JOIN_S = 10.0
NUDGE_S = 0.5
"""Seconds, at least, between two times the writer's thread is woken because the writer process has written."""


class Reactor(Protocol):
    """What the store needs of the reactor; the tests bring their own."""

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None:  # noqa: A002
        """Call in the reactor's thread."""
        ...

    def seconds(self) -> float:
        """Return the time, in seconds."""
        ...

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: A002
        """Call after ``delay`` seconds; 0: at the end of this turn."""
        ...


class Engine:
    """One database: its threads, clock and ids.  ``node_id`` and ``epoch`` are set while the store is opened."""

    def __init__(self, links: Links, reactor: Any) -> None:
        """Take the database behind ``links``; nothing is touched before ``open``.  ``reactor`` None: memory only."""
        self.links = links
        self.dialect = links.dialect
        self.node_id = 1
        self.epoch = 1
        self.clock = Clock()
        self.ids = Ids(self.clock)
        self._reactor = reactor
        self._closed = True
        self._inline: Batches | None = None
        self._inline_reader: Link | None = None
        self._lanes: list[Lane] = []
        self._pending: list[Unit] = []
        self._batches: list[Batches] = []
        self._readers: Readers | None = None
        self._pipe: WriterPipe | None = None
        self._plain: list[Unit] = []
        self._nudged = 0.0
        self._writer_died: Callable[[int], None] = lambda _: None
        self._forgets: list[Callable[[], None]] = []
        self._openings: list[Callable[[Tx], object]] = []
        self._wakes: list[Callable[[], None]] = []
        self.outbox: Outbox | None = None

    def now(self) -> int:
        """Return the one clock, ms since 1970, never going back."""
        return self.clock.now()

    def new_id(self) -> int:
        """Return a fresh id, above every id used before; from any thread."""
        return self.ids.one()

    def new_ids(self, n: int) -> list[int]:
        """Return ``n`` fresh ids, rising; from any thread."""
        return self.ids.many(n)

    @property
    def closed(self) -> bool:
        """Whether no work is taken."""
        return self._closed

    def open(self) -> Deferred[None]:
        """Lock, check, migrate, connect.  Fails with StoreError, with nothing touched."""
        if self.links.inline:
            deferred: Deferred[None] = Deferred()
            try:
                self._prepare()
            except Exception as error:  # noqa: BLE001  told through the Deferred as everywhere
                fire([(deferred, error)])
                return deferred
            self._inline = self._batches[0]
            self._inline_reader = self.links.reader()
            self._closed = False
            deferred.callback(None)
            return deferred
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        self.outbox = Outbox(self._reactor.callFromThread)
        started: Deferred[Any] = Deferred()
        threading.Thread(target=self._start, args=(started,), name="netsvc-open", daemon=True).start()
        await started
        turns = None
        if self._pipe is not None:
            turns = self._pipe.attach(self._reactor, self.clock.now, self)
        for n, batches in enumerate(self._batches):
            self._lanes.append(Lane(f"netsvc-write-{n}", batches, self.outbox, turns))
        self._readers = Readers([self.links.reader() for _ in range(self.links.readers)], self.clock, self.outbox)
        self._readers.start()
        for lane in self._lanes:
            lane.start()
        self._closed = False

    def _start(self, started: Deferred[Any]) -> None:
        assert self.outbox is not None
        try:
            self._prepare()
        except BaseException as error:  # noqa: BLE001  told through the Deferred
            self.outbox.post([(started, error)])
        else:
            self.outbox.post([(started, None)])

    def _prepare(self) -> None:
        self.links.prepare(self.clock.now())
        try:
            self.links.folded(lambda: self._lanes[0].put([]) if self._lanes else None)
            self._batches = [Batches(self.links.writer(), self.clock) for _ in range(self.links.lanes)]
            self._pipe = self.links.apart(lambda: (self.node_id, self.epoch), self.new_ids)
            for batches in self._batches:
                batches.undone = self._forgets
                batches.link.open()
            outer = self.links.clock()
            if outer is not None:
                self.clock.set(outer)
            for work in self._openings:
                self._do(work)
            self._do(lambda tx: self.ids.start(self.node_id, schema.last_id(tx)))
            if self._pipe is not None:
                self._pipe.open()
        except BaseException:
            for batches in self._batches:
                batches.link.close()
            self.links.release()
            raise

    def _do(self, work: Callable[[Tx], object]) -> None:
        link = self._batches[0].link
        again = True
        while again:
            tx = link.begin(self.clock.now())
            try:
                again = work(tx) is True
                link.commit()
            except BaseException:
                link.rollback()
                raise

    def when_opening(self, work: Callable[[Tx], object]) -> None:
        """Have ``work(tx)`` run in a unit of work of its own while the store is opened; again while it returns True."""
        self._openings.append(work)

    def close(self) -> Deferred[None]:
        """Finish what was handed over, then let go of everything."""
        deferred: Deferred[None] = Deferred()
        if self._closed:
            deferred.callback(None)
            return deferred
        self._closed = True
        if self._pending:
            self._hand_over()
        self._hand_over_plain()
        if self._inline is not None:
            self._inline.link.close()
            self.links.release()
            deferred.callback(None)
            return deferred
        finish = threading.Thread(target=self._finish, args=(deferred,), name="netsvc-close", daemon=True)
        if self._pipe is None:
            finish.start()
        else:
            self._pipe.finish().addCallback(lambda _: finish.start())
        return deferred

    def _finish(self, deferred: Deferred[None]) -> None:
        assert self.outbox is not None
        assert self._readers is not None
        self._readers.stop()
        self._readers.join(JOIN_S)
        for lane in self._lanes:
            lane.stop()
        for lane in self._lanes:
            lane.join(JOIN_S)
        if self._pipe is not None:
            self._pipe.reap()
        self.links.release()
        self.outbox.post([(deferred, None)])

    def write(self, work: Callable[[Tx], T], priority: int = ACCEPT) -> Deferred[T]:
        """Run ``work`` in a unit of work -> Deferred of what it returns, fired after the durable commit.

        Fails with what ``work`` raised (then nothing of it is kept, and its neighbours in the batch are not touched),
        or with CommitFailedError.
        """
        return self._put(Unit(work, priority, waiter=Deferred()))

    def gather(
        self, work: Callable[[Tx, list[Any]], list[Any]], item: Any, priority: int = ACCEPT, *, plain: bool = False
    ) -> Deferred[Any]:
        """As ``write``, but all waiting items of one ``work`` are handed to one call of it.

        It returns a result an item; a result that is an exception fails that item's Deferred alone.  ``plain``: the
        item is an Incoming with a small body, which the writer process may take where there is one.
        """
        unit = Unit(work, priority, item, gathered=True, waiter=Deferred())
        if plain and self._pipe is not None and self._pipe.up and not self._closed:
            return self._aside(unit)
        return self._put(unit)

    def errand(self, errand: Callable[[], Errand], work: Callable[[Tx], Any]) -> Deferred[Any]:
        """As ``write(work, SETTLE)``; where there is a writer process, that does it, as what ``errand()`` names.

        Fires with what either of them returns, which ``errands`` knows to read.
        """
        unit = Unit(work, SETTLE, waiter=Deferred())
        if self._pipe is None or not self._pipe.up or self._closed:
            return self._put(unit)
        unit.item = errand()
        return self._aside(unit)

    def _aside(self, unit: Unit) -> Deferred[Any]:
        if not self._plain:
            self._reactor.callLater(0, self._hand_over_plain)
        self._plain.append(unit)
        waiter: Deferred[Any] = unit.waiter
        return waiter

    def _put(self, unit: Unit) -> Deferred[Any]:
        if self._closed:
            fire([(unit.waiter, StoreUnavailableError("the store is closed"))])
        elif self._inline is not None:
            fire(self._inline.run([unit]))
        else:
            if not self._pending:
                self._reactor.callLater(0, self._hand_over)
            self._pending.append(unit)
        waiter: Deferred[Any] = unit.waiter
        return waiter

    def _hand_over(self) -> None:
        """Give the writers what one turn of the reactor brought, at its end: they wake once, and to a whole group.

        Nothing waits longer for it: before the turn ends the reactor has the interpreter's lock anyway.
        """
        pending, self._pending = self._pending, []
        if len(self._lanes) == 1:
            self._lanes[0].put(pending)
            return
        # With two lanes (PostgreSQL) accepting does not wait for settling and leasing.
        accepts = [unit for unit in pending if unit.priority == ACCEPT]
        others = [unit for unit in pending if unit.priority != ACCEPT]
        for lane, units in ((self._lanes[0], accepts), (self._lanes[1], others)):
            if units:
                lane.put(units)

    def _hand_over_plain(self) -> None:
        plain, self._plain = self._plain, []
        if self._pipe is not None and plain:
            self._pipe.put(plain)

    def elsewhere(self, units: list[Unit]) -> None:
        """Have the writer's thread do what the writer process cannot."""
        self._lanes[0].put(units)

    def died(self, pid: int) -> None:
        """Tell whoever wants to know that the writer process has died."""
        self._writer_died(pid)

    def noted(self, octets: int) -> None:
        """Tell the writer's link what the writer process committed; wake its thread now and then to tidy up."""
        self._batches[0].link.noted(octets)
        now = self._reactor.seconds()
        if now >= self._nudged + NUDGE_S:
            self._nudged = now
            self._lanes[0].put([])

    def read(self, work: Callable[[Tx], T]) -> Deferred[T]:
        """Run ``work`` on a reader, in one snapshot -> Deferred of what it returns.

        Fails with what ``work`` raised, or with StoreUnavailableError, also when it took longer than five seconds.
        """
        unit = Unit(work, ACCEPT, waiter=Deferred())
        if self._closed:
            fire([(unit.waiter, StoreUnavailableError("the store is closed"))])
        elif self._inline_reader is not None:
            fire([(unit.waiter, read_once(self._inline_reader, self.clock, work))])
        else:
            assert self._readers is not None
            self._readers.put(unit)
        waiter: Deferred[T] = unit.waiter
        return waiter

    def when_undone(self, forget: Callable[[], None]) -> None:
        """Have ``forget()`` called, in a storage thread, whenever a unit of work was rolled back.

        For caches filled within units of work.  Call it before ``open``.
        """
        self._forgets.append(forget)

    def when_writer_dies(self, callback: Callable[[int], None]) -> None:
        """Have ``callback(pid)`` called, in the reactor's thread, when the writer process has died."""
        self._writer_died = callback

    def when_woken(self, callback: Callable[[], None]) -> None:
        """Have ``callback()`` called, in the reactor's thread, whenever work may have come due."""
        self._wakes.append(callback)

    def wake(self) -> None:
        """Say, in the reactor's thread, that work may have come due: after an accept, a retry, a release."""
        for callback in self._wakes:
            callback()

    def figures(self) -> dict[str, Any]:
        """Return what an operator asks for about the engine."""
        return {
            "dialect": self.dialect,
            "node": self.node_id,
            "epoch": self.epoch,
            "commits": sum(b.commits for b in self._batches) + (self._pipe.batches if self._pipe is not None else 0),
            "failed_commits": sum(b.failures for b in self._batches),
            "clock_jump": self.clock.jump,
            **({"writer": self._pipe.figures()} if self._pipe is not None else {}),
            **self.links.health(),
        }
