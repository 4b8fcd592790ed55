"""What the operators' verbs do to items: one slice of a job, in one unit of work.

An item is acted on while it is still in the class it was selected in: in the
flow (incoming, active, deferred: attempts go on meanwhile), on hold, or
recycled.  An item that somebody moved since, or that has left the queue, is
skipped.  What is being tried now is never moved: it gets a mark, which settling
honours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netsvc.mail.message import State
from netsvc.store.heads import close_heads
from netsvc.store.leases import MARK_DELETE, MARK_HOLD, RECYCLE_MS
from netsvc.store.tally import Tally, lower_heads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.store.tx import Tx

VERBS = ("hold", "release", "retry", "delete", "undelete")
INVERSE = {"hold": "release", "release": "hold", "delete": "undelete", "undelete": "delete", "retry": "retry"}
"""The verb that takes each back."""

_FLOW = (State.INCOMING, State.ACTIVE, State.DEFERRED)
_WAITING = (State.INCOMING, State.DEFERRED)
_READ = (
    "SELECT id, dest_id, state, reason_id, size, due_at, attempts, prev_state, mark, held_by, held_why, purge_at "
    "FROM delivery WHERE id {ids}"
)
_WRITE = (
    "UPDATE delivery SET state = v.column2, due_at = v.column3, prev_state = v.column4, mark = v.column5, "
    "held_by = v.column6, held_why = v.column7, purge_at = v.column8 FROM {v} WHERE delivery.id = v.column1"
)


@dataclass(slots=True)
class Item:
    """A delivery as it is, and as a verb leaves it."""

    id: int
    dest_id: int
    state: int
    reason_id: int
    size: int
    due_at: int
    attempts: int
    prev_state: int
    mark: int
    held_by: str | None
    held_why: str | None
    purge_at: int


@dataclass(frozen=True, slots=True)
class Frozen:
    """An item as the job keeps it: its state, due time and attempts when it was selected (undo: before the job)."""

    id: int
    state: int
    due_at: int
    attempts: int


@dataclass(slots=True)
class Order:
    """What is to be done to the items of one slice.  ``place`` counts the job's items before this slice."""

    verb: str
    actor: str
    why: str | None
    now: int
    begun_at: int
    spread_ms: int = 0
    matched: int = 1
    place: int = 0
    undo: bool = False
    clear_backoff: bool = True


@dataclass(slots=True)
class Done:
    """What came of a slice: ids acted on and skipped, and the destinations where work is due."""

    acted: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    dues: dict[int, int] = field(default_factory=dict)


def run(tx: Tx, node_id: int, order: Order, frozen: Sequence[Frozen]) -> Done:
    """Do ``order`` to the items ``frozen``: rows, counters and run queue."""
    sql = _READ + (" ORDER BY id FOR UPDATE" if tx.dialect == "postgresql" else "")
    items = {row[0]: Item(*row) for row in tx.among(sql, [was.id for was in frozen])}
    act = _UNDO[order.verb] if order.undo else _DO[order.verb]
    done, tally, writes = Done(), Tally(), []
    for place, was in enumerate(frozen, order.place):
        item = items.get(was.id)
        before = item.state if item is not None else 0
        if item is None or not act(item, was, order, place):
            done.skipped.append(was.id)
            continue
        done.acted.append(was.id)
        writes.append(
            (item.id, item.state, item.due_at, item.prev_state, item.mark, item.held_by, item.held_why, item.purge_at)
        )
        tally.move(item.dest_id, (before, item.state), (item.reason_id, item.reason_id), item.size)
        if item.state in _WAITING:
            done.dues[item.dest_id] = min(item.due_at, done.dues.get(item.dest_id, item.due_at))
    if writes:
        tx.each(_WRITE, "iiiiitti", writes)
        tally.apply(tx, node_id)
        lower_heads(tx, done.dues)
        if order.verb == "retry" and order.clear_backoff and not order.undo:
            sql = "UPDATE dest SET dead_until = 0 WHERE dead_until <> 0 AND id {ids} RETURNING id"
            close_heads(tx, [row[0] for row in tx.among(sql, sorted(done.dues))])
    return done


def _same(was: int, state: int) -> bool:
    return was == state or (was in _FLOW and state in _FLOW)


def _waiting_state(item: Item) -> int:
    """Return where an item goes that comes back from hold or recycling."""
    if item.prev_state in _WAITING:
        return item.prev_state
    return State.DEFERRED if item.attempts else State.INCOMING


