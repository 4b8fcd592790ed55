"""SQLite: queue.db for rows, body.db for bodies, one process, one writer.

WAL with synchronous=FULL: a commit that returned is on the disk.  Both files
cannot commit as one, hence the order: bodies first, rows second; a crash in
between leaves a body nobody names, which the orphan sweep collects.  Without a
folder the same code runs on two databases in memory.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from netsvc.patterns import compile_regex
from netsvc.store.pieces import SMALL
from netsvc.store.sqlitetx import FILING, IDS, SqliteTx, chunk_slices, chunk_text
from netsvc.store.tx import FILED, Tx, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from netsvc.store.folding import Folding

READ_S = 5.0
STAGE_BYTES = 32 << 20
"""So many octets of them may wait for a quiet moment."""
BODY_PAGE = 32 << 10
"""Few large pages: bodies come to body.db in bulk or by the quarter megabyte, and each page is a pass of its own."""
LOG_OCTETS = 256 << 20
"""Octets of a log at which a writer folds it itself, because nobody else has."""
FRAMES = {"queue.db": 4000, "body.db": (64 << 20) // BODY_PAGE}
"""Pages in a log from which it should begin again."""
STREAM_BYTES = 16 << 20
"""Streamed pieces are committed at the latest when they are so many octets together."""
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

_NEW = """
SELECT json_group_array(id), coalesce(sum(octets), 0), json_group_array(id) FILTER (WHERE live)
FROM (SELECT n.blob_id AS id, length(n.data) AS octets, coalesce(b.refs > 0, 0) AS live
  FROM (SELECT blob_id, data FROM blob_new ORDER BY blob_id LIMIT ?) n LEFT JOIN blob b ON b.id = n.blob_id)
