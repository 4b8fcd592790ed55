"""Counts of the queue: by state, destination, reason and more, exact.

Without a filter, states and destinations come from the counters, their ages
from one walk of an index; everything else is one GROUP BY over what the filter
lets through.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netsvc.criteria import STATES, Expr
from netsvc.mail.escape import escape
from netsvc.mail.ids import make_id
from netsvc.records import Row, StoreError
from netsvc.store.narrow import FEW
from netsvc.store.queuerows import FROM_QUEUE, JOINED
from netsvc.store.search import CHUNK, QUEUE, Search, between, prepare, take, window
from netsvc.store.sqlfilter import TRUE, marks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from netsvc.store.engine import Engine
    from netsvc.store.tx import SqlRow, Tx

MINUTE = 60_000
AGES = tuple(MINUTE * m for m in (5, 10, 20, 40, 80, 160))
"""Upper ends of the age classes; the seventh is what is older."""
QUEUED = STATES[:4]

_KEYS = {
    "state": ("d.state", ""),
    "destination": ("e.key", "JOIN dest e ON e.id = d.dest_id"),
    "domain": ("d.domain", ""),
    "reason": ("coalesce(r.text, '')", ""),
    "sender-domain": ("m.sender_domain", ""),
    "user": ("coalesce(m.auth, '')", ""),
    "peer": ("coalesce(m.client, '')", ""),
    "route": ("coalesce(d.route, '')", ""),
    "node": (
        "coalesce(w.name, '')",
        "LEFT JOIN node w ON w.id = CASE WHEN d.lease_node <> 0 THEN d.lease_node ELSE m.node_id END",
    ),
}
"""What is grouped by, and what must be joined for it."""
STRIDE = 100_000
"""Rows of the table one read groups."""


@dataclass(slots=True)
class Group:
    """One line of a summary while it is added up.  ``young``: items below each end of AGES."""

    total: int = 0
    octets: int = 0
    states: list[int] = field(default_factory=lambda: [0] * 5)
    young: list[int] = field(default_factory=lambda: [0] * len(AGES))
    oldest: int | None = None

    first: int = 0

    def add(self, row: SqlRow) -> None:
        """Add (n, octets, n in each of 5 states, n below each age, first id)."""
        self.total += int(row[0])
        self.octets += int(row[1])
        self.states = [a + int(b) for a, b in zip(self.states, row[2:7], strict=True)]
        self.see(row[7:])

    def see(self, row: SqlRow) -> None:
        """Add (n below each age, first id)."""
        self.young = [a + int(b) for a, b in zip(self.young, row[:-1], strict=True)]
        self.first = min(self.first or row[-1], row[-1])


async def counts(engine: Engine, by: str, where: Expr | None) -> list[Row]:
    """Return queue.summary/1 rows, largest first.  Raises StoreError for what cannot be counted by."""
    if by not in _KEYS:
        raise StoreError(f"The queue cannot be counted by {by!r}; it can by {', '.join(_KEYS)}")
    groups: dict[Any, Group] = {}
    if where is None and by in {"state", "destination"}:
        await engine.read(lambda tx: _from_counters(tx, by, groups))
    else:
        async for rows in each_part(engine, where, _grouping(by, alone=where is None)):
            for row in rows:
                groups.setdefault(row[0], Group()).add(row[1:])
    return await engine.read(lambda tx: _rows(tx, by, groups))


def _rows(tx: Tx, by: str, groups: dict[Any, Group]) -> list[Row]:
    states = _destination_states(tx) if by == "destination" else {}
    received = _received(tx, [group.first for group in groups.values()])
    rows: list[Row] = [
        _row(by, key, group, (received.get(group.first), states.get(key, "ok"))) for key, group in groups.items()
    ]
    return sorted(rows, key=lambda r: (-r["total"], r["key"]))


def _row(by: str, key: Any, group: Group, more: tuple[int | None, str]) -> dict[str, Any]:
    young = group.young
    classes = [b - a for a, b in zip([0, *young], [*young, group.total], strict=False)]
    return {
        "key": STATES[key - 1] if by == "state" else escape(key),
        "total": group.total,
        "bytes": group.octets,
        **dict(zip(QUEUED, group.states, strict=False)),
        "ages": classes,
        "oldest": more[0],
        "status": more[1] if by == "destination" else None,
    }


async def each_part(
    engine: Engine, where: Expr | None, work: Callable[[Tx, str, Sequence[Any]], list[SqlRow]]
) -> AsyncIterator[list[SqlRow]]:
    """Yield what ``work(tx, condition, params)`` returns, for conditions that together let through what matches.

    Each part is a read of its own, so that none is long however large the queue.
    """
    search = await engine.read(lambda tx: prepare(tx, QUEUE, where))
    after: int | None = None
    while True:
        rows, after = await engine.read(_part(search, after, work))
        yield rows
        if after is None:
            return


def _part(
    search: Search, after: int | None, work: Callable[[Tx, str, Sequence[Any]], list[SqlRow]]
) -> Callable[[Tx], tuple[list[SqlRow], int | None]]:
    def read(tx: Tx) -> tuple[list[SqlRow], int | None]:
        compiled = search.compiled
        if search.few is None and compiled.residual is None:
            last = window(tx, QUEUE.table, after, STRIDE, down=False)
            condition, params = between(QUEUE.id, after, last, down=False)
            return work(tx, f"{condition} AND {compiled.sql}", (*params, *compiled.params)), last
        found = take(tx, search, after, FEW, lean=QUEUE.id)
        ids = [row[0] for row in found.rows]
        rows: list[SqlRow] = []
        for at in range(0, len(ids), CHUNK):
            part = ids[at : at + CHUNK]
            rows += work(tx, f"d.id IN ({marks(len(part))})", part)
        return rows, found.next

    return read


def _grouping(by: str, *, alone: bool) -> Callable[[Tx, str, Sequence[Any]], list[SqlRow]]:
    """Return the work that groups; ``alone``: no filter asks for message or reason."""
    key, others = _KEYS[by]
    states = ", ".join(f"count(CASE WHEN d.state = {n} THEN 1 END)" for n in range(1, 6))
    source, joined = FROM_QUEUE, JOINED
    if alone and "m." not in key + others:
        source, joined = _ALONE + (_REASON if "r." in key else ""), TRUE
    sql = f"SELECT {key}, count(*), sum(d.size), {states}, {_AGES} {source} {others} WHERE {joined}"
    return lambda tx, condition, params: tx.rows(f"{sql} AND {condition} GROUP BY {key}", (*_since(tx), *params))


_ALONE = "FROM delivery d"
_REASON = " LEFT JOIN reason r ON r.id = d.reason_id"
_AGES = ", ".join("count(CASE WHEN d.id > ? THEN 1 END)" for _ in AGES) + ", min(d.id)"
"""Ages count from acceptance, which is when an item's id was made: so indexes that hold ids will do."""


