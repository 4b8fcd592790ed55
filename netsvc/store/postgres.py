"""PostgreSQL: the engine many nodes share.  psycopg 3, synchronous, in storage threads.

Many rows travel as binary arrays in one statement.  A serialization failure, a
deadlock or a lost connection is tried again; when the connection is lost in
the middle of a commit, the server is asked what became of that transaction, so
nothing is done twice and nothing called good that is not.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors

from netsvc.records import StoreError
from netsvc.store import schema
from netsvc.store.arrays import register
from netsvc.store.pgtx import PgTx
from netsvc.store.tx import Link, Tx, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.store.writerpipe import WriterPipe

PATIENCE_S = 5.0
"""How long a lost server is waited for before units of work fail."""
WAIT_S = 0.3
OLDEST = 140_000
_SETTINGS = (
    "SET client_encoding = 'UTF8'",
    "SET idle_in_transaction_session_timeout = '30s'",
    "SET lock_timeout = '10s'",
    "SET timezone = 'UTC'",
)
_AGAIN = (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable)
_FULL = (errors.DiskFull, errors.InsufficientResources)
_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8"


class PgLink:
    """One connection."""

    def __init__(self, url: str, *, writing: bool) -> None:
        """Connect to ``url`` later."""
        self._url = url
        self._writing = writing
        self._connection: psycopg.Connection[Any] | None = None
        self._tx: PgTx | None = None
        self._xid = 0
        self._down_since = 0.0
        self.generation = 0
        self.fault: Callable[[str], None] | None = None

    def open(self) -> None:
        """Connect."""
        connection = psycopg.connect(self._url, autocommit=True, connect_timeout=5, application_name="netsvc")
        register(connection)
        connection.prepare_threshold = 2
        for setting in _SETTINGS:
            connection.execute(setting)
        connection.execute("SET statement_timeout = '30s'" if self._writing else "SET statement_timeout = '5s'")
        self._connection = connection
        self._down_since = 0.0

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The connection, made now when there is none."""
        if self._connection is None:
            self.open()
        assert self._connection is not None
        return self._connection

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def begin(self, now: int) -> Tx:
        """Begin; a writer also learns its transaction's number."""
        connection = self.connection
        cursor = connection.cursor(binary=True)
        self._xid = 0
        if self._writing:
            probe = connection.execute("BEGIN; SELECT pg_current_xact_id()::text")
            probe.nextset()
            row = probe.fetchone()
            self._xid = int(row[0]) if row else 0
        else:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if self.fault:
            self.fault("begin")
        self._tx = PgTx(self, cursor, now)
        return self._tx

    def commit(self) -> None:
        """Make it durable; what is only streamed need not be on the disk yet."""
        connection = self.connection
        if self._tx is not None and self._tx.streamed and not self._tx.durable:
            connection.execute("SET LOCAL synchronous_commit = off")
        if self.fault:
            self.fault("commit")
        connection.execute("COMMIT")
        self._tx = None
        if self.fault:
            self.fault("committed")

    def rollback(self) -> None:
        """Undo."""
        self._tx = None
        if self._connection is None:
            return
        try:
            self._connection.execute("ROLLBACK")
        except psycopg.Error:
            self._lose()

    def _lose(self) -> None:
        self.generation += 1
        self.close()

    def savepoint(self) -> None:
        """Set the savepoint of one unit."""
        self.connection.execute("SAVEPOINT unit")

    def forget(self, *, keep: bool) -> None:
        """Release the savepoint."""
        if not keep:
            self.connection.execute("ROLLBACK TO SAVEPOINT unit")
        self.connection.execute("RELEASE SAVEPOINT unit")

    def spares(self, error: Exception) -> bool:
        """Whether the transaction can go on."""
        return self._class(error) is Verdict.UNIT

    def _class(self, error: Exception) -> Verdict:
        if not isinstance(error, psycopg.Error):
            return Verdict.BROKEN if isinstance(error, OSError) else Verdict.UNIT
        if isinstance(error, _AGAIN):
            return Verdict.AGAIN
        if isinstance(error, _FULL):
            return Verdict.FULL
        if isinstance(error, errors.QueryCanceled):
            return Verdict.BROKEN
        lost = self._connection is None or self._connection.closed
        return Verdict.AGAIN if lost else Verdict.UNIT

    def failed(self, error: Exception, *, committing: bool) -> Verdict:
        """Roll back, and say what happened; ask the server when the answer to a commit was lost."""
        verdict = self._class(error)
        lost = self._connection is None or self._connection.closed
        xid = self._xid
        if not lost:
            self.rollback()
            return Verdict.BROKEN if committing and verdict is Verdict.UNIT else verdict
        self._lose()
        now = time.monotonic()
        self._down_since = self._down_since or now
        if committing and xid:
            return self._ask(xid)
        if now - self._down_since > PATIENCE_S:
            return Verdict.BROKEN
        time.sleep(WAIT_S)
        return verdict

    def _ask(self, xid: int) -> Verdict:
        """Return what became of a transaction whose commit was under way when the connection was lost."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                row = self.connection.execute("SELECT pg_xact_status(%s::text::xid8)", (str(xid),)).fetchone()
            except psycopg.Error:
                self.close()
            else:
                if row and row[0] == "committed":
                    return Verdict.KEPT
                if row and row[0] == "aborted":
                    return Verdict.AGAIN
            time.sleep(WAIT_S)
        return Verdict.BROKEN

    def noted(self, octets: int) -> None:
        """Nothing waits to be moved."""

    def tidy(self) -> None:
        """Nothing to do."""

    def idle(self) -> bool:
        """Nothing to do."""
        return False


class PgLinks:
    """One PostgreSQL database (the current schema of the URL's user)."""

    dialect = "postgresql"
    inline = False
    lanes = 2
    readers = 2

    def __init__(self, url: str) -> None:
        """Use ``url``; nothing is touched yet."""
        self._url = url
        self.fault: Callable[[str], None] | None = None

    def prepare(self, now: int) -> None:
        """Check and migrate; another node may be doing it at the same time."""
        for attempt in range(10):
            link = PgLink(self._url, writing=True)
            try:
                link.open()
                self._check(link)
                schema.upgrade(link, now, lambda _: None)
            except (errors.DuplicateTable, errors.UniqueViolation, errors.DuplicateObject, *_AGAIN) as error:
                if attempt == 9:  # pragma: no cover  ten times in a row
                    raise StoreError(f"the database cannot be upgraded: {error}") from error
                time.sleep(WAIT_S)
            except psycopg.Error as error:
                raise StoreError(f"the database cannot be opened: {error}") from error
            else:
                return
            finally:
                link.close()

    def _check(self, link: PgLink) -> None:
        version = link.connection.info.server_version
        if version < OLDEST:
            raise StoreError(f"PostgreSQL 14 or later is needed, the server is {version // 10_000}")
        row = link.connection.execute("SHOW server_encoding").fetchone()
        if row is None or row[0] != "UTF8":
            raise StoreError(f"the database must be in UTF8, it is in {row[0] if row else '?'}")

    def writer(self) -> PgLink:
        """Return a link that writes."""
        link = PgLink(self._url, writing=True)
        link.fault = self._faulty
        return link

    def _faulty(self, step: str) -> None:
        if self.fault is not None:
            self.fault(step)

    def reader(self) -> Link:
        """Return a link that reads."""
        return PgLink(self._url, writing=False)

    def folded(self, ask: Callable[[], None]) -> None:
        """Do nothing: the logs are the server's."""

    def apart(self, node: Callable[[], tuple[int, int]], new_ids: Callable[[int], Sequence[int]]) -> WriterPipe | None:
        """Return None: the work is the server's."""
        del node, new_ids
        return None

    def release(self) -> None:
        """Nothing is locked."""

    def clock(self) -> int | None:
        """Return the server's clock."""
        link = PgLink(self._url, writing=False)
        try:
            row = link.connection.execute(_CLOCK).fetchone()
            return int(row[0]) if row else None
        finally:
            link.close()

    def health(self) -> dict[str, Any]:
        """Nothing that can be told without asking the server."""
        return {}
