"""Greylisting: which (client network, sender, recipient) has come before, shared by all nodes that share the database.

The rows are the throttle table's, in two realms.  A triplet's row: ``at`` when
it first came, ``fails`` how often it was let through, ``until_at`` when it is
forgotten.  A network's row: ``fails`` how many of its triplets were let through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.store.tx import Tx

TRIPLET = 20
NETWORK = 21
PART = 256
"""Characters of a sender or recipient that are told apart."""
SHOWN = 1000
SWEEP_MS = 600_000
"""Between two looks for rows that have had their time."""
SWEPT = 2000
"""Rows deleted at once."""
AGAIN_MS = 1000
"""Until the next look where there were so many: what a flood of senders leaves must go faster than it came."""

_ROW = "SELECT fails, until_at, at FROM throttle WHERE realm = ? AND key = ?"
_PUT = (
    "INSERT INTO throttle (realm, key, fails, until_at, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (realm, key) "
    "DO UPDATE SET fails = excluded.fails, until_at = excluded.until_at, at = excluded.at"
)
_SWEEP = (
    "DELETE FROM throttle WHERE realm IN (20, 21) AND key IN "
    "(SELECT key FROM throttle WHERE realm IN (20, 21) AND until_at <= ? ORDER BY key LIMIT 2000) AND until_at <= ?"
)


def key_of(triplet: Sequence[str]) -> str:
    """Return the key of a triplet; its parts are escaped, so that the tab between them is in none."""
    network, sender, rcpt = triplet
    return "\t".join((network, escape(sender.lower(), PART), escape(rcpt.lower(), PART)))


def known(tx: Tx, triplet: Sequence[str], keep_ms: int, passes: int) -> bool:
    """Say whether a triplet, or its network, was let through before and nothing need be written of it."""
    fresh = tx.now + keep_ms // 2
    if passes:
        row = tx.row(_ROW, (NETWORK, triplet[0]))
        if row is not None and int(row[0]) >= passes and int(row[1]) > fresh:
            return True
    row = tx.row(_ROW, (TRIPLET, key_of(triplet)))
    return row is not None and int(row[0]) > 0 and int(row[1]) > fresh


def meet(tx: Tx, triplet: Sequence[str], delay_ms: int, times: tuple[int, int, int]) -> tuple[int, str]:
    """Write down that a triplet has come -> (ms it has to wait, why): new, early; with 0 client, known, passed.

    ``times`` are the ms in which it may come again, the ms it is kept once let through, and how many triplets of a
    network make the whole network known (0: none do).
    """
    window_ms, keep_ms, passes = times
    now = tx.now
    network = tx.row(_ROW, (NETWORK, triplet[0])) if passes else None
    if network is not None and int(network[0]) >= passes and int(network[1]) > now:
        tx.execute(_PUT, (NETWORK, triplet[0], int(network[0]), now + keep_ms, int(network[2])))
        return 0, "client"
    key = key_of(triplet)
    row = tx.row(_ROW, (TRIPLET, key))
    if row is None or int(row[1]) <= now:
        tx.execute(_PUT, (TRIPLET, key, 0, now + max(window_ms, delay_ms), now))
        return delay_ms, "new"
    fails, _, at = (int(value) for value in row)
    if not fails and now < at + delay_ms:
        return at + delay_ms - now, "early"
    tx.execute(_PUT, (TRIPLET, key, fails + 1, now + keep_ms, at))
    if not fails and passes:
        count = int(network[0]) if network is not None and int(network[1]) > now else 0
        tx.execute(_PUT, (NETWORK, triplet[0], count + 1, now + keep_ms, now))
    return 0, "known" if fails else "passed"


def sweep(tx: Tx) -> int:
    """Delete rows that have had their time, not too many at once -> how many."""
    return tx.execute(_SWEEP, (tx.now, tx.now))


def rows(tx: Tx, text: str) -> list[dict[str, Any]]:
    """Return what is kept, the youngest first, SHOWN at most; with ``text`` what holds it."""
    found = []
    where, params = "", []
    if text:
        where = r" AND key LIKE ? ESCAPE '\'"
        params = [f"%{_literal(escape(text.lower(), PART))}%"]
    query = f"SELECT realm, key, fails, until_at, at FROM throttle WHERE realm IN (20, 21) AND until_at > ?{where}"  # noqa: S608 - no foreign text
    for realm, key, fails, until, at in tx.rows(f"{query} ORDER BY at DESC, key LIMIT {SHOWN}", (tx.now, *params)):
        network, sender, rcpt = (*str(key).split("\t"), "", "")[:3]
        state = "client" if realm == NETWORK else "passed" if fails else "waiting"
        found.append(
            {
                "state": state,
                "network": network,
                "sender": sender if realm == TRIPLET else None,
                "rcpt": rcpt or None,
                "first": int(at),
                "until": int(until),
                "passes": int(fails),
            }
        )
    return found


def clear(tx: Tx, text: str) -> int:
    """Forget what holds ``text``, everything for "" -> how many rows that were."""
    if not text:
        return tx.execute("DELETE FROM throttle WHERE realm IN (20, 21)")
    like = f"%{_literal(escape(text.lower(), PART))}%"
    return tx.execute(r"DELETE FROM throttle WHERE realm IN (20, 21) AND key LIKE ? ESCAPE '\'", (like,))


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