def _since(tx: Tx) -> list[int]:
    return [make_id(tx.now - age, 0x3FF, 0xFFF) for age in AGES]


def _from_counters(tx: Tx, by: str, groups: dict[Any, Group]) -> None:
    """Take numbers and octets from the counters; only for ages an index is walked."""
    key, number = ("c.state", "d.state") if by == "state" else ("e.key", "d.dest_id")
    for row in tx.rows(
        f"SELECT {key}, c.state, sum(c.n), sum(c.bytes) FROM c_dest c JOIN dest e ON e.id = c.dest_id "  # noqa: S608  names of ours
        f"WHERE c.state < 5 GROUP BY {key}, c.state HAVING sum(c.n) <> 0"
    ):
        group = groups.setdefault(row[0], Group())
        group.total += int(row[2])
        group.octets += int(row[3])
        group.states[row[1] - 1] += int(row[2])
    names = {code: code for code in range(1, 5)} if by == "state" else dict(tx.rows("SELECT id, key FROM dest"))
    for row in tx.rows(
        f"SELECT {number}, {_AGES} FROM delivery d WHERE d.state < 5 GROUP BY {number}",  # noqa: S608  names of ours
        _since(tx),
    ):
        groups.setdefault(names[row[0]], Group()).see(row[1:])


