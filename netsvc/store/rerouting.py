"""Mail that waits, where routes have changed: found in slices, and moved to its new destination (IRerouting).

The store remembers which revision of the site changed the routes last, and up to
which one all that waits has been looked at: a walk that a crash ended is made
again.  Moving is conditional: what has left, or was moved meanwhile, is let be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from netsvc.interfaces import IRerouting
from netsvc.mail.escape import escape
from netsvc.mail.message import Hop, Kind, State
from netsvc.store.dests import Dests
from netsvc.store.leases import settle_state
from netsvc.store.resolving import local_domains
from netsvc.store.tally import Tally, lower_heads
from netsvc.store.tx import BULK, SETTLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.defer import Deferred

    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx

    Judge = Callable[[str, str], Hop]
    Moves = Sequence[tuple[int, Hop]]

_WALK = (
    "SELECT d.id, d.domain, d.kind, d.route, t.key, m.sender FROM delivery d JOIN message m ON m.id = d.message_id"
    " JOIN dest t ON t.id = d.dest_id WHERE d.id > ? AND d.state IN (1,3,4,5) ORDER BY d.id LIMIT ?"
)
_ROWS = (
    "id, dest_id, state, due_at, attempts, crashes, reason_id, size, prev_state, mark, purge_at, lease_node,"
    " lease_epoch"
)
_FROM = {"sqlite": "FROM delivery WHERE id {ids}", "postgresql": "FROM delivery WHERE id {ids} ORDER BY id FOR UPDATE"}
_PUT = (
    "UPDATE delivery SET dest_id = v.column2, route = v.column3, kind = v.column4, state = v.column5,"
    " due_at = v.column6, attempts = v.column7, crashes = v.column8, prev_state = v.column9, purge_at = v.column10,"
    " lease_node = 0, lease_epoch = 0, lease_at = 0, mark = 0 FROM {v} WHERE delivery.id = v.column1"
)
_WAITING = (State.INCOMING, State.DEFERRED)


def note_change(tx: Tx, rev: int) -> None:
    """Remember that revision ``rev`` changed the routes."""
    tx.execute(
        "INSERT INTO route_state (one, changed, applied) VALUES (1, ?, 0)"
        " ON CONFLICT (one) DO UPDATE SET changed = excluded.changed",
        (rev,),
    )


def strays(tx: Tx, after: int, limit: int, judge: Judge) -> tuple[int, list[tuple[int, Hop]]]:
    """Look at up to ``limit`` deliveries that wait, by id -> (the last id, 0 at the end, and where some belong now)."""
    rows = tx.rows(_WALK, (after, limit))
    found = [(row[0], row[1], judge(row[1], row[5]), row) for row in rows if row[2] != Kind.MAILBOX]
    other = [one for one in found if not same(one[2], one[3][4], one[3][2], one[3][3] or "")]
    ours = local_domains(tx, {one[1] for one in other}) if other else set()
    moves = [(number, hop) for number, domain, hop, _ in other if domain not in ours]
    return (rows[-1][0] if len(rows) == limit else 0), moves


def same(hop: Hop, key: str, kind: int, route: str) -> bool:
    """Say whether a delivery with destination ``key``, of ``kind`` and by ``route``, is where ``hop`` leads."""
    return hop.key == key and hop.kind == kind and (hop.kind is Kind.SMTP or escape(hop.route) == route)


@implementer(IRerouting)
class Rerouting:
    """See IRerouting."""

    same = staticmethod(same)

    def __init__(self, engine: Engine) -> None:
        """Stand on ``engine``."""
        self._engine = engine
        self._dests = Dests(engine.new_ids)
        engine.when_undone(self._dests.forget)
        self.shared = engine.dialect == "postgresql"

    def pending(self) -> Deferred[int]:
        """See IRerouting."""
        sql = "SELECT changed FROM route_state WHERE applied < changed"
        return self._engine.read(lambda tx: int(tx.value(sql) or 0))

    def applied(self, rev: int) -> Deferred[None]:
        """See IRerouting."""

        def work(tx: Tx) -> None:
            tx.execute("UPDATE route_state SET applied = ? WHERE applied < ?", (rev, rev))

        return self._engine.write(work, BULK)

    def strays(self, after: int, limit: int, judge: Judge) -> Deferred[tuple[int, list[tuple[int, Hop]]]]:
        """See IRerouting."""
        return self._engine.read(lambda tx: strays(tx, after, limit, judge))

    def move(self, moves: Moves) -> Deferred[int]:
        """See IRerouting."""

        def woken(n: int) -> int:
            if n:
                self._engine.wake()
            return n

        return self._engine.write(lambda tx: self._move(tx, moves), SETTLE).addCallback(woken)

    def _move(self, tx: Tx, moves: Moves) -> int:
        hops = dict(moves)
        dest_ids = self._dests.ids(tx, hops.values())
        tally, dues = Tally(), dict[int, int]()
        writes: list[tuple[Any, ...]] = []
        for row in tx.pick(_ROWS, _FROM[tx.dialect], sorted(hops)):
            number, dest_id, state, due_at, attempts, crashes, reason, size, prev, mark, purge_at, *lease = row
            hop = hops[number]
            now = state
            if state == State.ACTIVE:
                if tuple(lease) != (self._engine.node_id, self._engine.epoch):
                    continue
                attempts, crashes = attempts - 1, max(crashes - 1, 0)
                now, prev, purge_at = settle_state(tx.now, prev or State.INCOMING, mark)
            elif state not in (*_WAITING, State.HOLD, State.RECYCLED):
                continue
            to = dest_ids[hop.key]
            if now == State.DEFERRED:
                due_at = min(due_at, tx.now)  # what it waited for was the other destination
            target = (to, escape(hop.route), int(hop.kind))
            writes.append((number, *target, int(now), due_at, attempts, crashes, int(prev), purge_at))
            tally.add(dest_id, state, reason, size, -1)
            tally.add(to, now, reason, size)
            if now in _WAITING:
                dues[to] = min(due_at, dues.get(to, due_at))
        if writes:
            tx.each(_PUT, "iitiiiiiii", writes)
            tally.apply(tx, self._engine.node_id)
            lower_heads(tx, dues)
        return len(writes)
