"""Mail that waits follows its route: when routes change, what waits is looked at once, in slices.

Until that is done, what is leased is compared with the routes before it is
attempted, so that nothing goes the old way.  On hold, deleted but not yet gone, or
due in days, with its destination dead or suspended: what waits is moved.  What was
being attempted when its process or node ended is compared when it is leased anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from netsvc.mail.ids import make_id
from netsvc.mail.message import Kind, Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netsvc.delivery.ground import Ground
    from netsvc.interfaces import IRerouting
    from netsvc.mail.message import Hop, Leased
    from netsvc.mail.outcome import Outcome
    from netsvc.settings import SiteSettings

SLICE = 2_000
"""Deliveries looked at in one question to the store."""
BREATH = 0.01
"""Seconds between two."""
LATECOMERS = 5.0
"""Seconds in which a node may still accept mail by the routes of before."""
TURNS = 4.0
"""Seconds over which the nodes of a site spread their walks: who comes later finds it done."""
LOOK = 60.0
"""Seconds before a store that did not answer is asked again."""


class Following:
    """Has what waits follow the site's routes.  ``unsettled``: what is leased is to be shown to ``keep`` first."""

    def __init__(self, ground: Ground, rerouting: IRerouting, leased: Mapping[int, Leased]) -> None:
        """``leased`` is what is being attempted now, by delivery id."""
        self._ground = ground
        self._rerouting = rerouting
        self._leased = leased
        self._routes = _routes(ground.site.current)
        self.unsettled = False
        self.late: dict[int, Leased] = {}
        """What was being attempted while routes changed: it is shown to ``settled``."""
        self._running: Deferred[None] | None = None
        self._again = False
        self._stopping = False

    def start(self) -> None:
        """Begin; what a former process left undone is done now."""
        self._ground.site.watch(self._obey)
        self.unsettled = True  # until it is known whether anything is left to be done
        self._run(turn=False)

    def _obey(self, settings: SiteSettings) -> None:
        routes = _routes(settings)
        if routes != self._routes and not self._stopping:
            self._routes = routes
            self.unsettled = self._again = True
            self.late.update(self._leased)
            if self._running is None:
                self._run(turn=self._rerouting.shared)

    def stop(self) -> Deferred[None] | None:
        """Look no further -> what fires when that is so, None when it is."""
        self._stopping = True
        running = self._running
        if running is not None:
            running.cancel()
        return running

    def settled(self, outcomes: Sequence[Outcome]) -> None:
        """Have follow what goes on waiting after an attempt that began before the routes changed."""
        rows = []
        for outcome in outcomes:
            row = self.late.pop(outcome.delivery_id, None)
            if row is not None and outcome.result in (Result.DEFERRED, Result.RELEASED):
                rows.append(row)
        if rows and not self._stopping:
            moving = Deferred.fromCoroutine(self.keep(rows))
            moving.addErrback(self._failed)

    async def keep(self, rows: list[Leased]) -> list[Leased]:
        """Return those of ``rows`` that stay where they are; the others are given back where leased, and moved.

        It never fails: where the store does, all are attempted as they are.
        """
        judge = self._ground.routing.route
        others: list[tuple[int, Hop]] = []
        for row in rows:
            if row.kind is Kind.MAILBOX:
                continue
            hop = judge(row.domain, row.sender)
            if not self._rerouting.same(hop, row.dest_key, row.kind, row.route):
                others.append((row.id, hop))
        if not others:
            return rows
        try:
            by_id = {row.id: row for row in rows}
            ours = {by_id[number].domain for number, _ in others}
            local = {name for name in ours if await self._ground.directory.is_local(name)}
            moves = [(number, hop) for number, hop in others if by_id[number].domain not in local]
            if moves:
                await self._rerouting.move(moves)
        except Exception:  # noqa: BLE001 - the store's errors are its own; the rows must not be lost for one
            self._ground.logbook.failure("delivery.fault", None, what="following routes")
            return rows
        gone = {number for number, _ in moves}
        return [row for row in rows if row.id not in gone]

    def _run(self, *, turn: bool) -> None:
        self._again = False
        running = self._running = Deferred.fromCoroutine(self._follow(turn=turn))

        def over(result: Any) -> None:
            del result
            self._running = None
            if self._again and not self._stopping:
                self._run(turn=False)

        running.addErrback(self._failed)
        running.addCallback(over)

    def _failed(self, failure: Any) -> None:
        if not (self._stopping and failure.check(CancelledError)):
            self._ground.logbook.failure("delivery.fault", failure, what="following routes")

    async def _follow(self, *, turn: bool) -> None:
        """Walk until nothing is left to be done; a store that does not answer is asked again."""
        if turn:
            await self._pause(self._ground.chance() * TURNS)
        while not self._stopping:
            began = self._ground.spool.now()
            try:
                rev = await self._rerouting.pending()
                self.unsettled = bool(rev) or self._again
                if not rev:
                    return
                moved = await self._walk(0)
                await self._pause(LATECOMERS)
                moved += await self._walk(make_id(began - int(2_000 * LATECOMERS), 0, 0))
                await self._rerouting.applied(rev)
                self._ground.logbook.event("delivery.rerouted", n=moved, rev=rev)
            except CancelledError:
                raise
            except Exception:  # noqa: BLE001 - the store's errors are its own
                self._ground.logbook.failure("delivery.fault", None, what="following routes")
                await self._pause(LOOK)

    async def _walk(self, after: int) -> int:
        """Look at all that waits with ids above ``after`` -> how many deliveries were moved."""
        moved = 0
        while True:
            after, moves = await self._rerouting.strays(after, SLICE, self._ground.routing.judge)
            if moves:
                moved += await self._rerouting.move(moves)
            if not after:
                return moved
            await self._pause(BREATH)

    def _pause(self, seconds: float) -> Deferred[None]:
        return deferLater(self._ground.reactor, seconds)


def _routes(settings: SiteSettings) -> Sequence[Any]:
    return settings.routes, settings.sender_routes