"""
MOVE = 512
"""Small bodies moved at once."""

_QUEUE_PRAGMAS = ("synchronous=FULL", "cache_size=-32000", "temp_store=MEMORY", "journal_size_limit=67108864")
_BODY_PRAGMAS = ("synchronous=FULL", "cache_size=-1000", "journal_size_limit=134217728")

Connections = tuple[sqlite3.Connection, sqlite3.Connection]
Fault = Callable[[str], None]


def _matches(pattern: str, text: str) -> bool:
    """Say what ``text REGEXP pattern`` is: in linear time, as everywhere."""
    return compile_regex(pattern).search(text) is not None


class SqliteLink:
    """Two connections, one of each file.  ``connect`` makes them; ``fault(step)`` may raise, for tests."""

    def __init__(self, connect: Callable[[], Connections], *, writing: bool, shared: bool = False) -> None:
        """Connect later; ``shared``: the connections belong to somebody else (memory)."""
        self._connect = connect
        self._writing = writing
        self._shared = shared
        self._open: Connections | None = None
        self._deadline = 0.0
        self._marks = (0, 0)
        self.generation = 0
        self.streamed = 0
        self._streaming = False  # pieces of messages not yet accepted are in an open transaction of body.db
        self.chunks: list[tuple[int, int, bytes]] = []
        self.drops: list[int] = []
        self.body_due = False
        self.small = 0 if shared else SMALL
        self.staged = 1
        """Octets of small bodies not yet moved to body.db, about; 1: nobody has looked."""
        self._moved: list[int] = []
        self._dirty = False
        self.folding: Folding | None = None
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
        self._open[0].create_function("regexp", 2, _matches, deterministic=True)
        if self._writing:
            nulls = ",".join(f"NULL AS {column}" for column in FILED.columns)
            self._open[0].executescript(FILING.replace("{nulls}", nulls))
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

    def begin(self, now: int) -> Tx:
        """Begin; pieces streamed before may wait in an open transaction of body.db."""
        queue = self.queue
        if not self._writing:
            self._deadline = time.monotonic() + READ_S
            if self._shared:
                queue.execute("PRAGMA query_only=1")
            queue.execute("BEGIN")
            return SqliteTx(self, now)
        self._forget_bodies()
        queue.execute("BEGIN IMMEDIATE")
        if self._moved:
            self._forget_moved(queue)
        if self.fault:
            self.fault("begin")
        return SqliteTx(self, now)

    def _forget_bodies(self) -> None:
        self.chunks.clear()
        self.drops.clear()
        self.body_due = False

    def commit(self) -> None:
        """Make both durable, bodies first."""
        if self.fault:
            self.fault("body")
        if self.chunks or self.drops or self.body_due:
            self._put_bodies()
        if self.fault:
            self.fault("commit")
        self.queue.execute("COMMIT")
        self._moved = []
        self._wrote()

    def _wrote(self) -> None:
        self._dirty = True
        if self.folding is not None:
            self.folding.wrote()

    def _put_bodies(self) -> None:
        body = self.body
        parts = list(chunk_slices(self.chunks))
        due = self.body_due or self.streamed > STREAM_BYTES
        # One statement that is to be durable needs no BEGIN and COMMIT around it.
        if not body.in_transaction and not (due and len(parts) == 1 and not self.drops):
            body.execute("BEGIN")
        for part in parts:
            body.execute(chunk_text(len(part)), [value for row in part for value in row])
        for at in range(0, len(self.drops), IDS):
            ids = self.drops[at : at + IDS]
            body.execute(f"DELETE FROM blob_chunk WHERE blob_id IN ({','.join('?' * len(ids))})", ids)  # noqa: S608
        self._streaming = body.in_transaction
        if due and self._streaming:
            body.execute("COMMIT")
        if due:
            self._streaming = False
            self.streamed = 0

    def rollback(self) -> None:
        """Undo the rows; bodies are written when the rows are known to be good, so nothing of them is there yet."""
        self._forget_bodies()
        if self._open is None:
            return
        queue = self._open[0]
        try:
            if queue.in_transaction:
                queue.execute("ROLLBACK")
            if not self._writing and self._shared:
                queue.execute("PRAGMA query_only=0")
        except sqlite3.Error:
            self._lose()

    def _lose(self) -> None:
        self._lose_streams()
        self.close()

    def _lose_streams(self) -> None:
        """Have all who streamed told, when their messages are to be accepted, that what they sent has gone."""
        self.generation += 1
        self.streamed = 0
        self._streaming = False

    def _look_at_streams(self) -> None:
        """Notice that SQLite has ended body.db's transaction by itself, as it may when the disk is full."""
        if self._streaming and self._open is not None and not self._open[1].in_transaction:
            self._lose_streams()

    def savepoint(self) -> None:
        """Set the savepoint of one unit."""
        self.queue.execute("SAVEPOINT unit")
        self._marks = (len(self.chunks), len(self.drops))

    def forget(self, *, keep: bool) -> None:
        """Release the savepoint."""
        if not keep:
            self.queue.execute("ROLLBACK TO unit")
            del self.chunks[self._marks[0] :]
            del self.drops[self._marks[1] :]
        self.queue.execute("RELEASE unit")

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
            return verdict
        if committing and self.body.in_transaction:
            self._lose_streams()
            self.body.execute("ROLLBACK")
        self._look_at_streams()
        self.rollback()
        return verdict

    def noted(self, octets: int) -> None:
        """Take note that another process has committed small bodies of so many octets."""
        self.staged += octets
        self._wrote()

    def tidy(self) -> None:
        """Let the logs begin again where that is wanted; move some small bodies when too many wait."""
        if self.folding is not None and self.folding.wanted and not self.body.in_transaction:
            self.folding.wanted = False
            self._fold("PASSIVE")
        if self.staged > STAGE_BYTES:
            try:
                if self._moved:
                    self.begin(0)
                    self.commit()
                self._move()
            except sqlite3.Error:  # they can stay; the next batch tells what is wrong with the disk
                self._look_at_streams()
                self.rollback()

    def _move(self) -> None:
        """Copy a slice of small bodies to body.db, durably; the next transaction deletes them from queue.db.

        Those nobody refers to any more are not copied.
        """
        queue, body = self._pair()
        if body.in_transaction:
            body.execute("COMMIT")  # what is being streamed: an open transaction would hold on to queue.db
            self._streaming = False
            self.streamed = 0
        found = queue.execute(_NEW, (MOVE,)).fetchall()
        ids, octets, live = (json.loads(found[0][0]), found[0][1], json.loads(found[0][2]))
        if live:
            marks = ",".join("?" * len(live))
            body.execute(
                "INSERT OR REPLACE INTO main.blob_chunk (blob_id, n, data)"  # noqa: S608  marks only
                f" SELECT blob_id, 0, data FROM q.blob_new WHERE blob_id IN ({marks})",
                live,
            )
        self._moved = ids
        self.staged = max(self.staged - octets, 1) if ids else 0

    def _fold(self, how: str) -> None:
        """Copy what is left of the logs into the files; not being able to is no failure."""
        for db in self._pair():
            with contextlib.suppress(sqlite3.Error):
                db.execute(f"PRAGMA wal_checkpoint({how})").fetchall()

    def _forget_moved(self, queue: sqlite3.Connection) -> None:
        marks = ",".join("?" * len(self._moved))
        queue.execute(f"DELETE FROM blob_new WHERE blob_id IN ({marks})", self._moved)  # noqa: S608  marks only

    def idle(self) -> bool:
        """Move small bodies to where they stay, then fold the logs into the files."""
        if self._open is None or self._shared:
            return False
        try:
            if self._moved:
                self.begin(0)
                self.commit()
            if self.staged:
                self._move()
                return True
            if self._dirty:
                self._dirty = False
                for db in self._open:
                    if db.in_transaction:
                        db.execute("COMMIT")
                    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._streaming = False
                self.streamed = 0
        except (sqlite3.Error, OSError):  # a reader is in the way, or the disk is full: next time
            self._dirty = True
            self._look_at_streams()
            self.rollback()
        return False


def connect_file(folder: Path, *, writing: bool) -> Connections:
    """Connect to both files of ``folder``."""
    pair = []
    for name, pragmas in (("queue.db", _QUEUE_PRAGMAS), ("body.db", _BODY_PRAGMAS)):
        db = sqlite3.connect(
            folder / name, timeout=5.0, isolation_level=None, check_same_thread=False, cached_statements=1000
        )
        if name == "body.db":
            db.execute(f"PRAGMA page_size={BODY_PAGE}")
        db.execute("PRAGMA journal_mode=WAL").fetchall()
        for pragma in pragmas:
            db.execute(f"PRAGMA {pragma}")
        pages = LOG_OCTETS // (BODY_PAGE if name == "body.db" else 4096)
        db.execute(f"PRAGMA wal_autocheckpoint={pages if writing else 0}")
        pair.append(db)
    if writing:
        pair[1].execute("ATTACH DATABASE ? AS q", (str(folder / "queue.db"),))
    return pair[0], pair[1]


def connect_memory() -> Connections:
    """Return two databases in memory."""
    first, second = (
        sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, cached_statements=1000)
        for _ in range(2)
    )
    return first, second
