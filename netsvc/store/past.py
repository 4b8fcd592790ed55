"""Why mail ended as it did: the reasons of what is in the history, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.store.narrow import FEW
from netsvc.store.search import PAST, Slice, prepare, take
from netsvc.store.summary import reason_rows

if TYPE_CHECKING:
    from netsvc.criteria import Expr
    from netsvc.records import Row
    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx

_LEAN = "h.id, h.reason_id, h.domain"


async def past_reasons(engine: Engine, where: Expr | None) -> list[Row]:
    """Return reason/1 rows of what ended, most frequent first; each part is a read of its own."""
    search = await engine.read(lambda tx: prepare(tx, PAST, where))
    tally: dict[int, int] = {}
    domains: dict[int, set[str]] = {}
    after: int | None = None
    while True:

        def part(tx: Tx, after: int | None = after) -> Slice:
            return take(tx, search, after, FEW, lean=_LEAN)

        found = await engine.read(part)
        for _, reason, domain in found.rows:
            if reason:
                tally[reason] = tally.get(reason, 0) + 1
                domains.setdefault(reason, set()).add(domain)
        after = found.next
        if after is None:
            return await engine.read(lambda tx: reason_rows(tx, tally, domains))
