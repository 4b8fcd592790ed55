"""Mail that is late and whose sender has not been told, because its destination is left alone and nothing tries it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.message import FLAG_REPORT, FLAG_WARNED
from netsvc.store.leases import lease_rows, raise_heads

if TYPE_CHECKING:
    from netsvc.mail.message import Leased
    from netsvc.store.tx import SqlRow, Tx

WINDOW = 2000
"""Messages looked at in one unit of work."""
_LAST = "SELECT max(id) FROM (SELECT id FROM message WHERE id > ? AND id < ? ORDER BY id LIMIT ?) x"
_LATE = (
    "SELECT d.id, d.dest_id, t.key, m.id FROM message m JOIN delivery d ON d.message_id = m.id"
    " JOIN dest t ON t.id = d.dest_id WHERE m.id > ? AND m.id <= ? AND (m.flags & ?) = 0 AND m.sender <> ''"
    " AND d.state IN (1,3) AND t.dead_until > ? AND t.paused = 0 ORDER BY m.id, d.id LIMIT ?"
)


def window(tx: Tx, after: int, before: int) -> int:
    """Return the last message of the next window behind ``after``, of those below ``before``; 0: there is none."""
    return int(tx.value(_LAST, (after, before, WINDOW)) or 0)


def late(tx: Tx, after: int, last: int, limit: int) -> list[SqlRow]:
    """Return (delivery, destination, its key, message) of what is to be told, of messages in (after, last]."""
    return tx.rows(_LATE, (after, last, FLAG_WARNED | FLAG_REPORT, tx.now, limit))


def unwarned(tx: Tx, node: tuple[int, int], span: tuple[int, int], limit: int) -> tuple[list[Leased], int]:
    """Lease what ``late`` finds in ``span`` -> (the rows, the message up to which all was looked at)."""
    lock = " FOR UPDATE OF d SKIP LOCKED" if tx.dialect == "postgresql" else ""
    found = tx.rows(_LATE + lock, (*span, FLAG_WARNED | FLAG_REPORT, tx.now, limit))
    if not found or not tx.value("SELECT 1 FROM node WHERE id = ? AND epoch = ? AND state = 1", node):
        return [], span[1]
    out = lease_rows(tx, node, [row[0] for row in found], {row[1]: row[2] for row in found})
    raise_heads(tx, sorted({row[1] for row in found}))
    return out, found[-1][3] if len(found) >= limit else span[1]
