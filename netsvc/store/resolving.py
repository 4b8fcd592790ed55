"""What an address of ours stands for: mailboxes, and addresses elsewhere (one unit of work)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.address import Address, split_address
from netsvc.mail.message import MailboxRef, Resolution
from netsvc.store.sqlfilter import marks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netsvc.store.tx import SqlRow, Tx

LOCAL = 1
"""``domain.kind`` of a domain that is ours."""
LEVELS = 10
"""Aliases of aliases that are followed."""
POSTMASTER = "postmaster"
CHUNK = 500
ELSEWHERE = Resolution(local=False)


def resolve(tx: Tx, address: Address) -> Resolution:
    """Return what ``address`` stands for.  The postmaster of a domain of ours always resolves (RFC 5321 4.5.1)."""
    wants_postmaster = address.local.lower() == POSTMASTER
    if not address.domain:
        return _any_postmaster(tx) if wants_postmaster else ELSEWHERE
    if not local_domains(tx, [address.domain]):
        return ELSEWHERE
    found = _follow(tx, address.key)
    return _any_postmaster(tx) if wants_postmaster and not found.known else found


def _any_postmaster(tx: Tx) -> Resolution:
    """Return the first postmaster there is, by the names of the domains."""
    names = [row[0] for row in tx.rows("SELECT name FROM domain WHERE kind = ? ORDER BY name", (LOCAL,))]
    for name in names:
        found = _follow(tx, f"{POSTMASTER}@{name}")
        if found.known:
            return found
    return Resolution(local=bool(names))


def local_domains(tx: Tx, names: Iterable[str]) -> set[str]:
    """Return those of ``names`` that are domains of ours."""
    wanted = sorted(set(names))
    found: set[str] = set()
    for at in range(0, len(wanted), CHUNK):
        part = wanted[at : at + CHUNK]
        rows = tx.rows(f"SELECT name FROM domain WHERE kind = ? AND name IN ({marks(len(part))})", (LOCAL, *part))  # noqa: S608  names of ours
        found.update(row[0] for row in rows)
    return found


def _follow(tx: Tx, key: str) -> Resolution:
    """Follow aliases breadth first; what was met before is not followed again, so loops end."""
    boxes: dict[int, MailboxRef] = {}
    forwards: dict[str, None] = {}
    met = {key}
    level = [key]
    for _ in range(LEVELS + 1):
        if not level:
            break
        for row in _among(tx, "SELECT id, address, driver, path FROM mailbox WHERE address", level):
            boxes.setdefault(row[0], MailboxRef(row[0], row[1], row[2], row[3] or ""))
        targets = [row[0] for row in _among(tx, "SELECT target FROM alias WHERE address", level)]
        domains = {target: _domain(target) for target in targets}
        ours = local_domains(tx, domains.values())
        level = []
        for target in targets:
            if domains[target] not in ours:
                forwards[target] = None
            elif target.lower() not in met:
                met.add(target.lower())
                level.append(target.lower())
    return Resolution(local=True, mailboxes=tuple(boxes.values()), forwards=tuple(forwards))


def _among(tx: Tx, sql: str, keys: list[str]) -> list[SqlRow]:
    rows: list[SqlRow] = []
    for at in range(0, len(keys), CHUNK):
        part = keys[at : at + CHUNK]
        rows += tx.rows(f"{sql} IN ({marks(len(part))}) ORDER BY 1", part)
    return rows


def _domain(target: str) -> str:
    return split_address(target)[1].lower()
