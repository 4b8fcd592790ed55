"""Until when destinations are left alone, kept beside the run queue so that closed ones cost nothing.

``dest`` says why a destination is closed; ``dest_head.open_at`` is until when.
Whoever changes ``paused``, ``pause_until``, ``dead_until`` or ``limit_until``
calls ``close_heads`` in the same unit of work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.store.tx import Tx

FAR = 1 << 62
"""``next_due`` of a destination with nothing to do, ``open_at`` of one that waits for an operator."""

LATER = {"sqlite": "max", "postgresql": "greatest"}
"""The function that gives the greatest of some values."""


def _close(dialect: str) -> str:
    pause = f"CASE WHEN d.paused = 0 THEN 0 WHEN d.pause_until = 0 THEN {FAR} ELSE d.pause_until END"
    return (
        f"INSERT INTO dest_head (dest_id, next_due, open_at) SELECT d.id, {FAR},"  # noqa: S608  texts of ours
        f" {LATER[dialect]}(d.dead_until, d.limit_until, {pause}) FROM dest d WHERE d.id {{ids}}"
        " ON CONFLICT (dest_id) DO UPDATE SET open_at = excluded.open_at"
    )


_CLOSE = {dialect: _close(dialect) for dialect in LATER}


def close_heads(tx: Tx, dest_ids: Sequence[int]) -> None:
    """Let the run queue know until when these destinations are left alone."""
    if dest_ids:
        tx.among(_CLOSE[tx.dialect], sorted(dest_ids))


def closed(tx: Tx) -> list[int]:
    """Return the ids of destinations that are left alone for some reason, or were."""
    sql = "SELECT id FROM dest WHERE paused <> 0 OR dead_until <> 0 OR limit_until <> 0"
    return [row[0] for row in tx.rows(sql)]
