"""The spool: what delivery and the mailbox service are promised (ISpool)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from netsvc.interfaces import IBodyReader, IBodyWriter, ISpool
from netsvc.mail.ids import make_id
from netsvc.mail.message import Result
from netsvc.mail.outcome import Outcome
from netsvc.mail.reply import NO_SPACE, NOT_TAKEN, ReplyError
from netsvc.store import lateness, leases
from netsvc.store.accept import Accepting, Content, Incoming
from netsvc.store.bodies import BodyReader, BodyWriter, read_blob
from netsvc.store.dests import Dests
from netsvc.store.errands import lease_errand, leased, settle_errand, settled
from netsvc.store.gaps import Gaps
from netsvc.store.heads import close_heads
from netsvc.store.pieces import SMALL
from netsvc.store.reasons import Reasons
from netsvc.store.settle import Settling
from netsvc.store.tx import SETTLE, CommitFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.python.failure import Failure

    from netsvc.mail.message import DueDestination, Leased, LocalDelivery, Message, NewDelivery, Refusals
    from netsvc.mail.outcome import Report, Settled
    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx

RECENT_OCTETS = 8 << 20
RECENT_BODY = 64 << 10


class Recent:
    """Bodies accepted a moment ago, which are about to be read for their first attempt."""

    def __init__(self) -> None:
        """Begin empty."""
        self._bodies: OrderedDict[int, bytes] = OrderedDict()
        self._octets = 0

    def put(self, blob_id: int, data: bytes) -> None:
        """Remember a small body; the oldest go."""
        if len(data) > RECENT_BODY or blob_id in self._bodies:
            return
        self._bodies[blob_id] = data
        self._octets += len(data)
        while self._octets > RECENT_OCTETS:
            self._octets -= len(self._bodies.popitem(last=False)[1])

    def get(self, blob_id: int) -> bytes | None:
        """Return a body that is remembered."""
        return self._bodies.get(blob_id)


def refusal(error: BaseException | None) -> ReplyError:
    """Return the reply the client gets for what a unit of work failed with."""
    if isinstance(error, ReplyError):
        return error
    full = isinstance(error, CommitFailedError) and error.full
    reply = ReplyError(NO_SPACE if full else NOT_TAKEN, f"{type(error).__name__}: {error}")
    reply.__cause__ = error
    return reply


def refused(failure: Failure) -> Failure:
    """Fail with the reply the client gets."""
    raise refusal(failure.value)


@implementer(ISpool)
class Spool:
    """See ISpool."""

    def __init__(self, engine: Engine) -> None:
        """Stand on ``engine``, not yet open."""
        self._engine = engine
        self._clock = engine.clock
        self._ids = engine.ids
        self._dests = Dests(engine.new_ids)
        self._reasons = Reasons()
        engine.when_undone(self._dests.forget)
        engine.when_undone(self._reasons.forget)
        self._accepting = Accepting(lambda: engine.node_id, engine.new_ids, self._dests, self._reasons)
        self._take = self._accepting.run  # one bound method, so that what waits is gathered
        self._settling = Settling(
            lambda: (engine.node_id, engine.epoch), engine.new_ids, self._reasons, self._accepting
        )
        self._recent = Recent()
        self._leased_at = 0
        self._failing: set[int] = set()
        self.gaps = Gaps()
        self.safe: Callable[[], bool] = lambda: True
        """Whether this node may begin attempts: False when it has not been able to say for long that it lives."""

    def now(self) -> int:
        """Return the store's clock."""
        return self._clock.now()

    def lived(self, number: int) -> int:
        """Return the time as if the clock had only gone on since ``number`` was made."""
        return self.gaps.lived(number, self._clock.now())

    def before(self, span: int) -> int:
        """Return the time before which was made what has lived for ``span`` ms by now."""
        return self.gaps.before(span, self._clock.now())

    def new_id(self) -> int:
        """Return a fresh id."""
        return self._ids.one()

    def body(self) -> BodyWriter:
        """Begin to receive a body."""
        return BodyWriter(self._engine)

    def accept(
        self,
        message: Message,
        body: IBodyWriter | bytes,
        deliveries: Sequence[NewDelivery],
        local: Sequence[LocalDelivery],
        refusals: Refusals | None = None,
    ) -> Deferred[int]:
        """Take responsibility; see ISpool."""
        assert isinstance(body, (bytes, BodyWriter))
        if isinstance(body, bytes):
            content = Content(len(body), (body,))
        elif body.blob_id:
            return Deferred.fromCoroutine(self._accept_streamed(message, body, (deliveries, local), refusals))
        else:
            content = Content(body.size, body.take())
        return self._accept(Incoming(message, content, deliveries, local, refusals=refusals))

    def _accept(self, item: Incoming) -> Deferred[int]:
        content = item.content
        plain = content.size <= SMALL and not content.blob_id and item.refusals is None
        done: Deferred[int] = self._engine.gather(self._take, item, plain=plain)
        done.addErrback(refused)
        if item.deliveries:
            done.addCallback(self._accepted, item)
        return done

    def _accepted(self, number: int, item: Incoming) -> int:
        content = item.content
        if not content.blob_id:
            self._recent.put(number, b"".join(content.pieces))
        self._engine.wake()
        return number

    async def _accept_streamed(
        self,
        message: Message,
        body: BodyWriter,
        where: tuple[Sequence[NewDelivery], Sequence[LocalDelivery]],
        refusals: Refusals | None,
    ) -> int:
        held = body.take()
        await body.drained()
        if body.error is not None:
            body.discard()
            raise refusal(body.error)
        try:
            content = Content(body.size, held, body.blob_id, body.chunks, body.generation, body.sha256)
            return await self._accept(Incoming(message, content, *where, refusals=refusals))
        except ReplyError:
            body.discard()
            raise

    def due(self, limit: int) -> Deferred[list[DueDestination]]:
        """Say which destinations have work."""
        return self._engine.read(lambda tx: leases.due(tx, limit)).addCallback(self._seen)

    def _seen(self, due: list[DueDestination]) -> list[DueDestination]:
        """Note which destinations have failed, on whatever node: so that one that works again is told."""
        self._failing.update(found.id for found in due if found.streak)
        return due

    def next_due(self) -> Deferred[int | None]:
        """Say when to look again."""
        return self._engine.read(leases.next_due)

    def lease(self, wants: Sequence[tuple[int, int]]) -> Deferred[list[Leased]]:
        """Lease due deliveries to this node."""
        if not self.safe():
            return succeed([])
        node = (self._engine.node_id, self._engine.epoch)
        self._leased_at = at = max(self.now(), self._leased_at + 1)
        leasing = self._engine.errand(lambda: lease_errand(wants, at), lambda tx: leases.lease(tx, node, wants, at))
        return leasing.addCallbacks(leased, self._lease_lost, errbackArgs=(node, at))

    def _lease_lost(self, failure: Failure, node: tuple[int, int], at: int) -> Any:
        """Give back what may have been leased all the same: nobody would ever try it."""
        if not isinstance(failure.value, CommitFailedError):
            return failure

        def work(tx: Tx) -> None:
            back = [Outcome(number, Result.RELEASED, due_at=tx.now) for number in leases.leased_at(tx, node, at)]
            self._settling.run(tx, back, ())

        return self._engine.write(work, SETTLE).addBoth(lambda _: failure)

    def held(self, before: int) -> Deferred[list[int]]:
        """Say what was leased before ``before`` and is leased still."""
        node = (self._engine.node_id, self._engine.epoch)
        return self._engine.read(lambda tx: leases.held(tx, node, before))

    def overdue(self, accepted_before: int, limit: int) -> Deferred[list[Leased]]:
        """Lease what has expired at destinations that are left alone."""
        if not self.safe():
            return succeed([])
        node = (self._engine.node_id, self._engine.epoch)
        bounds = (make_id(accepted_before, 0, 0), self.lived(make_id(accepted_before, 0, 0)))
        return self._engine.write(lambda tx: leases.overdue(tx, node, bounds, limit), SETTLE)

    def unwarned(self, after: int, accepted_before: int, limit: int) -> Deferred[tuple[list[Leased], int]]:
        """Lease what is late, at destinations that are left alone, and nobody has been told of."""
        return Deferred.fromCoroutine(self._unwarned(after, make_id(accepted_before, 0, 0), limit))

    async def _unwarned(self, after: int, before: int, limit: int) -> tuple[list[Leased], int]:
        last = await self._engine.read(lambda tx: lateness.window(tx, after, before))
        if not last or not self.safe():
            return [], after
        if not await self._engine.read(lambda tx: lateness.late(tx, after, last, 1)):
            return [], last
        node = (self._engine.node_id, self._engine.epoch)
        return await self._engine.write(lambda tx: lateness.unwarned(tx, node, (after, last), limit), SETTLE)

    def settle(self, outcomes: Sequence[Outcome], reports: Sequence[Report] = ()) -> Deferred[Settled]:
        """Record what attempts came to."""
        if not reports:
            settling = self._engine.errand(
                lambda: settle_errand(outcomes), lambda tx: self._settling.run(tx, outcomes, ())
            )
            return settling.addCallback(settled)
        done = self._engine.write(lambda tx: self._settling.run(tx, outcomes, reports), SETTLE)
        return done.addCallback(self._reported)

    def _reported(self, answer: Settled) -> Settled:
        self._engine.wake()
        return answer

    def destination_failed(self, dest_id: int, until: int, outcome: Outcome) -> Deferred[int]:
        """Mark a destination dead until ``until``."""

        def work(tx: Tx) -> int:
            self._reasons.ids(tx, [outcome])
            streak = tx.value(
                "UPDATE dest SET fail_streak = fail_streak + 1, dead_until = ? WHERE id = ? RETURNING fail_streak",
                (until, dest_id),
            )
            close_heads(tx, [dest_id])
            return int(streak or 0)

        self._failing.add(dest_id)
        return self._engine.write(work, SETTLE)

    def destination_ok(self, dest_id: int) -> Deferred[None]:
        """Forget a destination's failures; free when this process has seen none since it began."""
        if dest_id not in self._failing:
            return succeed(None)

        def work(tx: Tx) -> None:
            sql = "UPDATE dest SET fail_streak = 0, dead_until = 0 WHERE id = ? AND fail_streak + dead_until <> 0"
            if tx.execute(sql, (dest_id,)):
                close_heads(tx, [dest_id])

        def forget(_: None) -> None:
            self._failing.discard(dest_id)

        return self._engine.write(work, SETTLE).addCallback(forget)

    def destination_rests(self, dest_id: int, until: int) -> Deferred[None]:
        """Leave a destination alone until ``until``: it has had what its rate allows."""

        def work(tx: Tx) -> None:
            tx.execute("UPDATE dest SET limit_until = ? WHERE id = ?", (until, dest_id))
            close_heads(tx, [dest_id])

        return self._engine.write(work, SETTLE)

    def recall_failing(self, tx: Tx) -> None:
        """Learn, while the store is opened, which destinations have failed before."""
        self._failing.update(row[0] for row in tx.rows("SELECT id FROM dest WHERE fail_streak <> 0"))

    def open_body(self, blob_id: int) -> Deferred[IBodyReader]:
        """Read a body."""
        data = self._recent.get(blob_id)
        if data is not None:
            kept: IBodyReader = BodyReader(self._engine, blob_id, len(data), data)
            return succeed(kept)

        def ready(found: tuple[int, bytes] | None) -> IBodyReader:
            if found is None:
                raise LookupError(f"there is no body {blob_id}")
            return BodyReader(self._engine, blob_id, *found)

        return self._engine.read(lambda tx: read_blob(tx, blob_id)).addCallback(ready)

    def wake(self, callback: Callable[[], None]) -> None:
        """Have ``callback()`` called when work may have come due."""
        self._engine.when_woken(callback)
