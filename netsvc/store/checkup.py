"""How the store is: space, a durable write, and a look through the files (ICheckup).

After a disk's fault the writer's connection has been closed; the next unit of
work connects anew.  So a probe is a reopening with a commit of its own, and only
when that is durable, and the files have been looked through by SQLite, is
the store well.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from zope.interface import implementer

from netsvc.interfaces import ICheckup
from netsvc.store.tx import ACCEPT

if TYPE_CHECKING:
    from pathlib import Path

    from twisted.internet.defer import Deferred

    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx

WAIT_S = 5.0


@implementer(ICheckup)
class Checkup:
    """See ICheckup.  ``folder`` is where SQLite's files are, None for a database elsewhere."""

    def __init__(self, engine: Engine, folder: Path | None) -> None:
        """Look at ``engine``, not yet open."""
        self._engine = engine
        self._folder = folder

    def measure(self) -> tuple[int | None, int | None, int]:
        """See ICheckup."""
        figures = self._engine.figures()
        return figures.get("disk_free"), figures.get("disk_total"), figures["failed_commits"]

    def probe(self) -> Deferred[None]:
        """See ICheckup."""
        node_id = self._engine.node_id

        def work(tx: Tx) -> None:
            tx.execute("UPDATE node SET heartbeat_at = ? WHERE id = ?", (tx.now, node_id))

        return self._engine.write(work, ACCEPT)

    def examine(self) -> str:
        """See ICheckup.  Bodies are many: of their file only the beginning is read."""
        if self._folder is None:
            return ""
        for name, look in (("queue.db", "PRAGMA quick_check(1)"), ("body.db", "SELECT count(*) FROM sqlite_schema")):
            try:
                db = sqlite3.connect(f"file:{self._folder / name}?mode=ro", timeout=WAIT_S, uri=True)
                try:
                    found = db.execute(look).fetchall()[0][0]
                finally:
                    db.close()
            except sqlite3.Error as error:
                return f"{name}: {error}"
            if isinstance(found, str) and found != "ok":
                return f"{name} is damaged: {found}; restore a backup"
        return ""
