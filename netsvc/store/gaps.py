"""Times when the clock said more, or less, than had passed: no node ran, or the clock was set (SMTP.md T37).

A message expires after so many days in which it could have been tried.  So what
passed while the service was down does not count, nor do ten years that a wrong
clock added: the difference between the last sign of life in the database and the
clock at the next start is written down, and taken off the age of whatever is
older than that start.  Ids tell what is older, for they rise whatever the clock
does.

A clock that was set back leaves due times far ahead: those are moved by as much,
once, when the gap is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.message import FLAG_LATER
from netsvc.store import schema
from netsvc.store.heads import close_heads
from netsvc.store.tx import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.store.tx import Tx

LEAST_MS = 10 * 60_000
"""Shorter gaps are a restart."""
MOST = 100
"""Gaps that are looked at, the newest."""
LONGEST_BACKOFF_MS = 2 * 3_600_000
_GAP = table("clock_gap", "id at ms")

_DUE = {
    "sqlite": "UPDATE delivery SET due_at = max(due_at + ?, ?) WHERE state IN (1,3) AND due_at > ?"
    " AND NOT (attempts = 0 AND EXISTS (SELECT 1 FROM message m WHERE m.id = message_id AND (m.flags & ?) <> 0))",
    "postgresql": "UPDATE delivery SET due_at = greatest(due_at + ?, ?) WHERE state IN (1,3) AND due_at > ?"
    " AND NOT (attempts = 0 AND EXISTS (SELECT 1 FROM message m WHERE m.id = message_id AND (m.flags & ?) <> 0))",
}
"""Move what is due; but for what its sender wants held until a time of the calendar."""


class Gaps:
    """The gaps of one database, newest first: (first id behind it, when it was found, its length), ms."""

    def __init__(self) -> None:
        """Know none."""
        self._rows: Sequence[tuple[int, int, int]] = ()
        self.found = 0
        """Length of the one that this start has found, 0 for none."""

    def find(self, tx: Tx) -> None:
        """Compare the clock with the last sign of life of any node; call it before this node gives one."""
        last = tx.value("SELECT max(heartbeat_at) FROM node")
        gap = tx.now - int(last) if last is not None else 0
        if abs(gap) >= LEAST_MS:
            self.found = gap
            tx.insert(_GAP, [(schema.last_id(tx) + 1, tx.now, gap)], "ON CONFLICT (id) DO NOTHING")
            if gap < 0:
                _move(tx, gap)
        self.load(tx)

    def load(self, tx: Tx) -> None:
        """Learn of all there are: other nodes find some too."""
        found = tx.rows("SELECT id, at, ms FROM clock_gap ORDER BY id DESC LIMIT ?", (MOST,))
        self._rows = tuple((row[0], row[1], row[2]) for row in found)

    def lived(self, number: int, now: int) -> int:
        """Return what the clock would say had it only gone on since ``number`` was made."""
        for first, _, ms in self._rows:
            if number >= first:
                break
            now -= ms
        return now

    def before(self, span: int, now: int) -> int:
        """Return the time (as ids tell it) of what has by now lived for ``span`` ms."""
        until = now
        for _, at, ms in self._rows:
            lived = until - at
            if lived >= span:
                break
            span -= max(lived, 0)
            until = at - ms
        return until - span


def _move(tx: Tx, gap: int) -> None:
    """Put right what waits for a time that is now far ahead, by ``gap`` ms (negative)."""
    tx.execute(_DUE[tx.dialect], (gap, tx.now, tx.now, FLAG_LATER))
    tx.execute("UPDATE delivery SET purge_at = purge_at + ? WHERE purge_at > ?", (gap, tx.now))
    sql = "UPDATE dest SET dead_until = 0, limit_until = 0 WHERE dead_until > ? OR limit_until > ? RETURNING id"
    ahead = tx.now + LONGEST_BACKOFF_MS
    close_heads(tx, [row[0] for row in tx.rows(sql, (ahead, ahead))])
    tx.execute("UPDATE blob SET dead_at = ? WHERE dead_at > ?", (tx.now, tx.now))
