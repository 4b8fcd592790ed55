"""One transaction on SQLite: how statements of the common subset become few and large ones.

Every step of a statement gives the interpreter lock away and has to get it
back from a busy reactor: so many rows go in and come out in one step.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from netsvc.store.tx import FILED, SqlRow, Table, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netsvc.store.sqlite import SqliteLink

SLICES = (128, 64, *range(32, 0, -1))
"""How many rows one statement takes: few texts, so that all of them stay prepared."""
IDS = 512
COPIED = 1 << 20
"""Octets of pieces of bodies that one statement may take together."""
FILING = """
CREATE TEMP VIEW IF NOT EXISTS filed AS SELECT {nulls};
CREATE TEMP TRIGGER IF NOT EXISTS filing INSTEAD OF INSERT ON filed BEGIN
  INSERT INTO blob (id, sha256, size, refs, place)
    SELECT NEW.blob_id, NEW.sha256, NEW.blob_size, NEW.refs, 0 WHERE NEW.refs <> 0;
  INSERT INTO mail (mailbox_id, uid, delivery_id, message_id, blob_id, hdr, size, internal_at, sender, msgid, subject)
    VALUES (NEW.mailbox_id, NEW.uid, NEW.delivery_id, NEW.message_id, NEW.blob_id, NEW.hdr, NEW.size, NEW.at,
      NEW.sender, NEW.msgid, NEW.subject);
  INSERT INTO history (id, at, node_id, message_id, delivery_id, n, sender, rcpt, domain, dest_id, outcome, attempts,
      reason_id, size, received_at, msgid, subject, auth, client, listener, tls)
    VALUES (NEW.delivery_id, NEW.at, NEW.node_id, NEW.message_id, NEW.delivery_id, NEW.n, NEW.sender, NEW.rcpt,
      NEW.domain, 0, 1, 0, 0, NEW.blob_size, NEW.received_at, NEW.msgid, NEW.subject, NEW.auth, NEW.client,
      NEW.listener, NEW.tls);
  UPDATE mailbox SET used_bytes = used_bytes + NEW.size, used_msgs = used_msgs + 1, uidnext = NEW.uid + 1
    WHERE id = NEW.mailbox_id;
END;
"""
"""Tables cannot share an INSERT, but a view's trigger can feed them all within one step of one statement."""

_texts: dict[tuple[str, int], str] = {}


