"""The rows behind jobs: ``bulk``, one a job, and ``bulk_item``, the frozen ids it acts on.

Plain units of work; ``jobs`` strings them together.  A job belongs to the
process whose (node, epoch) its row names; every slice is conditional on that
and on the job's state, so a cancelled or adopted job does nothing more.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from netsvc.mail.escape import escape
from netsvc.records import Row, StoreError
from netsvc.store import bulkverbs
from netsvc.store.bulkverbs import INVERSE, VERBS, Frozen, Order
from netsvc.store.tx import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netsvc.store.tx import SqlRow, Tx

FREEZING, RUNNING, DONE, CANCELLED = range(4)
_WORDS = ("running", "running", "done", "cancelled")
ACTED, SKIPPED = 1, 2
AT_ONCE = 2
"""Jobs that may run at the same time."""
KEPT = 1_000
"""Jobs a list shows."""

ITEM = table("bulk_item", "bulk_id delivery_id result was_state was_due_at was_attempts")
_COLUMNS = (
    "b.id, b.verb, b.actor, b.reason, b.state, b.matched, b.done, b.skipped, b.created_at, b.updated_at, "
    "b.undo_of, b.filter"
)
_ALIVE = (
    "((b.lease_node = ? AND b.lease_epoch = ?) OR EXISTS (SELECT 1 FROM node w WHERE w.id = b.lease_node "
    "AND w.epoch = b.lease_epoch AND w.state IN (1, 2)))"
)
"""Whether the process a job belongs to is there; our own (node, epoch) are its parameters."""

_MINE = (
    "SELECT verb, actor, reason, args, cursor, done, skipped, created_at, matched, undo_of FROM bulk "
    "WHERE id = ? AND state = 1 AND lease_node = ? AND lease_epoch = ?"
)

Node = tuple[int, int]
"""(node id, epoch)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A job to be made."""

    verb: str
    actor: str
    described: str
    reason: str | None
    args: Mapping[str, Any]
    matched: int
    undo_of: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """What a slice came to.  ``over``: the job has ended, or is no longer ours."""

    over: bool
    looked: int = 0
    acted: int = 0
    due: bool = False
    seconds: float = 0.0


def make_plan(verb: str, args: Mapping[str, Any], actor: str, described: str, matched: int) -> Plan:
    """Check what an operator ordered.  Raises StoreError."""
    if verb not in VERBS:
        raise StoreError(f"There is no job {verb!r}; there are {', '.join(VERBS)}")
    spread = args.get("spread_ms", 0)
    if not isinstance(spread, int) or not 0 <= spread <= 86_400_000:
        raise StoreError("A spread is between nothing and 24 hours")
    reason = args.get("reason")
    kept = {"spread_ms": spread, "clear_backoff": bool(args.get("clear_backoff", True))}
    why = escape(str(reason), 500) if reason else None
    return Plan(verb, escape(actor, 100), escape(described, 1000), why, kept, matched)


def create(tx: Tx, node: Node, plan: Plan) -> int:
    """Insert a job that is still being frozen; return its number.  Raises StoreError while too many run."""
    busy = tx.value(f"SELECT count(*) FROM bulk b WHERE b.state IN (0, 1) AND {_ALIVE}", node)  # noqa: S608  texts of ours
    if busy >= AT_ONCE:
        raise StoreError(f"Busy: {busy} bulk jobs already running (show jobs).")
    if plan.undo_of and tx.value("SELECT 1 FROM bulk WHERE undo_of = ? AND state <> 3", (plan.undo_of,)):
        raise StoreError(f"Job {plan.undo_of} has been taken back already")
    while True:
        number = int(tx.value("SELECT coalesce(max(id), 0) + 1 FROM bulk"))
        made = tx.execute(
            "INSERT INTO bulk (id, actor, verb, filter, args, reason, cursor, matched, done, skipped, state, undo_of, "
            "lease_node, lease_epoch, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, 0, ?, 0, 0, 0, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO NOTHING",
            (
                *(
                    number,
                    plan.actor,
                    plan.verb,
                    plan.described,
                    json.dumps(dict(plan.args)),
                    plan.reason,
                    plan.matched,
                ),
                *(plan.undo_of, *node, tx.now, tx.now),
            ),
        )
        if made:
            return number


def freeze(tx: Tx, number: int, ids: Sequence[int], was: Sequence[int]) -> None:
    """Keep the items ``ids`` (``was``: the states they were selected in, or nothing) for the job."""
    now = {
        row[0]: row for row in tx.among("SELECT id, state, due_at, attempts FROM delivery WHERE id {ids}", list(ids))
    }
    rows = []
    gone = 0
    for place, item in enumerate(ids):
        row = now.get(item)
        if row is None:
            gone += 1
            rows.append((number, item, SKIPPED, was[place] if was else 0, 0, 0))
        else:
            rows.append((number, item, 0, was[place] if was else row[1], row[2], row[3]))
    tx.insert(ITEM, rows, "ON CONFLICT DO NOTHING")
    if gone:
        tx.execute("UPDATE bulk SET skipped = skipped + ? WHERE id = ?", (gone, number))


def freeze_undo(tx: Tx, number: int, undone: int, after: int, limit: int) -> int | None:
    """Keep for the job what job ``undone`` acted on, behind ``after``; return where to go on, None at the end."""
    rows = tx.rows(
        "SELECT delivery_id, was_state, was_due_at, was_attempts FROM bulk_item "
        "WHERE bulk_id = ? AND result = 1 AND delivery_id > ? ORDER BY delivery_id LIMIT ?",
        (undone, after, limit),
    )
    tx.insert(ITEM, [(number, row[0], 0, *row[1:]) for row in rows], "ON CONFLICT DO NOTHING")
    return rows[-1][0] if len(rows) == limit else None


def begin(tx: Tx, number: int, node: Node) -> bool:
    """Let a frozen job run; False when it was cancelled meanwhile."""
    return bool(
        tx.execute(
            "UPDATE bulk SET state = 1, updated_at = ? "
            "WHERE id = ? AND state = 0 AND lease_node = ? AND lease_epoch = ?",
            (tx.now, number, *node),
        )
    )


def step(tx: Tx, number: int, node: Node, limit: int) -> Progress:
    """Do the next ``limit`` items of a job in this unit of work."""
    begun = time.perf_counter()
    job = tx.row(_MINE + (" FOR UPDATE" if tx.dialect == "postgresql" else ""), (number, *node))
    if job is None:
        return Progress(over=True)
    frozen = [
        Frozen(*row)
        for row in tx.rows(
            "SELECT delivery_id, was_state, was_due_at, was_attempts FROM bulk_item "
            "WHERE bulk_id = ? AND delivery_id > ? AND result = 0 ORDER BY delivery_id LIMIT ?",
            (number, job[4], limit),
        )
    ]
    if not frozen:
        tx.execute("UPDATE bulk SET state = 2, updated_at = ? WHERE id = ?", (tx.now, number))
        return Progress(over=True)
    done = bulkverbs.run(tx, node[0], _order(tx, job), frozen)
    for result, ids in ((ACTED, done.acted), (SKIPPED, done.skipped)):
        if ids:
            tx.among("UPDATE bulk_item SET result = ? WHERE bulk_id = ? AND delivery_id {ids}", ids, (result, number))
    tx.execute(
        "UPDATE bulk SET cursor = ?, done = done + ?, skipped = skipped + ?, updated_at = ?, state = ? WHERE id = ?",
        (
            *(frozen[-1].id, len(done.acted), len(done.skipped), tx.now),
            *(DONE if len(frozen) < limit else RUNNING, number),
        ),
    )
    return Progress(len(frozen) < limit, len(frozen), len(done.acted), bool(done.dues), time.perf_counter() - begun)


def _order(tx: Tx, job: SqlRow) -> Order:
    verb, actor, reason, args, _, done, skipped, created_at, matched, undo_of = job
    given = json.loads(args or "{}")
    return Order(
        verb=verb,
        actor=actor,
        why=reason,
        now=tx.now,
        begun_at=created_at,
        spread_ms=given.get("spread_ms", 0),
        matched=matched,
        place=done + skipped,
        undo=bool(undo_of),
        clear_backoff=given.get("clear_backoff", True),
    )


def plan_undo(tx: Tx, number: int, actor: str) -> Plan:
    """Return the job that takes ``number`` back.  Raises StoreError where nothing can be taken back."""
    row = tx.row(f"SELECT {_COLUMNS} FROM bulk b WHERE b.id = ?", (number,))  # noqa: S608  texts of ours
    if row is None:
        raise StoreError(f"There is no job {number}")
    if row[4] not in (DONE, CANCELLED):
        raise StoreError(f"Job {number} is still running (cancel job {number})")
    if row[10]:
        raise StoreError(f"Job {number} took job {row[10]} back; do it anew instead")
    if not row[6]:
        raise StoreError(f"Job {number} changed nothing")
    plan = make_plan(INVERSE[row[1]], {}, actor, f"job {number}", row[6])
    return replace(plan, reason=f"undo of job {number}", undo_of=number)


def cancel(tx: Tx, number: int) -> bool:
    """End a job before its next slice; False when it had ended.  Raises StoreError when there is none."""
    if tx.execute("UPDATE bulk SET state = 3, updated_at = ? WHERE id = ? AND state IN (0, 1)", (tx.now, number)):
        return True
    if tx.row("SELECT 1 FROM bulk WHERE id = ?", (number,)) is None:
        raise StoreError(f"There is no job {number}")
    return False


def adopt(tx: Tx, node: Node) -> list[int]:
    """Take over the jobs whose process is gone; those not wholly frozen had not begun and are cancelled."""
    orphans = tx.rows(
        f"SELECT b.id, b.state, b.lease_node, b.lease_epoch FROM bulk b WHERE b.state IN (0, 1) AND NOT {_ALIVE} "  # noqa: S608  texts of ours
        "ORDER BY b.id",
        node,
    )
    ours = []
    for number, state, *owner in orphans:
        taken = tx.execute(
            "UPDATE bulk SET state = ?, lease_node = ?, lease_epoch = ?, updated_at = ? "
            "WHERE id = ? AND state = ? AND lease_node = ? AND lease_epoch = ?",
            (CANCELLED if state == FREEZING else RUNNING, *node, tx.now, number, state, *owner),
        )
        if taken and state == RUNNING:
            ours.append(number)
    return ours


def job(tx: Tx, number: int) -> Row | None:
    """Return the job/1 row of a job."""
    row = tx.row(f"SELECT {_COLUMNS}, {_UNDONE} FROM bulk b WHERE b.id = ?", (number,))  # noqa: S608  texts of ours
    return None if row is None else _job_row(row)


_UNDONE = "(SELECT max(u.id) FROM bulk u WHERE u.undo_of = b.id AND u.state <> 3)"


def jobs(tx: Tx) -> list[Row]:
    """Return job/1 rows, newest first."""
    rows = tx.rows(f"SELECT {_COLUMNS}, {_UNDONE} FROM bulk b ORDER BY b.id DESC LIMIT {KEPT}")  # noqa: S608  texts of ours
    return [_job_row(row) for row in rows]


def _job_row(row: SqlRow) -> dict[str, Any]:
    ended = row[4] in (DONE, CANCELLED)
    return {
        "id": row[0],
        "verb": row[1],
        "actor": escape(row[2]),
        "reason": escape(row[3]) if row[3] else None,
        "state": _WORDS[row[4]],
        "matched": row[5],
        "done": row[6],
        "skipped": row[7],
        "started": row[8],
        "ended": row[9] if ended else None,
        "undo": row[10] or None,
        "filter": escape(row[11]),
        "undone_by": row[12],
    }
