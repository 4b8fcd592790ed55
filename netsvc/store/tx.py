"""What a unit of work is handed: one database transaction, plain synchronous calls in a storage thread.

SQL is written once, with ``?`` placeholders and in the subset SQLite (3.35 and
later) and PostgreSQL share; the links render the rest.  Values are int, str,
bytes, float and None.  Many rows travel in one statement: every statement is a
round trip on PostgreSQL and a hand-over of the interpreter lock on SQLite.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from netsvc.records import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from netsvc.store.writerpipe import WriterPipe

SqlRow = tuple[Any, ...]

SETTLE = 0
ACCEPT = 1
BULK = 2
"""Priorities of units of work: what frees comes before what fills, and both before what can wait."""


class CommitFailedError(StoreUnavailableError):
    """A unit of work was not kept: nothing of it is in the store.  ``full``: for want of space."""

    def __init__(self, text: str, *, full: bool = False) -> None:
        """Say in ``text`` what went wrong."""
        super().__init__(text)
        self.full = full


class Verdict(Enum):
    """What an exception out of a transaction means."""

    UNIT = 1
    """The unit's own fault: its neighbours may go on."""
    AGAIN = 2
    """Nothing was kept, and the same may work if it is tried again."""
    KEPT = 3
    """The commit did happen; only its answer was lost."""
    FULL = 4
    """Nothing was kept for want of space."""
    BROKEN = 5
    """Nothing was kept, or nobody can say."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table rows are inserted into in bulk.  ``kinds``: one letter a column, i integer, t text, b bytes."""

    name: str
    columns: tuple[str, ...]
    kinds: str


def table(name: str, columns: str) -> Table:
    """Return a Table; ``columns`` are words, with ``:t`` or ``:b`` behind a text or bytes column."""
    names, kinds = [], []
    for word in columns.split():
        column, _, kind = word.partition(":")
        names.append(column)
        kinds.append(kind or "i")
    return Table(name, tuple(names), "".join(kinds))


FILED = table(
    "filed",
    "blob_id sha256:b blob_size refs mailbox_id uid delivery_id message_id hdr:b size at sender:t msgid:t subject:t"
    " node_id n rcpt:t domain:t received_at auth:t client:t listener:t tls:t",
)
"""A local delivery: its mail and history rows, and (``refs`` not 0) the row of its body."""


