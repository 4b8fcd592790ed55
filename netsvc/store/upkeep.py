"""What the store does by itself, in small units of low priority, off the path of mail.

Bodies nobody refers to are deleted ten minutes after they died, recycled items
when their day is over, history and attempts after two weeks; run-queue heads
that are late (an error) are put right once a minute; once a day bodies that no
row names, left by a crash between the two commits, are swept up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall

from netsvc.mail.ids import EPOCH_MS, id_time, make_id
from netsvc.mail.message import Result, State
from netsvc.store import membership
from netsvc.store.accept import HISTORY
from netsvc.store.leases import RECYCLE_MS
from netsvc.store.settle import finish_messages
from netsvc.store.tally import Tally, lower_heads
from netsvc.store.ticks import wall
from netsvc.store.tx import BULK

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.store.engine import Engine
    from netsvc.store.gaps import Gaps
    from netsvc.store.safety import Safety
    from netsvc.store.tx import Tx

EVERY_S = 60
HOUR_ROUNDS = 60
DAY_ROUNDS = 24 * HOUR_ROUNDS
SWEEP_AT = 10
"""The first sweep is ten rounds after the start."""
DEAD_MS = 10 * 60_000
ORPHAN_MS = 24 * 3_600_000
KEEP_MS = 14 * 24 * 3_600_000
SLICE = 200
MANY = 2000
DELETED_BY = "deleted by an operator"


def collect(tx: Tx) -> int:
    """Delete a slice of the bodies that died long enough ago; return how many."""
    sql = "SELECT id FROM blob WHERE dead_at IS NOT NULL AND dead_at <= ? AND refs <= 0 LIMIT ?"
    dead = [row[0] for row in tx.rows(sql, (tx.now - DEAD_MS, SLICE))]
    if dead:
        tx.drop_chunks(dead)
        tx.among("DELETE FROM blob WHERE id {ids}", dead)
    return len(dead)


def purge(tx: Tx, new_ids: Callable[[int], list[int]], node_id: int, gaps: Gaps) -> int:
    """Let a slice of recycled items go whose time is over; return how many."""
    sql = (
        "SELECT d.id, d.message_id, d.n, m.sender, d.rcpt, d.domain, d.dest_id, d.attempts, d.reason_id, d.size,"
        " m.received_at, m.msgid, m.subject, m.auth, m.client, m.listener, d.reply, d.host FROM delivery d"
        " JOIN message m ON m.id = d.message_id WHERE d.purge_at <> 0 AND d.purge_at <= ? AND d.state = 5 LIMIT ?"
    )
    if tx.dialect == "postgresql":
        sql += " FOR UPDATE OF d SKIP LOCKED"
    over = min(gaps.before(RECYCLE_MS, tx.now) + RECYCLE_MS, tx.now)  # an item's day is one in which netsvc runs
    found = tx.rows(sql, (over, SLICE))
    if not found:
        return 0
    tally = Tally()
    finished: dict[int, int] = {}
    histories = []
    for number, row in zip(new_ids(len(found)), found, strict=True):
        (delivery, message, n, sender, rcpt, domain, dest, attempts, reason, size, received_at) = row[:11]
        msgid, subject, auth, client, listener, reply, host = row[11:]
        histories.append(
            (
                number, tx.now, node_id, message, delivery, n, sender, rcpt, domain, dest, int(Result.DELETED),
                attempts, reason, size, received_at, msgid, subject, auth, client, listener, reply or DELETED_BY, host,
                None, None,
            )
        )  # fmt: skip
        tally.add(dest, State.RECYCLED, reason, size, -1)
        finished[message] = finished.get(message, 0) + 1
    tx.insert(HISTORY, histories)
    tx.among("DELETE FROM delivery WHERE id {ids}", [row[0] for row in found])
    tally.apply(tx, node_id)
    finish_messages(tx, finished)
    return len(found)


def expire(tx: Tx, name: str, made_before: int) -> int:
    """Delete a slice of a table (history attempt transcript), of what was made before a time (ms); return how many."""
    before = make_id(max(made_before, EPOCH_MS), 0, 0)
    sql = f"DELETE FROM {name} WHERE id IN (SELECT id FROM {name} WHERE id < ? ORDER BY id LIMIT ?)"  # noqa: S608  names of ours
    return tx.execute(sql, (before, MANY))


def prune(tx: Tx, node_id: int) -> int:
    """Delete this node's counters that have come to nothing."""
    n = tx.execute("DELETE FROM c_dest WHERE node_id = ? AND n = 0 AND bytes = 0", (node_id,))
    return n + tx.execute("DELETE FROM c_reason WHERE node_id = ? AND n = 0", (node_id,))


