"""Credentials for smarthosts, the passwords encrypted with a key that is not in the database (ICredentials).

All nodes of a site have the same key file.  The store knows the ids of the keys
that are the site's, so that a node with a file of its own is found out when it
starts, and not when mail is to be sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import fail
from zope.interface import implementer

from netsvc.interfaces import ICredentials
from netsvc.mail.escape import escape
from netsvc.records import Credential, CredentialError, StoreError
from netsvc.store.sealing import SealError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from netsvc.records import Row
    from netsvc.store.engine import Engine
    from netsvc.store.sealing import SecretKeys
    from netsvc.store.tx import SqlRow, Tx

MOST = 1_000
"""Credentials of a site."""
NO_KEY = "this node has no secret key: give it the secret_key_file of the other nodes"
WRONG_KEY = "this node's secret_key_file is not the site's: give it that of the other nodes"


@implementer(ICredentials)
class Credentials:
    """See ICredentials.  Without ``keys`` there is nothing it can read or keep."""

    def __init__(self, engine: Engine) -> None:
        """Stand on ``engine``."""
        self._engine = engine
        self._keys: SecretKeys | None = None
        self._wrong = NO_KEY

    def known_keys(self) -> Deferred[frozenset[str]]:
        """Return the ids of the keys that are the site's, none for a site that has none yet."""
        return self._engine.read(lambda tx: frozenset(row[0] for row in tx.rows("SELECT key_id FROM site_key")))

    def use(self, keys: SecretKeys) -> Deferred[bool]:
        """Encrypt and decrypt with ``keys`` -> Deferred[bool]: False where they are not the site's.

        The first keys a site sees are its own, and a new one is where an older one stands beside it.
        """
        ids = keys.ids

        def work(tx: Tx) -> bool:
            known = {row[0] for row in tx.rows("SELECT key_id FROM site_key")}
            if known and known.isdisjoint(ids):
                return False
            tx.execute("INSERT INTO site_key (key_id, at) VALUES (?, ?) ON CONFLICT DO NOTHING", (ids[0], tx.now))
            return True

        def told(ours: bool) -> bool:
            self._keys, self._wrong = keys, "" if ours else WRONG_KEY
            return ours

        return self._engine.write(work).addCallback(told)

    def get(self, name: str) -> Deferred[Credential | None]:
        """See ICredentials."""

        def opened(row: SqlRow | None) -> Credential | None:
            return None if row is None else self._open(*row)

        sql = "SELECT name, account, key_id, sealed FROM credential WHERE name = ?"
        return self._engine.read(lambda tx: tx.row(sql, (name,))).addCallback(opened)

    def _open(self, name: str, user: str, key_id: str, sealed: str) -> Credential:
        if self._keys is None:
            raise CredentialError(f"credential {name}: {NO_KEY}")
        try:
            return Credential(user, self._keys.open(key_id, bytes.fromhex(sealed), name, user))
        except (SealError, ValueError) as why:
            raise CredentialError(f"credential {name}: {self._wrong or why}") from None

    def rows(self) -> Deferred[list[Row]]:
        """See ICredentials."""

        def told(rows: list[SqlRow]) -> list[Row]:
            return [self._row(*row) for row in rows]

        sql = "SELECT name, account, key_id, sealed, at, actor FROM credential ORDER BY name"
        return self._engine.read(lambda tx: tx.rows(sql)).addCallback(told)

    def _row(self, name: str, user: str, key_id: str, sealed: str, at: int, actor: str) -> Row:
        error = None
        try:
            self._open(name, user, key_id, sealed)
        except CredentialError as why:
            error = str(why)
        row = {"name": name, "user": escape(user), "password": "<set>", "set": int(at), "by": actor}
        return {**row, "key": key_id, "error": error}

    def put(self, name: str, user: str, password: str, by: str) -> Deferred[bool]:
        """See ICredentials."""
        if self._keys is None or self._wrong:
            return fail(StoreError(f"Nothing was changed: {self._wrong}"))
        key_id, sealed = self._keys.seal(password, name, user)

        def work(tx: Tx) -> bool:
            was = tx.execute("DELETE FROM credential WHERE name = ?", (name,))
            if not was and int(tx.value("SELECT count(*) FROM credential")) >= MOST:
                raise StoreError(f"There are {MOST} credentials already")
            tx.execute(
                "INSERT INTO credential (name, account, key_id, sealed, at, actor) VALUES (?, ?, ?, ?, ?, ?)",
                (name, user, key_id, sealed.hex(), tx.now, escape(by, 200)),
            )
            return bool(was)

        return self._engine.write(work)

    def delete(self, name: str) -> Deferred[bool]:
        """See ICredentials."""
        return self._engine.write(lambda tx: bool(tx.execute("DELETE FROM credential WHERE name = ?", (name,))))
