"""The whole store: opened once, with everything that stands on its engine."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from netsvc.records import StoreError
from netsvc.store import membership
from netsvc.store.accountrows import AccountRows
from netsvc.store.audit import Audit
from netsvc.store.beats import Beats
from netsvc.store.counters import Counters
from netsvc.store.credentials import Credentials
from netsvc.store.directory import Directory
from netsvc.store.doorrules import DoorRules
from netsvc.store.engine import Engine
from netsvc.store.leases import SLICE, free
from netsvc.store.mailstore import MailStore
from netsvc.store.queueadmin import QueueAdmin
from netsvc.store.rerouting import Rerouting
from netsvc.store.safety import Safety
from netsvc.store.senders import Senders
from netsvc.store.site import Site
from netsvc.store.spool import Spool
from netsvc.store.sqlitefiles import MemoryLinks, SqliteLinks
from netsvc.store.tally import lower_heads
from netsvc.store.tlspolicyrows import TlsPolicyRows
from netsvc.store.tx import SETTLE
from netsvc.store.upkeep import Upkeep, late_heads

if TYPE_CHECKING:
    from netsvc.logbook import Logbook
    from netsvc.store.tx import Links, Tx

JOIN_S = 5.0
AUDIT_FILE = "audit.jsonl"
"""The copy of the audit trail, in the state folder."""
WARNINGS = {
    "store.clock_gap",
    "store.clock_jump",
    "store.poison",
    "store.fenced",
    "store.beat_failed",
    "store.writer_died",
}
_POSTGRES = "PostgreSQL needs psycopg, which is not installed: pip install 'netsvc[postgres]'"


def links_for(url: str, state: Path, *, aside: bool = False) -> Links:
    """Return where connections come from for a store URL; ``aside`` is for SqliteLinks.  Raises StoreError."""
    if url == "memory":
        return MemoryLinks()
    if url == "sqlite":
        return SqliteLinks(state, aside=aside)
    if url.startswith(("postgresql://", "postgres://")):
        try:
            from netsvc.store.postgres import PgLinks  # noqa: PLC0415  psycopg is an extra
        except ImportError as error:
            raise StoreError(_POSTGRES) from error
        return PgLinks(url)
    raise StoreError(f"store must be sqlite or postgresql://..., not {url.partition(':')[0]!r}")


class Start:
    """What happens in the database when a node opens it: registration and recovery."""

    def __init__(self, engine: Engine, spool: Spool, safety: Safety, name: str, version: str) -> None:
        """Register the node ``name``."""
        self._engine = engine
        self._safety = safety
        self._spool = spool
        self._name = name
        self._version = version
        self.released = 0
        self.held: list[tuple[int, int]] = []
        self.items = 0
        for work in (spool.gaps.find, self._register, self._free, self._look):
            engine.when_opening(work)

    def _register(self, tx: Tx) -> None:
        self._engine.node_id, self._engine.epoch = membership.register(tx, self._name, self._version)

    def _free(self, tx: Tx) -> bool:
        """Give back what a former process of this node held: due at once."""
        node = (self._engine.node_id, self._engine.epoch)
        n, held = free(tx, node, node[0], tx.now)
        self.released += n
        self.held += held
        return n >= SLICE

    def _look(self, tx: Tx) -> None:
        if self._spool.gaps.found < 0:
            lower_heads(tx, late_heads(tx))
        self._spool.recall_failing(tx)
        self._safety.look(tx)
        self.items = int(tx.value("SELECT coalesce(sum(n), 0) FROM c_dest"))  # counted, not walked


class Store:
    """An open store: one object for each of its promises, all on the same engine."""

    def __init__(self, engine: Engine, spool: Spool, safety: Safety, reactor: Any, audit_file: Path | None) -> None:
        """Take an engine that is open; see ``open_store``."""
        self.safety = safety
        self.engine = engine
        self.spool = spool
        self.mail = MailStore(engine)
        self.queue = QueueAdmin(engine, spool.open_body, engine.wake, reactor)
        self.directory = Directory(engine, reactor)
        self.account_rows = AccountRows(engine)
        self.counters = Counters(engine)
        self.credentials = Credentials(engine)
        self.rerouting = Rerouting(engine)
        self.door_rules = DoorRules(engine)
        self.audit = Audit(engine, audit_file)
        self.site = Site(engine, reactor)
        self.site.watch(lambda settings: self.directory.divide(settings.subaddress))
        self.senders = Senders(engine, lambda: self.site.current.subaddress)
        self.tls_policies = TlsPolicyRows(engine)
        self.beats: Beats | None = None
        self.upkeep: Upkeep | None = None

    def close(self) -> Deferred[None]:
        """Finish what was begun, then let go -> Deferred[None]; it never fails, and may be called again."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        if self.engine.closed:
            return
        self.directory.stop()
        self.queue.steering.stop()
        self.site.stop()
        if self.upkeep is not None:
            await self.upkeep.stop()
        if self.beats is not None:
            self.beats.stop()
        node = (self.engine.node_id, self.engine.epoch)
        with contextlib.suppress(Exception):  # the others will see that it has gone
            await self.engine.write(lambda tx: membership.leave(tx, *node), SETTLE)
        await self.engine.close()
        if self.beats is not None:
            self.beats.join(JOIN_S)

    def health(self) -> dict[str, Any]:
        """Return what an operator asks for: the engine's figures, and whether this node may go on."""
        return {**self.engine.figures(), "safe": self.beats is None or self.beats.safe()}


async def open_store(
    url: str,
    state: str | Path,
    *,
    reactor: Any,
    node_name: str,
    version: str,
    logbook: Logbook | None = None,
    memory: bool = False,
    aside: bool = False,
) -> Store:
    """Open the store at ``url`` (``sqlite``, ``postgresql://...``, ``memory``), made when it is not there.

    ``state`` is the folder SQLite's files are in.  Raises StoreError, in words for the operator, with nothing
    touched.  ``reactor`` None (memory only): the store does nothing by itself.  ``aside``: on SQLite small messages
    are taken by a writer process.
    """

    def log(event: str, **fields: Any) -> None:
        if logbook is not None:
            write = logbook.warn if event in WARNINGS else logbook.event
            write(event, **fields)

    engine = Engine(MemoryLinks() if memory else links_for(url, Path(state), aside=aside), reactor)
    engine.when_writer_dies(lambda pid: log("store.writer_died", pid=pid))
    spool = Spool(engine)
    safety = Safety(engine.clock)
    start = Start(engine, spool, safety, node_name, version)
    await engine.open()
    store = Store(engine, spool, safety, reactor, None if engine.links.inline else Path(state) / AUDIT_FILE)
    if reactor is not None:
        store.upkeep = Upkeep(engine, reactor, log, spool.gaps, safety)
        store.upkeep.keeps = lambda: (store.site.current.delivery.history, store.site.current.delivery.transcripts)
        store.upkeep.start()
    if engine.dialect == "postgresql":
        store.beats = Beats(engine, node_name, version, log)
        spool.safe = store.beats.safe
        store.beats.start()
    try:
        await store.site.load()
        await store.queue.steering.load()
    except BaseException:
        await store.close()
        raise
    store.site.start()
    store.queue.steering.start()
    store.directory.start()
    if spool.gaps.found:
        log("store.clock_gap", ms=spool.gaps.found)
    if start.released:
        log("store.recovered", node=engine.node_id, released=start.released, held=len(start.held))
    for message_id, n in start.held:
        log("store.poison", msg=message_id, n=n)
    log("store.opened", url=url.partition("@")[2] or url, items=start.items)
    return store
