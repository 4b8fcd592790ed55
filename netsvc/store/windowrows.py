"""Counts in windows of time, shared by all nodes that share the database.

The rows are the throttle table's, in realms FIRST to LAST: ``fails`` is what has
been used, ``until_at`` when the window ends, ``at`` when it was last added to.  A
window begins with what is first added after the last one's end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.store.tx import Tx

FIRST, LAST = 40, 79
KEY = 200
SWEEP_MS = 600_000
"""Between two looks for windows that have ended."""
SWEPT = 2000
"""Rows deleted at once."""
AGAIN_MS = 1000
"""Until the next look where there were so many: what a flood of clients leaves must go faster than it came."""

_ADD = (
    "INSERT INTO throttle (realm, key, fails, until_at, at)"
    " SELECT v.column1, v.column2, v.column3, v.column4, v.column5 FROM {v} WHERE true"
    " ON CONFLICT (realm, key) DO UPDATE SET"
    " fails = CASE WHEN throttle.until_at <= excluded.at THEN excluded.fails ELSE throttle.fails + excluded.fails END,"
    " until_at = CASE WHEN throttle.until_at <= excluded.at THEN excluded.until_at ELSE throttle.until_at END,"
    " at = excluded.at"
    " RETURNING realm, key, fails, until_at"
)
_SWEEP = (
    "DELETE FROM throttle WHERE realm BETWEEN 40 AND 79 AND key IN (SELECT key FROM throttle"
    " WHERE realm BETWEEN 40 AND 79 AND until_at <= ? ORDER BY key LIMIT 2000) AND until_at <= ?"
)


def add(tx: Tx, entries: Sequence[tuple[int, str, int, int]]) -> list[tuple[int, int]]:
    """Add ``entries`` (realm, key, amount, window ms) -> [(used, ms the window still lasts)], one an entry.

    Amounts of one key in one realm are added together.
    """
    now = tx.now
    merged: dict[tuple[int, str], tuple[int, int]] = {}
    names = [(realm, escape(key, KEY)) for realm, key, _, _ in entries]
    for name, (_, _, amount, window) in zip(names, entries, strict=True):
        merged[name] = (merged.get(name, (0, 0))[0] + amount, window)
    # In one order on all nodes: two that lock the same rows must not wait for each other.
    rows = [(*name, merged[name][0], now + merged[name][1], now) for name in sorted(merged)]
    found = {(row[0], row[1]): (int(row[2]), int(row[3]) - now) for row in tx.each(_ADD, "itiii", rows)}
    return [found[name] for name in names]


def most(tx: Tx, realm: int, limit: int) -> list[tuple[str, int, int]]:
    """Return (key, used, ms the window still lasts) of the ``limit`` keys of ``realm`` that used most."""
    now = tx.now
    sql = "SELECT key, fails, until_at FROM throttle WHERE realm = ? AND until_at > ? ORDER BY fails DESC, key LIMIT ?"
    return [(row[0], int(row[1]), int(row[2]) - now) for row in tx.rows(sql, (realm, now, limit))]


def sweep(tx: Tx) -> int:
    """Delete windows that have ended, not too many at once -> how many."""
    return tx.execute(_SWEEP, (tx.now, tx.now))
