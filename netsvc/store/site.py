"""The site's settings, kept in the store as numbered revisions (ISite), and the seed an empty store begins with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.task import LoopingCall
from zope.interface import implementer

from netsvc.interfaces import ISite
from netsvc.records import StoreError
from netsvc.settings import SiteSettings
from netsvc.store import directoryrows, sitetoml
from netsvc.store.resolving import LOCAL, POSTMASTER

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx

LOOK_S = 2.0
"""How often another node's changes are looked for."""
COMMITTED = 1
SEEDED_BY = "netsvc"


@implementer(ISite)
class Site:
    """See ISite.  ``load`` comes before ``current`` means anything."""

    def __init__(self, engine: Engine, clock: Any) -> None:
        """Stand on ``engine``; ``clock`` is the reactor."""
        self._engine = engine
        self.current = SiteSettings()
        self.rev = 0
        self._watchers: list[Callable[[SiteSettings], None]] = []
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def start(self) -> None:
        """Look for other nodes' changes from now on (PostgreSQL)."""
        if self._engine.dialect == "postgresql" and not self._looking.running:
            self._looking.start(LOOK_S, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> Deferred[None]:
        # While the store does not answer, the settings stay as they are.
        return self.load().addErrback(lambda _: None)

    def load(self) -> Deferred[None]:
        """Take over the newest committed revision -> Deferred[None]; watchers are told when it is another one."""
        rev = self.rev
        return self._engine.read(lambda tx: _newest(tx, rev)).addCallback(self._take)

    def _take(self, found: tuple[int, SiteSettings] | None) -> None:
        if found is None or found[0] == self.rev:
            return
        self.rev, self.current = found
        for callback in list(self._watchers):
            callback(self.current)

    def watch(self, callback: Callable[[SiteSettings], None]) -> None:
        """Have ``callback(settings)`` called after each change."""
        self._watchers.append(callback)

    def seed(self, settings: SiteSettings) -> Deferred[bool]:
        """Give an empty store its first contents -> Deferred[bool]: False when it has been given some before.

        Fails with StoreError when the seed contradicts itself; then nothing of it is kept.
        """
        numbers = self._engine.new_ids(len(settings.mailboxes) + 1)

        def load(made: bool) -> Deferred[bool]:
            return self.load().addCallback(lambda _: made)

        return self._engine.write(lambda tx: _seed(tx, settings, numbers)).addCallback(load)

    def export(self) -> Deferred[str]:
        """Return the whole site as TOML."""
        return self._engine.read(_whole).addCallback(sitetoml.to_toml)


def _newest(tx: Tx, known: int) -> tuple[int, SiteSettings] | None:
    """Return the newest committed (revision, settings), None when it is ``known`` or there is none."""
    rev = tx.value("SELECT max(rev) FROM site_rev WHERE state = ?", (COMMITTED,))
    if rev is None or rev == known:
        return None
    body = tx.value("SELECT body FROM site_rev WHERE rev = ?", (rev,))
    routes: dict[str, str] = dict(tx.rows("SELECT pattern, target FROM route ORDER BY pattern"))
    return int(rev), sitetoml.from_json(body, routes)


def _whole(tx: Tx) -> SiteSettings:
    found = _newest(tx, 0)
    aliases: dict[str, tuple[str, ...]] = {}
    for row in directoryrows.aliases(tx):
        aliases[row["address"]] = tuple(row["targets"])
    return replace(
        found[1] if found else SiteSettings(),
        domains=tuple(row[0] for row in tx.rows("SELECT name FROM domain WHERE kind = ? ORDER BY name", (LOCAL,))),
        mailboxes=tuple(row[0] for row in tx.rows("SELECT address FROM mailbox ORDER BY address")),
        aliases=aliases,
    )


def _seed(tx: Tx, settings: SiteSettings, numbers: list[int]) -> bool:
    if tx.value("SELECT 1 FROM site_rev LIMIT 1") or tx.value("SELECT 1 FROM domain LIMIT 1"):
        return False
    domains = list(dict.fromkeys(directoryrows.domain_of(name) for name in settings.domains))
    for name in domains:
        directoryrows.add_domain(tx, name)
    for number, address in zip(numbers, settings.mailboxes, strict=False):
        directoryrows.create_mailbox(tx, number, address, 0)
    for address, targets in settings.aliases.items():
        _seed_alias(tx, address, targets, domains)
    _seed_postmaster(tx, settings, domains, numbers[-1])
    for pattern, target in settings.routes.items():
        tx.execute("INSERT INTO route (pattern, target) VALUES (?, ?)", (pattern, target))
    tx.execute(
        "INSERT INTO site_rev (rev, at, actor, comment, body, state) VALUES (1, ?, ?, ?, ?, ?)",
        (tx.now, SEEDED_BY, "first start", sitetoml.to_json(settings), COMMITTED),
    )
    return True


def _seed_alias(tx: Tx, text: str, targets: tuple[str, ...], domains: list[str]) -> None:
    """Insert an alias; unlike an operator's, its targets may come later or be aliases of each other."""
    address = directoryrows.address_of(text)
    if address.domain not in domains:
        raise StoreError(f"{address.domain}, of the alias {address.key}, is not one of the site's domains")
    for to in targets:
        target = directoryrows.address_of(to)
        stored = target.key if target.domain in domains else str(target)
        tx.execute("INSERT INTO alias (address, target) VALUES (?, ?) ON CONFLICT DO NOTHING", (address.key, stored))


def _seed_postmaster(tx: Tx, settings: SiteSettings, domains: list[str], number: int) -> None:
    """Every site reads its postmaster's mail (RFC 5321 4.5.1): its own mailbox, else the first one there is."""
    names = {directoryrows.address_of(text).local.lower() for text in (*settings.mailboxes, *settings.aliases)}
    if not domains or POSTMASTER in names:
        return
    address = f"{POSTMASTER}@{domains[0]}"
    if settings.mailboxes:
        directoryrows.add_alias(tx, address, settings.mailboxes[0])
    else:
        directoryrows.create_mailbox(tx, number, address, 0)
