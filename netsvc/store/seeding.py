"""What an empty store begins with: the directory and the first revision of the site (one unit of work)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.recipient import POSTMASTER
from netsvc.records import StoreError
from netsvc.store import aliasrows, sitetoml
from netsvc.store.directoryrows import add_domain, address_of, create_mailbox, domain_of
from netsvc.store.resolving import Expansion, local_domains

if TYPE_CHECKING:
    from netsvc.settings import SiteSettings
    from netsvc.store.tx import Tx

COMMITTED = 1
"""``site_rev.state`` of settings that hold."""
SEEDED_BY = "netsvc"


def seed(tx: Tx, settings: SiteSettings, numbers: list[int]) -> bool:
    """Fill an empty store; False: it is not empty.  Raises StoreError for a seed that contradicts itself."""
    if tx.value("SELECT 1 FROM site_rev LIMIT 1") or tx.value("SELECT 1 FROM domain LIMIT 1"):
        return False
    domains = list(dict.fromkeys(domain_of(name) for name in settings.domains))
    for name in domains:
        add_domain(tx, name)
    for name, same_as in settings.domain_aliases.items():
        aliasrows.add_other_name(tx, name, same_as)
    quotas = {address_of(text).key: quota for text, quota in settings.mailbox_quotas.items()}
    for number, text in zip(numbers, settings.mailboxes, strict=False):
        create_mailbox(tx, number, text, *quotas.pop(address_of(text).key, settings.quota_of(text)))
    if quotas:
        raise StoreError(f"{min(quotas)} has a quota and is not one of the site's mailboxes")
    for address, targets in settings.aliases.items():
        _alias(tx, address, targets, domains)
    _postmaster(tx, settings, domains, numbers[-1])
    _refuse_loops(tx, settings)
    for name, target in settings.catchalls.items():
        aliasrows.set_catchall(tx, name, target, settings.subaddress)
    for pattern, target in settings.routes.items():
        tx.execute("INSERT INTO route (pattern, target) VALUES (?, ?)", (pattern, target))
    tx.execute(
        "INSERT INTO site_rev (rev, at, actor, comment, body, state) VALUES (1, ?, ?, ?, ?, ?)",
        (tx.now, SEEDED_BY, "first start", sitetoml.to_json(settings), COMMITTED),
    )
    return True


def _alias(tx: Tx, text: str, targets: tuple[str, ...], domains: list[str]) -> None:
    """Insert an alias; unlike an operator's, its targets may come later in the seed."""
    address = address_of(text)
    if address.domain not in domains:
        raise StoreError(f"{address.domain}, of the alias {address.key}, is not one of the site's domains")
    for to in targets:
        target = address_of(to)
        stored = target.key if local_domains(tx, [target.domain]) else str(target)
        tx.execute("INSERT INTO alias (address, target) VALUES (?, ?) ON CONFLICT DO NOTHING", (address.key, stored))


def _refuse_loops(tx: Tx, settings: SiteSettings) -> None:
    for text in settings.aliases:
        expansion = Expansion(tx, settings.subaddress)
        expansion.follow(address_of(text).key)
        loop = expansion.loop()
        if loop:
            raise StoreError(f"{loop[0]} would lead back to itself: {' -> '.join(loop)}")


def _postmaster(tx: Tx, settings: SiteSettings, domains: list[str], number: int) -> None:
    """Every site reads its postmaster's mail (RFC 5321 4.5.1): its own mailbox, else the first one there is."""
    names = {address_of(text).local.lower() for text in (*settings.mailboxes, *settings.aliases)}
    if not domains or POSTMASTER in names:
        return
    address = f"{POSTMASTER}@{domains[0]}"
    if settings.mailboxes:
        aliasrows.add_alias(tx, address, settings.mailboxes[:1], settings.subaddress)
    else:
        create_mailbox(tx, number, address, 0)
