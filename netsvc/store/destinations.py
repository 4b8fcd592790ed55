"""Destinations as operators see and steer them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.mail.escape import escape
from netsvc.records import Row, StoreError
from netsvc.store.queuerows import safe
from netsvc.store.summary import destination_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.store.tx import SqlRow, Tx

_NUMBERS = {"paused": (0, 1), "pause_until": (0, 1 << 62), "max_conn": (1, 10_000), "max_rate": (0, 1 << 40)}
_TEXTS = {"pause_note": 500, "pause_by": 100}

_ROWS = (
    "SELECT e.key, e.domain, e.paused, e.pause_note, e.pause_by, e.pause_until, e.max_conn, e.max_rate, e.dead_until, "
    "e.rev, e.id FROM dest e ORDER BY e.key"
)
_OLDEST = (
    "SELECT d.dest_id, m.received_at FROM delivery d CROSS JOIN message m WHERE m.id = d.message_id AND d.id {ids}"
)


def destinations(tx: Tx) -> list[Row]:
    """Return destination/1 rows, by key.  ``connections`` is for who has them: None here."""
    deferred: dict[int, int] = {
        row[0]: int(row[1])
        for row in tx.rows("SELECT dest_id, sum(n) FROM c_dest WHERE state = 3 GROUP BY dest_id HAVING sum(n) > 0")
    }
    oldest: dict[int, int] = {}
    errors: dict[int, str | None] = {}
    if deferred:
        edges = tx.rows("SELECT dest_id, min(id), max(id) FROM delivery WHERE state = 3 GROUP BY dest_id")
        oldest = {row[0]: row[1] for row in tx.among(_OLDEST, [row[1] for row in edges])}
        replies = tx.among("SELECT dest_id, reply FROM delivery WHERE id {ids}", [row[2] for row in edges])
        errors = {row[0]: row[1] for row in replies}
    return [
        _row(row, tx.now, deferred.get(row[10], 0), (oldest.get(row[10]), errors.get(row[10])))
        for row in tx.rows(_ROWS)
    ]


def _row(row: SqlRow, now: int, deferred: int, edge: tuple[int | None, str | None]) -> dict[str, Any]:
    key, domain, paused, note, by, pause_until, max_conn, max_rate, dead_until, rev, _ = row
    state = destination_state(paused, pause_until, dead_until, now)
    suspended = state == "suspended"
    until = pause_until if suspended else dead_until if state == "backoff" else 0
    return {
        "key": escape(key),
        "domain": escape(domain),
        "state": state,
        "connections": None,
        "limit": max_conn,
        "rate": max_rate or None,
        "deferred": deferred,
        "oldest": edge[0],
        "last_error": safe(edge[1]),
        "until": until or None,
        "reason": safe(note) if suspended else None,
        "by": safe(by) if suspended else None,
        "rev": rev,
    }


def set_destination(tx: Tx, key: str, rev: int, policy: Mapping[str, Any]) -> int:
    """Change a destination if it is still of revision ``rev``; return the new revision.  Raises StoreError."""
    values: dict[str, Any] = {}
    for name, value in policy.items():
        values[name] = _checked(name, value)
    if not values:
        raise StoreError("Nothing was named that could be set")
    columns = ", ".join(f"{name} = ?" for name in values)
    changed = tx.row(
        f"UPDATE dest SET {columns}, rev = rev + 1 WHERE key = ? AND rev = ? RETURNING rev, id",  # noqa: S608  names of ours
        (*values.values(), key, rev),
    )
    if changed is not None:
        return int(changed[0])
    if tx.value("SELECT 1 FROM dest WHERE key = ?", (key,)):
        raise StoreError(f"{escape(key, 100)} was changed by somebody else meanwhile; look at it and say it again")
    raise StoreError(f"There is no destination {escape(key, 100)}")


def _checked(name: str, value: Any) -> Any:
    if name in _TEXTS:
        return escape(str(value), _TEXTS[name]) if value else None
    if name not in _NUMBERS:
        raise StoreError(f"A destination has no {escape(name, 50)}")
    low, high = _NUMBERS[name]
    number = int(value)
    if not low <= number <= high:
        raise StoreError(f"{name} is between {low} and {high}")
    return number
