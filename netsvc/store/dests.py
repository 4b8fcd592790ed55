"""Destinations: a row of ``dest`` for each next hop, made when the first mail goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.store.tx import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from netsvc.mail.message import Hop
    from netsvc.store.tx import Tx

_DEST = table("dest", "id key:t domain:t transport:t")
CACHE = 20_000


class Dests:
    """Ids of destinations by their keys, cached: a destination's row is never deleted."""

    def __init__(self, new_ids: Callable[[int], list[int]]) -> None:
        """Make ids with ``new_ids``."""
        self._new_ids = new_ids
        self._ids: dict[str, int] = {}

    def forget(self) -> None:
        """Forget all: a unit of work was undone, and maybe with it the row of one that is remembered."""
        self._ids.clear()

    def ids(self, tx: Tx, hops: Iterable[Hop]) -> dict[str, int]:
        """Return {key: id} of ``hops``, storing those that are new."""
        wanted = {hop.key: hop for hop in hops}
        out: dict[str, int] = {}
        missing: list[str] = []
        for key in wanted:
            number = self._ids.get(key)
            if number is None:
                missing.append(key)
            else:
                out[key] = number
        if missing:
            missing.sort()
            found = self._find(tx, missing)
            if len(self._ids) > CACHE:
                self._ids.clear()
            self._ids.update(found)
            out.update(found)
            new = [wanted[key] for key in missing if key not in found]
            if new:
                rows = [
                    (number, hop.key, hop.domain, hop.kind.name.lower())
                    for number, hop in zip(self._new_ids(len(new)), new, strict=True)
                ]
                tx.insert(_DEST, rows, "ON CONFLICT (key) DO NOTHING")
                out.update(self._find(tx, [hop.key for hop in new]))
        return out

    @staticmethod
    def _find(tx: Tx, keys: list[str]) -> dict[str, int]:
        sql = "SELECT key, id FROM dest, {v} WHERE key = v.column1"
        return {row[0]: row[1] for row in tx.each(sql, "t", [(key,) for key in keys])}
