"""Aliases, catch-alls and other names of domains: what each change checks and writes, in words fit for an operator.

One unit of work each.  No change may make an address lead back to itself, or
leave another leading nowhere: mail for it would be acknowledged and lost to its
readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netsvc.mail.address import split_address
from netsvc.mail.escape import escape
from netsvc.mail.recipient import MAX_LEVELS, MAX_TARGETS
from netsvc.records import Row, StoreError
from netsvc.store.directoryrows import address_of, domain_of, newest, our_domain, stamp
from netsvc.store.resolving import ALIAS_DOMAIN, LOCAL, Expansion, among, domain_rows, local_domains

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.mail.address import Address
    from netsvc.mail.message import Resolution
    from netsvc.store.tx import Tx

_FAULTS = {
    "many": f"for more than {MAX_TARGETS} addresses",
    "deep": f"for addresses more than {MAX_LEVELS} aliases away",
}
_SOURCES = """
SELECT address, target FROM alias WHERE lower(substr(target, 1, CAST(? AS INTEGER))) IN (?, ?) ORDER BY 1, 2
"""
_CATCHALLS = """
SELECT name, catchall FROM domain
 WHERE kind = ? AND lower(substr(catchall, 1, CAST(? AS INTEGER))) IN (?, ?) ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Lead:
    """An alias row or a catch-all that leads somewhere: ``source`` is an address, or ``@domain`` for a catch-all."""

    source: str
    target: str

    @property
    def remedy(self) -> str:
        """The command that ends it."""
        if self.source.startswith("@"):
            return f"domain catchall {self.source[1:]} none"
        return f"alias delete {self.source} {self.target}"


def aliases(tx: Tx) -> list[Row]:
    """Return {"address", "targets"} of each alias, by address."""
    found: dict[str, list[str]] = {}
    for address, target in tx.rows("SELECT address, target FROM alias ORDER BY address, target"):
        found.setdefault(address, []).append(target)
    return [{"address": address, "targets": targets} for address, targets in found.items()]


def catchalls(tx: Tx) -> list[tuple[str, str]]:
    """Return (domain, where its unknown mail goes) of those that have one."""
    sql = "SELECT name, catchall FROM domain WHERE kind = ? AND catchall <> '' ORDER BY name"
    return [(name, target) for name, target in tx.rows(sql, (LOCAL,))]


def other_names(tx: Tx) -> list[tuple[str, str]]:
    """Return (domain, the domain of ours it is another name of)."""
    sql = "SELECT name, catchall FROM domain WHERE kind = ? ORDER BY name"
    return [(name, target[1:]) for name, target in tx.rows(sql, (ALIAS_DOMAIN,))]


def leads(tx: Tx, of: str, separator: str) -> list[Row]:
    """Return alias/1 rows: all of them, or those of and to the address or domain ``of``."""
    rows: list[Row] = [{"kind": "alias", **row} for row in aliases(tx)]
    rows += [{"kind": "catch-all", "address": f"@{name}", "targets": [to]} for name, to in catchalls(tx)]
    rows += [{"kind": "domain", "address": f"@{name}", "targets": [f"@{to}"]} for name, to in other_names(tx)]
    if not of:
        return rows
    if "@" not in of:
        name = domain_of(of)
        return [row for row in rows if any(_domain(text) == name for text in (row["address"], *row["targets"]))]
    key = Expansion(tx, separator).home(address_of(of).key) or address_of(of).key
    told = {(lead.source, lead.target) for lead in sources(tx, key, separator)}
    found = [row for row in rows if row["kind"] != "domain"]
    return [
        row
        for row in found
        if row["address"] == key or any((row["address"], to) in told or to.lower() == key for to in row["targets"])
    ]


def _domain(text: str) -> str:
    return text[1:] if text.startswith("@") else split_address(text)[1].lower()


def sources(tx: Tx, key: str, separator: str) -> list[Lead]:
    """Return what leads straight to ``key``, in lower case and of a domain of ours, tagged or by another name."""
    local, domain = split_address(key)
    rows = domain_rows(tx, [domain])
    names = {domain} | {name for name, same_as in other_names(tx) if same_as == domain} if domain in rows else {domain}
    ends = (len(local) + 1, f"{local}@", f"{local}{separator or '@'}")
    found = [Lead(address, target) for address, target in tx.rows(_SOURCES, ends)]
    found += [Lead(f"@{name}", target) for name, target in tx.rows(_CATCHALLS, (LOCAL, *ends))]
    found = [lead for lead in found if _domain(lead.target) in names]
    exact = {f"{split_address(lead.target)[0]}@{domain}".lower() for lead in found} - {key}
    others = {row[0] for table in ("mailbox", "alias") for row in _named(tx, table, sorted(exact))}
    return [lead for lead in found if f"{split_address(lead.target)[0]}@{domain}".lower() not in others]


def _named(tx: Tx, table: str, keys: list[str]) -> list[tuple[str]]:
    return [(row[0],) for row in among(tx, f"SELECT DISTINCT address, 0 FROM {table} WHERE address", keys)]  # noqa: S608  ours


