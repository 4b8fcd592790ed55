"""Folding logs: copying what SQLite's write-ahead logs hold into the files, beside the writing.

SQLite's own way is that the writer whose commit makes the log long copies all
of it, while everybody waits: measured at 1 MB messages that was a fifth of the
time, and 300 ms for one commit in a hundred.  A checkpoint can run beside the
writer, but never catch up with it; so a thread copies nearly all, and when the
log has become long asks the writer to copy the little that is left, after which
the log begins again at its front.  Should the thread fall behind, the writer's
own limit is still there.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAUSE_S = 0.3
JOIN_S = 10.0


class Folding:
    """A thread that folds the logs of ``files`` ({path: frames from which a log should begin again}).

    ``wanted``: the writer should fold what is left, in a moment when it has no transaction open.
    """

    def __init__(self, files: dict[Path, int], ask: Callable[[], None]) -> None:
        """Call ``ask()``, from the thread, when ``wanted`` has become true."""
        self._files = files
        self._ask = ask
        self._dirty = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="netsvc-fold", daemon=True)
        self.wanted = False
        self.passes = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; waits for a pass under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    def wrote(self) -> None:
        """Take note that something was committed; from any thread."""
        self._dirty = True

    def _loop(self) -> None:
        open_files: dict[Path, sqlite3.Connection] = {}
        while not self._stop.wait(PAUSE_S):
            if self._dirty:
                self._dirty = False
                for path, frames in self._files.items():
                    try:
                        if path not in open_files:
                            open_files[path] = sqlite3.connect(path, isolation_level=None)
                        self._fold(open_files[path], frames)
                    except sqlite3.Error:  # a full or broken disk: the writer tells of it
                        self._dirty = True
        for db in open_files.values():
            db.close()

    def _fold(self, db: sqlite3.Connection, frames: int) -> None:
        _, logged, folded = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self.passes += 1
        if logged >= frames and folded == logged and not self.wanted:
            self.wanted = True
            self._ask()
