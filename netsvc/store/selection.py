"""Selections: which items an operator means, frozen by their ids, and what a preview shows of them."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING

from netsvc.criteria import STATES, And, Expr, Not, Or, Test
from netsvc.mail.escape import escape
from netsvc.records import Selection, StoreError
from netsvc.store.queuerows import FROM_ITEMS, ITEM, item_row
from netsvc.store.search import QUEUE, Search, prepare, take

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.store.engine import Engine
    from netsvc.store.tx import SqlRow, Tx

MOST = 5_000_000
SLICE = 5_000
PAIRS = 500
"""Ids named one by one that are looked up in one read."""
SAMPLES = 5
TOP = 3

LEAN = "d.id, d.state, d.size, d.domain, m.sender, m.received_at, m.expires_at, d.mark, d.held_by"


class Gathering:
    """Adds up what a preview shows while the ids are collected."""

    def __init__(self, now: int, described: str) -> None:
        """Begin with nothing."""
        self.selection = Selection(array("q"), described=described)
        self._now = now
        self._domains: Counter[str] = Counter()
        self._senders: Counter[str] = Counter()
        self._states: Counter[int] = Counter()
        self._held: Counter[str] = Counter()

    def add(self, rows: Sequence[SqlRow]) -> None:
        """Take rows of the columns LEAN.  Raises StoreError when there are too many."""
        chosen = self.selection
        if len(chosen.ids) + len(rows) > MOST:
            raise StoreError(f"The selection holds more than {MOST} items; narrow it down")
        for number, state, size, domain, sender, received, expires, mark, held_by in rows:
            chosen.ids.append(number)
            chosen.was.append(state)
            chosen.bytes += size
            self._states[state] += 1
            self._domains[domain] += 1
            self._senders[sender] += 1
            chosen.oldest = min(chosen.oldest or received, received)
            chosen.newest = max(chosen.newest, received)
            chosen.expired += expires <= self._now
            if held_by and (state == 4 or mark == 1):
                self._held[held_by] += 1

    def finish(self) -> Selection:
        """Return the selection but for its samples."""
        chosen = self.selection
        chosen.count = len(chosen.ids)
        chosen.states = {STATES[code - 1]: n for code, n in sorted(self._states.items())}
        chosen.active = self._states[2]
        chosen.domains = _top(self._domains)
        chosen.senders = _top(self._senders)
        chosen.held_by = {escape(name): n for name, n in self._held.most_common()}
        return chosen


def _top(counter: Counter[str]) -> list[tuple[str, int]]:
    ranked = sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))
    return [(escape(name), n) for name, n in ranked[:TOP]]


async def select(engine: Engine, where: Expr | Sequence[tuple[int, int | None]]) -> Selection:
    """Collect the matching items, slice by slice; see IQueueAdmin.select.

    Items named by their ids are taken in whatever state they are, recycled ones too.
    """
    if isinstance(where, (Test, And, Or, Not)):
        gathering = Gathering(engine.now(), describe(where))
        await _walk(engine, where, gathering)
    else:
        pairs = list(dict.fromkeys(where))
        gathering = Gathering(engine.now(), f"{len(pairs)} ids")
        seen: set[int] = set()
        for at in range(0, len(pairs), PAIRS):
            test = Test("id", "in", tuple(pairs[at : at + PAIRS]))
            rows = await engine.read(_named(test))
            gathering.add([row for row in rows if row[0] not in seen])
            seen.update(row[0] for row in rows)
    selection = gathering.finish()
    first = list(selection.ids[:SAMPLES])
    if first:
        selection.samples = list(await engine.read(lambda tx: _samples(tx, first)))
    return selection


async def _walk(engine: Engine, where: Expr, gathering: Gathering) -> None:
    """Collect by a filter.  It is compiled once: ``now`` is one moment for all slices."""
    search = await engine.read(lambda tx: prepare(tx, QUEUE, where))
    after: int | None = None
    while True:
        rows, after = await engine.read(_next(search, after))
        gathering.add(rows)
        if after is None:
            return


def _named(test: Test) -> Callable[[Tx], list[SqlRow]]:
    def read(tx: Tx) -> list[SqlRow]:
        search = prepare(tx, QUEUE, test, recycled=True)
        rows: list[SqlRow] = []
        after: int | None = None
        while True:
            part, after = _slice(tx, search, after)
            rows += part
            if after is None:
                return rows

    return read


def _next(search: Search, after: int | None) -> Callable[[Tx], tuple[list[SqlRow], int | None]]:
    return lambda tx: _slice(tx, search, after)


def _slice(tx: Tx, search: Search, after: int | None) -> tuple[list[SqlRow], int | None]:
    found = take(tx, search, after, SLICE, lean=LEAN)
    return found.rows, found.next


def _samples(tx: Tx, ids: list[int]) -> list[dict[str, object]]:
    rows = tx.among(f"SELECT {ITEM} {FROM_ITEMS} WHERE m.id = d.message_id AND d.id {{ids}}", ids)
    return [item_row(row, tx.now) for row in sorted(rows)]


def describe(expr: Expr, depth: int = 0) -> str:
    """Return a filter in words, for the job's row; cut where it gets long."""
    if isinstance(expr, Test):
        return escape(f"{expr.field}{expr.op}{_value(expr.value)}", 200)
    if depth > 8:
        return "…"
    if isinstance(expr, Not):
        return f"not ({describe(expr.term, depth + 1)})"
    word = " and " if isinstance(expr, And) else " or "
    parts = [describe(term, depth + 1) for term in expr.terms[:20]]
    text = word.join(f"({p})" if " " in p else p for p in parts)
    return escape(text, 1000)


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_value(v) for v in value[:20]) + ")"
    for name in ("pattern", "source", "text"):
        if hasattr(value, name):
            return str(getattr(value, name))
    return str(value)
