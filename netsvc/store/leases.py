"""Leasing deliveries to this node, and taking back the leases of a process or node that is gone.

A row stores node and epoch; the lease is valid as long as the node's heartbeat
is.  Attempts and crashes are counted before the attempt: ``crashes`` is set to
0 by settling, so what it counts are leases that ended with the process.

Whatever ends a process is counted against all it had leased, most of it
innocent.  So a message that would be put on hold by one more crash is suspected:
a node leases one suspect at a time.  Who is tried alone and survives is cleared;
who ends the process once more is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.mail.message import DueDestination, Kind, Leased, State
from netsvc.store.heads import FAR, LATER
from netsvc.store.tally import Tally, lower_heads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netsvc.store.tx import Tx

CRASHES = 3
"""A delivery whose attempts ended the process so often is put on hold."""
HELD_BY = "netsvc"
HELD_WHY = "three attempts ended the process"
RECYCLE_MS = 24 * 3_600_000
MARK_HOLD = 1
MARK_DELETE = 2
SLICE = 5000

OPEN_DEST = "(d.paused = 0 OR (d.pause_until <> 0 AND d.pause_until <= ?)) AND d.dead_until <= ? AND d.limit_until <= ?"
"""Test of a destination ``d`` that may be tried now; three times the present time."""

_PICK = {
    "sqlite": """
FROM (SELECT id, message_id, crashes FROM delivery WHERE dest_id = ? AND state IN (1,3) AND due_at <= ?
AND crashes < ? ORDER BY due_at, id LIMIT ?)
""",
    # The lower bound keeps the walk off index entries that are dead but not yet vacuumed.
    "postgresql": """
