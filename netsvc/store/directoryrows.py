"""The directory's rows: what each change checks and writes, in words fit for an operator (one unit of work each)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from netsvc.mail.address import Address, AddressError, parse_address, parse_domain, split_address
from netsvc.mail.escape import escape
from netsvc.records import Row, StoreError
from netsvc.store.mailstore import expunge
from netsvc.store.resolving import ALIAS_DOMAIN, LOCAL, domain_rows

if TYPE_CHECKING:
    from netsvc.store.tx import Tx

SLICE = 1_000
"""Mails deleted in one unit of work."""


def address_of(text: str) -> Address:
    """Return the address ``text`` is.  Raises StoreError."""
    try:
        return parse_address(text.strip(), utf8=True)
    except AddressError as error:
        raise StoreError(f"{escape(text, 100)} is not an address: {error}") from None


def domain_of(text: str) -> str:
    """Return the domain ``text`` names, in lower case.  Raises StoreError."""
    try:
        name = parse_domain(text.strip())
    except AddressError as error:
        raise StoreError(f"{escape(text, 100)} is not a domain: {error}") from None
    if name.startswith("["):
        raise StoreError(f"{name} is an address literal, not a domain")
    return name


def revision(tx: Tx) -> tuple[int, int]:
    """Return what changes with every change of the directory."""
    row = tx.row("SELECT count(*), coalesce(max(rev), 0) FROM domain")
    return (int(row[0]), int(row[1])) if row else (0, 0)


def newest(tx: Tx) -> int:
    """Return a revision above all there are and, for domains that went, above all there were."""
    return max(int(tx.value("SELECT coalesce(max(rev), 0) FROM domain")) + 1, tx.now)


def stamp(tx: Tx, name: str) -> None:
    """Give a domain that changed a new revision."""
    tx.execute("UPDATE domain SET rev = ? WHERE name = ?", (newest(tx), name))


def our_domain(tx: Tx, address: Address) -> str:
    """Return the domain of an address that is to be made there.  Raises StoreError."""
    name = address.domain
    row = domain_rows(tx, [name]).get(name)
    if row is None:
        raise StoreError(f"{name} is not a domain of this site. Add it first: domain add {name}")
    if row.same_as:
        raise StoreError(f"{name} is another name of {row.same_as}: write {address.local}@{row.same_as}")
    return name


def domains(tx: Tx) -> list[Row]:
    """Return domain/1 rows, by name."""
    boxes = Counter(split_address(row[0])[1] for row in tx.rows("SELECT address FROM mailbox"))
    others = Counter(split_address(row[0])[1] for row in tx.rows("SELECT DISTINCT address FROM alias"))
    found = domain_rows(tx, [row[0] for row in tx.rows("SELECT name FROM domain")])
    return [
        {
            "domain": name,
            "alias_of": row.same_as or None,
            "catchall": row.catchall or None,
            "mailboxes": boxes[name],
            "aliases": others[name],
        }
        for name, row in sorted(found.items())
    ]


def add_domain(tx: Tx, text: str) -> None:
    """Insert a domain.  Raises StoreError."""
    name = domain_of(text)
    insert = "INSERT INTO domain (name, kind, rev) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING"
    if not tx.execute(insert, (name, LOCAL, newest(tx))):
        raise StoreError(f"{name} is a domain of this site already")


def delete_domain(tx: Tx, text: str) -> None:
    """Delete a domain that holds no mailboxes and aliases, and that nothing leads to.  Raises StoreError."""
    name = domain_of(text)
    ending = f"%@{name}"
    boxes = tx.value("SELECT count(*) FROM mailbox WHERE address LIKE ?", (ending,))
    others = tx.value("SELECT count(DISTINCT address) FROM alias WHERE address LIKE ?", (ending,))
    if boxes or others:
        held = [f"{n} {word if n == 1 else word + 'es'}" for n, word in ((boxes, "mailbox"), (others, "alias")) if n]
        raise StoreError(f"{name} still holds {' and '.join(held)}. Delete them first")
    other = tx.value("SELECT min(name) FROM domain WHERE kind = ? AND catchall = ?", (ALIAS_DOMAIN, f"@{name}"))
    if other is not None:
        raise StoreError(f"{other} is another name of {name}. First: domain delete {other}")
    lead = tx.row("SELECT address, target FROM alias WHERE lower(target) LIKE ? ORDER BY 1, 2 LIMIT 1", (ending,))
    if lead is not None:  # its mail would go to whoever has that domain
        raise StoreError(f"{lead[0]} leads to {lead[1]}. First: alias delete {lead[0]} {lead[1]}")
    catchall = "SELECT name, catchall FROM domain WHERE kind = ? AND name <> ? AND lower(catchall) LIKE ? LIMIT 1"
    lead = tx.row(catchall, (LOCAL, name, ending))
    if lead is not None:
        raise StoreError(f"The catch-all of {lead[0]} leads to {lead[1]}. First: domain catchall {lead[0]} none")
    if not tx.execute("DELETE FROM domain WHERE name = ?", (name,)):
        raise StoreError(f"{name} is not a domain of this site")


def check_quota(quota_bytes: int, quota_msgs: int) -> None:
    """Raise StoreError for what is no quota."""
    if not (0 <= quota_bytes < 1 << 62 and 0 <= quota_msgs < 1 << 62):
        raise StoreError("A quota is a number of octets, and one of messages, 0 for none")


def set_quota(tx: Tx, text: str, quota_bytes: int, quota_msgs: int) -> None:
    """Change what a mailbox may hold; 0 for any.  Raises StoreError."""
    address = address_of(text)
    check_quota(quota_bytes, quota_msgs)
    sql = "UPDATE mailbox SET quota_bytes = ?, quota_msgs = ? WHERE address = ?"
    if not tx.execute(sql, (quota_bytes, quota_msgs, address.key)):
        raise StoreError(f"There is no mailbox {address.key}")
    stamp(tx, address.domain)


def create_mailbox(tx: Tx, number: int, text: str, quota_bytes: int, quota_msgs: int = 0) -> int:
    """Insert a mailbox of the database driver; return its id.  Raises StoreError."""
    address = address_of(text)
    name = our_domain(tx, address)
    key = address.key
    check_quota(quota_bytes, quota_msgs)
    if tx.value("SELECT 1 FROM alias WHERE address = ?", (key,)):
        raise StoreError(f"{key} is an alias. Delete it first: alias delete {key}")
    made = tx.execute(
        "INSERT INTO mailbox (id, address, quota_bytes, quota_msgs, uidvalidity) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (address) DO NOTHING",
        (number, key, quota_bytes, quota_msgs, tx.now // 1000),
    )
    if not made:
        raise StoreError(f"{key} exists already")
    stamp(tx, name)
    return number


def delete_mails(tx: Tx, text: str) -> tuple[int, bool]:
    """Delete a slice of a mailbox's mails, with the last of them the mailbox; return (how many, whether it is gone)."""
    address = address_of(text)
    number = tx.value("SELECT id FROM mailbox WHERE address = ?", (address.key,))
    if number is None:
        raise StoreError(f"There is no mailbox {address.key}")
    uids = [
        row[0] for row in tx.rows("SELECT uid FROM mail WHERE mailbox_id = ? ORDER BY uid LIMIT ?", (number, SLICE))
    ]
    gone = expunge(tx, number, uids) if uids else 0
    if len(uids) == SLICE:
        return gone, False
    tx.execute("DELETE FROM mailbox WHERE id = ?", (number,))
    tx.execute("UPDATE account SET mailbox_id = NULL WHERE mailbox_id = ?", (number,))
    stamp(tx, address.domain)
    return gone, True
