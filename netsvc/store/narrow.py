"""Which few rows a filter can be about: the driving index of a search.

A search either looks at a short list of ids that an index yielded, or walks the
table by id under a budget.  An index is worth it only while it yields few rows;
where it yields many, they lie densely in the walk, which then finds a page's
worth at once.  Both dialects take the same way, whatever their planners think.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from netsvc.criteria import STATES, And, Expr, Glob, Test
from netsvc.store.sqlfilter import compile_where, marks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from netsvc.store.tx import Tx

FEW = 20_000
"""Rows a page may look at, and the longest list of ids an index may yield."""
_VARIED = 4
"""Letters of a prefix whose case is varied: 16 ranges at most."""

_BYTEWISE = frozenset({"sender", "sender_domain"})
"""Columns of message that are in byte order on both engines."""

Probe = tuple[str, tuple[Any, ...]]
"""A query for ids, without its LIMIT."""


def candidates(tx: Tx, expr: Expr | None, of: str) -> list[int] | None:
    """Return the sorted ids of all rows of ``of`` (queue history) that can match; None: walk.

    The list may hold ids that do not match, and recycled ones.
    """
    found: list[int] | None = None
    for text, params in probes(tx, expr, of):
        limit = FEW if found is None else len(found)
        rows = tx.rows(f"{text} LIMIT ?", (*params, limit + 1))
        if len(rows) <= limit:
            found = [row[0] for row in rows]
            if len(found) <= FEW // 20:
                break
    return None if found is None else sorted(set(found))


def probes(tx: Tx, expr: Expr | None, of: str) -> Iterator[Probe]:
    """Yield the queries that narrow ``expr`` down, the most selective kinds first."""
    tests = [t for t in (expr.terms if isinstance(expr, And) else (expr,)) if isinstance(t, Test)]
    tests = [t for t in tests if t.op in {"=", "~", "in"} and t.value != ()]
    for make in _QUEUE if of == "queue" else _HISTORY:
        yield from make(tx, tests)


def _values(test: Test) -> tuple[Any, ...]:
    return test.value if isinstance(test.value, tuple) and test.op == "in" else (test.value,)


def _by_id(table: str) -> Callable[[Tx, Sequence[Test]], Iterator[Probe]]:
    def make(_tx: Tx, tests: Sequence[Test]) -> Iterator[Probe]:
        for test in tests:
            if test.field == "id":
                wanted = sorted({number for number, _ in _values(test)})
                yield f"SELECT id FROM {table} WHERE message_id IN ({marks(len(wanted))})", tuple(wanted)  # noqa: S608  names of ours

    return make


def _by_reason(tx: Tx, tests: Sequence[Test]) -> Iterator[Probe]:
    """Find the few reasons that match first: their texts are normalised, so there are at most some thousand."""
    about = [t for t in tests if t.field in {"reason", "status", "code"}]
    for test in about:
        compiled = compile_where(test, "queue", tx.dialect, tx.now, regexp=tx.regexp)
        if compiled.residual is not None or _matches_nothing(tx, compiled.sql, compiled.params):
            continue
        yield (
            f"SELECT id FROM delivery WHERE reason_id <> 0 AND reason_id IN (SELECT r.id FROM reason r WHERE {compiled.sql})",  # noqa: S608, E501  names of ours
            compiled.params,
        )


def _matches_nothing(tx: Tx, sql: str, params: tuple[Any, ...]) -> bool:
    """Say whether the test also holds for an item without a reason."""
    empty = "(SELECT CAST(NULL AS TEXT) AS enhanced, CAST(NULL AS TEXT) AS text, CAST(NULL AS BIGINT) AS code) AS r"
    return bool(tx.rows(f"SELECT 1 FROM {empty} WHERE {sql}", params))  # noqa: S608  names of ours


def _by_domain(_tx: Tx, tests: Sequence[Test]) -> Iterator[Probe]:
    states = _states(tests)
    for test in tests:
        if test.field in {"domain", "dest"}:
            names = _values(test)
            if all(isinstance(name, str) and name.isascii() and "\0" not in name for name in names):
                params = (*(name.lower() for name in names), *states)
                where = f"domain IN ({marks(len(names))}) AND state IN ({marks(len(states))})"
                yield f"SELECT id FROM delivery WHERE {where}", params  # noqa: S608  names of ours


def _states(tests: Sequence[Test]) -> list[int]:
    for test in tests:
        if test.field == "state":
            return [STATES.index(word) + 1 for word in _values(test) if word in STATES] or [0]
    return [1, 2, 3, 4, 5]


def _by_text(table: str, column: str, fields: set[str]) -> Callable[[Tx, Sequence[Test]], Iterator[Probe]]:
    def make(_tx: Tx, tests: Sequence[Test]) -> Iterator[Probe]:
        for test in tests:
            if test.field in fields:
                where = ranges(column, _values(test))
                if where is not None:
                    yield f"SELECT id FROM {table} WHERE {where[0]}", where[1]  # noqa: S608  names of ours

    return make


def _by_message(column: str, fields: set[str]) -> Callable[[Tx, Sequence[Test]], Iterator[Probe]]:
    def make(tx: Tx, tests: Sequence[Test]) -> Iterator[Probe]:
        for test in tests:
            if test.field in fields:
                where = ranges(f"m.{column}", _values(test))
                # Where the database's own collation orders a column, a prefix is no range of its index.
                if where is not None and (tx.dialect == "sqlite" or column in _BYTEWISE or ">=" not in where[0]):
                    yield (
                        f"SELECT d.id FROM message m CROSS JOIN delivery d WHERE d.message_id = m.id AND ({where[0]})",  # noqa: S608  names of ours
                        where[1],
                    )

    return make


def _by_state(tx: Tx, tests: Sequence[Test]) -> Iterator[Probe]:
    """Use the counters: where a state has few items they are fetched destination by destination."""
    states = _states(tests)
    if not 0 < len(states) < 4:
        return
    listed = marks(len(states))
    counted = "SELECT count(*), coalesce(sum(n), 0) FROM "
    counted += (
        f"(SELECT dest_id, sum(n) AS n FROM c_dest WHERE state IN ({listed}) GROUP BY dest_id HAVING sum(n) > 0) AS c"  # noqa: S608  names of ours
    )
    row = tx.row(counted, states)
    if row is not None and row[1] <= FEW:
        yield (
            (
                f"SELECT id FROM delivery WHERE dest_id IN (SELECT dest_id FROM c_dest WHERE state IN ({listed}) AND n <> 0) "  # noqa: S608, E501  names of ours
                f"AND state IN ({listed})"
            ),
            (*states, *states),
        )


def ranges(column: str, values: Sequence[Any]) -> Probe | None:
    """Return index ranges of ``column``, whose case is kept, that hold all texts equal to one of ``values``.

    Only texts and patterns with something before the first ``*`` or ``?`` have any; else None.
    """
    parts: list[str] = []
    params: list[Any] = []
    for value in values:
        if isinstance(value, str):
            text, exact = value, True
        elif isinstance(value, Glob):
            text = value.pattern.replace("?", "*").partition("*")[0]
            exact = text == value.pattern
        else:
            return None
        pattern = value if exact and isinstance(value, str) else value.pattern
        if not text or not pattern.isascii() or "\0" in text or text.startswith('"'):
            return None  # within quotes an @ divides nothing
        for start, whole in _variants(text):
            if exact and whole:
                parts.append(f"{column} = ?")
                params.append(start)
            else:
                parts.append(f"({column} >= ? AND {column} < ?)")
                params += [start, start + "\U0010ffff"]
        if len(parts) > 200:
            return None
    return (" OR ".join(parts), tuple(params)) if parts else None


def _variants(text: str) -> list[tuple[str, bool]]:
    """Return (start, whether it is the whole text) for each way to write the first letters of ``text``.

    The part behind ``@`` is stored in lower case.
    """
    head, at, tail = text.rpartition("@")
    varied, tail = (head, at + tail.lower()) if at else (text, "")
    out: list[str] = []
    letters = 0
    for character in varied:
        if character.isalpha():
            letters += 1
            if letters > _VARIED:
                break
        out.append(character)
    whole = len(out) == len(varied)
    choices = [sorted({c.lower(), c.upper()}) for c in out]
    return [("".join(pick) + (tail if whole else ""), whole) for pick in product(*choices)]


_QUEUE = (
    _by_id("delivery"),
    _by_reason,
    _by_text("delivery", "rcpt", {"rcpt", "to"}),
    _by_message("sender", {"sender", "from"}),
    _by_message("auth", {"user"}),
    _by_domain,
    _by_message("sender_domain", {"sender-domain"}),
    _by_state,
)
_HISTORY = (
    _by_id("history"),
    _by_text("history", "rcpt", {"rcpt", "to"}),
    _by_text("history", "sender", {"sender", "from"}),
)
