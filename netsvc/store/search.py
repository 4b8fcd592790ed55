"""Searches of queue and history: one slice at a time, by id, never holding a transaction open.

A slice looks at ``FEW`` rows at most and then says where to go on: the writer
and the reactor never wait for a search.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netsvc.criteria import And, Expr, Test, matches
from netsvc.store.narrow import FEW, candidates
from netsvc.store.probing import probe_of
from netsvc.store.queuerows import (
    FROM_HISTORY,
    FROM_ITEMS,
    FROM_QUEUE,
    HISTORY,
    ITEM,
    JOINED,
    history_row,
    item_row,
)
from netsvc.store.sqlfilter import TRUE, Compiled, compile_where, marks, queue_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.store.tx import SqlRow, Tx

WINDOW = 5_000
CHUNK = 500
HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class Shape:
    """How one kind of row is read: ``id`` its key, ``full`` the columns ``row`` is made of, ``size`` its size."""

    of: str
    table: str
    id: str
    size: str
    source: str
    lean: str
    joined: str
    full: str
    row: Callable[[SqlRow, int], dict[str, Any]]


QUEUE = Shape("queue", "delivery", "d.id", "d.size", FROM_ITEMS, FROM_QUEUE, JOINED, ITEM, item_row)
PAST = Shape("history", "history", "h.id", "h.size", FROM_HISTORY, FROM_HISTORY, TRUE, HISTORY, history_row)


@dataclass(frozen=True, slots=True)
class Search:
    """A filter made ready: ``few`` are the only ids worth a look, None when there are too many to list."""

    shape: Shape
    expr: Expr | None
    compiled: Compiled
    few: list[int] | None
    now: int


@dataclass(slots=True)
class Slice:
    """What a slice found.  ``next``: go on behind this id (by size: size and id); None: that was all."""

    rows: list[SqlRow]
    next: Any
    scanned: int


def prepare(tx: Tx, shape: Shape, expr: Expr | None, *, recycled: bool = False) -> Search:
    """Compile a filter and look for an index.  ``recycled``: take recycled items along, named or not."""
    if shape is QUEUE and not recycled:
        compiled = queue_filter(expr, tx.dialect, tx.now, regexp=tx.regexp)
    else:
        compiled = compile_where(expr, shape.of, tx.dialect, tx.now, regexp=tx.regexp)
    return Search(shape, expr, compiled, candidates(tx, expr, shape.of), tx.now)


def matching(tx: Tx, search: Search, condition: str, params: Sequence[Any], tail: str, lean: str = "") -> list[SqlRow]:
    """Return the matching rows among those of ``condition``: the columns ``lean``, else all that a row is made of.

    ``lean`` must begin with the id and ask for columns of its table, or message's and reason's.
    """
    shape, compiled = search.shape, search.compiled
    columns, source = (lean, shape.lean) if lean else (shape.full, shape.source)
    if compiled.residual is None:
        sql = f"SELECT {columns} {source} WHERE {shape.joined} AND {condition} AND {compiled.sql} {tail}"
        return tx.rows(sql, (*params, *compiled.params))
    ids = _residual(tx, search, condition, params, tail)
    if columns == shape.id:
        return [(number,) for number in ids]
    found: dict[int, SqlRow] = {}
    for at in range(0, len(ids), CHUNK):
        part = ids[at : at + CHUNK]
        sql = f"SELECT {columns} {source} WHERE {shape.joined} AND {shape.id} IN ({marks(len(part))})"
        found.update((row[0], row) for row in tx.rows(sql, part))
    return [found[number] for number in ids]


def _residual(tx: Tx, search: Search, condition: str, params: Sequence[Any], tail: str) -> list[int]:
    """Return the ids that pass both halves of the filter, in the order of ``tail``; only what it asks for is read."""
    shape, compiled = search.shape, search.compiled
    assert compiled.residual is not None
    probe = probe_of(compiled.residual, shape.of)
    sql = f"SELECT {shape.id}, {probe.columns} {shape.lean} WHERE {shape.joined} AND {condition} AND {compiled.sql} {tail}"  # noqa: E501  parameters only
    rows = tx.rows(sql, (*params, *compiled.params))
    return [row[0] for row in rows if matches(compiled.residual, shape.of, probe.row(row), search.now)]


def take(tx: Tx, search: Search, after: int | None, limit: int, *, down: bool = False, lean: str = "") -> Slice:
    """Return up to ``limit`` matching rows behind ``after`` in the order of ids, ``down`` from the newest."""
    if search.few is not None:
        return _take_few(tx, search, after, limit, down=down, lean=lean)
    return _take_walk(tx, search, after, limit, down=down, lean=lean)


def _take_few(tx: Tx, search: Search, after: int | None, limit: int, *, down: bool, lean: str) -> Slice:
    ids = search.few or []
    if after is not None:
        ids = ids[: bisect_left(ids, after)] if down else ids[bisect_right(ids, after) :]
    if down:
        ids = ids[::-1]
    out = Slice([], None, 0)
    tail = f"ORDER BY {search.shape.id}{' DESC' if down else ''}"
    for at in range(0, len(ids), CHUNK):
        part = ids[at : at + CHUNK]
        out.rows += matching(tx, search, f"{search.shape.id} IN ({marks(len(part))})", part, tail, lean)
        out.scanned += len(part)
        if len(out.rows) > limit:
            del out.rows[limit:]
            out.next = out.rows[-1][0]
            break
    return out


def _take_walk(tx: Tx, search: Search, after: int | None, limit: int, *, down: bool, lean: str) -> Slice:
    shape = search.shape
    order = f"ORDER BY {shape.id}{' DESC' if down else ''}"
    floor = _floor(search) if down else None
    out = Slice([], after, 0)
    while out.scanned < FEW:
        last = window(tx, shape.table, out.next, WINDOW, down=down)
        condition, params = between(shape.id, out.next, last, down=down)
        more = limit - len(out.rows) + 1
        exact = search.compiled.residual is None
        tail = f"{order} LIMIT {more}" if exact else order
        out.rows += matching(tx, search, condition, params, tail, lean)
        out.scanned += WINDOW
        if len(out.rows) > limit:
            del out.rows[limit:]
            out.next = out.rows[-1][0]
            return out
        over = floor is not None and _newest(tx, condition, params) < floor
        out.next = None if over else last
        if out.next is None:
            return out
    return out


def window(tx: Tx, table: str, after: int | None, size: int, *, down: bool) -> int | None:
    """Return the id of the last of the next ``size`` rows behind ``after``; None: the table ends before."""
    direction, behind = ("DESC", "<") if down else ("ASC", ">")
    where, params = ("", ()) if after is None else (f"WHERE id {behind} ?", (after,))
    sql = f"SELECT id FROM {table} {where} ORDER BY id {direction} LIMIT 1 OFFSET ?"  # noqa: S608  names of ours
    last: int | None = tx.value(sql, (*params, size - 1))
    return last


def between(column: str, after: int | None, last: int | None, *, down: bool) -> tuple[str, list[int]]:
    """Return the test for being behind ``after`` and not behind ``last``, and its parameters."""
    parts, params = [TRUE], []
    if after is not None:
        parts.append(f"{column} {'<' if down else '>'} ?")
        params.append(after)
    if last is not None:
        parts.append(f"{column} {'>=' if down else '<='} ?")
        params.append(last)
    return " AND ".join(parts), params


def _floor(search: Search) -> int | None:
    """Return a time before which no matching history row ended, an hour to spare, None when there is none.

    History is appended as things end: a walk from the newest is over when a whole window is older.
    """
    if search.shape is not PAST:
        return None
    floors = []
    for test in search.expr.terms if isinstance(search.expr, And) else (search.expr,):
        if isinstance(test, Test):
            if test.field == "done" and test.op in {">", ">=", "="}:
                floors.append(test.value)
            elif test.field == "age" and test.op in {"<", "<=", "="}:
                floors.append(search.now - test.value)
    return max(floors) - HOUR if floors else None


def _newest(tx: Tx, condition: str, params: Sequence[Any]) -> int:
    return int(tx.value(f"SELECT coalesce(max(h.at), 0) FROM history h WHERE {condition}", params) or 0)  # noqa: S608  names of ours


def by_size(tx: Tx, search: Search, after: Sequence[int] | None, limit: int, *, down: bool) -> Slice:
    """Return up to ``limit`` matching rows behind ``after`` (size, id), by size.  SQL looks at every row for it."""
    out = Slice([], after, 0)
    exact = search.compiled.residual is None
    while len(out.rows) <= limit and out.scanned < FEW:
        edge = _edge(tx, search, out.next, limit + 1 if exact else WINDOW, down=down)
        sizes = {number: (size, number) for size, number in edge}
        rows: list[SqlRow] = []
        for at in range(0, len(edge), CHUNK):
            part = [number for _, number in edge[at : at + CHUNK]]
            rows += matching(tx, search, f"{search.shape.id} IN ({marks(len(part))})", part, "")
        out.rows += sorted(rows, key=lambda row: sizes[row[0]], reverse=down)
        out.scanned += len(edge)
        out.next = edge[-1] if edge else None
        if len(out.rows) > limit:
            del out.rows[limit:]
            out.next = (out.rows[-1][10 if search.shape is QUEUE else 9], out.rows[-1][0])
            break
        if exact or len(edge) < WINDOW:
            out.next = None
            break
    return out


def _edge(tx: Tx, search: Search, after: Sequence[int] | None, limit: int, *, down: bool) -> list[SqlRow]:
    """Return (size, id) of the next rows that pass the SQL half of the filter, by size."""
    shape = search.shape
    behind, direction = ("<", "DESC") if down else (">", "ASC")
    condition, params = TRUE, []
    if after is not None:
        condition = f"({shape.size} {behind} ? OR ({shape.size} = ? AND {shape.id} {behind} ?))"
        params = [after[0], after[0], after[1]]
    return tx.rows(
        f"SELECT {shape.size}, {shape.id} {shape.lean} WHERE {shape.joined} AND {condition} AND {search.compiled.sql} "
        f"ORDER BY {shape.size} {direction}, {shape.id} {direction} LIMIT {limit}",
        (*params, *search.compiled.params),
    )
