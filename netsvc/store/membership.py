"""This node among the nodes that share the database: its number, epoch and heartbeat.

Starting takes the node's row with a new epoch and frees at once what the same
node held before: a plain restart loses no time.  On PostgreSQL every node
beats, and takes back what a silent node held after the lease time and a grace
in which a woken node may still settle late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.records import StoreError
from netsvc.store.leases import SLICE, free

if TYPE_CHECKING:
    from netsvc.store.tx import Tx

BEAT_MS = 5_000
LEASE_MS = 30_000
GRACE_MS = 30_000
SELF_FENCE = 0.6
"""Share of the lease time without a good beat after which no new attempts are begun."""
TOP = 1023
UP, DRAINING, FENCED, GONE = 1, 2, 3, 4


def register(tx: Tx, name: str, version: str) -> tuple[int, int]:
    """Take the row of the node called ``name``, with a new epoch -> (id, epoch).  Raises StoreError."""
    row = tx.row(
        "UPDATE node SET epoch = epoch + 1, state = 1, started_at = ?, heartbeat_at = ?, version = ? WHERE name = ?"
        " RETURNING id, epoch",
        (tx.now, tx.now, version, name),
    )
    if row is not None:
        return row[0], row[1]
    taken = {row[0] for row in tx.rows("SELECT id FROM node")}
    number = next((n for n in range(1, TOP + 1) if n not in taken), 0)
    if not number:
        raise StoreError(f"the database knows {TOP} nodes already: forget one that is gone")
    tx.execute(
        "INSERT INTO node (id, name, epoch, state, started_at, heartbeat_at, version) VALUES (?, ?, 1, 1, ?, ?, ?)",
        (number, name, tx.now, tx.now, version),
    )
    return number, 1


def beat(tx: Tx, node_id: int, epoch: int) -> bool:
    """Say that this node lives; False: it has been fenced, and must begin anew with a new epoch."""
    return bool(
        tx.execute(
            "UPDATE node SET heartbeat_at = ? WHERE id = ? AND epoch = ? AND state IN (1, 2)", (tx.now, node_id, epoch)
        )
    )


def fence(tx: Tx, node_id: int) -> list[int]:
    """Fence the nodes whose lease has run out -> their ids."""
    found = tx.rows(
        "UPDATE node SET state = 3, epoch = epoch + 1 WHERE state IN (1, 2) AND heartbeat_at < ? AND id <> ?"
        " RETURNING id",
        (tx.now - LEASE_MS, node_id),
    )
    return [row[0] for row in found]


def orphaned(tx: Tx) -> list[tuple[int, int]]:
    """Return (node id, epoch) of nodes that still own leases of an epoch before their present one."""
    found = tx.rows(
        "SELECT n.id, n.epoch FROM node n WHERE EXISTS"
        " (SELECT 1 FROM delivery d WHERE d.state = 2 AND d.lease_node = n.id AND d.lease_epoch < n.epoch)"
    )
    return [(row[0], row[1]) for row in found]


def take_back(tx: Tx, of: tuple[int, int], node_id: int, due_at: int) -> tuple[bool, int, list[tuple[int, int]]]:
    """Free a slice of node ``of``'s old leases -> (more?, how many, those held)."""
    n, held = free(tx, of, node_id, due_at)
    return n >= SLICE, n, held


def leave(tx: Tx, node_id: int, epoch: int) -> None:
    """Say that this node has ended in good order."""
    tx.execute("UPDATE node SET state = 4, heartbeat_at = ? WHERE id = ? AND epoch = ?", (tx.now, node_id, epoch))
