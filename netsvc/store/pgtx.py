"""One transaction on PostgreSQL: rows travel as binary arrays, a statement a round trip."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from netsvc.store.arrays import array
from netsvc.store.tx import FILED, SqlRow, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg

    from netsvc.store.postgres import PgLink

CASTS = {"i": "int8[]", "t": "text[]", "b": "bytea[]"}
_texts: dict[str, str] = {}
_inserts: dict[tuple[str, str], str] = {}
_eaches: dict[tuple[str, str], str] = {}


def rendered(sql: str) -> str:
    """Return ``sql`` with psycopg's binary placeholders."""
    text = _texts.get(sql)
    if text is None:
        text = _texts[sql] = sql.replace("%", "%%").replace("?", "%b")
    return text


_picks: dict[tuple[str, str], str] = {}
_HEX = re.compile(r"hex\((\w+\.\w+)\)")
_AS_HEX = r"encode(\1, 'hex')"


def _unnest(kinds: str, names: Sequence[str] = ()) -> str:
    columns = ",".join(names or [f"column{n}" for n in range(1, len(kinds) + 1)])
    return f"unnest({','.join('%b::' + CASTS[kind] for kind in kinds)}) AS v({columns})"


def _columns(kinds: str, rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [array(kind, column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)]


_FILE = f"""
WITH f AS (SELECT * FROM {_unnest(FILED.kinds, FILED.columns)}),
bodies AS (
  INSERT INTO blob (id, sha256, size, refs, place) SELECT blob_id, sha256, blob_size, refs, 0 FROM f WHERE refs <> 0),
mails AS (
  INSERT INTO mail (mailbox_id, uid, delivery_id, message_id, blob_id, hdr, size, internal_at, sender, msgid, subject)
  SELECT mailbox_id, uid, delivery_id, message_id, blob_id, hdr, size, at, sender, msgid, subject FROM f),
past AS (
  INSERT INTO history (id, at, node_id, message_id, delivery_id, n, sender, rcpt, domain, dest_id, outcome, attempts,
    reason_id, size, received_at, msgid, subject, auth, client, listener, tls)
  SELECT delivery_id, at, node_id, message_id, delivery_id, n, sender, rcpt, domain, 0, 1, 0,
    0, blob_size, received_at, msgid, subject, auth, client, listener, tls FROM f)
UPDATE mailbox SET used_bytes = used_bytes + s.bytes, used_msgs = used_msgs + s.n, uidnext = s.uid + 1
FROM (SELECT mailbox_id, sum(size)::int8 AS bytes, count(*) AS n, max(uid) AS uid FROM f GROUP BY mailbox_id) s
WHERE mailbox.id = s.mailbox_id
"""  # noqa: S608  texts of ours


class PgTx:
    """One transaction."""

    dialect = "postgresql"
    regexp = False

    def __init__(self, link: PgLink, cursor: psycopg.Cursor[Any], now: int) -> None:
        """Work with ``cursor``."""
        self.now = now
        self.generation = link.generation
        self._cursor = cursor
        self.durable = False
        self.streamed = False

    def _run(self, text: str, params: Sequence[Any]) -> psycopg.Cursor[Any]:
        self.durable = True
        return self._cursor.execute(text, params)

    def _fetch(self, text: str, params: Sequence[Any]) -> list[SqlRow]:
        cursor = self._run(text, params)
        return cursor.fetchall() if cursor.description is not None else []

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run a statement; return how many rows it touched."""
        return self._run(rendered(sql), params).rowcount

    def define(self, sql: str) -> None:
        """Run a statement of a migration."""
        if "blob_new" in sql:  # SQLite's alone
            return
        self._run(sql.replace("%", "%%"), ())

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once a row."""
        self.durable = True
        self._cursor.executemany(rendered(sql), rows)

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[SqlRow]:
        """Return all rows."""
        return self._fetch(rendered(sql), params)

    def row(self, sql: str, params: Sequence[Any] = ()) -> SqlRow | None:
        """Return the first row, or None."""
        found = self._fetch(rendered(sql), params)
        return found[0] if found else None

    def value(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """Return the first column of the first row, or None."""
        found = self._fetch(rendered(sql), params)
        return found[0][0] if found else None

    def insert(self, into: Table, rows: Sequence[Sequence[Any]], tail: str = "") -> None:
        """Insert many rows."""
        if not rows:
            return
        key = (into.name, tail)
        text = _inserts.get(key)
        if text is None:
            names = ",".join(into.columns)
            text = _inserts[key] = f"INSERT INTO {into.name} ({names}) SELECT * FROM {_unnest(into.kinds)} {tail}"  # noqa: S608  names of ours
        self._run(text, _columns(into.kinds, rows))

    def each(self, sql: str, kinds: str, rows: Sequence[Sequence[Any]]) -> list[SqlRow]:
        """Run a statement over a relation of ``rows``."""
        if not rows:
            return []
        text = _eaches.get((sql, kinds))
        if text is None:
            text = _eaches[(sql, kinds)] = rendered(sql).replace("{v}", _unnest(kinds))
        return self._fetch(text, _columns(kinds, rows))

    def among(self, sql: str, ids: Sequence[int], before: Sequence[Any] = ()) -> list[SqlRow]:
        """Run a statement over ids."""
        if not ids:
            return []
        text = _eaches.get((sql, "ids"))
        if text is None:
            text = _eaches[(sql, "ids")] = rendered(sql).replace("{ids}", "= ANY(%b::int8[])")
        return self._fetch(text, [*before, array("i", ids)])

    def pick(self, columns: str, rest: str, ids: Sequence[int] | None = None, before: Sequence[Any] = ()) -> list[Any]:
        """Return rows."""
        key = (columns, rest)
        sql = _picks.get(key)
        if sql is None:
            sql = _picks[key] = f"SELECT {_HEX.sub(_AS_HEX, columns)} {rest}"
        return self.rows(sql, before) if ids is None else self.among(sql, ids, before)

    def file(self, rows: Sequence[Sequence[Any]]) -> None:
        """Insert local deliveries: one statement, one round trip."""
        self._run(_FILE, _columns(FILED.kinds, rows))

    def put_chunks(
        self, rows: Sequence[tuple[int, int, bytes]], *, later: bool = False, streamed: bool = False
    ) -> None:
        """Write pieces of bodies; what was streamed before is durable with the next commit that is."""
        del streamed
        if rows:
            text = (
                f"INSERT INTO blob_chunk (blob_id, n, data) SELECT * FROM {_unnest('iib')}"  # noqa: S608  names of ours
                " ON CONFLICT (blob_id, n) DO UPDATE SET data = excluded.data"
            )
            self._cursor.execute(text, _columns("iib", rows))
        if later:
            self.streamed = True
        else:
            self.durable = True

    def drop_chunks(self, blob_ids: Sequence[int]) -> None:
        """Delete bodies."""
        self.among("DELETE FROM blob_chunk WHERE blob_id {ids}", blob_ids)

    def chunk(self, blob_id: int, n: int) -> bytes | None:
        """Return piece ``n`` of a body."""
        data: bytes | None = self.value("SELECT data FROM blob_chunk WHERE blob_id = ? AND n = ?", (blob_id, n))
        return data

    def chunk_blobs(self, after: int, limit: int) -> list[int]:
        """Return ids of bodies there are pieces of."""
        sql = "SELECT blob_id FROM blob_chunk WHERE blob_id > ? AND n = 0 ORDER BY blob_id LIMIT ?"
        return [row[0] for row in self.rows(sql, (after, limit))]