def _hold(item: Item, was: Frozen, order: Order, _place: int) -> bool:
    if item.state not in _FLOW or not _same(was.state, item.state) or item.mark:
        return False
    _to_hold(item)
    item.held_by, item.held_why = order.actor, order.why
    return True


def _to_hold(item: Item) -> None:
    if item.state == State.ACTIVE:
        item.mark = MARK_HOLD
    else:
        item.prev_state, item.state = item.state, State.HOLD


def _release(item: Item, was: Frozen, order: Order, place: int) -> bool:
    if item.state == State.ACTIVE and item.mark == MARK_HOLD:
        item.mark = 0
        return True
    if item.state != State.HOLD or was.state not in (State.HOLD, State.ACTIVE):
        return False
    item.state, item.prev_state = _waiting_state(item), 0
    item.due_at = _spread(order, place)
    return True


def _spread(order: Order, place: int) -> int:
    return order.begun_at + order.spread_ms * place // max(order.matched, 1)


def _retry(item: Item, was: Frozen, order: Order, place: int) -> bool:
    if item.state not in _WAITING or not _same(was.state, item.state):
        return False
    item.due_at = _spread(order, place)
    return True


def _delete(item: Item, was: Frozen, order: Order, _place: int) -> bool:
    if item.state == State.RECYCLED or not _same(was.state, item.state):
        return False
    return _to_recycle(item, order.now)


def _to_recycle(item: Item, now: int) -> bool:
    if item.state == State.ACTIVE:
        if item.mark == MARK_DELETE:
            return False
        item.mark = MARK_DELETE
        return True
    if item.state == State.RECYCLED:
        return False
    item.prev_state, item.state = item.state, State.RECYCLED
    item.purge_at = now + RECYCLE_MS
    return True


def _undelete(item: Item, was: Frozen, _order: Order, _place: int) -> bool:
    if item.state == State.ACTIVE and item.mark == MARK_DELETE:
        item.mark = 0
        return True
    if item.state != State.RECYCLED or was.state not in (State.RECYCLED, State.ACTIVE):
        return False
    held = item.prev_state == State.HOLD
    item.state = State.HOLD if held else _waiting_state(item)
    item.prev_state = 0
    item.purge_at = 0
    return True


def _undo_hold(item: Item, was: Frozen, _order: Order, _place: int) -> bool:
    """Back to where it was, due when it was; what was being tried then is due as its attempt said."""
    if item.state == State.ACTIVE and item.mark == MARK_HOLD:
        item.mark = 0
        return True
    if item.state != State.HOLD:
        return False
    if was.state in _WAITING:
        item.state, item.due_at = was.state, was.due_at
    else:
        item.state = _waiting_state(item)
    item.prev_state = 0
    return True


def _undo_release(item: Item, _was: Frozen, _order: Order, _place: int) -> bool:
    """On hold again; who held it and why is still in the row."""
    if item.state not in _FLOW or item.mark:
        return False
    _to_hold(item)
    return True


def _undo_delete(item: Item, was: Frozen, _order: Order, _place: int) -> bool:
    if item.state == State.ACTIVE and item.mark == MARK_DELETE:
        item.mark = 0
        return True
    if item.state != State.RECYCLED:
        return False
    item.state = was.state if was.state in (*_WAITING, State.HOLD) else _waiting_state(item)
    item.prev_state = 0
    item.purge_at = 0
    return True


def _undo_undelete(item: Item, _was: Frozen, order: Order, _place: int) -> bool:
    return _to_recycle(item, order.now)


def _undo_retry(item: Item, was: Frozen, _order: Order, _place: int) -> bool:
    """Due as before, unless it has been tried since."""
    if item.state not in _WAITING or item.attempts != was.attempts:
        return False
    item.due_at = was.due_at
    return True


_DO: dict[str, Callable[[Item, Frozen, Order, int], bool]] = {
    "hold": _hold,
    "release": _release,
    "retry": _retry,
    "delete": _delete,
    "undelete": _undelete,
}
_UNDO: dict[str, Callable[[Item, Frozen, Order, int], bool]] = {
    "release": _undo_hold,
    "hold": _undo_release,
    "undelete": _undo_delete,
    "delete": _undo_undelete,
    "retry": _undo_retry,
}
"""By the verb of the job that takes another back."""
