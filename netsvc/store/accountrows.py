"""Accounts as rows (IAccountRows): names as given and matched exactly; what is in them is the accounts room's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from netsvc.interfaces import IAccountRows
from netsvc.mail.escape import escape
from netsvc.records import AccountRow, StoreError

if TYPE_CHECKING:
    import builtins

    from twisted.internet.defer import Deferred

    from netsvc.store.engine import Engine
    from netsvc.store.tx import SqlRow, Tx

_ROWS = "SELECT name, hash, scram, role, flags, mailbox_id, last_at, last_from, fails FROM account"
_UPDATABLE = frozenset({"hash", "scram", "role", "flags", "mailbox_id"})
SOURCE = 200


def _account(row: SqlRow) -> AccountRow:
    name, hashed, scram, role, flags, mailbox_id, last_at, last_from, fails = row
    return AccountRow(name, hashed or "", scram or "", role, flags, mailbox_id or 0, last_at, last_from or "", fails)


@implementer(IAccountRows)
class AccountRows:
    """See IAccountRows."""

    def __init__(self, engine: Engine) -> None:
        """Stand on ``engine``."""
        self._engine = engine

    def get(self, name: str) -> Deferred[AccountRow | None]:
        """Return one account."""

        def work(tx: Tx) -> AccountRow | None:
            row = tx.row(f"{_ROWS} WHERE name = ?", (name,)) if _storable(name) else None
            return None if row is None else _account(row)

        return self._engine.read(work)

    def all(self) -> Deferred[builtins.list[AccountRow]]:
        """Return all accounts, by name."""
        return self._engine.read(lambda tx: [_account(row) for row in tx.rows(f"{_ROWS} ORDER BY name")])

    def create(self, row: AccountRow) -> Deferred[None]:
        """Add an account."""

        def work(tx: Tx) -> None:
            made = tx.execute(
                "INSERT INTO account (name, hash, scram, role, flags, mailbox_id, last_at, last_from, fails) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING",
                (
                    *(row.name, row.hash, row.scram, row.role, row.flags, row.mailbox_id or None),
                    *(row.last_at, row.last_from, row.fails),
                ),
            )
            if not made:
                raise StoreError(f"There is an account {escape(row.name, 100)} already")

        return self._engine.write(work)

    def update(self, name: str, **columns: Any) -> Deferred[bool]:
        """Change an account."""
        unknown = columns.keys() - _UPDATABLE
        if unknown or not columns:
            raise TypeError(f"an account's columns are {', '.join(sorted(_UPDATABLE))}, not {sorted(unknown)}")
        settings = ", ".join(f"{column} = ?" for column in columns)

        def work(tx: Tx) -> bool:
            return bool(tx.execute(f"UPDATE account SET {settings} WHERE name = ?", (*columns.values(), name)))  # noqa: S608  names of ours

        return self._engine.write(work)

    def delete(self, name: str) -> Deferred[bool]:
        """Delete an account."""

        def work(tx: Tx) -> bool:
            tx.execute("DELETE FROM sender_grant WHERE account = ?", (name,))
            return bool(tx.execute("DELETE FROM account WHERE name = ?", (name,)))

        return self._engine.write(work)

    def seen(self, name: str, source: str, ok: bool) -> Deferred[None]:
        """Record a login, or a failed one; a name nobody has leaves no trace here."""
        where = escape(source, SOURCE)

        def work(tx: Tx) -> None:
            if not _storable(name):
                return
            if ok:
                tx.execute(
                    "UPDATE account SET last_at = ?, last_from = ?, fails = 0 WHERE name = ?", (tx.now, where, name)
                )
            else:
                tx.execute("UPDATE account SET fails = fails + 1 WHERE name = ?", (name,))

        return self._engine.write(work)


def _storable(name: str) -> bool:
    """Say whether a name that was typed could be in the database at all: no NUL, no lone surrogate."""
    return "\0" not in name and name.isprintable()
