"""Pages of queue and history, and all there is to say about one message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.mail.ids import IdError, prefix_range, show_id
from netsvc.records import MessageView, Page, StoreError
from netsvc.store.queuerows import (
    ATTEMPT,
    FROM_HISTORY,
    FROM_ITEMS,
    HISTORY,
    ITEM,
    attempt_row,
    history_row,
    item_row,
    safe,
)
from netsvc.store.search import PAST, QUEUE, Shape, by_size, prepare, take

if TYPE_CHECKING:
    from netsvc.criteria import Expr
    from netsvc.store.tx import SqlRow, Tx

MAX_PAGE = 5_000
MAX_ITEMS = 5_000
MAX_ATTEMPTS = 1_000
FOUND = 6
ORDERS = {"id": False, "-id": True, "size": False, "-size": True}
"""Order words and whether they go down."""


def queue_page(tx: Tx, where: Expr | None, after: Any, limit: int, order: str) -> Page:
    """Return one page of queue.item/1 rows."""
    return _page(tx, QUEUE, where, (after, limit, order))


def history_page(tx: Tx, where: Expr | None, after: Any, limit: int, order: str) -> Page:
    """Return one page of history/1 rows."""
    return _page(tx, PAST, where, (after, limit, order))


def _page(tx: Tx, shape: Shape, where: Expr | None, wanted: tuple[Any, int, str]) -> Page:
    after, limit, order = wanted
    if order not in ORDERS:
        raise StoreError(f"There is no order {order!r}; there are id, -id, size and -size")
    limit = max(1, min(limit, MAX_PAGE))
    search = prepare(tx, shape, where)
    if order.endswith("size"):
        found = by_size(tx, search, after, limit, down=ORDERS[order])
    else:
        found = take(tx, search, after, limit, down=ORDERS[order])
    return Page([shape.row(row, tx.now) for row in found.rows], found.next, found.scanned)


def message_view(tx: Tx, message_id: int) -> MessageView | None:
    """Return everything known of a message, None when nothing is."""
    items = [
        item_row(row, tx.now)
        for row in tx.rows(
            f"SELECT {ITEM} {FROM_ITEMS} WHERE m.id = d.message_id AND d.message_id = ? ORDER BY d.n LIMIT ?",
            (message_id, MAX_ITEMS),
        )
    ]
    past = [
        history_row(row, tx.now)
        for row in tx.rows(
            f"SELECT {HISTORY} {FROM_HISTORY} WHERE h.message_id = ? ORDER BY h.id LIMIT ?",
            (message_id, MAX_ITEMS),
        )
    ]
    attempts = tx.rows(
        f"SELECT {ATTEMPT}, a.delivery_id FROM attempt a LEFT JOIN transcript t ON t.id = a.transcript_id "  # noqa: S608  names of ours
        "LEFT JOIN reason r ON r.id = a.reason_id LEFT JOIN node w ON w.id = a.node_id "
        "LEFT JOIN delivery d ON d.id = a.delivery_id WHERE a.message_id = ? ORDER BY a.id DESC LIMIT ?",
        (message_id, MAX_ATTEMPTS),
    )
    message = tx.row(
        "SELECT id, sender, rcpts, size, received_at, expires_at, listener, client, helo, tls, auth, msgid, subject "
        "FROM message WHERE id = ?",
        (message_id,),
    )
    if message is None and not past and not attempts:
        return None
    head = None if message is None else {**_message_row(message), "items": items}
    return MessageView(head, items, _attempts(tx, attempts, message_id), past)


def _attempts(tx: Tx, rows: list[SqlRow], message_id: int) -> list[dict[str, Any]]:
    """Return attempt/1 rows, oldest first; who has left the queue is numbered by the history."""
    numbers: dict[int, int] = {}
    if any(row[1] is None for row in rows):
        numbers = dict(tx.rows("SELECT delivery_id, n FROM history WHERE message_id = ?", (message_id,)))
    return [attempt_row((row[0], row[1] or numbers.get(row[-1]), *row[2:])) for row in reversed(rows)]


def _message_row(row: SqlRow) -> dict[str, Any]:
    return {
        "id": show_id(row[0]),
        "sender": safe(row[1]) or "",
        "rcpts": row[2],
        "size": row[3],
        "queued": row[4],
        "expires": row[5],
        "listener": safe(row[6]),
        "peer": safe(row[7]),
        "helo": safe(row[8]),
        "tls": safe(row[9]),
        "user": safe(row[10]),
        "msgid": safe(row[11]),
        "subject": safe(row[12]),
    }


def find_message(tx: Tx, prefix: str) -> list[int]:
    """Return up to 6 ids, live or past, that begin with ``prefix``; none where no id can."""
    try:
        span = (*prefix_range(prefix), FOUND)
    except IdError:
        return []
    live = tx.rows("SELECT id FROM message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?", span)
    past = tx.rows(
        "SELECT DISTINCT message_id FROM history WHERE message_id BETWEEN ? AND ? ORDER BY message_id LIMIT ?", span
    )
    return sorted({row[0] for row in (*live, *past)})[:FOUND]


def stored_content(tx: Tx, message_id: int) -> tuple[bytes, int] | None:
    """Return (trace fields, blob id) of a message in the queue or in a mailbox, None when its content is gone."""
    row = tx.row("SELECT hdr, blob_id FROM message WHERE id = ?", (message_id,))
    if row is None:
        row = tx.row(
            "SELECT l.hdr, l.blob_id FROM history h JOIN mail l ON l.delivery_id = h.delivery_id "
            "WHERE h.message_id = ? ORDER BY h.n LIMIT 1",
            (message_id,),
        )
    return None if row is None else (bytes(row[0] or b""), row[1])