def slices(rows: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """Cut ``rows`` into as few parts of the sizes there are statements for."""
    at = 0
    for size in SLICES:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size


def chunk_slices(rows: Sequence[tuple[int, int, bytes]]) -> Iterable[Sequence[tuple[int, int, bytes]]]:
    """Cut pieces of bodies as ``slices`` does, but large ones one by one: SQLite copies all a statement is given."""
    if sum(len(row[2]) for row in rows) <= COPIED:
        return slices(rows)
    return [(row,) for row in rows]


def _insert_text(into: Table, n: int, tail: str) -> str:
    key = (f"{into.name}\0{tail}", n)
    text = _texts.get(key)
    if text is None:
        row = "(" + ",".join("?" * len(into.columns)) + ")"
        text = f"INSERT INTO {into.name} ({','.join(into.columns)}) VALUES {','.join([row] * n)} {tail}"  # noqa: S608  names of ours
        _texts[key] = text
    return text


def _each_text(sql: str, width: int, n: int) -> str:
    text = _texts.get((sql, n))
    if text is None:
        row = "(" + ",".join("?" * width) + ")"
        text = sql.replace("{v}", f"(VALUES {','.join([row] * n)}) AS v")
        _texts[(sql, n)] = text
    return text


def chunk_text(n: int) -> str:
    """Return the statement that writes ``n`` pieces of bodies."""
    return "INSERT OR REPLACE INTO blob_chunk (blob_id, n, data) VALUES " + ",".join(["(?,?,?)"] * n)  # noqa: S608


BLOB_NEW = table("blob_new", "blob_id data:b")


class SqliteTx:
    """One transaction over both files."""

    dialect = "sqlite"
    regexp = True
    """Statements may say ``text REGEXP pattern``."""

    def __init__(self, link: SqliteLink, now: int) -> None:
        """Work on ``link``'s connections."""
        self.now = now
        self._link = link
        self.generation = link.generation
        self._q = link.queue
        self._run = self._q.execute

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run a statement; return how many rows it touched."""
        return self._run(sql, params).rowcount

    def define(self, sql: str) -> None:
        """Run a statement of a migration; bodies' tables are in the other file."""
        if "blob_chunk" in sql:
            self._link.body.execute(sql.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS "))
        else:
            self._run(sql)

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once a row."""
        self._q.executemany(sql, rows)

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[SqlRow]:
        """Return all rows."""
        return self._run(sql, params).fetchall()

    def row(self, sql: str, params: Sequence[Any] = ()) -> SqlRow | None:
        """Return the first row, or None."""
        found = self._run(sql, params).fetchall()
        return found[0] if found else None

    def value(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """Return the first column of the first row, or None."""
        found = self._run(sql, params).fetchall()
        return found[0][0] if found else None

    def insert(self, into: Table, rows: Sequence[Sequence[Any]], tail: str = "") -> None:
        """Insert many rows."""
        for part in slices(rows):
            self._run(_insert_text(into, len(part), tail), [value for row in part for value in row])

    def each(self, sql: str, kinds: str, rows: Sequence[Sequence[Any]]) -> list[SqlRow]:
        """Run a statement over a relation of ``rows``."""
        out: list[SqlRow] = []
        for part in slices(rows):
            text = _each_text(sql, len(kinds), len(part))
            out += self._run(text, [value for row in part for value in row]).fetchall()
        return out

    def among(self, sql: str, ids: Sequence[int], before: Sequence[Any] = ()) -> list[SqlRow]:
        """Run a statement over ids."""
        out: list[SqlRow] = []
        for at in range(0, len(ids), IDS):
            part = list(ids[at : at + IDS])
            size = 1 << (len(part) - 1).bit_length()
            part += part[-1:] * (size - len(part))
            text = _texts.get((sql, size))
            if text is None:
                text = _texts[(sql, size)] = sql.replace("{ids}", "IN (" + ",".join("?" * size) + ")")
            out += self._run(text, [*before, *part]).fetchall()
        return out

    def pick(self, columns: str, rest: str, ids: Sequence[int] | None = None, before: Sequence[Any] = ()) -> list[Any]:
        """Return rows as one JSON text: the interpreter lock is handed over twice, not once a row."""
        sql = f"SELECT json_group_array(json_array({columns})) {rest}"
        if ids is None:
            return json.loads(self.value(sql, before))  # type: ignore[no-any-return]
        out: list[Any] = []
        for row in self.among(sql, ids, before):
            out += json.loads(row[0])
        return out

    def file(self, rows: Sequence[Sequence[Any]]) -> None:
        """Insert local deliveries through a view whose trigger feeds the tables: one statement for all of them."""
        self.insert(FILED, rows)

    def put_chunks(
        self, rows: Sequence[tuple[int, int, bytes]], *, later: bool = False, streamed: bool = False
    ) -> None:
        """Write pieces of bodies: small whole ones with the rows, others to body.db when the batch is committed."""
        link = self._link
        small: list[tuple[int, bytes]] = []
        for row in rows:
            if row[1] == 0 and len(row[2]) <= link.small and not later:
                small.append((row[0], row[2]))
                link.staged += len(row[2])
            else:
                link.chunks.append(row)
        if small:
            self.insert(BLOB_NEW, small, "ON CONFLICT (blob_id) DO NOTHING")
        if later:
            link.streamed += sum(len(row[2]) for row in rows)
        elif streamed or link.chunks:
            link.body_due = True

    def drop_chunks(self, blob_ids: Sequence[int]) -> None:
        """Delete bodies."""
        self.among("DELETE FROM blob_new WHERE blob_id {ids}", blob_ids)
        self._link.drops.extend(blob_ids)
        self._link.body_due = True

    def chunk(self, blob_id: int, n: int) -> bytes | None:
        """Return piece ``n`` of a body; what is not among the new ones had been moved before we looked there."""
        if n == 0:
            new = self._run("SELECT data FROM blob_new WHERE blob_id = ?", (blob_id,)).fetchall()
            if new:
                return new[0][0]  # type: ignore[no-any-return]
        found = self._link.body.execute(
            "SELECT data FROM blob_chunk WHERE blob_id = ? AND n = ?", (blob_id, n)
        ).fetchall()
        return found[0][0] if found else None

    def chunk_blobs(self, after: int, limit: int) -> list[int]:
        """Return ids of bodies there are pieces of."""
        found = self._link.body.execute(
            "SELECT blob_id FROM blob_chunk WHERE blob_id > ? AND n = 0 ORDER BY blob_id LIMIT ?", (after, limit)
        ).fetchall()
        return [row[0] for row in found]
