"""Who may send as whom (ISenders): an account's mailbox, what leads to it, and what an operator has granted.

Also the site's random secrets, made when first asked for and the same on every
node.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from zope.interface import implementer

from netsvc.interfaces import ISenders
from netsvc.mail.address import AddressError, parse_address
from netsvc.mail.escape import escape
from netsvc.records import StoreError
from netsvc.store.directoryrows import address_of, domain_of
from netsvc.store.resolving import explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from netsvc.mail.address import Address
    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx

SECRET_OCTETS = 32
_OWN = frozenset({"exact", "tag"})
"""Ways by which an address leads to a mailbox that make it its owner's; a catch-all is nobody's own."""


@implementer(ISenders)
class Senders:
    """See ISenders.  ``separator`` gives what divides a user from a tag now."""

    def __init__(self, engine: Engine, separator: Callable[[], str]) -> None:
        """Stand on ``engine``."""
        self._engine = engine
        self._separator = separator

    def may_use(self, user: str, address: str) -> Deferred[bool]:
        """See ISenders."""
        separator = self._separator()

        def work(tx: Tx) -> bool:
            try:
                wanted = parse_address(address, utf8=True)
            except AddressError:
                return False
            if not _storable(user):
                return False
            return _granted(tx, user, wanted) or _own(tx, _mailbox(tx, user), wanted, separator)

        return self._engine.read(work)

    def mailbox_of(self, user: str) -> Deferred[str]:
        """See ISenders."""
        return self._engine.read(lambda tx: _mailbox(tx, user))

    def box(self, address: str) -> Deferred[int]:
        """See ISenders."""
        return self._engine.read(lambda tx: int(tx.value("SELECT id FROM mailbox WHERE address = ?", (address,)) or 0))

    def mailboxes(self) -> Deferred[dict[str, str]]:
        """See ISenders."""

        def work(tx: Tx) -> dict[str, str]:
            given: dict[str, str] = dict(
                tx.rows("SELECT a.name, m.address FROM account a JOIN mailbox m ON m.id = a.mailbox_id")
            )
            named: dict[str, str] = dict(
                tx.rows("SELECT a.name, m.address FROM account a JOIN mailbox m ON m.address = a.name")
            )
            return {**named, **given}

        return self._engine.read(work)

    def grants(self, user: str | None = None) -> Deferred[list[tuple[str, str]]]:
        """See ISenders."""

        def work(tx: Tx) -> list[tuple[str, str]]:
            where, values = ("WHERE account = ?", (user,)) if user is not None else ("", ())
            return [
                (row[0], row[1])
                for row in tx.rows(f"SELECT account, address FROM sender_grant {where} ORDER BY 1, 2", values)  # noqa: S608  ours
            ]

        return self._engine.read(work)

    def grant(self, user: str, address: str) -> Deferred[None]:
        """See ISenders."""

        def work(tx: Tx) -> None:
            if tx.value("SELECT 1 FROM account WHERE name = ?", (user,)) is None:
                raise StoreError(f"There is no account {escape(user, 100)}")
            row = (user, _granted_key(address))
            sql = "INSERT INTO sender_grant (account, address) VALUES (?, ?) ON CONFLICT (account, address) DO NOTHING"
            if not tx.execute(sql, row):
                raise StoreError(f"{row[0]} may send as {row[1]} already")

        return self._engine.write(work)

    def revoke(self, user: str, address: str) -> Deferred[bool]:
        """See ISenders."""

        def work(tx: Tx) -> bool:
            sql = "DELETE FROM sender_grant WHERE account = ? AND address = ?"
            return bool(tx.execute(sql, (user, _granted_key(address))))

        return self._engine.write(work)

    def secret(self, name: str) -> Deferred[bytes]:
        """Return the site's secret ``name`` -> Deferred[bytes], made now where there is none."""
        fresh = secrets.token_hex(SECRET_OCTETS)

        def work(tx: Tx) -> bytes:
            sql = "INSERT INTO site_secret (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"
            tx.execute(sql, (name, fresh))
            return bytes.fromhex(tx.value("SELECT value FROM site_secret WHERE name = ?", (name,)))

        return self._engine.write(work)


def _storable(user: str) -> bool:
    """Say whether a name could be in the database at all."""
    return "\0" not in user and user.isprintable()


def _granted_key(text: str) -> str:
    """Return an address, or ``@domain``, as it is kept.  Raises StoreError."""
    return f"@{domain_of(text[1:])}" if text.startswith("@") else address_of(text).key


def _mailbox(tx: Tx, user: str) -> str:
    """Return the address of an account's mailbox: the one it was given, else the one it is named by; "" for none."""
    if not _storable(user):
        return ""
    sql = "SELECT m.address FROM account a JOIN mailbox m ON m.id = a.mailbox_id WHERE a.name = ?"
    given = tx.value(sql, (user,))
    return str(given or tx.value("SELECT address FROM mailbox WHERE address = ?", (user,)) or "")


def _granted(tx: Tx, user: str, wanted: Address) -> bool:
    sql = "SELECT 1 FROM sender_grant WHERE account = ? AND address IN (?, ?)"
    return tx.value(sql, (user, wanted.key, f"@{wanted.domain}")) is not None


def _own(tx: Tx, box: str, wanted: Address, separator: str) -> bool:
    if not box:
        return False
    found, expansion = explain(tx, wanted, separator)
    step = expansion.steps.get(expansion.start)
    return step is not None and step.how in _OWN and any(each.address == box for each in found.mailboxes)