def late_heads(tx: Tx) -> dict[int, int]:
    """Return {dest_id: due} of destinations whose head is missing or later than their first delivery."""
    found = tx.rows(
        "SELECT x.dest_id, x.due_at FROM (SELECT dest_id, min(due_at) AS due_at FROM delivery WHERE state IN (1,3)"
        " GROUP BY dest_id) x LEFT JOIN dest_head h ON h.dest_id = x.dest_id"
        " WHERE h.next_due IS NULL OR h.next_due > x.due_at"
    )
    return {row[0]: row[1] for row in found}


def orphans(tx: Tx, after: int) -> tuple[int, list[int]]:
    """Return (where to go on, 0 at the end; ids of old bodies that no row names) of the next slice of bodies."""
    ids = tx.chunk_blobs(after, MANY)
    old = [number for number in ids if id_time(number) < tx.now - ORPHAN_MS]
    known = {row[0] for row in tx.among("SELECT id FROM blob WHERE id {ids}", old)} if old else set()
    return (ids[-1] if len(ids) == MANY else 0), [number for number in old if number not in known]


class Upkeep:
    """The rounds.  ``clock`` is the reactor."""

    def __init__(self, engine: Engine, clock: Any, log: Callable[..., None], gaps: Gaps, safety: Safety) -> None:
        """Keep the store of ``engine``; begin with ``start``."""
        self._engine = engine
        self._gaps = gaps
        self._safety = safety
        self._log = log
        self._round = 0
        self._alarmed = self._jumped = False
        self.keeps: Callable[[], tuple[int, int]] = lambda: (KEEP_MS, KEEP_MS)
        """How long history with its attempts, and transcripts, are kept, in ms."""
        self._busy: Deferred[None] = succeed(None)
        self._call = LoopingCall(self._turn)
        self._call.clock = clock

    def start(self) -> None:
        """Begin; the first round is a minute away."""
        self._call.start(EVERY_S, now=False)

    def stop(self) -> Deferred[None]:
        """End -> Deferred[None], when the present round is over."""
        if self._call.running:
            self._call.stop()
        return self._busy

    def _turn(self) -> Deferred[None]:
        self._busy = Deferred.fromCoroutine(self.round())
        return self._busy

    async def round(self) -> None:
        """Do what a minute asks for; never fails."""
        self._round += 1
        try:
            await self._minute()
            if self._round % HOUR_ROUNDS == 1:
                await self._forget()
                await self._engine.write(lambda tx: prune(tx, self._engine.node_id), BULK)
            if self._round % DAY_ROUNDS == SWEEP_AT:
                await self.sweep()
        except Exception as error:  # noqa: BLE001  the next round comes in a minute
            if not self._engine.closed:
                self._log("store.failed", what="upkeep", why=str(error))

    async def _forget(self) -> None:
        """Delete what has been kept for as long as the site says."""
        now, (history, transcripts) = self._engine.now(), self.keeps()
        of = (("history", history), ("attempt", history), ("transcript", min(history, transcripts)))
        for name, keep in of:
            before = self._gaps.before(keep, now)
            await self._repeat(lambda tx, name=name, before=before: expire(tx, name, before))  # type: ignore[misc]  # bound early

    async def _minute(self) -> None:
        engine = self._engine
        if engine.dialect == "sqlite":
            engine.clock.sync(wall())
            await engine.write(lambda tx: membership.beat(tx, engine.node_id, engine.epoch), BULK)
        else:
            await engine.read(self._gaps.load)
        self._look_at_clock()
        await engine.read(self._safety.look)
        await self._repeat(lambda tx: purge(tx, engine.new_ids, engine.node_id, self._gaps))
        await self._repeat(collect)
        late = await engine.read(late_heads)
        if late:
            await engine.write(lambda tx: lower_heads(tx, late), BULK)
            engine.wake()
        alarm = bool(engine.figures().get("wal_alarm"))
        if alarm and not self._alarmed:
            self._log("store.failed", what="log", why="the write-ahead log has grown beyond 512 MB")
        self._alarmed = alarm

    def _look_at_clock(self) -> None:
        """Tell once when the clock that is followed has been set so far away that it is not."""
        jump = self._engine.clock.jump
        if jump and not self._jumped:
            self._log("store.clock_jump", ms=jump)
        self._jumped = bool(jump)

    async def _repeat(self, slice_: Callable[[Tx], int]) -> None:
        n = 1
        while n and not self._engine.closed:
            n = await self._engine.write(slice_, BULK)

    async def sweep(self) -> int:
        """Delete the bodies that no row names and that are older than a day -> Deferred[int], how many."""
        after = total = 0
        while not self._engine.closed:
            after, gone = await self._engine.read(lambda tx, at=after: orphans(tx, at))  # type: ignore[misc]  # bound early
            for at in range(0, len(gone), SLICE):
                part = gone[at : at + SLICE]
                await self._engine.write(lambda tx, ids=part: tx.drop_chunks(ids), BULK)  # type: ignore[misc]  # bound early
            total += len(gone)
            if not after:
                break
        if total:
            self._log("store.swept", bodies=total)
        return total