def refuse_sources(tx: Tx, key: str, separator: str) -> None:
    """Raise StoreError when something leads to ``key``, which is about to go."""
    found = sources(tx, key, separator)
    if found:
        lead = found[0]
        what = f"The catch-all of {lead.source[1:]}" if lead.source.startswith("@") else lead.source
        raise StoreError(f"{what} leads to {lead.target}. First: {lead.remedy}")


def add_alias(tx: Tx, text: str, targets: Sequence[str], separator: str) -> None:
    """Let an address lead to ``targets`` too, to all of them or none.  Raises StoreError."""
    address = address_of(text)
    name = our_domain(tx, address)
    if tx.value("SELECT 1 FROM mailbox WHERE address = ?", (address.key,)):
        raise StoreError(f"{address.key} is a mailbox; an alias cannot have its name")
    there = int(tx.value("SELECT count(*) FROM alias WHERE address = ?", (address.key,)))
    if there + len(targets) > MAX_TARGETS:
        raise StoreError(
            f"{address.key} leads to {there} addresses already, and {MAX_TARGETS} is the most: use aliases"
        )
    for to in targets:
        stored = _target(tx, address_of(to), address.key, separator)
        insert = "INSERT INTO alias (address, target) VALUES (?, ?) ON CONFLICT (address, target) DO NOTHING"
        if not tx.execute(insert, (address.key, stored)):
            raise StoreError(f"{address.key} leads to {stored} already")
    fault = Expansion(tx, separator).follow(address.key).fault
    if fault in _FAULTS:
        raise StoreError(f"{address.key} would stand {_FAULTS[fault]}")
    stamp(tx, name)


def _target(tx: Tx, target: Address, source: str, separator: str) -> str:
    """Return ``target`` as it is stored for the alias ``source``.  Raises StoreError."""
    if not local_domains(tx, [target.domain]):
        return _elsewhere(target)
    stored = target.key
    expansion = Expansion(tx, separator)
    if expansion.home(stored) == source:
        raise StoreError(f"{stored} cannot lead to itself")
    found = expansion.follow(stored)
    _refuse_unknown(stored, found, expansion)
    path = expansion.path(source)
    if path:
        raise StoreError(f"{source} would lead back to itself: {' -> '.join([source, *path])}")
    return stored


def _elsewhere(target: Address) -> str:
    """Return an address elsewhere as it is stored.  Raises StoreError for one that not every message can be sent to."""
    if not target.local.isascii():
        raise StoreError(f"{target} is not ASCII: mail without SMTPUTF8 could not be sent on to it")
    return str(target)


def _refuse_unknown(stored: str, found: Resolution, expansion: Expansion) -> None:
    if expansion.steps[expansion.start].how in {"nothing", "catchall"}:
        raise StoreError(f"{stored} is neither a mailbox nor an alias here")
    if found.fault in _FAULTS:
        raise StoreError(f"{stored} stands {_FAULTS[found.fault]}")


def delete_alias(tx: Tx, text: str, to: str | None, separator: str) -> int:
    """Delete an alias's rows; return how many.  Raises StoreError when there were none, or something leads there."""
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
    if not tx.value("SELECT 1 FROM alias WHERE address = ?", (address.key,)):
        refuse_sources(tx, address.key, separator)
    stamp(tx, address.domain)
    return gone


def add_other_name(tx: Tx, text: str, of: str) -> None:
    """Make a domain another name of one of ours.  Raises StoreError."""
    name, same_as = domain_of(text), domain_of(of)
    row = domain_rows(tx, [same_as]).get(same_as)
    if row is None:
        raise StoreError(f"{same_as} is not a domain of this site")
    if row.same_as:
        raise StoreError(f"{same_as} is another name of {row.same_as} itself: domain add {name} alias-of {row.same_as}")
    insert = "INSERT INTO domain (name, kind, catchall, rev) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO NOTHING"
    if not tx.execute(insert, (name, ALIAS_DOMAIN, f"@{same_as}", newest(tx))):
        raise StoreError(f"{name} is a domain of this site already")


def set_catchall(tx: Tx, text: str, to: str | None, separator: str) -> None:
    """Say where mail for unknown addresses of a domain goes; None: nowhere.  Raises StoreError."""
    name = domain_of(text)
    row = domain_rows(tx, [name]).get(name)
    if row is None:
        raise StoreError(f"{name} is not a domain of this site")
    if row.same_as:
        raise StoreError(f"{name} is another name of {row.same_as}: domain catchall {row.same_as} …")
    if to is None:
        if not row.catchall:
            raise StoreError(f"{name} has no catch-all")
        tx.execute("UPDATE domain SET catchall = NULL WHERE name = ?", (name,))
        stamp(tx, name)
        return
    target = address_of(to)
    ours = bool(local_domains(tx, [target.domain]))
    stored = target.key if ours else _elsewhere(target)
    tx.execute("UPDATE domain SET catchall = ? WHERE name = ?", (stored, name))
    if ours:
        expansion = Expansion(tx, separator)
        found = expansion.follow(stored)
        _refuse_unknown(stored, found, expansion)
        loop = expansion.loop()
        if loop:
            raise StoreError(f"{stored} would lead back to itself: {' -> '.join(loop)}")
    stamp(tx, name)
