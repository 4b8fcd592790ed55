"""SQLite: queue.db for rows, body.db for bodies, one process, one writer.

WAL with synchronous=FULL: a commit that returned is on the disk.  Both files
cannot commit as one, hence the order: bodies first, rows second; a crash in
between leaves a body nobody names, which the orphan sweep collects.  Without a
folder the same code runs on two databases in memory.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from netsvc.store.tx import SqlRow, Table, Tx, Verdict

if TYPE_CHECKING:
    from pathlib import Path

READ_S = 5.0
STREAM_BYTES = 16 << 20
"""Streamed pieces are committed at the latest when they are so many octets together."""
SLICES = (128, 64, 32, 16, 8, 4, 2, 1)
"""How many rows one statement takes: few texts, so that all of them stay prepared."""
IDS = 512
_FULL = {sqlite3.SQLITE_FULL}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_BROKEN = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_PERM,
}

_QUEUE_PRAGMAS = ("synchronous=FULL", "cache_size=-32000", "temp_store=MEMORY", "journal_size_limit=67108864")
_BODY_PRAGMAS = ("synchronous=FULL", "cache_size=-8000", "journal_size_limit=67108864")

_texts: dict[tuple[str, int], str] = {}


def _slices(rows: Sequence[Any]) -> Iterable[Sequence[Any]]:
    at = 0
    for size in SLICES:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size


def _insert_text(into: Table, n: int, tail: str) -> str:
    key = (f"{into.name}\0{tail}", n)
    text = _texts.get(key)
    if text is None:
        row = "(" + ",".join("?" * len(into.columns)) + ")"
        text = f"INSERT INTO {into.name} ({','.join(into.columns)}) VALUES {','.join([row] * n)} {tail}"  # noqa: S608  names of ours
        _texts[key] = text
    return text


def _each_text(sql: str, width: int, n: int) -> str:
    text = _texts.get((sql, n))
    if text is None:
        row = "(" + ",".join("?" * width) + ")"
        text = sql.replace("{v}", f"(VALUES {','.join([row] * n)}) AS v")
        _texts[(sql, n)] = text
    return text


class SqliteTx:
    """One transaction over both files."""

    dialect = "sqlite"

    def __init__(self, link: SqliteLink, now: int) -> None:
        """Work on ``link``'s connections."""
        self.now = now
        self._link = link
        self.generation = link.generation
        self._q = link.queue
        self._run = self._q.execute

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run a statement; return how many rows it touched."""
        return self._run(sql, params).rowcount

    def define(self, sql: str) -> None:
        """Run a statement of a migration; bodies' tables are in the other file."""
        if "blob_chunk" in sql:
            self._link.body_begin()
            self._link.body.execute(sql)
        else:
            self._run(sql)

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once a row."""
        self._q.executemany(sql, rows)

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[SqlRow]:
        """Return all rows."""
        return self._run(sql, params).fetchall()

    def row(self, sql: str, params: Sequence[Any] = ()) -> SqlRow | None:
        """Return the first row, or None."""
        found = self._run(sql, params).fetchall()
        return found[0] if found else None

    def value(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """Return the first column of the first row, or None."""
        found = self._run(sql, params).fetchall()
        return found[0][0] if found else None

    def insert(self, into: Table, rows: Sequence[Sequence[Any]], tail: str = "") -> None:
        """Insert many rows."""
        for part in _slices(rows):
            self._run(_insert_text(into, len(part), tail), [value for row in part for value in row])

    def each(self, sql: str, kinds: str, rows: Sequence[Sequence[Any]]) -> list[SqlRow]:
        """Run a statement over a relation of ``rows``."""
        out: list[SqlRow] = []
        for part in _slices(rows):
            text = _each_text(sql, len(kinds), len(part))
            out += self._run(text, [value for row in part for value in row]).fetchall()
        return out

    def among(self, sql: str, ids: Sequence[int], before: Sequence[Any] = ()) -> list[SqlRow]:
        """Run a statement over ids."""
        out: list[SqlRow] = []
        for at in range(0, len(ids), IDS):
            part = list(ids[at : at + IDS])
            size = 1 << (len(part) - 1).bit_length()
            part += part[-1:] * (size - len(part))
            text = _texts.get((sql, size))
            if text is None:
                text = _texts[(sql, size)] = sql.replace("{ids}", "IN (" + ",".join("?" * size) + ")")
            out += self._run(text, [*before, *part]).fetchall()
        return out

    def put_chunks(self, rows: Sequence[tuple[int, int, bytes]], *, later: bool = False) -> None:
        """Write pieces of bodies."""
        link = self._link
        if rows:
            link.body_begin()
            text = "INSERT OR REPLACE INTO blob_chunk (blob_id, n, data) VALUES "
            for part in _slices(rows):
                values = ",".join(["(?,?,?)"] * len(part))
                link.body.execute(text + values, [value for row in part for value in row])
        if later:
            link.streamed += sum(len(row[2]) for row in rows)
        else:
            link.body_due = True

    def drop_chunks(self, blob_ids: Sequence[int]) -> None:
        """Delete bodies."""
        self._link.body_begin()
        self._link.body.executemany("DELETE FROM blob_chunk WHERE blob_id = ?", [(i,) for i in blob_ids])

    def chunk(self, blob_id: int, n: int) -> bytes | None:
        """Return piece ``n`` of a body."""
        found = self._link.body.execute(
            "SELECT data FROM blob_chunk WHERE blob_id = ? AND n = ?", (blob_id, n)
        ).fetchall()
        return found[0][0] if found else None

    def chunk_blobs(self, after: int, limit: int) -> list[int]:
        """Return ids of bodies there are pieces of."""
        found = self._link.body.execute(
            "SELECT blob_id FROM blob_chunk WHERE blob_id > ? AND n = 0 ORDER BY blob_id LIMIT ?", (after, limit)
        ).fetchall()
        return [row[0] for row in found]


Connections = tuple[sqlite3.Connection, sqlite3.Connection]
Fault = Callable[[str], None]


class SqliteLink:
    """Two connections, one of each file.  ``connect`` makes them; ``fault(step)`` may raise, for tests."""

    def __init__(self, connect: Callable[[], Connections], *, writing: bool, shared: bool = False) -> None:
        """Connect later; ``shared``: the connections belong to somebody else (memory)."""
        self._connect = connect
        self._writing = writing
        self._shared = shared
        self._open: Connections | None = None
        self._deadline = 0.0
        self._saved = False
        self.generation = 0
        self.streamed = 0
        self.body_due = False
        self._dirty = False
        self.fault: Fault | None = None

    @property
    def queue(self) -> sqlite3.Connection:
        """The connection to queue.db."""
        return self._pair()[0]

    @property
    def body(self) -> sqlite3.Connection:
        """The connection to body.db."""
        return self._pair()[1]

    def _pair(self) -> Connections:
        if self._open is None:
            self.open()
        assert self._open is not None
        return self._open

    def open(self) -> None:
        """Connect."""
        self._open = self._connect()
        if not self._writing and not self._shared:
            for db in self._open:
                db.execute("PRAGMA query_only=1")
                db.set_progress_handler(self._late, 20_000)

    def _late(self) -> int:
        return int(time.monotonic() > self._deadline)

    def close(self) -> None:
        """Disconnect; what was streamed and never accepted is dropped."""
        pair, self._open = self._open, None
        if pair is None or self._shared:
            return
        for db in pair:
            try:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                db.close()
            except sqlite3.Error:  # closing is all that is left to do
                continue

    def body_begin(self) -> None:
        """Have a transaction on body.db."""
        if not self.body.in_transaction:
            self.body.execute("BEGIN IMMEDIATE")

    def begin(self, now: int) -> Tx:
        """Begin; pieces streamed before may wait in an open transaction of body.db."""
        queue, body = self._pair()
        if not self._writing:
            self._deadline = time.monotonic() + READ_S
            if self._shared:
                queue.execute("PRAGMA query_only=1")
            queue.execute("BEGIN")
            return SqliteTx(self, now)
        queue.execute("BEGIN IMMEDIATE")
        self.body_due = False
        if body.in_transaction:
            body.execute("SAVEPOINT batch")
            self._saved = True
        tx = SqliteTx(self, now)
        if self.fault:
            self.fault("begin")
        return tx

    def commit(self) -> None:
        """Make both durable, bodies first."""
        queue, body = self._pair()
        if self.fault:
            self.fault("body")
        if body.in_transaction and (self.body_due or self.streamed > STREAM_BYTES):
            body.execute("COMMIT")
            self.streamed = 0
        elif self._saved:
            body.execute("RELEASE batch")
        self._saved = False
        if self.fault:
            self.fault("commit")
        queue.execute("COMMIT")
        self._dirty = True

    def rollback(self) -> None:
        """Undo, but for what was streamed by batches before."""
        if self._open is None:
            return
        queue, body = self._open
        try:
            if queue.in_transaction:
                queue.execute("ROLLBACK")
            if not self._writing:
                if self._shared:
                    queue.execute("PRAGMA query_only=0")
                return
            if body.in_transaction:
                if self._saved:
                    body.execute("ROLLBACK TO batch")
                    body.execute("RELEASE batch")
                else:
                    body.execute("ROLLBACK")
        except sqlite3.Error:
            self._lose()
        self._saved = False

    def _lose(self) -> None:
        self.generation += 1
        self.streamed = 0
        self._saved = False
        self.close()

    def savepoint(self) -> None:
        """Set the savepoint of one unit in both files."""
        self.body_begin()
        self.queue.execute("SAVEPOINT unit")
        self.body.execute("SAVEPOINT unit")

    def forget(self, *, keep: bool) -> None:
        """Release the savepoint."""
        for db in self._pair():
            if not keep:
                db.execute("ROLLBACK TO unit")
            db.execute("RELEASE unit")

    def spares(self, error: Exception) -> bool:
        """Whether the transaction can go on."""
        return self._class(error) is Verdict.UNIT and self.queue.in_transaction

    @staticmethod
    def _class(error: Exception) -> Verdict:
        if isinstance(error, OSError):
            return Verdict.BROKEN
        code = getattr(error, "sqlite_errorcode", None)
        if not isinstance(error, sqlite3.Error) or code is None:
            return Verdict.UNIT
        primary = code & 0xFF
        if primary in _FULL:
            return Verdict.FULL
        if primary in _BUSY:
            return Verdict.AGAIN
        return Verdict.BROKEN if primary in _BROKEN else Verdict.UNIT

    def failed(self, error: Exception, *, committing: bool) -> Verdict:
        """Roll back and say what happened; after trouble with the disk, connect anew."""
        verdict = self._class(error)
        if committing and verdict is Verdict.UNIT:
            verdict = Verdict.BROKEN
        if verdict is Verdict.BROKEN and not self._shared:
            self._lose()
        else:
            if committing and self._open is not None and not self.body.in_transaction:
                self.streamed = 0
            self.rollback()
        return verdict

    def idle(self) -> None:
        """Fold the logs into the files while nobody waits."""
        if self._open is None or self._shared or not self._dirty:
            return
        self._dirty = False
        for db in self._open:
            try:
                if db.in_transaction:
                    db.execute("COMMIT")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error:  # a reader is in the way: next time
                self._dirty = True
        self.streamed = 0


def connect_file(folder: Path, *, writing: bool) -> Connections:
    """Connect to both files of ``folder``."""
    pair = []
    for name, pragmas in (("queue.db", _QUEUE_PRAGMAS), ("body.db", _BODY_PRAGMAS)):
        db = sqlite3.connect(
            folder / name, timeout=5.0, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        if name == "body.db":
            db.execute("PRAGMA page_size=16384")
        db.execute("PRAGMA journal_mode=WAL").fetchall()
        for pragma in pragmas:
            db.execute(f"PRAGMA {pragma}")
        db.execute(f"PRAGMA wal_autocheckpoint={4000 if writing else 0}")
        pair.append(db)
    return pair[0], pair[1]


def connect_memory() -> Connections:
    """Return two databases in memory."""
    first, second = (
        sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, cached_statements=512)
        for _ in range(2)
    )
    return first, second
