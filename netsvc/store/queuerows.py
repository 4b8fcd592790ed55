"""Queue, message, attempt and history rows as people see them: the SELECT lists and what is made of them.

Foreign text is escaped when it is stored and once more here: what is shown must
be safe whoever wrote the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.criteria import RESULTS, STATES
from netsvc.mail.escape import escape, escape_bytes
from netsvc.mail.ids import show_id, show_item
from netsvc.store.columns import CODE, HELD, LAST, NEXT

if TYPE_CHECKING:
    from netsvc.store.tx import SqlRow

FROM_QUEUE = "FROM delivery d CROSS JOIN message m LEFT JOIN reason r ON r.id = d.reason_id"
"""``CROSS JOIN`` keeps SQLite walking delivery first; ``JOINED`` belongs into the WHERE clause."""
JOINED = "m.id = d.message_id"
FROM_ITEMS = f"{FROM_QUEUE} LEFT JOIN node w ON w.id = CASE WHEN d.lease_node <> 0 THEN d.lease_node ELSE m.node_id END"
FROM_HISTORY = "FROM history h LEFT JOIN reason r ON r.id = h.reason_id"

ITEM = (
    "d.id, d.message_id, d.n, d.state, d.domain, d.rcpt, m.sender, m.auth, m.client, m.listener, d.size, m.rcpts, "
    f"m.subject, m.msgid, m.received_at, {NEXT}, {LAST}, d.attempts, m.expires_at, {CODE}, r.enhanced, r.text, "
    f"d.reply, d.route, d.host, m.tag, {HELD.format('held_by')}, {HELD.format('held_why')}, w.name, "
    "m.sender_domain, m.helo, m.tls, d.mark"
)
"""What ``item_row`` reads.  The first column is the delivery id."""

HISTORY = (
    "h.id, h.message_id, h.n, h.outcome, h.at, h.received_at, h.sender, h.rcpt, h.domain, h.size, h.msgid, h.subject, "
    f"h.auth, h.client, h.listener, h.host, h.tls, {CODE}, r.enhanced, h.reply, h.attempts, r.text"
)
"""What ``history_row`` reads."""

ATTEMPT = (
    "a.message_id, d.n, a.at, w.name, a.host, a.addr, a.tls, a.ms, a.outcome, a.code, a.enhanced, a.reply, r.text, "
    "t.data, a.n"
)
_MARKS = {1: "hold", 2: "delete"}


def safe(text: Any) -> str | None:
    """Return foreign text fit to be shown; None for absent or empty text."""
    return escape(str(text)) if text else None


def item_row(row: SqlRow, now: int) -> dict[str, Any]:
    """Return a queue.item/1 row from the columns ``ITEM``, and what only filters ask for."""
    sender = escape(row[6])
    following = row[15]
    return {
        "id": show_item(row[1], row[2]),
        "msg": show_id(row[1]),
        "n": row[2],
        "state": STATES[row[3] - 1],
        "domain": escape(row[4]),
        "rcpt": escape(row[5]),
        "sender": sender,
        "user": safe(row[7]),
        "peer": safe(row[8]),
        "listener": safe(row[9]),
        "size": row[10],
        "rcpts": row[11],
        "subject": safe(row[12]),
        "msgid": safe(row[13]),
        "age": now - row[14],
        "queued": row[14],
        "next": following,
        "last": row[16],
        "attempts": row[17],
        "expires": row[18],
        "code": row[19],
        "status": safe(row[20]),
        "reason": safe(row[21]),
        "error": safe(row[22]),
        "route": safe(row[23]),
        "host": safe(row[24]),
        "tag": safe(row[25]),
        "held_by": safe(row[26]),
        "held_why": safe(row[27]),
        "node": safe(row[28]),
        "sender_domain": escape(row[29]),
        "helo": safe(row[30]),
        "tls": safe(row[31]),
        "due": None if following is None else following - now,
        "bounce": not sender,
        "when_settled": _MARKS.get(row[32]),
    }


def history_row(row: SqlRow, now: int) -> dict[str, Any]:
    """Return a history/1 row from the columns ``HISTORY``."""
    return {
        "id": show_item(row[1], row[2]),
        "msg": show_id(row[1]),
        "n": row[2],
        "result": _result(row[3]),
        "done": row[4],
        "queued": row[5],
        "delay": row[4] - row[5],
        "sender": escape(row[6]),
        "rcpt": escape(row[7]),
        "domain": escape(row[8]),
        "size": row[9],
        "msgid": safe(row[10]),
        "subject": safe(row[11]),
        "user": safe(row[12]),
        "peer": safe(row[13]),
        "listener": safe(row[14]),
        "host": safe(row[15]),
        "tls": safe(row[16]),
        "code": row[17],
        "status": safe(row[18]),
        "reply": safe(row[19]),
        "attempts": row[20],
        "reason": safe(row[21]),
        "age": now - row[4],
    }


def attempt_row(row: SqlRow) -> dict[str, Any]:
    """Return an attempt/1 row from the columns ``ATTEMPT``; ``n`` is the recipient's, ``attempt`` counts its tries."""
    transcript = row[13]
    return {
        "msg": show_id(row[0]),
        "n": row[1],
        "at": row[2],
        "node": safe(row[3]),
        "host": safe(row[4]),
        "addr": safe(row[5]),
        "tls": safe(row[6]),
        "ms": row[7],
        "outcome": _result(row[8]),
        "code": row[9] or None,
        "status": safe(row[10]),
        "reply": safe(row[11]),
        "reason": safe(row[12]),
        "transcript": None if transcript is None else transcript_text(bytes(transcript)),
        "attempt": row[14],
    }


def transcript_text(data: bytes) -> str:
    """Return a stored dialogue as text, LF between its lines."""
    return "\n".join(escape_bytes(line) for line in data.rstrip(b"\n").split(b"\n"))


_OUTCOMES = (*RESULTS, "deferred", "released")


def _result(code: int) -> str:
    return _OUTCOMES[code - 1] if 1 <= code <= len(_OUTCOMES) else "unknown"