FROM delivery WHERE dest_id = ? AND state IN (1,3) AND due_at <= ? AND crashes < ?
AND due_at >= coalesce((SELECT next_due FROM dest_head WHERE dest_id = ?), 0)
ORDER BY due_at, id LIMIT ? FOR UPDATE SKIP LOCKED
""",
}
_SUSPECT_ACTIVE = "SELECT 1 FROM delivery WHERE state = 2 AND lease_node = ? AND crashes >= ? LIMIT 1"
_TAKE = (
    "UPDATE delivery SET state = 2, prev_state = state, lease_node = ?, lease_epoch = ?, lease_at = ?,"
    " attempts = attempts + 1, crashes = crashes + 1 WHERE id {ids}"
)
_TAKEN = """
id, message_id, n, rcpt, domain, dest_id, route, kind, attempts, crashes, size, prev_state, orcpt, notify, reason_id
"""
_MESSAGES = (
    "m.id, hex(m.hdr), m.blob_id, m.sender, m.received_at, m.expires_at, m.flags, m.msgid, m.envid, m.ret, m.prio,"
    " m.by_at"
)
_RAISE = (
    "UPDATE dest_head SET next_due = coalesce((SELECT delivery.due_at FROM delivery"
    " WHERE delivery.dest_id = dest_head.dest_id AND delivery.state IN (1,3) ORDER BY delivery.due_at LIMIT 1), ?)"
    " WHERE dest_id {ids}"
)


_READY = {dialect: f"{later}(h.next_due, h.open_at)" for dialect, later in LATER.items()}
"""When a destination is to be looked at: as its index has it."""


def due(tx: Tx, limit: int) -> list[DueDestination]:
    """Return destinations with work due that are not left alone, most overdue first.

    Those left alone are not walked: they stand later in the index.
    """
    ready = _READY[tx.dialect]
    found = tx.rows(
        "SELECT h.dest_id, h.next_due, d.key, d.fail_streak FROM dest_head h JOIN dest d ON d.id = h.dest_id"  # noqa: S608  texts of ours
        f" WHERE {ready} <= ? AND {OPEN_DEST} ORDER BY {ready} LIMIT ?",
        (tx.now, tx.now, tx.now, tx.now, limit),
    )
    return [DueDestination(*row) for row in found]


def next_due(tx: Tx) -> int | None:
    """Return when the earliest destination can be tried, None when nothing waits."""
    later = LATER[tx.dialect]
    pause = "CASE WHEN d.paused = 0 THEN 0 WHEN d.pause_until = 0 THEN ? ELSE d.pause_until END"
    at = tx.value(
        f"SELECT min({later}(h.next_due, d.dead_until, d.limit_until, {pause}))"  # noqa: S608  texts of ours
        " FROM dest_head h JOIN dest d ON d.id = h.dest_id",
        (FAR,),
    )
    return None if at is None or at >= FAR else int(at)


def lease(tx: Tx, node: tuple[int, int], wants: Sequence[tuple[int, int]], at: int | None = None) -> list[Leased]:
    """Lease up to n due deliveries of each (dest_id, n) of ``wants`` to ``node`` (id, epoch).

    ``at``: the ``lease_at`` of their rows, now unless given; who never hears of this lease finds them by it.
    """
    keys = _open_dests(tx, [dest_id for dest_id, n in wants if n > 0])
    if not keys or not tx.value("SELECT 1 FROM node WHERE id = ? AND epoch = ? AND state = 1", node):
        return []
    ids: list[int] = []
    alone = False
    for dest_id, n in sorted(wants):
        if dest_id not in keys:
            continue
        found = _pick(tx, dest_id, n, CRASHES + 1)
        suspects = [row for row in found if row[2] >= CRASHES - 1]
        if suspects:
            found = _pick(tx, dest_id, n, CRASHES - 1)
            if not alone and not tx.value(_SUSPECT_ACTIVE, (node[0], CRASHES)):
                alone = True
                chosen = [row for row in suspects if row[1] == min(suspects)[1]]
                found = [*chosen, *found[: n - len(chosen)]]
        ids.extend(row[0] for row in found)
    if not ids:
        raise_heads(tx, sorted(keys))
        return []
    out = lease_rows(tx, node, ids, keys, at)
    raise_heads(tx, sorted(keys))
    return out


def leased_at(tx: Tx, node: tuple[int, int], at: int) -> list[int]:
    """Return the deliveries ``node`` (id, epoch) leased with this ``lease_at`` and has not settled."""
    found = tx.rows(
        "SELECT id FROM delivery WHERE state = 2 AND lease_node = ? AND lease_epoch = ? AND lease_at = ?", (*node, at)
    )
    return [row[0] for row in found]


def held(tx: Tx, node: tuple[int, int], before: int) -> list[int]:
    """Return the deliveries ``node`` (id, epoch) leased before a time (ms) and has not settled."""
    sql = "SELECT id FROM delivery WHERE state = 2 AND lease_node = ? AND lease_epoch = ? AND lease_at < ?"
    return [row[0] for row in tx.rows(sql, (*node, before))]


_OVERDUE = (
    "FROM message m JOIN delivery d ON d.message_id = m.id JOIN dest t ON t.id = d.dest_id"
    " WHERE m.id < ? AND m.expires_at <= ? AND d.state IN (1,3) AND t.dead_until > ? AND t.paused = 0"
    " ORDER BY m.id, d.id LIMIT ?"
)


_BELATED = (
    "FROM message m JOIN delivery d ON d.message_id = m.id JOIN dest t ON t.id = d.dest_id"
    " WHERE m.by_at <> 0 AND m.by_at <= ? AND (m.flags & 64) <> 0 AND d.state IN (1,3) AND t.dead_until > ?"
    " AND t.paused = 0 ORDER BY m.id, d.id LIMIT ?"
)
"""As above, what its sender wanted returned by now (RFC 2852)."""


def overdue(tx: Tx, node: tuple[int, int], before: tuple[int, int], limit: int) -> list[Leased]:
    """Lease what waits beyond its expiry, or its sender's, for destinations that are left alone, oldest first.

    Nothing of it would be tried before its destination is, which may be long after.  Only messages with ids below
    ``before[0]`` are looked at: ids are in the order of acceptance, so that a young queue is not walked.  Those
    have expired whose time was over at ``before[1]`` (ms), which is now but for what the clock did.
    """
    bounds = (*before, tx.now, limit)
    lock = " FOR UPDATE OF d SKIP LOCKED" if tx.dialect == "postgresql" else ""
    found = tx.rows(f"SELECT d.id, d.dest_id, t.key {_OVERDUE}{lock}", bounds)
    if len(found) < limit:
        known = {row[0] for row in found}
        late = tx.rows(f"SELECT d.id, d.dest_id, t.key {_BELATED}{lock}", (tx.now, tx.now, limit))
        found += [row for row in late if row[0] not in known][: limit - len(found)]
    if not found or not tx.value("SELECT 1 FROM node WHERE id = ? AND epoch = ? AND state = 1", node):
        return []
    out = lease_rows(tx, node, [row[0] for row in found], {row[1]: row[2] for row in found})
    raise_heads(tx, sorted({row[1] for row in found}))
    return out


def lease_rows(
    tx: Tx, node: tuple[int, int], ids: Sequence[int], keys: Mapping[int, str], at: int | None = None
) -> list[Leased]:
    """Lease deliveries by their ids; ``keys`` {dest_id: key} names their destinations."""
    tx.among(_TAKE, ids, (*node, tx.now if at is None else at))
    taken = tx.pick(_TAKEN, "FROM delivery WHERE id {ids}", ids)
    found = tx.pick(_MESSAGES, "FROM message m WHERE m.id {ids}", sorted({row[1] for row in taken}))
    messages = {row[0]: row[1:] for row in found}
    tally = Tally()
    out = []
    for row in taken:
        size, prev, reason = row[10], row[11], row[14]
        tally.move(row[5], (prev, State.ACTIVE), (reason, reason), size)
        out.append(_leased(row, messages[row[1]], keys[row[5]], node[1]))
    tally.apply(tx, node[0])
    out.sort(key=lambda leased: leased.id)
    return out


def _pick(tx: Tx, dest_id: int, n: int, crashes: int) -> list[Any]:
    """Return up to ``n`` (id, message id, crashes) of what is due, oldest first, with less than ``crashes``."""
    bound = (dest_id, tx.now, crashes, n) if tx.dialect == "sqlite" else (dest_id, tx.now, crashes, dest_id, n)
    return tx.pick("id, message_id, crashes", _PICK[tx.dialect], before=bound)


def _leased(row: Sequence[Any], message: Sequence[Any], key: str, epoch: int) -> Leased:
    number, message_id, n, rcpt, domain, dest_id, route, kind, attempts, crashes, size, prev, orcpt, notify, _ = row
    hdr, blob_id, sender, received_at, expires_at, flags, msgid, envid, ret, prio, by_at = message
    return Leased(
        id=number,
        message_id=message_id,
        n=n,
        rcpt=rcpt,
        domain=domain,
        dest_id=dest_id,
        dest_key=key,
        route=route or "",
        kind=Kind(kind),
        attempts=attempts,
        crashes=crashes - 1,
        size=size,
        prev_state=prev,
        orcpt=orcpt or "",
        notify=notify,
        hdr=bytes.fromhex(hdr or ""),
        blob_id=blob_id,
        sender=sender,
        received_at=received_at,
        expires_at=expires_at,
        flags=flags,
        msgid=msgid or "",
        envid=envid or "",
        ret=ret,
        lease_epoch=epoch,
        prio=prio,
        by_at=by_at,
    )


def _open_dests(tx: Tx, ids: Sequence[int]) -> dict[int, str]:
    if not ids:
        return {}
    now = tx.now
    sql = f"SELECT d.id, d.key FROM dest d WHERE {OPEN_DEST} AND d.id {{ids}}"  # noqa: S608  texts of ours
    return {row[0]: row[1] for row in tx.among(sql, ids, (now, now, now))}


def raise_heads(tx: Tx, dest_ids: Sequence[int]) -> None:
    """Set the heads of these destinations to what is really due first."""
    if tx.dialect == "postgresql":
        # Who accepts at the same time holds the row: look only after it has let go.
        tx.among("SELECT 1 FROM dest_head WHERE dest_id {ids} ORDER BY dest_id FOR UPDATE", dest_ids)
    tx.among(_RAISE, dest_ids, (FAR,))


_FREE = (
    "UPDATE delivery SET state = v.column2, due_at = v.column3, held_by = coalesce(v.column4, delivery.held_by),"
    " held_why = coalesce(v.column5, delivery.held_why), prev_state = v.column6, purge_at = v.column7,"
    " lease_node = 0, lease_epoch = 0, lease_at = 0, mark = 0, crashes = v.column8"
    " FROM {v} WHERE delivery.id = v.column1"
)


def settle_state(now: int, state: int, mark: int) -> tuple[int, int, int]:
    """Return (state, prev_state, purge_at) of an item that leaves ``active`` for ``state``, its ``mark`` honoured."""
    if mark == MARK_DELETE:
        return State.RECYCLED, state, now + RECYCLE_MS
    if mark == MARK_HOLD:
        return State.HOLD, state, 0
    return state, 0, 0


def free(tx: Tx, of: tuple[int, int], node_id: int, due_at: int) -> tuple[int, list[tuple[int, int]]]:
    """Give back up to 5,000 leases of node ``of[0]`` of epochs below ``of[1]``, due at ``due_at``.

    Return how many, and the (message id, n) of those put on hold because their attempts keep ending the process.
    """
    sql = (
        "SELECT id, message_id, n, dest_id, size, prev_state, reason_id, crashes, mark FROM delivery"
        " WHERE state = 2 AND lease_node = ? AND lease_epoch < ? ORDER BY id LIMIT ?"
    )
    if tx.dialect == "postgresql":
        sql += " FOR UPDATE SKIP LOCKED"
    tally = Tally()
    dues: dict[int, int] = {}
    held: list[tuple[int, int]] = []
    updates: list[tuple[Any, ...]] = []
    for number, message_id, n, dest_id, size, before, reason, crashes, mark in tx.rows(sql, (*of, SLICE)):
        state, prev, purge_at = settle_state(tx.now, before or State.INCOMING, mark)
        who = why = None
        if crashes >= CRASHES and state in (State.INCOMING, State.DEFERRED):
            held.append((message_id, n))
            state, prev, who, why, crashes = State.HOLD, state, HELD_BY, HELD_WHY, 0  # noqa: PLW2901
        updates.append((number, int(state), due_at, who, why, int(prev), purge_at, crashes))
        tally.move(dest_id, (State.ACTIVE, state), (reason, reason), size)
        if state in (State.INCOMING, State.DEFERRED):
            dues[dest_id] = due_at
    if updates:
        tx.each(_FREE, "iiittiii", updates)
        tally.apply(tx, node_id)
        lower_heads(tx, dues)
    return len(updates), held
