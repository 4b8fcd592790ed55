"""Just enough of a row to test in memory what SQL could not say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netsvc import criteria
from netsvc.criteria import Expr, Not, Test
from netsvc.mail.ids import show_item
from netsvc.store.columns import IDS, OBJECTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.store.tx import SqlRow

_BASES = {"due": "next", "bounce": "sender"}
"""Fields that ``criteria.matches`` reckons from another one."""


@dataclass(frozen=True, slots=True)
class Probe:
    """``columns`` to read behind the id, and how a row of them becomes what ``matches`` is asked about."""

    columns: str
    makers: tuple[tuple[str, int, Callable[[Any], Any] | None], ...]
    item: int = 0

    def row(self, row: SqlRow) -> dict[str, Any]:
        """Return the row's fields."""
        out = {key: row[place] if make is None else make(row[place]) for key, place, make in self.makers}
        if self.item:
            out["id"] = show_item(row[self.item], row[self.item + 1])
        return out


def probe_of(expr: Expr, of: str) -> Probe:
    """Return what must be read to test ``expr`` on queue or history."""
    columns: list[str] = []
    makers: list[tuple[str, int, Callable[[Any], Any] | None]] = []
    item = 0
    for name in sorted(_names(expr, of)):
        if name == "id":
            item = len(columns) + 1
            columns += IDS[of]
            continue
        column = OBJECTS[of][name]
        field = criteria.field(name, of)
        assert field is not None
        make = None if column.codes is None else {code: word for word, code in column.codes.items()}.get
        columns.append(column.sql)
        makers.append((field.row_key, len(columns), make))
    return Probe(", ".join(columns), tuple(makers), item)


def _names(expr: Expr, of: str) -> set[str]:
    if isinstance(expr, Not):
        return _names(expr.term, of)
    if not isinstance(expr, Test):
        return set().union(*(_names(term, of) for term in expr.terms))
    field = criteria.field(expr.field, of)
    assert field is not None
    if field.name == "age":
        return {"done" if of == "history" else "queued"}
    return {_BASES.get(field.name, field.name)}
