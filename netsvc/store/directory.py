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
from netsvc.store import aliasrows
from netsvc.store import directoryrows as rows
from netsvc.store.explaining import explained
from netsvc.store.resolving import ALIAS_DOMAIN, LOCAL, SEPARATOR, explain, room

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.mail.address import Address
    from netsvc.mail.message import MailboxRef, Resolution
    from netsvc.records import Row
    from netsvc.store.engine import Engine
    from netsvc.store.resolving import Room
    from netsvc.store.tx import Tx

REMEMBERED = 100_000
"""Addresses kept in memory, unknown ones too."""
REMEMBERED_TARGETS = 200_000
"""Mailboxes and addresses elsewhere that these stand for, all together."""
ROOM_MS = 5_000
"""How old the figure of what fits into a mailbox may be before it is looked up again."""
TRUST_MS = 60_000
"""A figure older than this says nothing: the transaction decides."""
LOOK_S = 1.0
"""How often another node's changes are looked for."""


@implementer(IDirectory)
class Directory:
    """See IDirectory.  ``start`` begins to look for other nodes' changes where there can be any."""

    def __init__(self, engine: Engine, clock: Any) -> None:
        """Stand on ``engine``; ``clock`` is the reactor."""
        self._engine = engine
        self._known: OrderedDict[Address, Resolution] = OrderedDict()
        self._targets = 0  # of all that is known
        self._rooms: OrderedDict[int, tuple[Room, int]] = OrderedDict()  # with when it was so
        self._asking: set[int] = set()
        self._separator = SEPARATOR
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
        self._targets = 0
        self._rooms.clear()
        self._domains = None

    def divide(self, separator: str) -> None:
        """Have ``separator`` divide users from tags from now on; "" for no tags."""
        if separator != self._separator:
            self._separator = separator
            self.forget()

    def resolve(self, address: Address) -> Deferred[Resolution]:
        """Return what an address stands for."""
        found = self._known.get(address)
        if found is not None:
            self._known.move_to_end(address)
            return succeed(found)
        generation, at = self._generation, self._engine.now()

        def remember(found: tuple[Resolution, dict[int, Room]]) -> Resolution:
            if generation == self._generation:
                self._remember(address, *found, at)
            return found[0]

        return self._engine.read(lambda tx: self._resolve(tx, address)).addCallback(remember)

    def _resolve(self, tx: Tx, address: Address) -> tuple[Resolution, dict[int, Room]]:
        found, expansion = explain(tx, address, self._separator)
        return found, expansion.rooms

    def _remember(self, address: Address, found: Resolution, rooms: dict[int, Room], at: int) -> None:
        known = self._known
        if address not in known:
            self._targets += len(found.mailboxes) + len(found.forwards)
        known[address] = found
        while known and (len(known) > REMEMBERED or self._targets > REMEMBERED_TARGETS):
            _, old = known.popitem(last=False)
            self._targets -= len(old.mailboxes) + len(old.forwards)
        for number, some in rooms.items():
            self._put_room(number, some, at)

    def _put_room(self, number: int, some: Room, at: int) -> None:
        self._rooms[number] = (some, at)
        self._rooms.move_to_end(number)
        if len(self._rooms) > REMEMBERED:
            self._rooms.popitem(last=False)

    def room(self, box: MailboxRef) -> Room | None:
        """Return what fits into a mailbox by the last figure, None where there is no quota or no figure."""
        if not box.limited:
            return None
        some, at = self._rooms.get(box.id, (None, 0))
        age = abs(self._engine.now() - at)
        if age > ROOM_MS and box.id not in self._asking:
            self._look_for_room(box.id)
        return some if age <= TRUST_MS else None

    def _look_for_room(self, number: int) -> None:
        generation, at = self._generation, self._engine.now()
        self._asking.add(number)
        sql = "SELECT quota_bytes, quota_msgs, used_bytes, used_msgs FROM mailbox WHERE id = ?"

        def told(row: Any) -> None:
            if row is not None and generation == self._generation:
                self._put_room(number, room(*row), at)

        def done(_: object) -> None:
            # A figure that cannot be had now is asked for again by the next recipient.
            self._asking.discard(number)

        self._engine.read(lambda tx: tx.row(sql, (number,))).addCallback(told).addBoth(done)

    def explain(self, address: Address) -> Deferred[list[Row]]:
        """Return address/1 rows: how an address resolves, step by step."""
        return self._engine.read(lambda tx: explained(tx, address, self._separator))

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

    def aliases(self, of: str = "") -> Deferred[list[Row]]:
        """List what leads where, by address; ``of`` and to an address or domain only."""
        return self._engine.read(lambda tx: aliasrows.leads(tx, of, self._separator))

    def _change(self, work: Callable[[Tx], Any]) -> Deferred[Any]:
        def done(result: Any) -> Any:
            self.forget()
            return result

        # Forgotten after a failure too: nobody knows whether a lost commit was kept.
        return self._engine.write(work).addBoth(done)

    def add_domain(self, name: str, same_as: str = "") -> Deferred[None]:
        """Make a domain ours, or another name of one that is."""
        if same_as:
            return self._change(lambda tx: aliasrows.add_other_name(tx, name, same_as))
        return self._change(lambda tx: rows.add_domain(tx, name))

    def set_catchall(self, name: str, target: str | None) -> Deferred[None]:
        """Say where mail for unknown addresses of a domain goes."""
        return self._change(lambda tx: aliasrows.set_catchall(tx, name, target, self._separator))

    def delete_domain(self, name: str) -> Deferred[None]:
        """Give a domain up that holds nothing."""
        return self._change(lambda tx: rows.delete_domain(tx, name))

    def create_mailbox(self, address: str, quota_bytes: int = 0, quota_messages: int = 0) -> Deferred[int]:
        """Make a mailbox; returns its id."""
        number = self._engine.new_id()
        return self._change(lambda tx: rows.create_mailbox(tx, number, address, quota_bytes, quota_messages))

    def set_quota(self, address: str, quota_bytes: int, quota_messages: int) -> Deferred[None]:
        """Change what a mailbox may hold."""
        return self._change(lambda tx: rows.set_quota(tx, address, quota_bytes, quota_messages))

    def delete_mailbox(self, address: str) -> Deferred[int]:
        """Delete a mailbox with its mails; returns how many."""
        return Deferred.fromCoroutine(self._delete_mailbox(address))

    async def _delete_mailbox(self, address: str) -> int:
        gone = 0
        n: int
        while True:
            n, over = await self._change(lambda tx: self._delete_mails(tx, address))
            gone += n
            if over:
                return gone

    def _delete_mails(self, tx: Tx, address: str) -> tuple[int, bool]:
        aliasrows.refuse_sources(tx, rows.address_of(address).key, self._separator)
        return rows.delete_mails(tx, address)

    def add_alias(self, address: str, *targets: str) -> Deferred[None]:
        """Let an address lead to others."""
        return self._change(lambda tx: aliasrows.add_alias(tx, address, targets, self._separator))

    def delete_alias(self, address: str, target: str | None = None) -> Deferred[int]:
        """Let an address no longer lead to ``target`` (None: anywhere); returns how many rows went."""
        return self._change(lambda tx: aliasrows.delete_alias(tx, address, target, self._separator))


def _names(tx: Tx) -> set[str]:
    return {row[0] for row in tx.rows("SELECT name FROM domain WHERE kind IN (?, ?)", (LOCAL, ALIAS_DOMAIN))}