class Tx(Protocol):
    """One transaction."""

    dialect: str
    """``sqlite`` or ``postgresql``."""
    regexp: bool
    """Whether statements may say ``text REGEXP pattern``."""
    now: int
    """ms since 1970, the one clock."""
    generation: int
    """How often streamed pieces were lost by a failure: a body streamed in another generation is not whole."""

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run a statement; return how many rows it touched."""
        ...

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once a row."""
        ...

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[SqlRow]:
        """Return all rows of a query (or of RETURNING)."""
        ...

    def row(self, sql: str, params: Sequence[Any] = ()) -> SqlRow | None:
        """Return the first row, or None."""
        ...

    def value(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """Return the first column of the first row, or None."""
        ...

    def insert(self, into: Table, rows: Sequence[Sequence[Any]], tail: str = "") -> None:
        """Insert many rows in as few statements as can be; ``tail`` as in ``ON CONFLICT DO NOTHING``."""
        ...

    def each(self, sql: str, kinds: str, rows: Sequence[Sequence[Any]]) -> list[SqlRow]:
        """Run a statement whose ``{v}`` stands for a relation ``v (column1, column2, ...)`` of ``rows``.

        Return the rows of its RETURNING, or [].  On many rows it is run in slices, so it must work row by row.
        """
        ...

    def among(self, sql: str, ids: Sequence[int], before: Sequence[Any] = ()) -> list[SqlRow]:
        """Run a statement whose ``{ids}`` is the test for being one of ``ids`` (``id {ids}``), in slices.

        ``before`` are the parameters left of it; none may follow.  Return the rows it yields, or [].
        """
        ...

    def pick(self, columns: str, rest: str, ids: Sequence[int] | None = None, before: Sequence[Any] = ()) -> list[Any]:
        """Return the rows (sequences) of ``SELECT columns rest``, cheaply when they are many.

        No column may be bytes; ``hex(t.c)`` makes bytes text.  ``rest`` may hold ``{ids}`` as in ``among``, and has
        no ORDER BY and LIMIT but in a subquery.  Rows come in no particular order.
        """
        ...

    def file(self, rows: Sequence[Sequence[Any]]) -> None:
        """Insert local deliveries, rows of FILED: mail, history and body rows, and the mailboxes' sums and uids."""
        ...

    def put_chunks(
        self, rows: Sequence[tuple[int, int, bytes]], *, later: bool = False, streamed: bool = False
    ) -> None:
        """Write pieces of bodies (blob id, n, data), durable no later than this unit's rows.

        ``later``: they are streamed, and need not be durable before a unit says so by ``streamed``.
        """
        ...

    def drop_chunks(self, blob_ids: Sequence[int]) -> None:
        """Delete bodies."""
        ...

    def chunk(self, blob_id: int, n: int) -> bytes | None:
        """Return piece ``n`` of a body."""
        ...

    def define(self, sql: str) -> None:
        """Run a statement of a migration, rendered already."""
        ...

    def chunk_blobs(self, after: int, limit: int) -> list[int]:
        """Return up to ``limit`` ids above ``after`` of bodies there are pieces of, in order."""
        ...


class Link(Protocol):
    """A thread's own connection (to SQLite: two, metadata and bodies)."""

    def open(self) -> None:
        """Connect.  Raises StoreError."""
        ...

    def close(self) -> None:
        """Disconnect; never raises."""
        ...

    def begin(self, now: int) -> Tx:
        """Begin a transaction."""
        ...

    def commit(self) -> None:
        """Make it durable: bodies first, then rows."""
        ...

    def rollback(self) -> None:
        """Undo it; never raises."""
        ...

    def savepoint(self) -> None:
        """Set the savepoint of one unit."""
        ...

    def forget(self, *, keep: bool) -> None:
        """Release the savepoint, after rolling back to it unless ``keep``."""
        ...

    def spares(self, error: Exception) -> bool:
        """Whether ``error`` is one unit's own fault and the transaction can go on from its savepoint."""
        ...

    def failed(self, error: Exception, *, committing: bool) -> Verdict:
        """Roll back, reconnect where needed, and say what ``error`` meant.  Never raises."""
        ...

    def tidy(self) -> None:
        """Do a little of what must not pile up, after a batch.  Never raises."""
        ...

    def noted(self, octets: int) -> None:
        """Take note that the writer process has committed small bodies of so many octets."""
        ...

    def idle(self) -> bool:
        """Do a little of what is better done when nothing waits; True: there is more.  Never raises."""
        ...


class Links(Protocol):
    """Where links come from: one database."""

    dialect: str
    inline: bool
    """Run units on the calling thread (memory)."""
    lanes: int
    """Writer threads: 1, or 2 (accept; the rest)."""
    readers: int
    """Reader threads."""

    def prepare(self, now: int) -> None:
        """Lock, create, check and migrate.  In a storage thread.  Raises StoreError, in words for the operator."""
        ...

    def writer(self) -> Link:
        """Return a new link that may write."""
        ...

    def reader(self) -> Link:
        """Return a new link for reading."""
        ...

    def folded(self, ask: Callable[[], None]) -> None:
        """Begin to keep logs short beside the writing; before ``writer`` is called for the lanes.

        ``ask()`` is called, in some thread, when the writer's ``tidy`` should be called.
        """
        ...

    def apart(self, node: Callable[[], tuple[int, int]], new_ids: Callable[[int], Sequence[int]]) -> WriterPipe | None:
        """Return the way to a process that takes small messages, None where the writer's thread does."""
        ...

    def release(self) -> None:
        """Give the lock back; never raises."""
        ...

    def clock(self) -> int | None:
        """Return the database's clock (ms), None when the process has the clock."""
        ...

    def health(self) -> dict[str, Any]:
        """Return figures an operator asks for."""
        ...
