"""The files of an SQLite store: made private, locked for one process, checked, backed up before an upgrade."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from netsvc.records import StoreError
from netsvc.store import schema
from netsvc.store.folding import Folding
from netsvc.store.sqlite import FRAMES, Connections, Fault, SqliteLink, connect_file, connect_memory
from netsvc.store.writerpipe import WriterPipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from netsvc.store.tx import Link

MAGIC = 0x6E737663
"""``application_id`` of both files."""
WAL_ALARM = 512 << 20


class SqliteLinks:
    """queue.db, body.db and netsvc.lock in one folder."""

    dialect = "sqlite"
    inline = False
    lanes = 1
    readers = 2

    def __init__(self, folder: Path, *, aside: bool = False) -> None:
        """Use ``folder``; nothing is touched yet.  ``aside``: small messages are taken by a process of their own."""
        self.folder = folder
        self.aside = aside
        self._lock: int | None = None
        self._folding: Folding | None = None
        self.fault: Fault | None = None

    def prepare(self, now: int) -> None:
        """Lock, create, check and migrate."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be made: {error.strerror}") from error
        self._take_lock()
        try:
            fresh = self._files()
            link = self.writer()
            try:
                link.open()
                self._signature(link, fresh=fresh)
                schema.upgrade(link, now, self._backup)
            except sqlite3.Error as error:
                raise StoreError(self._sentence(error)) from error
            finally:
                link.close()
        except BaseException:
            self.release()
            raise

    def _sentence(self, error: sqlite3.Error) -> str:
        code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            return f"{self.folder}: queue.db or body.db is not an SQLite database; name another state folder"
        if code == sqlite3.SQLITE_CORRUPT:
            return f"{self.folder}: the database is damaged ({error}); restore a backup"
        return f"{self.folder}: the database cannot be opened: {error}"

    def _take_lock(self) -> None:
        path = self.folder / "netsvc.lock"
        try:
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = ""
            if self._lock is not None:
                holder = os.read(self._lock, 32).decode("ascii", "replace").strip()
            self.release()
            if isinstance(error, BlockingIOError):
                who = f" (process {holder})" if holder.isdigit() else ""
                raise StoreError(f"{self.folder} is in use by another netsvc{who}: {path.name} is locked") from error
            raise StoreError(f"{path}: {error.strerror}") from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _files(self) -> bool:
        queue, body = self.folder / "queue.db", self.folder / "body.db"
        here = [path.exists() and path.stat().st_size > 0 for path in (queue, body)]
        if here == [True, False]:
            raise StoreError(f"{body} is missing while {queue} is there: restore both from one backup")
        if here == [False, True]:
            raise StoreError(f"{queue} is missing while {body} is there: restore both from one backup")
        for path in (queue, body):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # logs inherit the mode
        if not here[0]:
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            os.fsync(folder)  # the files' names are durable before anything in them is promised
            os.close(folder)
        return not here[0]

    def _signature(self, link: SqliteLink, *, fresh: bool) -> None:
        for db, name in ((link.queue, "queue.db"), (link.body, "body.db")):
            if fresh:
                db.execute(f"PRAGMA application_id={MAGIC}")
            elif db.execute("PRAGMA application_id").fetchall()[0][0] != MAGIC:
                raise StoreError(f"{self.folder / name} is a database, but not netsvc's: name another state folder")

    def _backup(self, version: int) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        target = self.folder / f"backup-{stamp}-v{version}"
        target.mkdir(mode=0o700)
        try:
            for name in ("queue.db", "body.db"):
                source = sqlite3.connect(self.folder / name)
                os.close(os.open(target / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                copy = sqlite3.connect(target / name)
                source.backup(copy)
                copy.close()
                source.close()
        except (sqlite3.Error, OSError) as error:
            shutil.rmtree(target, ignore_errors=True)
            raise StoreError(f"no backup could be made in {target}, so nothing was upgraded: {error}") from error

    def writer(self) -> SqliteLink:
        """Return a link that writes."""
        link = SqliteLink(lambda: connect_file(self.folder, writing=True), writing=True)
        link.fault = self._faulty
        link.folding = self._folding
        return link

    def folded(self, ask: Callable[[], None]) -> None:
        """Have the logs folded beside the writing; ``ask()`` is called when the writer should fold the rest."""
        self._folding = Folding({self.folder / name: frames for name, frames in FRAMES.items()}, ask)
        self._folding.start()

    def _faulty(self, step: str) -> None:
        if self.fault is not None:
            self.fault(step)

    def reader(self) -> Link:
        """Return a link that reads."""
        return SqliteLink(lambda: connect_file(self.folder, writing=False), writing=False)

    def apart(self, node: Callable[[], tuple[int, int]], new_ids: Callable[[int], Sequence[int]]) -> WriterPipe | None:
        """Return the way to the writer process where there is to be one."""
        return WriterPipe(self.folder, node, new_ids) if self.aside else None

    def release(self) -> None:
        """Give the lock back."""
        if self._folding is not None:
            self._folding.stop()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def clock(self) -> int | None:
        """Return None: the process has the clock."""
        return None

    def health(self) -> dict[str, Any]:
        """Return sizes, and whether something is wrong."""
        sizes = {}
        for name in ("queue.db", "queue.db-wal", "body.db", "body.db-wal"):
            path = self.folder / name
            sizes[name] = path.stat().st_size if path.exists() else 0
        disk = shutil.disk_usage(self.folder)
        wal = sizes["queue.db-wal"] + sizes["body.db-wal"]
        return {
            "files": sizes,
            "wal": wal,
            "wal_alarm": wal > WAL_ALARM,
            "disk_free": disk.free,
            "disk_total": disk.total,
        }


class MemoryLinks:
    """Two SQLite databases in memory, used on the calling thread."""

    dialect = "sqlite"
    inline = True
    lanes = 1
    readers = 1

    def __init__(self) -> None:
        """Make them."""
        self._pair: Connections = connect_memory()
        self.fault: Fault | None = None

    def prepare(self, now: int) -> None:
        """Create the tables."""
        schema.upgrade(self.writer(), now, lambda _: None)

    def writer(self) -> SqliteLink:
        """Return a link that writes."""
        link = SqliteLink(lambda: self._pair, writing=True, shared=True)
        link.fault = self._faulty
        return link

    def folded(self, ask: Callable[[], None]) -> None:
        """Nothing is logged."""

    def _faulty(self, step: str) -> None:
        if self.fault is not None:
            self.fault(step)

    def reader(self) -> Link:
        """Return a link that reads."""
        return SqliteLink(lambda: self._pair, writing=False, shared=True)

    def apart(self, node: Callable[[], tuple[int, int]], new_ids: Callable[[int], Sequence[int]]) -> WriterPipe | None:
        """Return None: the calling thread writes."""
        del node, new_ids
        return None

    def release(self) -> None:
        """Nothing is locked."""

    def clock(self) -> int | None:
        """Return None: the process has the clock."""
        return None

    def health(self) -> dict[str, Any]:
        """Nothing to tell."""
        return {}
