"""The queue as the console needs it: counts, pages, selections, jobs, destinations (IQueueAdmin)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.interfaces import IBodyReader, IQueueAdmin
from netsvc.store import destinations, jobrows, pages, selection, summary
from netsvc.store.jobs import Jobs
from netsvc.store.past import past_reasons
from netsvc.store.steering import Steering

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from netsvc.criteria import Expr
    from netsvc.records import MessageView, Page, Row, Selection
    from netsvc.store.engine import Engine


@implementer(IQueueAdmin)
class QueueAdmin:
    """See IQueueAdmin.  Searches read, jobs write with the lowest priority; nothing here holds up mail."""

    def __init__(
        self,
        engine: Engine,
        open_body: Callable[[int], Deferred[IBodyReader]],
        wake: Callable[[], None],
        clock: Any,
    ) -> None:
        """Look into ``engine``; ``open_body(blob_id)`` reads content, ``wake()`` is called when work has come due.

        ``clock`` (the reactor) times retries and looks at other nodes' jobs.
        """
        self._engine = engine
        self._open_body = open_body
        self._wake = wake
        self._jobs = Jobs(engine, wake, clock)
        self.steering = Steering(engine, clock)

    def counts(self, by: str, where: Expr | None = None) -> Deferred[list[Row]]:
        """Return queue.summary/1 rows, largest first."""
        return Deferred.fromCoroutine(summary.counts(self._engine, by, where))

    def totals(self) -> Deferred[dict[str, tuple[int, int]]]:
        """Return {state word: (items, octets)}."""
        return self._engine.read(summary.totals)

    def reasons(self, where: Expr | None = None) -> Deferred[list[Row]]:
        """Return reason/1 rows, most frequent first."""
        return Deferred.fromCoroutine(summary.reasons(self._engine, where))

    def past_reasons(self, where: Expr | None = None) -> Deferred[list[Row]]:
        """Return reason/1 rows of the history, most frequent first."""
        return Deferred.fromCoroutine(past_reasons(self._engine, where))

    def page(self, where: Expr | None, after: Any = None, limit: int = 50, order: str = "id") -> Deferred[Page]:
        """Return one page of queue.item/1 rows."""
        return self._engine.read(lambda tx: pages.queue_page(tx, where, after, limit, order))

    def history(self, where: Expr | None, after: Any = None, limit: int = 50, order: str = "-id") -> Deferred[Page]:
        """Return one page of history/1 rows."""
        return self._engine.read(lambda tx: pages.history_page(tx, where, after, limit, order))

    def show(self, message_id: int) -> Deferred[MessageView | None]:
        """Return everything known of a message."""
        return self._engine.read(lambda tx: pages.message_view(tx, message_id))

    def find_message(self, prefix: str) -> Deferred[list[int]]:
        """Return up to 6 message ids that begin with ``prefix``."""
        return self._engine.read(lambda tx: pages.find_message(tx, prefix))

    def content(self, message_id: int) -> Deferred[tuple[bytes, IBodyReader] | None]:
        """Return our trace fields and the content of a message, None when it is gone."""
        return Deferred.fromCoroutine(self._content(message_id))

    async def _content(self, message_id: int) -> tuple[bytes, IBodyReader] | None:
        found = await self._engine.read(lambda tx: pages.stored_content(tx, message_id))
        if found is None:
            return None
        hdr, blob_id = found
        return hdr, await self._open_body(blob_id)

    def select(self, where: Expr | Sequence[tuple[int, int | None]]) -> Deferred[Selection]:
        """Freeze the ids of what matches, with what a preview shows."""
        return Deferred.fromCoroutine(selection.select(self._engine, where))

    def start(self, verb: str, selection: Selection, args: Mapping[str, Any], actor: str) -> Deferred[int]:
        """Begin a job; with ``clear_backoff`` False in ``args`` a retry leaves destinations in their backoff."""
        return Deferred.fromCoroutine(self._jobs.start(verb, selection, args, actor))

    def job(self, number: int) -> Deferred[Row | None]:
        """Return a job's row."""
        return self._engine.read(lambda tx: jobrows.job(tx, number))

    def jobs(self) -> Deferred[list[Row]]:
        """Return the jobs' rows, newest first."""
        return self._engine.read(jobrows.jobs)

    def wait(self, number: int) -> Deferred[Row]:
        """Return a job's row when it has ended."""
        return Deferred.fromCoroutine(self._jobs.wait(number))

    def cancel(self, job: int) -> Deferred[bool]:
        """Stop a job after its present slice."""
        return Deferred.fromCoroutine(self._jobs.cancel(job))

    def undo(self, job: int, actor: str) -> Deferred[int]:
        """Start the job that takes ``job`` back."""
        return Deferred.fromCoroutine(self._jobs.undo(job, actor))

    def resume_jobs(self) -> Deferred[list[int]]:
        """Go on with jobs whose process has ended; called when the store has been opened -> their numbers."""
        return Deferred.fromCoroutine(self._jobs.resume())

    def set_destination(self, key: str, rev: int, **policy: Any) -> Deferred[int]:
        """Change a destination's pause and limits; returns its new revision."""
        number = self._engine.new_ids(1)[0]
        done = self._engine.write(lambda tx: destinations.set_destination(tx, key, rev, policy, number))

        def woken(new: int) -> Deferred[int]:
            self._wake()
            return self.steering.load().addCallback(lambda _: new)

        return done.addCallback(woken)

    def destinations(self, key: str | None = None) -> Deferred[list[Row]]:
        """Return destination/1 rows, by key."""
        return self._engine.read(lambda tx: destinations.destinations(tx, key))
