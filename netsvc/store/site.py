"""The site's settings, kept in the store as numbered revisions (ISite), and the seed an empty store begins with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.task import LoopingCall
from zope.interface import implementer

from netsvc.interfaces import ISite
from netsvc.mail.escape import escape
from netsvc.records import StoreError
from netsvc.settings import SiteSettings
from netsvc.store import aliasrows, sitetoml
from netsvc.store.rerouting import note_change
from netsvc.store.resolving import LOCAL
from netsvc.store.seeding import COMMITTED, seed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.defer import Deferred

    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx

LOOK_S = 2.0
"""How often another node's changes are looked for."""


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

        return self._engine.write(lambda tx: seed(tx, settings, numbers)).addCallback(load)

    def change(self, alter: Callable[[SiteSettings], SiteSettings], actor: str, comment: str) -> Deferred[int]:
        """See ISite."""

        def reload(rev: int) -> Deferred[int]:
            return self.load().addCallback(lambda _: rev)

        return self._engine.write(lambda tx: _change(tx, alter, actor, comment)).addCallback(reload)

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


def _change(tx: Tx, alter: Callable[[SiteSettings], SiteSettings], actor: str, comment: str) -> int:
    """Insert a revision with what ``alter`` makes of the newest; return its number, 0 when that is the same."""
    found = _newest(tx, 0)
    rev, settings = found or (0, SiteSettings())
    altered = alter(settings)
    if altered == settings:
        return 0
    rows = tx.execute(
        "INSERT INTO site_rev (rev, at, actor, comment, body, state) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (rev + 1, tx.now, escape(actor, 200), escape(comment, 200), sitetoml.to_json(altered), COMMITTED),
    )
    if not rows:
        raise StoreError("Somebody else changed the site at the same moment. Nothing was changed: try again")
    _put_routes(tx, settings.routes, altered.routes, rev + 1)
    if (settings.routes, settings.sender_routes) != (altered.routes, altered.sender_routes):
        note_change(tx, rev + 1)
    return rev + 1


def _put_routes(tx: Tx, was: Mapping[str, str], routes: Mapping[str, str], rev: int) -> None:
    """Make the table of routes what they are now."""
    for pattern in was.keys() - routes.keys():
        tx.execute("DELETE FROM route WHERE pattern = ?", (pattern,))
    insert = (
        "INSERT INTO route (pattern, target, rev) VALUES (?, ?, ?)"
        " ON CONFLICT (pattern) DO UPDATE SET target = excluded.target, rev = excluded.rev"
    )
    for pattern, target in routes.items():
        if was.get(pattern) != target:
            tx.execute(insert, (pattern, target, rev))


def _whole(tx: Tx) -> SiteSettings:
    found = _newest(tx, 0)
    settings = found[1] if found else SiteSettings()
    aliases: dict[str, tuple[str, ...]] = {}
    for row in aliasrows.aliases(tx):
        aliases[row["address"]] = tuple(row["targets"])
    boxes = tx.rows("SELECT address, quota_bytes, quota_msgs FROM mailbox ORDER BY address")
    return replace(
        settings,
        domains=tuple(row[0] for row in tx.rows("SELECT name FROM domain WHERE kind = ? ORDER BY name", (LOCAL,))),
        domain_aliases=dict(aliasrows.other_names(tx)),
        catchalls=dict(aliasrows.catchalls(tx)),
        mailboxes=tuple(row[0] for row in boxes),
        mailbox_quotas={row[0]: (row[1], row[2]) for row in boxes if row[1:] != settings.quota_of(row[0])},
        aliases=aliases,
    )
