"""Counts kept in the unit of work that changes them: ``c_dest`` and ``c_reason``; and the run queue ``dest_head``.

The counters are sharded by node, written in key order, and equal to a GROUP BY
over ``delivery`` at any time.  ``dest_head.next_due`` may be early, never late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.store.heads import close_heads, closed
from netsvc.store.tx import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.store.tx import Tx

_C_DEST = table("c_dest", "node_id dest_id state n bytes")
_C_REASON = table("c_reason", "node_id reason_id state n")
_HEAD = table("dest_head", "dest_id next_due")
_ADD_DEST = (
    "ON CONFLICT (node_id, dest_id, state)"
    " DO UPDATE SET n = c_dest.n + excluded.n, bytes = c_dest.bytes + excluded.bytes"
)
_ADD_REASON = "ON CONFLICT (node_id, reason_id, state) DO UPDATE SET n = c_reason.n + excluded.n"
_LOWER = "ON CONFLICT (dest_id) DO UPDATE SET next_due = excluded.next_due WHERE excluded.next_due < dest_head.next_due"


class Tally:
    """Changes of the counters within one unit of work; ``apply`` writes them in two statements."""

    def __init__(self) -> None:
        """Begin with no change."""
        self.dests: dict[tuple[int, int], list[int]] = {}
        self.reasons: dict[tuple[int, int], int] = {}

    def add(self, dest_id: int, state: int, reason_id: int, size: int, n: int = 1) -> None:
        """Count ``n`` items (or -n) of together ``size`` octets (positive: the sign is n's) in ``state``."""
        cell = self.dests.setdefault((dest_id, state), [0, 0])
        cell[0] += n
        cell[1] += size if n > 0 else -size
        if reason_id:
            key = (reason_id, state)
            self.reasons[key] = self.reasons.get(key, 0) + n

    def move(self, dest_id: int, states: tuple[int, int], reasons: tuple[int, int], size: int) -> None:
        """Count one item that went from ``states[0]`` to ``states[1]``, its reason from and to likewise."""
        self.add(dest_id, states[0], reasons[0], size, -1)
        self.add(dest_id, states[1], reasons[1], size)

    def apply(self, tx: Tx, node_id: int) -> None:
        """Write the changes, keys sorted so that nodes and threads never wait for each other in a ring."""
        dests = [(node_id, *key, *cell) for key, cell in sorted(self.dests.items()) if cell != [0, 0]]
        if dests:
            tx.insert(_C_DEST, dests, _ADD_DEST)
        reasons = [(node_id, *key, n) for key, n in sorted(self.reasons.items()) if n]
        if reasons:
            tx.insert(_C_REASON, reasons, _ADD_REASON)


def lower_heads(tx: Tx, dues: Mapping[int, int]) -> None:
    """Make sure each destination (id) is looked at no later than its time (ms)."""
    if dues:
        tx.insert(_HEAD, sorted(dues.items()), _LOWER)


def rebuild_heads(tx: Tx) -> None:
    """Make ``dest_head`` from the deliveries."""
    shut = closed(tx)
    tx.execute("DELETE FROM dest_head")
    tx.execute(
        "INSERT INTO dest_head (dest_id, next_due)"
        " SELECT dest_id, min(due_at) FROM delivery WHERE state IN (1,3) GROUP BY dest_id"
    )
    close_heads(tx, shut)


def rebuild_counters(tx: Tx, node_id: int) -> None:
    """Make both counter tables from the deliveries, all on this node's account."""
    tx.execute("DELETE FROM c_dest")
    tx.execute(
        "INSERT INTO c_dest (node_id, dest_id, state, n, bytes)"
        " SELECT ?, dest_id, state, count(*), sum(size) FROM delivery GROUP BY dest_id, state",
        (node_id,),
    )
    tx.execute("DELETE FROM c_reason")
    tx.execute(
        "INSERT INTO c_reason (node_id, reason_id, state, n)"
        " SELECT ?, reason_id, state, count(*) FROM delivery WHERE reason_id <> 0 GROUP BY reason_id, state",
        (node_id,),
    )