def _received(tx: Tx, firsts: Sequence[int]) -> dict[int, int]:
    """Return {item id: when it was received}."""
    rows = tx.among(
        "SELECT d.id, m.received_at FROM delivery d CROSS JOIN message m WHERE m.id = d.message_id AND d.id {ids}",
        firsts,
    )
    return {row[0]: row[1] for row in rows}


def _destination_states(tx: Tx) -> dict[str, str]:
    """Return {key: backoff or suspended} of the destinations that are not ok."""
    rows = tx.rows(
        "SELECT key, paused, pause_until, dead_until FROM dest WHERE paused <> 0 OR dead_until > ?", (tx.now,)
    )
    return {row[0]: destination_state(row[1], row[2], row[3], tx.now) for row in rows}


def destination_state(paused: int, pause_until: int, dead_until: int, now: int) -> str:
    """Return ok, backoff (its last connections failed) or suspended (by an operator)."""
    if paused and (not pause_until or pause_until > now):
        return "suspended"
    return "backoff" if dead_until > now else "ok"


def totals(tx: Tx) -> dict[str, tuple[int, int]]:
    """Return {state word: (items, octets)} from the counters, every state of the queue present."""
    out = dict.fromkeys(QUEUED, (0, 0))
    for state, n, octets in tx.rows("SELECT state, sum(n), sum(bytes) FROM c_dest WHERE state < 5 GROUP BY state"):
        out[STATES[state - 1]] = (int(n), int(octets))
    return out


async def reasons(engine: Engine, where: Expr | None) -> list[Row]:
    """Return reason/1 rows, most frequent first.  ``share`` is of the items with a reason, 0 to 1."""
    tally: dict[int, int] = {}
    domains: dict[int, set[str]] = {}
    async for rows in each_part(engine, where, _by_reason(alone=where is None)):
        for reason, domain, n in rows:
            tally[reason] = tally.get(reason, 0) + int(n)
            domains.setdefault(reason, set()).add(domain)
    return await engine.read(lambda tx: reason_rows(tx, tally, domains))


def _by_reason(*, alone: bool) -> Callable[[Tx, str, Sequence[Any]], list[SqlRow]]:
    source, joined = (_ALONE, TRUE) if alone else (FROM_QUEUE, JOINED)
    sql = f"SELECT d.reason_id, d.domain, count(*) {source} WHERE {joined} AND d.reason_id <> 0"
    return lambda tx, condition, params: tx.rows(f"{sql} AND {condition} GROUP BY d.reason_id, d.domain", params)


def reason_rows(tx: Tx, tally: dict[int, int], domains: dict[int, set[str]]) -> list[Row]:
    """Return reason/1 rows of counted reasons, and of the domains each concerns, most frequent first."""
    if not tally:
        return []
    whole = sum(tally.values())
    known = tx.among(
        "SELECT id, code, enhanced, text, sample, first_at, last_at FROM reason WHERE id {ids}", list(tally)
    )
    found = {row[0]: row for row in known}
    rows: list[Row] = [
        _reason_row(found[number], n, len(domains[number]), n / whole) for number, n in tally.items() if number in found
    ]
    return sorted(rows, key=lambda r: (-r["count"], r["reason"]))


def _reason_row(row: SqlRow, n: int, domains: int, share: float) -> dict[str, Any]:
    return {
        "reason": escape(row[3]),
        "code": row[1] or None,
        "status": escape(row[2]) or None,
        "count": n,
        "share": round(share, 4),
        "sample": escape(row[4]),
        "first": row[5],
        "last": row[6],
        "domains": domains,
    }
