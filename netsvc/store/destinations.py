"""Destinations as operators see and steer them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.mail.escape import escape
from netsvc.mail.message import State
from netsvc.records import Row, StoreError
from netsvc.settings import DestinationSettings
from netsvc.store.heads import close_heads
from netsvc.store.queuerows import safe
from netsvc.store.summary import destination_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.store.tx import SqlRow, Tx

_FAR = 1 << 62
_MOST = 1 << 40
_NUMBERS = {"paused": (0, 1), "pause_until": (0, _FAR)}
_TEXTS = {"pause_note": 500, "pause_by": 100}
_LIMITS = {
    "connections": (0, 10_000),
    "messages": (0, 1_000_000),
    "rate_count": (0, _MOST),
    "rate_ms": (0, _MOST),
    "until_at": (0, _FAR),
}
"""Columns of ``dest_limit``; 0 is what the site says, and of ``until_at`` no end."""

_ROWS = (
    "SELECT e.key, e.domain, e.paused, e.pause_note, e.pause_by, e.pause_until, e.dead_until, e.limit_until,"
    " e.fail_streak, e.rev, e.id, l.connections, l.messages, l.rate_count, l.rate_ms, l.until_at, l.limited_by"
    " FROM dest e LEFT JOIN dest_limit l ON l.dest_id = e.id AND (l.until_at = 0 OR l.until_at > ?)"
)
_OLDEST = (
    "SELECT d.dest_id, m.received_at FROM delivery d CROSS JOIN message m WHERE m.id = d.message_id AND d.id {ids}"
)


def destinations(tx: Tx, key: str | None = None) -> list[Row]:
    """Return destination/1 rows, by key, or that of ``key`` alone.

    ``connections`` is for who has them: None here.  ``limit``, ``messages`` and ``rate`` are what operators said, None
    where they said nothing; ``rate`` is (messages, ms).
    """
    if key is None:
        rows, only, ids = tx.rows(f"{_ROWS} ORDER BY e.key", (tx.now,)), "", ()
    else:
        rows = tx.rows(f"{_ROWS} WHERE e.key = ?", (tx.now, key))
        only, ids = " AND dest_id = ?", tuple(row[10] for row in rows)
    if not rows:
        return []
    deferred: dict[int, int] = {}
    waiting: dict[int, int] = {}
    for dest_id, state, n in tx.rows(
        f"SELECT dest_id, state, sum(n) FROM c_dest WHERE state IN (1, 3){only} GROUP BY dest_id, state",  # noqa: S608  texts of ours
        ids,
    ):
        (deferred if state == State.DEFERRED else waiting)[dest_id] = int(n)
    oldest: dict[int, int] = {}
    errors: dict[int, str | None] = {}
    if any(deferred.values()):
        edges = tx.rows(
            f"SELECT dest_id, min(id), max(id) FROM delivery WHERE state = 3{only} GROUP BY dest_id",  # noqa: S608  texts of ours
            ids,
        )
        oldest = {row[0]: row[1] for row in tx.among(_OLDEST, [row[1] for row in edges])}
        replies = tx.among("SELECT dest_id, reply FROM delivery WHERE id {ids}", [row[2] for row in edges])
        errors = {row[0]: row[1] for row in replies}
    return [
        _row(row, tx.now)
        | {
            "deferred": deferred.get(row[10], 0),
            "incoming": waiting.get(row[10], 0),
            "oldest": oldest.get(row[10]),
            "last_error": safe(errors.get(row[10])),
        }
        for row in rows
    ]


def _row(row: SqlRow, now: int) -> dict[str, Any]:
    key, domain, paused, note, by, pause_until, dead_until, limit_until, streak, rev, _ = row[:11]
    connections, messages, rate_count, rate_ms, limits_until, limited_by = row[11:]
    state = destination_state(paused, pause_until, dead_until, now)
    suspended = state == "suspended"
    until = pause_until if suspended else dead_until if state == "backoff" else 0
    return {
        "key": escape(key),
        "domain": escape(domain),
        "state": state,
        "connections": None,
        "limit": connections or None,
        "rate": (rate_count, rate_ms) if rate_count else None,
        "deferred": 0,  # what is counted apart keeps its place
        "oldest": None,
        "last_error": None,
        "until": until or None,
        "reason": safe(note) if suspended else None,
        "by": safe(by) if suspended else None,
        "messages": messages or None,
        "failures": streak,
        "rests_until": limit_until if limit_until > now else None,
        "limited_by": safe(limited_by),
        "limited_until": limits_until or None,
        "rev": rev,
    }


def set_destination(tx: Tx, key: str, rev: int, policy: Mapping[str, Any], number: int) -> int:
    """Change a destination if it is still of revision ``rev``; return the new revision.  Raises StoreError.

    With ``rev`` 0 one that is not known yet is made, with the id ``number``.
    """
    values: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for name, value in policy.items():
        if name in _LIMITS:
            limits[name] = _within(name, value, *_LIMITS[name])
        elif name == "limited_by":
            limits[name] = escape(str(value), 100)
        elif name == "backoff":
            values |= {"dead_until": 0, "fail_streak": 0, "limit_until": 0}
        else:
            values[name] = _checked(name, value)
    if not values and not limits:
        raise StoreError("Nothing was named that could be set")
    if limits:
        values["limit_until"] = 0  # what rested for its rate is looked at again
    if not rev:
        _make(tx, key, number)
    columns = ", ".join(f"{name} = ?" for name in values)
    changed = tx.row(
        f"UPDATE dest SET {columns}, rev = rev + 1 WHERE key = ? AND rev = ? RETURNING rev, id",  # noqa: S608  names of ours
        (*values.values(), key, rev),
    )
    if changed is None:
        if tx.value("SELECT 1 FROM dest WHERE key = ?", (key,)):
            raise StoreError(f"{escape(key, 100)} was changed by somebody else meanwhile; look at it and say it again")
        raise StoreError(f"There is no destination {escape(key, 100)}")
    if limits:
        _limit(tx, changed[1], limits)
    close_heads(tx, [changed[1]])
    return int(changed[0])


def _make(tx: Tx, key: str, number: int) -> None:
    """Store a destination nobody has sent to yet."""
    tx.execute(
        "INSERT INTO dest (id, key, domain, transport) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
        (number, key, key, "smtp"),
    )


def _limit(tx: Tx, number: int, limits: Mapping[str, Any]) -> None:
    """Set what is said of limits; a destination without any has no row, and what has ended does not come back."""
    tx.execute("DELETE FROM dest_limit WHERE dest_id = ? AND until_at <> 0 AND until_at <= ?", (number, tx.now))
    tx.execute("INSERT INTO dest_limit (dest_id) VALUES (?) ON CONFLICT (dest_id) DO NOTHING", (number,))
    columns = ", ".join(f"{name} = ?" for name in limits)
    tx.execute(f"UPDATE dest_limit SET {columns}, at = ? WHERE dest_id = ?", (*limits.values(), tx.now, number))  # noqa: S608  names of ours
    tx.execute(
        "DELETE FROM dest_limit WHERE dest_id = ? AND connections = 0 AND messages = 0 AND rate_count = 0", (number,)
    )


def said_limits(tx: Tx) -> dict[str, tuple[DestinationSettings, int]]:
    """Return {key: (limits, until when or 0)} of what operators said and still holds."""
    found = tx.rows(
        "SELECT e.key, l.connections, l.messages, l.rate_count, l.rate_ms, l.until_at FROM dest_limit l"
        " JOIN dest e ON e.id = l.dest_id WHERE l.until_at = 0 OR l.until_at > ?",
        (tx.now,),
    )
    return {
        key: (DestinationSettings(connections or None, messages or None, (count, ms) if count else None), until)
        for key, connections, messages, count, ms, until in found
    }


def _checked(name: str, value: Any) -> Any:
    if name in _TEXTS:
        return escape(str(value), _TEXTS[name]) if value else None
    if name not in _NUMBERS:
        raise StoreError(f"A destination has no {escape(name, 50)}")
    return _within(name, value, *_NUMBERS[name])


def _within(name: str, value: Any, low: int, high: int) -> int:
    number = int(value)
    if not low <= number <= high:
        raise StoreError(f"{name} is between {low} and {high}")
    return number
