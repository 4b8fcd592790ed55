"""Policies that domains publish by MTA-STS, kept for all nodes and over restarts (ITlsPolicyRows)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from netsvc.interfaces import ITlsPolicyRows
from netsvc.mail.escape import escape
from netsvc.store.tx import BULK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from netsvc.records import Row
    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx

MOST = 10_000
"""Rows shown."""
OVER_MS = 30 * 24 * 3_600_000
"""How long what has run out is still shown."""
TEXT = 500
_COLUMNS = "domain, txt_id, mode, max_age, hosts, fetched_at, until_at, used_at, tried_at, why"
_NAMES = ("domain", "id", "mode", "max_age", "hosts", "fetched", "until", "used", "tried", "why")
_PUT = (
    f"INSERT INTO tls_policy ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (domain) DO UPDATE SET "  # noqa: S608 - ours
    "txt_id = excluded.txt_id, mode = excluded.mode, max_age = excluded.max_age, hosts = excluded.hosts, "
    "fetched_at = excluded.fetched_at, until_at = excluded.until_at, used_at = excluded.used_at, "
    "tried_at = excluded.tried_at, why = excluded.why"
)
_SWEEP = (
    "DELETE FROM tls_policy WHERE until_at <= ? AND domain IN "
    "(SELECT domain FROM tls_policy WHERE until_at <= ? ORDER BY until_at LIMIT 200)"
)


@implementer(ITlsPolicyRows)
class TlsPolicyRows:
    """See ITlsPolicyRows."""

    def __init__(self, engine: Engine) -> None:
        """Stand on ``engine``."""
        self._engine = engine

    def get(self, domain: str) -> Deferred[Row | None]:
        """See ITlsPolicyRows."""

        def work(tx: Tx) -> Row | None:
            found = tx.row(f"SELECT {_COLUMNS} FROM tls_policy WHERE domain = ?", (domain,))  # noqa: S608 - ours
            return None if found is None else _row(found)

        return self._engine.read(work)

    def put(self, row: Row) -> Deferred[None]:
        """See ITlsPolicyRows."""
        values = tuple(" ".join(row["hosts"]) if name == "hosts" else row[name] for name in _NAMES)

        def work(tx: Tx) -> None:
            over = tx.now - OVER_MS
            tx.execute(_SWEEP, (over, over))
            tx.execute(_PUT, values)

        return self._engine.write(work, BULK)

    def failed(self, domain: str, at: int, why: str) -> Deferred[None]:
        """See ITlsPolicyRows."""
        values = (at, escape(why, TEXT), domain)
        return self._change("UPDATE tls_policy SET tried_at = ?, why = ? WHERE domain = ?", values)

    def used(self, domain: str, at: int) -> Deferred[None]:
        """See ITlsPolicyRows."""
        return self._change("UPDATE tls_policy SET used_at = ? WHERE domain = ?", (at, domain))

    def _change(self, sql: str, values: Sequence[Any]) -> Deferred[None]:
        def work(tx: Tx) -> None:
            tx.execute(sql, values)

        return self._engine.write(work, BULK)

    def rows(self, domain: str = "") -> Deferred[list[Row]]:
        """See ITlsPolicyRows."""
        where, values = ("WHERE domain = ?", (domain, MOST)) if domain else ("", (MOST,))
        return self._list(f"{where} ORDER BY domain LIMIT ?", values)

    def stale(self, fetched_before: int, used_since: int, most: int) -> Deferred[list[Row]]:
        """See ITlsPolicyRows."""
        where = "WHERE fetched_at < ? AND used_at >= ? AND tried_at < ? ORDER BY fetched_at LIMIT ?"
        return self._list(where, (fetched_before, used_since, fetched_before, most))

    def _list(self, where: str, values: Sequence[Any]) -> Deferred[list[Row]]:
        sql = f"SELECT {_COLUMNS} FROM tls_policy {where}"  # noqa: S608 - ours
        return self._engine.read(lambda tx: [_row(found) for found in tx.rows(sql, values)])

    def forget(self, domain: str = "") -> Deferred[int]:
        """See ITlsPolicyRows."""
        where, values = ("WHERE domain = ?", (domain,)) if domain else ("", ())
        return self._engine.write(lambda tx: int(tx.execute(f"DELETE FROM tls_policy {where}", values)), BULK)  # noqa: S608 - ours


def _row(found: Sequence[Any]) -> Row:
    row = dict(zip(_NAMES, found, strict=True))
    row["hosts"] = str(row["hosts"]).split()
    return row
