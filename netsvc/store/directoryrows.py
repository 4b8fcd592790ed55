"""The directory's rows: what each change checks and writes, in words fit for an operator (one unit of work each)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from netsvc.mail.address import Address, AddressError, parse_address, parse_domain, split_address
from netsvc.mail.escape import escape
from netsvc.records import Row, StoreError
from netsvc.store.mailstore import expunge
from netsvc.store.resolving import LOCAL, local_domains

if TYPE_CHECKING:
    from netsvc.store.tx import Tx

SLICE = 1_000
"""Mails deleted in one unit of work."""


def address_of(text: str) -> Address:
    """Return the address ``text`` is.  Raises StoreError."""
    try:
        return parse_address(text.strip())
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


def _newest(tx: Tx) -> int:
    """Return a revision above all there are and, for domains that went, above all there were."""
    return max(int(tx.value("SELECT coalesce(max(rev), 0) FROM domain")) + 1, tx.now)


def _stamp(tx: Tx, name: str) -> None:
    tx.execute("UPDATE domain SET rev = ? WHERE name = ?", (_newest(tx), name))


def _our_domain(tx: Tx, address: Address) -> str:
    if not local_domains(tx, [address.domain]):
        name = address.domain
        raise StoreError(f"{name} is not a domain of this site. Add it first: domain add {name}")
    return address.domain


def domains(tx: Tx) -> list[Row]:
    """Return {"domain", "mailboxes", "aliases"} of each domain, by name."""
    boxes = Counter(split_address(row[0])[1] for row in tx.rows("SELECT address FROM mailbox"))
    others = Counter(split_address(row[0])[1] for row in tx.rows("SELECT DISTINCT address FROM alias"))
    names = tx.rows("SELECT name FROM domain WHERE kind = ? ORDER BY name", (LOCAL,))
    return [{"domain": name, "mailboxes": boxes[name], "aliases": others[name]} for (name,) in names]


def aliases(tx: Tx) -> list[Row]:
    """Return {"address", "targets"} of each alias, by address."""
    found: dict[str, list[str]] = {}
    for address, target in tx.rows("SELECT address, target FROM alias ORDER BY address, target"):
        found.setdefault(address, []).append(target)
    return [{"address": address, "targets": targets} for address, targets in found.items()]


def add_domain(tx: Tx, text: str) -> None:
    """Insert a domain.  Raises StoreError."""
    name = domain_of(text)
    insert = "INSERT INTO domain (name, kind, rev) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING"
    if not tx.execute(insert, (name, LOCAL, _newest(tx))):
        raise StoreError(f"{name} is a domain of this site already")


def delete_domain(tx: Tx, text: str) -> None:
    """Delete a domain that holds no mailboxes and aliases.  Raises StoreError."""
    name = domain_of(text)
    ending = f"%@{name}"
    boxes = tx.value("SELECT count(*) FROM mailbox WHERE address LIKE ?", (ending,))
    others = tx.value("SELECT count(DISTINCT address) FROM alias WHERE address LIKE ?", (ending,))
    if boxes or others:
        held = [f"{n} {word if n == 1 else word + 'es'}" for n, word in ((boxes, "mailbox"), (others, "alias")) if n]
        raise StoreError(f"{name} still holds {' and '.join(held)}. Delete them first")
    if not tx.execute("DELETE FROM domain WHERE name = ? AND kind = ?", (name, LOCAL)):
        raise StoreError(f"{name} is not a domain of this site")


def create_mailbox(tx: Tx, number: int, text: str, quota_bytes: int) -> int:
    """Insert a mailbox of the database driver; return its id.  Raises StoreError."""
    address = address_of(text)
    name = _our_domain(tx, address)
    key = address.key
    if not 0 <= quota_bytes < 1 << 62:
        raise StoreError("A quota is a number of octets, 0 for none")
    if tx.value("SELECT 1 FROM alias WHERE address = ?", (key,)):
        raise StoreError(f"{key} is an alias. Delete it first: alias delete {key}")
    made = tx.execute(
        "INSERT INTO mailbox (id, address, quota_bytes, uidvalidity) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (address) DO NOTHING",
        (number, key, quota_bytes, tx.now // 1000),
    )
    if not made:
        raise StoreError(f"{key} exists already")
    _stamp(tx, name)
    return number


def delete_mails(tx: Tx, text: str) -> tuple[int, bool]:
    """Delete a slice of a mailbox's mails, with the last of them the mailbox; return (how many, whether it is gone)."""
    address = address_of(text)
    number = tx.value("SELECT id FROM mailbox WHERE address = ?", (address.key,))
    if number is None:
        raise StoreError(f"There is no mailbox {address.key}")
    source = tx.value("SELECT min(address) FROM alias WHERE lower(target) = ?", (address.key,))
    if source is not None:  # mail to it would be acknowledged and lead nowhere
        raise StoreError(f"{source} leads to {address.key}. First: alias delete {source} {address.key}")
    uids = [
        row[0] for row in tx.rows("SELECT uid FROM mail WHERE mailbox_id = ? ORDER BY uid LIMIT ?", (number, SLICE))
    ]
    gone = expunge(tx, number, uids) if uids else 0
    if len(uids) == SLICE:
        return gone, False
    tx.execute("DELETE FROM mailbox WHERE id = ?", (number,))
    tx.execute("UPDATE account SET mailbox_id = NULL WHERE mailbox_id = ?", (number,))
    _stamp(tx, address.domain)
    return gone, True


def add_alias(tx: Tx, text: str, to: str) -> None:
    """Insert an alias row.  Raises StoreError."""
    address, target = address_of(text), address_of(to)
    name = _our_domain(tx, address)
    if tx.value("SELECT 1 FROM mailbox WHERE address = ?", (address.key,)):
        raise StoreError(f"{address.key} is a mailbox; an alias cannot have its name")
    stored = str(target)
    if local_domains(tx, [target.domain]):
        stored = target.key
        if stored == address.key:
            raise StoreError(f"{stored} cannot lead to itself")
        if not _exists(tx, stored):
            raise StoreError(f"{stored} is neither a mailbox nor an alias here")
    made = tx.execute(
        "INSERT INTO alias (address, target) VALUES (?, ?) ON CONFLICT (address, target) DO NOTHING",
        (address.key, stored),
    )
    if not made:
        raise StoreError(f"{address.key} leads to {stored} already")
    _stamp(tx, name)


def _exists(tx: Tx, key: str) -> bool:
    where = "SELECT 1 FROM mailbox WHERE address = ? UNION ALL SELECT 1 FROM alias WHERE address = ?"
    return tx.value(where, (key, key)) is not None


def delete_alias(tx: Tx, text: str, to: str | None) -> int:
    """Delete an alias's rows; return how many.  Raises StoreError when there were none."""
    address = address_of(text)
    if to is None:
        gone = tx.execute("DELETE FROM alias WHERE address = ?", (address.key,))
    else:
        target = address_of(to)
        gone = tx.execute(
            "DELETE FROM alias WHERE address = ? AND target IN (?, ?)", (address.key, target.key, str(target))
        )
    if not gone:
        raise StoreError(f"There is no alias {address.key}" + (f" that leads to {escape(to, 100)}" if to else ""))
    _stamp(tx, address.domain)
    return gone
