"""The mailboxes' contents (IMailStore)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from netsvc.criteria import matches
from netsvc.interfaces import IMailStore
from netsvc.store.bodies import BodyReader, read_blob
from netsvc.store.columns import USE
from netsvc.store.settle import unref
from netsvc.store.sqlfilter import compile_where
from netsvc.store.tx import BULK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from netsvc.criteria import Expr
    from netsvc.interfaces import IBodyReader
    from netsvc.records import Row
    from netsvc.store.engine import Engine
    from netsvc.store.tx import SqlRow, Tx

STATES = {1: "ok", 2: "locked"}
_BOX = "SELECT address, driver, used_msgs, used_bytes, quota_bytes, quota_msgs, last_access, state, " + USE
_BOX += " FROM mailbox b"
_MAIL = (
    "SELECT uid, message_id, msgid, sender, subject, size, internal_at, flags, folder FROM mail"
    " WHERE mailbox_id = ? AND uid > ? ORDER BY uid LIMIT ?"
)
ACCESS_MS = 60_000
"""``last_access`` is written no more often than this."""


def box_row(row: SqlRow) -> dict[str, Any]:
    """Return a mailbox/1 row."""
    address, driver, messages, octets, quota, quota_messages, last_access, state, use = row
    return {
        "address": address,
        "driver": driver,
        "messages": messages,
        "bytes": octets,
        "quota": quota,
        "quota_messages": quota_messages,
        "use": use,
        "last_access": last_access or None,
        "state": STATES.get(state, "locked"),
    }


def mail_row(row: SqlRow) -> dict[str, Any]:
    """Return a mail/1 row; ``id`` is the queue id as a number."""
    uid, message_id, msgid, sender, subject, size, at, _flags, folder = row
    return {
        "uid": uid,
        "id": message_id,
        "msgid": msgid or "",
        "sender": sender,
        "subject": subject or "",
        "size": size,
        "time": at,
        "flags": [],  # words; nothing marks mail yet
        "folder": folder,
    }


def mailbox_number(tx: Tx, address: str) -> int | None:
    """Return the id of the mailbox ``address`` (in lower case), None without such a mailbox."""
    number: int | None = tx.value("SELECT id FROM mailbox WHERE address = ?", (address.lower(),))
    return number


@implementer(IMailStore)
class MailStore:
    """See IMailStore."""

    def __init__(self, engine: Engine) -> None:
        """Stand on ``engine``."""
        self._engine = engine
        self._accessed: dict[str, int] = {}

    def mailboxes(self, where: Expr | None = None) -> Deferred[list[Row]]:
        """List mailboxes by address."""

        def work(tx: Tx) -> list[Row]:
            test = compile_where(where, "mailbox", tx.dialect, tx.now)
            found: list[Row] = [
                box_row(row) for row in tx.rows(f"{_BOX} WHERE {test.sql} ORDER BY address", test.params)
            ]
            if test.residual is None:
                return found
            residual = test.residual
            return [row for row in found if matches(residual, "mailbox", row, tx.now)]

        return self._engine.read(work)

    def mailbox(self, address: str) -> Deferred[Row | None]:
        """Return one mailbox's row."""

        def work(tx: Tx) -> Row | None:
            row = tx.row(f"{_BOX} WHERE address = ?", (address.lower(),))
            return box_row(row) if row else None

        return self._engine.read(work)

    def list(self, address: str, after_uid: int = 0, limit: int = 100) -> Deferred[list[Row]]:
        """List mails in uid order."""

        def work(tx: Tx) -> list[Row]:
            number = mailbox_number(tx, address)
            if number is None:
                raise LookupError(f"there is no mailbox {address}")
            return [mail_row(row) for row in tx.rows(_MAIL, (number, after_uid, limit))]

        self._touch(address)
        return self._engine.read(work)

    def fetch(self, address: str, uid: int) -> Deferred[IBodyReader | None]:
        """Read one mail: trace fields and content."""

        def work(tx: Tx) -> IBodyReader | None:
            row = tx.row(
                "SELECT m.blob_id, m.hdr FROM mail m JOIN mailbox b ON b.id = m.mailbox_id"
                " WHERE b.address = ? AND m.uid = ?",
                (address.lower(), uid),
            )
            found = read_blob(tx, row[0]) if row else None
            if row is None or found is None:
                return None
            return BodyReader(self._engine, row[0], found[0], found[1], row[1] or b"")

        self._touch(address)
        return self._engine.read(work)

    def expunge(self, address: str, uids: Sequence[int]) -> Deferred[int]:
        """Remove mails."""
        wanted = sorted(set(uids))

        def work(tx: Tx) -> int:
            number = mailbox_number(tx, address)
            return expunge(tx, number, wanted) if number is not None and wanted else 0

        return self._engine.write(work, BULK)

    def quota(self, address: str) -> Deferred[tuple[int, int, int, int] | None]:
        """Return what is used and allowed."""

        def work(tx: Tx) -> tuple[int, int, int, int] | None:
            row = tx.row(
                "SELECT used_bytes, quota_bytes, used_msgs, quota_msgs FROM mailbox WHERE address = ?",
                (address.lower(),),
            )
            return (row[0], row[1], row[2], row[3]) if row else None

        return self._engine.read(work)

    def _touch(self, address: str) -> None:
        now, key = self._engine.now(), address.lower()
        if now - self._accessed.get(key, 0) < ACCESS_MS:
            return
        if len(self._accessed) > 10_000:
            self._accessed.clear()
        self._accessed[key] = now

        def work(tx: Tx) -> None:
            tx.execute("UPDATE mailbox SET last_access = ? WHERE address = ?", (now, key))

        # A convenience: when it cannot be written now, the next reading does.
        self._engine.write(work, BULK).addErrback(lambda _: None)


def expunge(tx: Tx, mailbox_id: int, uids: Sequence[int] | None = None) -> int:
    """Remove mails (None: all) of a mailbox within a unit of work; return how many.  Their bodies die with the last."""
    columns = "RETURNING blob_id, size"
    if uids is None:
        gone = tx.rows(f"DELETE FROM mail WHERE mailbox_id = ? {columns}", (mailbox_id,))  # noqa: S608
    else:
        gone = tx.among(f"DELETE FROM mail WHERE mailbox_id = ? AND uid {{ids}} {columns}", uids, (mailbox_id,))  # noqa: S608
    if gone:
        blobs: dict[int, int] = {}
        for blob_id, _ in gone:
            blobs[blob_id] = blobs.get(blob_id, 0) + 1
        unref(tx, blobs)
        tx.execute(
            "UPDATE mailbox SET used_bytes = used_bytes - ?, used_msgs = used_msgs - ? WHERE id = ?",
            (sum(size for _, size in gone), len(gone), mailbox_id),
        )
    return len(gone)
