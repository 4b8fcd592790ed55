"""Migrations: numbered SQL files, applied once each, never changed afterwards.

``sql/NNNN_name.sql`` hold one text for both dialects; the tokens in braces are
rendered here.  Each file's checksum is kept in ``schema_version``, so that a
database of a newer netsvc, or of a changed file, is refused with a sentence
before anything is touched.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from netsvc.records import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.store.tx import Link, Tx

TOKENS = {
    "sqlite": {
        "pk": "INTEGER PRIMARY KEY",
        "blob": "BLOB",
        "text": "TEXT",
        "norowid": "WITHOUT ROWID",
        "queue_opts": "",
        "later": "max",
    },
    "postgresql": {
        "pk": "BIGINT PRIMARY KEY",
        "blob": "BYTEA",
        "text": 'TEXT COLLATE "C"',
        "norowid": "",
        "queue_opts": "WITH (fillfactor=80, autovacuum_vacuum_scale_factor=0.01, autovacuum_vacuum_threshold=1000,"
        " autovacuum_vacuum_cost_delay=0)",
        "later": "greatest",
    },
}
_NEWER = (
    "the database is of version {found} ({name}), and this netsvc knows versions up to {known} only: "
    "start the newer netsvc, or restore a backup made before its upgrade"
)
_CHANGED = (
    "version {version} ({name}) of the database was made by another text of that migration than this netsvc has: "
    "start the netsvc that made it"
)
_FOREIGN = "the database holds tables, but not netsvc's: give netsvc a database of its own"


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file as it is, before rendering."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self, dialect: str) -> list[str]:
        """Return the statements for ``dialect``, comments taken out."""
        text = "\n".join(line.partition("--")[0].rstrip() for line in self.sql.splitlines())
        for token, value in TOKENS[dialect].items():
            text = text.replace("{" + token + "}", value)
        return [part.strip() for part in text.split(";") if part.strip()]


def load() -> list[Migration]:
    """Return the migrations this netsvc has, in order."""
    out = []
    for entry in resources.files("netsvc.store").joinpath("sql").iterdir():
        number, _, name = entry.name.removesuffix(".sql").partition("_")
        if entry.name.endswith(".sql") and number.isdigit():
            out.append(Migration(int(number), name, entry.read_text("utf-8")))
    return sorted(out, key=lambda m: m.version)


def _tables(tx: Tx) -> set[str]:
    if tx.dialect == "sqlite":
        return {row[0] for row in tx.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {
        row[0]
        for row in tx.rows(
            "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()"
        )
    }


def pending(tx: Tx, known: list[Migration]) -> list[Migration]:
    """Return the migrations still to be applied, all of ``known`` for a fresh database.  Raises StoreError."""
    tables = _tables(tx)
    if "schema_version" not in tables:
        if tables:
            raise StoreError(_FOREIGN)
        return known
    applied = {
        row[0]: row[1:] for row in tx.rows("SELECT version, name, checksum FROM schema_version ORDER BY version")
    }
    top = known[-1].version
    newest = max(applied, default=0)
    for version, (name, checksum) in applied.items():
        mine = next((m for m in known if m.version == version), None)
        if mine is None:
            raise StoreError(_NEWER.format(found=newest, name=applied[newest][0], known=top))
        if mine.checksum != checksum:
            raise StoreError(_CHANGED.format(version=version, name=name))
    return [m for m in known if m.version not in applied]


def upgrade(link: Link, now: int, before: Callable[[int], None]) -> list[int]:
    """Apply what is pending, each migration in its own transaction; return the versions applied.

    ``before(version)`` is called with the version the database has (0: fresh) if there is anything to do; it makes
    the backup.  Raises StoreError with nothing touched when the database is not ours to upgrade.
    """
    known = load()
    tx = link.begin(now)
    try:
        todo = pending(tx, known)
        fresh = len(todo) == len(known)
        has = 0 if fresh else int(tx.value("SELECT max(version) FROM schema_version") or 0)
    finally:
        link.rollback()
    if todo and not fresh:
        before(has)
    for migration in todo:
        tx = link.begin(now)
        try:
            for statement in migration.statements(tx.dialect):
                tx.define(statement)
            tx.execute(
                "INSERT INTO schema_version (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)",
                (migration.version, migration.name, migration.checksum, now),
            )
            link.commit()
        except Exception:
            link.rollback()
            raise
    return [m.version for m in todo]


ID_COLUMNS = (
    ("message", "id"),
    ("delivery", "id"),
    ("history", "id"),
    ("attempt", "id"),
    ("transcript", "id"),
    ("blob", "id"),
    ("dest", "id"),
    ("audit", "id"),
    ("bulk", "id"),
    ("mailbox", "id"),
    ("hold_rule", "id"),
    ("mail", "delivery_id"),
)
"""Where ids made by nodes are kept."""


def last_id(tx: Tx) -> int:
    """Return the highest id in use, 0 in an empty database."""
    return max(int(tx.value(f"SELECT coalesce(max({column}), 0) FROM {name}")) for name, column in ID_COLUMNS)  # noqa: S608
