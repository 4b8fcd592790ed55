"""Domains, mailboxes and aliases: looked up through a cache, changed by operators (IDirectory).

Every change gives its domain a new revision, above all before; other nodes look
at the newest each second and forget what they remember when it has moved.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from netsvc.interfaces import IDirectory
from netsvc.store import directoryrows as rows
from netsvc.store.resolving import LOCAL, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.mail.address import Address
    from netsvc.mail.message import Resolution
    from netsvc.records import Row
    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx

REMEMBERED = 100_000
"""Addresses kept in memory, unknown ones too."""
LOOK_S = 1.0
"""How often another node's changes are looked for."""


@implementer(IDirectory)
class Directory:
    """See IDirectory.  ``start`` begins to look for other nodes' changes where there can be any."""

    def __init__(self, engine: Engine, clock: Any) -> None:
        """Stand on ``engine``; ``clock`` is the reactor."""
        self._engine = engine
        self._known: OrderedDict[Address, Resolution] = OrderedDict()
        self._domains: set[str] | None = None
        self._generation = 0
        self._rev: tuple[int, int] | None = None
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def start(self) -> None:
        """Look for other nodes' changes from now on (PostgreSQL)."""
        if self._engine.dialect == "postgresql" and not self._looking.running:
            self._looking.start(LOOK_S, now=True)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> Deferred[None]:
        # While the store does not answer, what is remembered is all there is.
        return self.refresh().addErrback(lambda _: None)

    def refresh(self) -> Deferred[None]:
        """Forget what is remembered if the directory has changed -> Deferred[None]."""
        return self._engine.read(rows.revision).addCallback(self._compare)

    def _compare(self, rev: tuple[int, int]) -> None:
        if rev != self._rev:
            self._rev = rev
            self.forget()

    def forget(self) -> None:
        """Remember nothing."""
        self._generation += 1
        self._known.clear()
        self._domains = None

    def resolve(self, address: Address) -> Deferred[Resolution]:
        """Return what an address stands for."""
        found = self._known.get(address)
        if found is not None:
            self._known.move_to_end(address)
            return succeed(found)
        generation = self._generation

        def remember(resolution: Resolution) -> Resolution:
            if generation == self._generation:
                self._known[address] = resolution
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
            return resolution

        return self._engine.read(lambda tx: resolve(tx, address)).addCallback(remember)

    def is_local(self, domain: str) -> Deferred[bool]:
        """Say whether a domain is ours."""
        name = domain.lower()
        if self._domains is not None:
            return succeed(name in self._domains)
        generation = self._generation

        def remember(names: set[str]) -> bool:
            if generation == self._generation:
                self._domains = names
            return name in names

        return self._engine.read(_names).addCallback(remember)

    def domains(self) -> Deferred[list[Row]]:
        """List the domains by name."""
        return self._engine.read(rows.domains)

    def aliases(self) -> Deferred[list[Row]]:
        """List the aliases by address."""
        return self._engine.read(rows.aliases)

    def _change(self, work: Callable[[Tx], Any]) -> Deferred[Any]:
        def done(result: Any) -> Any:
            self.forget()
            return result

        # Forgotten after a failure too: nobody knows whether a lost commit was kept.
        return self._engine.write(work).addBoth(done)

    def add_domain(self, name: str) -> Deferred[None]:
        """Make a domain ours."""
        return self._change(lambda tx: rows.add_domain(tx, name))

    def delete_domain(self, name: str) -> Deferred[None]:
        """Give a domain up that holds nothing."""
        return self._change(lambda tx: rows.delete_domain(tx, name))

    def create_mailbox(self, address: str, quota_bytes: int = 0) -> Deferred[int]:
        """Make a mailbox; returns its id."""
        number = self._engine.new_id()
        return self._change(lambda tx: rows.create_mailbox(tx, number, address, quota_bytes))

    def delete_mailbox(self, address: str) -> Deferred[int]:
        """Delete a mailbox with its mails; returns how many."""
        return Deferred.fromCoroutine(self._delete_mailbox(address))

    async def _delete_mailbox(self, address: str) -> int:
        gone = 0
        n: int
        while True:
            n, over = await self._change(lambda tx: rows.delete_mails(tx, address))
            gone += n
            if over:
                return gone

    def add_alias(self, address: str, target: str) -> Deferred[None]:
        """Let an address lead to another."""
        return self._change(lambda tx: rows.add_alias(tx, address, target))

    def delete_alias(self, address: str, target: str | None = None) -> Deferred[int]:
        """Let an address no longer lead to ``target`` (None: anywhere); returns how many rows went."""
        return self._change(lambda tx: rows.delete_alias(tx, address, target))


def _names(tx: Tx) -> set[str]:
    return {row[0] for row in tx.rows("SELECT name FROM domain WHERE kind = ?", (LOCAL,))}
