"""The audit trail (IAudit): one row for every login and every change, chained by hashes, one chain a node.

A row's ``mac`` is SHA-256 over the ``mac`` before it and the row's canonical
JSON: who changes or takes out a row within the chain breaks all behind it.  The
same rows are appended to a file, off the reactor's thread, for those who ship
them elsewhere.  Known limit: who may write to both can make a new chain;
shipping the file is what protects against that.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from zope.interface import implementer

from netsvc.criteria import Expr, matches
from netsvc.interfaces import IAudit
from netsvc.mail.escape import escape
from netsvc.mail.ids import show_id
from netsvc.records import Page

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from netsvc.store.engine import Engine
    from netsvc.store.tx import SqlRow, Tx

TEXT = 2_000
"""Characters of any text of a row."""
MAX_PAGE = 5_000
CHUNK = 1_000
FIRST = ""
"""``prev`` of a node's first row."""

_FIELDS = ("id", "at", "node_id", "actor", "role", "source", "verb", "target", "args", "affected", "result")
_CHAINED = ", ".join(f"a.{name}" for name in _FIELDS)
_ROW = (
    "a.id, a.at, w.name, a.actor, a.role, a.source, a.verb, a.target, a.args, a.affected, a.result "
    "FROM audit a LEFT JOIN node w ON w.id = a.node_id"
)


def mac_of(prev: str, values: tuple[Any, ...]) -> str:
    """Return the hash of a row (its values in the order of the table) behind the one whose hash is ``prev``."""
    text = json.dumps(dict(zip(_FIELDS, values, strict=True)), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{prev}\n{text}".encode()).hexdigest()


def append_line(path: Path, line: str) -> str:
    """Append a line to a file only its owner may read; return why it cannot be done, "" when it was."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags, 0o600)
        try:
            os.write(handle, line.encode() + b"\n")
        finally:
            os.close(handle)
    except OSError as error:
        return str(error.strerror)
    return ""


@implementer(IAudit)
class Audit:
    """See IAudit."""

    _log = Logger()

    def __init__(self, engine: Engine, path: Path | None) -> None:
        """Write to ``engine``, and to the file ``path`` in one of its reading threads."""
        self._engine = engine
        self._path = path
        self._turn = DeferredLock()

    def record(
        self, actor: str, role: str, source: str, verb: str, target: str, args: str, affected: int, result: str
    ) -> Deferred[int]:
        """Append a row; one after the other, so that the chain is whole whatever thread writes."""
        texts = [escape(text, TEXT) for text in (actor, role, source, verb, target, args)]
        values = (*texts, affected, escape(result, TEXT))
        return self._turn.run(lambda: Deferred.fromCoroutine(self._record(values)))

    async def _record(self, values: tuple[Any, ...]) -> int:
        row = await self._engine.write(lambda tx: _append(tx, self._engine, values))
        path = self._path
        if path is not None:
            line = json.dumps(dict(zip((*_FIELDS, "prev", "mac"), row, strict=True)))
            why = await self._engine.read(lambda _: append_line(path, line))
            if why:  # the row is in the store; the copy is not
                self._log.error("audit.file {path} {why}", path=str(path), why=why)
        number: int = row[0]
        return number

    def page(self, after: Any = None, limit: int = 50, where: Expr | None = None) -> Deferred[Page]:
        """Return one page of rows, newest first."""
        size = max(1, min(limit, MAX_PAGE))
        return self._engine.read(lambda tx: _page(tx, after, size, where))

    def verify(self) -> Deferred[tuple[int, int]]:
        """Check all chains; the first row kept of each is taken as it is, for what was before it is no more."""
        return Deferred.fromCoroutine(self._verify())

    async def _verify(self) -> tuple[int, int]:
        checked, after = 0, 0
        last: dict[int, str] = {}
        while True:
            rows = await self._engine.read(_chunk(after))
            for row in rows:
                values, prev, mac = row[: len(_FIELDS)], row[-2], row[-1]
                if prev != last.get(values[2], prev) or mac != mac_of(prev, values):
                    return checked, int(values[0])
                last[values[2]] = mac
                checked += 1
            if len(rows) < CHUNK:
                return checked, 0
            after = rows[-1][0]


def _append(tx: Tx, engine: Engine, values: tuple[Any, ...]) -> SqlRow:
    node = engine.node_id
    prev = tx.value("SELECT mac FROM audit WHERE node_id = ? ORDER BY id DESC LIMIT 1", (node,)) or FIRST
    row = (engine.new_id(), tx.now, node, *values)
    whole = (*row, prev, mac_of(prev, row))
    tx.execute(
        "INSERT INTO audit (id, at, node_id, actor, role, source, verb, target, args, affected, result, prev, mac) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        whole,
    )
    return whole


def _chunk(after: int) -> Callable[[Tx], list[SqlRow]]:
    sql = f"SELECT {_CHAINED}, a.prev, a.mac FROM audit a WHERE a.id > ? ORDER BY a.id LIMIT {CHUNK}"  # noqa: S608  names of ours
    return lambda tx: tx.rows(sql, (after,))


def _page(tx: Tx, after: int | None, limit: int, where: Expr | None) -> Page:
    """Look at up to MAX_PAGE rows, newest first, for ``limit`` that match."""
    found: list[dict[str, Any]] = []
    scanned = 0
    condition, params = ("", ()) if after is None else ("WHERE a.id < ?", (after,))
    size = limit + 1 if where is None else MAX_PAGE
    rows = tx.rows(f"SELECT {_ROW} {condition} ORDER BY a.id DESC LIMIT ?", (*params, size))
    last = None
    for row in rows:
        if len(found) == limit:
            return Page(found, last, scanned)
        shown = _shown(row)
        scanned += 1
        last = row[0]
        if where is None or matches(where, "audit", shown, tx.now):
            found.append(shown)
    return Page(found, last if len(rows) == size else None, scanned)


def _shown(row: SqlRow) -> dict[str, Any]:
    number, at, node, actor, role, source, verb, target, args, affected, result = row
    return {
        "seq": show_id(number),
        "at": at,
        "node": escape(node) if node else None,
        "actor": escape(actor),
        "role": escape(role),
        "source": escape(source),
        "verb": escape(verb),
        "target": escape(target),
        "args": escape(args),
        "affected": affected,
        "result": escape(result),
    }
