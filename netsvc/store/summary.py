"""Counts of the queue: by state, destination, reason and more, exact.

Without a filter, states and destinations come from the counters, and only what
is younger than the oldest age class is looked at; everything else is one GROUP
BY over what the filter lets through.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netsvc.criteria import STATES, Expr
from netsvc.mail.escape import escape
from netsvc.mail.ids import make_id
from netsvc.records import Row, StoreError
from netsvc.store.narrow import FEW
from netsvc.store.search import CHUNK, HOUR, QUEUE, Search, prepare, take
from netsvc.store.sqlfilter import marks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netsvc.store.tx import SqlRow, Tx

MINUTE = 60_000
AGES = tuple(MINUTE * m for m in (5, 10, 20, 40, 80, 160))
"""Upper ends of the age classes; the seventh is what is older."""
QUEUED = STATES[:4]

_DEST = "JOIN dest e ON e.id = d.dest_id"
_KEYS = {
    "state": ("d.state", ""),
    "destination": ("e.key", _DEST),
    "domain": ("d.domain", ""),
    "reason": ("coalesce(r.text, '')", "LEFT JOIN reason r ON r.id = d.reason_id"),
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


@dataclass(slots=True)
class Group:
    """One line of a summary while it is added up.  ``young``: items below each end of AGES."""

    total: int = 0
    octets: int = 0
    states: list[int] = field(default_factory=lambda: [0] * 5)
    young: list[int] = field(default_factory=lambda: [0] * len(AGES))
    oldest: int | None = None

    def add(self, row: SqlRow) -> None:
        """Add (n, octets, n in each of 5 states, n below each age, first received)."""
        self.total += int(row[0])
        self.octets += int(row[1])
        self.states = [a + int(b) for a, b in zip(self.states, row[2:7], strict=True)]
        self.young = [a + int(b) for a, b in zip(self.young, row[7:13], strict=True)]
        self.oldest = row[13] if self.oldest is None else min(self.oldest, row[13])


def counts(tx: Tx, by: str, where: Expr | None) -> list[Row]:
    """Return queue.summary/1 rows, largest first.  Raises StoreError for what cannot be counted by."""
    if by not in _KEYS:
        raise StoreError(f"The queue cannot be counted by {by!r}; it can by {', '.join(_KEYS)}")
    groups: dict[Any, Group] = {}
    if where is None and by in {"state", "destination"}:
        _from_counters(tx, by, groups)
    else:
        for row in _grouped(tx, by, where):
            groups.setdefault(row[0], Group()).add(row[1:])
    states = _destination_states(tx) if by == "destination" else {}
    rows: list[Row] = [_row(by, key, group, states) for key, group in groups.items()]
    return sorted(rows, key=lambda r: (-r["total"], r["key"]))


def _row(by: str, key: Any, group: Group, states: dict[str, str]) -> dict[str, Any]:
    young = group.young
    classes = [b - a for a, b in zip([0, *young], [*young, group.total], strict=False)]
    return {
        "key": STATES[key - 1] if by == "state" else escape(key),
        "total": group.total,
        "bytes": group.octets,
        **dict(zip(QUEUED, group.states, strict=False)),
        "ages": classes,
        "oldest": group.oldest,
        "status": states.get(key, "ok") if by == "destination" else None,
    }


def each_part(tx: Tx, search: Search) -> Iterator[tuple[str, list[Any]]]:
    """Yield conditions (SQL, params) that together let through what the search matches: for GROUP BY."""
    compiled = search.compiled
    if search.few is None and compiled.residual is None:
        yield compiled.sql, list(compiled.params)
        return
    after: int | None = None
    while True:
        found = take(tx, search, after, FEW, lean="d.id")
        ids = [row[0] for row in found.rows]
        for at in range(0, len(ids), CHUNK):
            part = ids[at : at + CHUNK]
            yield f"d.id IN ({marks(len(part))})", part
        if found.next is None:
            return
        after = found.next


def _grouped(tx: Tx, by: str, where: Expr | None) -> Iterator[SqlRow]:
    search = prepare(tx, QUEUE, where)
    key, joined = _KEYS[by]
    # The filter may name any of these; SQLite leaves out the left joins nobody uses.
    joins = "LEFT JOIN reason r ON r.id = d.reason_id " + (joined if by != "reason" else "")
    for condition, params in each_part(tx, search):
        yield from tx.rows(
            f"SELECT {key}, {_sums()} FROM delivery d CROSS JOIN message m {joins} "  # noqa: S608  parameters only
            f"WHERE m.id = d.message_id AND {condition} GROUP BY {key}",
            (*(tx.now - age for age in AGES), *params),
        )


def _sums() -> str:
    states = ", ".join(f"sum(CASE WHEN d.state = {n} THEN 1 ELSE 0 END)" for n in range(1, 6))
    return f"count(*), sum(d.size), {states}, {_ages()}, min(m.received_at)"


def _ages() -> str:
    return ", ".join("sum(CASE WHEN m.received_at > ? THEN 1 ELSE 0 END)" for _ in AGES)


def _from_counters(tx: Tx, by: str, groups: dict[Any, Group]) -> None:
    key = "c.state" if by == "state" else "e.key"
    number = "d.state" if by == "state" else "d.dest_id"
    for row in tx.rows(
        f"SELECT {key}, c.state, sum(c.n), sum(c.bytes) FROM c_dest c JOIN dest e ON e.id = c.dest_id "  # noqa: S608  names of ours
        f"WHERE c.state < 5 GROUP BY {key}, c.state HAVING sum(c.n) <> 0"
    ):
        group = groups.setdefault(row[0], Group())
        group.total += int(row[2])
        group.octets += int(row[3])
        group.states[row[1] - 1] += int(row[2])
    names = {code: code for code in range(1, 5)} if by == "state" else dict(tx.rows("SELECT id, key FROM dest"))
    since = make_id(tx.now - AGES[-1] - HOUR, 0, 0)
    for row in tx.rows(
        f"SELECT {number}, {_ages()} FROM delivery d CROSS JOIN message m "  # noqa: S608  names of ours
        f"WHERE m.id = d.message_id AND d.id > ? AND d.state < 5 GROUP BY {number}",
        (*(tx.now - age for age in AGES), since),
    ):
        group = groups.setdefault(names[row[0]], Group())
        group.young = [int(n) for n in row[1:]]
    for name, oldest in _oldest(tx, number):
        group = groups.setdefault(names[name], Group())
        group.oldest = oldest if group.oldest is None else min(group.oldest, oldest)


def _oldest(tx: Tx, number: str) -> Iterable[tuple[int, int]]:
    """Yield (state or destination, when its first item was received): one walk of the index, then a seek each."""
    firsts = {
        int(row[1]): row[0]
        for row in tx.rows(
            f"SELECT {number}, min(d.id) FROM delivery d WHERE d.state < 5 GROUP BY {number}"  # noqa: S608  names of ours
        )
    }
    for item, received in tx.among(
        "SELECT d.id, m.received_at FROM delivery d CROSS JOIN message m WHERE m.id = d.message_id AND d.id {ids}",
        list(firsts),
    ):
        yield firsts[item], received


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


def reasons(tx: Tx, where: Expr | None) -> list[Row]:
    """Return reason/1 rows, most frequent first.  ``share`` is of the items with a reason, 0 to 1."""
    found: dict[int, tuple[int, int]] = {}
    if where is None:
        known = tx.rows("SELECT reason_id, sum(n) FROM c_reason WHERE state < 5 GROUP BY reason_id HAVING sum(n) > 0")
        spread: dict[int, int] = dict(
            tx.rows(
                "SELECT reason_id, count(DISTINCT domain) FROM delivery WHERE reason_id <> 0 AND state < 5 "
                "GROUP BY reason_id"
            )
        )
        found = {row[0]: (int(row[1]), int(spread.get(row[0], 0))) for row in known if row[0]}
    else:
        found = _reasons_of(tx, where)
    whole = sum(n for n, _ in found.values())
    rows: list[Row] = []
    for row in tx.among(
        "SELECT id, code, enhanced, text, sample, first_at, last_at FROM reason WHERE id {ids}", list(found)
    ):
        n, domains = found.pop(row[0], (0, 0))
        if n:
            rows.append(_reason_row(row, n, domains, n / whole))
    return sorted(rows, key=lambda r: (-r["count"], r["reason"]))


def _reasons_of(tx: Tx, where: Expr) -> dict[int, tuple[int, int]]:
    """Return {reason id: (items, domains)} of what a filter lets through."""
    search = prepare(tx, QUEUE, where)
    tally: dict[int, int] = {}
    domains: dict[int, set[str]] = {}
    for condition, params in each_part(tx, search):
        for reason, domain, n in tx.rows(
            "SELECT d.reason_id, d.domain, count(*) FROM delivery d CROSS JOIN message m "  # noqa: S608  parameters only
            "LEFT JOIN reason r ON r.id = d.reason_id "
            f"WHERE m.id = d.message_id AND d.reason_id <> 0 AND {condition} GROUP BY d.reason_id, d.domain",
            params,
        ):
            tally[reason] = tally.get(reason, 0) + int(n)
            domains.setdefault(reason, set()).add(domain)
    return {reason: (n, len(domains[reason])) for reason, n in tally.items()}


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
