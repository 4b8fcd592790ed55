"""The delivery service: leases what is due, has it attempted, settles what came of it (STORE.md 5.2, 5.3).

Each destination has a lane of its own and each message an attempt of its own, so
nothing waits for anything slow.  What a stop interrupts is given back untried;
only transactions past their final dot are waited for.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from netsvc.delivery.allowances import Allowances
from netsvc.delivery.attempts import Attempts
from netsvc.delivery.following import Following
from netsvc.delivery.ground import Ground
from netsvc.delivery.lanes import MOST_RECIPIENTS, Lanes, rest_of_messages
from netsvc.delivery.lateness import Lateness
from netsvc.delivery.mapping import DeliveryMap
from netsvc.delivery.routing import Router
from netsvc.delivery.settling import Settler
from netsvc.delivery.telling import log_outcome, log_report
from netsvc.delivery.tlspolicy import TlsPolicies
from netsvc.mail.message import Result
from netsvc.mail.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IDelayedCall

    from netsvc.interfaces import (
        ICredentials,
        IDeliveryAgentMaker,
        IDestinations,
        IDirectory,
        IRerouting,
        IResolver,
        IRouting,
        ISessions,
        ISite,
        ISpool,
    )
    from netsvc.logbook import Logbook
    from netsvc.mail.message import Leased
    from netsvc.mail.outcome import Report, Settled

POLL = 0.25
"""Seconds between two looks for due mail that nothing announced."""
EXPIRE_POLL = 60.0
"""Seconds between two looks for what expired at destinations that are left alone."""
HELD_FOR = 60_000
"""Milliseconds after which a lease nobody knows of is looked at."""
MOST_EXPIRED = 200
"""Deliveries of one such look's unit of work."""
SHORTEST = 0.05
"""Seconds between two looks, however much is announced."""
MOST_DESTINATIONS = 100
"""Destinations looked at at once, besides those that have no room."""
SETTLE_PATIENCE = 10
"""Seconds that a stop waits for the store."""


@dataclass(eq=False)
class DeliveryService(Service):
    """Mail out, as a service.  ``routing`` is the site's routes unless given; ``now`` never steps."""

    spool: ISpool
    directory: IDirectory
    site: ISite
    sessions: ISessions
    logbook: Logbook
    reactor: Any
    hostname: str
    routing: IRouting | None = None
    now: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    tls: TlsPolicies | None = None
    """What TLS must be like; the site's level alone unless given."""
    credentials: ICredentials | None = None
    resolver: IResolver | None = None
    """Without one, only mail for addresses and for names this host knows by itself goes out."""
    agents: Mapping[str, IDeliveryAgentMaker] = field(default_factory=dict)
    """The plugins that carry mail, by name."""
    rerouting: IRerouting | None = None
    """Without it, what waits stays where it is when routes change."""
    destinations: IDestinations | None = None
    """What operators allow destinations, and the nodes that share them; the site's settings alone unless given."""
    leased: dict[int, Leased] = field(default_factory=dict, init=False)
    """What is leased and not yet settled, by delivery id."""

    def __post_init__(self) -> None:
        """Put the rooms together."""
        allowances = Allowances(self.site, self.destinations, self.spool.now, self.now)
        ground = Ground(
            spool=self.spool,
            directory=self.directory,
            site=self.site,
            sessions=self.sessions,
            logbook=self.logbook,
            reactor=self.reactor,
            hostname=self.hostname,
            routing=self.routing or Router(self.site),
            now=self.now,
            chance=self.chance,
            tls=self.tls or TlsPolicies(self.site),
            credentials=self.credentials,
            resolver=self.resolver,
            agents=self.agents,
            allowances=allowances,
        )
        self._lanes = Lanes(allowances)
        self.site.watch(lambda _: self._allowed_anew())
        if self.destinations is not None:
            self.destinations.watch(self._allowed_anew)
        self._settler = Settler(ground, self._settled)
        self._attempts = Attempts(ground, self._came)
        self._lateness = Lateness(self.spool, self.site, self._tell_late, self._space)
        self.map = DeliveryMap(ground)
        self._following = Following(ground, self.rerouting, self.leased) if self.rerouting else None
        self._poll = LoopingCall(self.wake)
        self._poll.clock = self.reactor
        self._expiring = LoopingCall(self._expire)
        self._expiring.clock = self.reactor
        self._soon: IDelayedCall | None = None
        self._pumping: Deferred[None] | None = None
        self._pump_again = False
        self._pumped_at = 0.0
        self._looking: Deferred[None] | None = None
        self._unknown: set[int] = set()

    def startService(self) -> None:
        """Begin to look for due mail."""
        super().startService()  # type: ignore[no-untyped-call] # Twisted's has no types
        self.spool.wake(self.wake)
        self._poll.start(POLL, now=True)
        self._expiring.start(EXPIRE_POLL, now=False)
        if self._following is not None:
            self._following.start()
        self.logbook.event("delivery.started")

    def stopService(self) -> Deferred[None]:
        """Lease no more; fires when what was under way is settled or released."""
        super().stopService()  # type: ignore[no-untyped-call] # Twisted's has no types
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for call in (self._poll, self._expiring):
            if call.running:
                call.stop()
        walking = self._following.stop() if self._following is not None else None
        if walking is not None:
            await walking
        if self._looking is not None:
            await self._looking
        if self._soon is not None and self._soon.active():
            self._soon.cancel()
        if self._pumping is not None:
            await self._pumping
        await self._attempts.stop()
        late = self.reactor.callLater(SETTLE_PATIENCE, self._settler.give_up)
        await self._settler.drained()
        if late.active():
            late.cancel()
        self.logbook.event("delivery.stopped")

    def wake(self) -> None:
        """Look for due mail soon."""
        if not self.running:
            return
        if self._pumping is not None:
            self._pump_again = True
            return
        if self._soon is not None and self._soon.active():
            return
        wait = max(self._pumped_at + SHORTEST - self.now(), 0)
        self._soon = self.reactor.callLater(wait, self._start_pump)

    def _start_pump(self) -> None:
        self._soon = None
        self._pumped_at = self.now()
        self._pump_again = False
        pumping = self._pumping = Deferred.fromCoroutine(self._pump())

        def pumped(result: object) -> None:
            del result
            self._pumping = None
            if self._pump_again:
                self.wake()

        pumping.addErrback(lambda failure: self.logbook.failure("delivery.fault", failure, what="looking for due mail"))
        pumping.addCallback(pumped)

    async def _pump(self) -> None:
        while self.running and self._space() > 0:
            wants = await self._wants()
            if not wants or not self.running:
                return
            rows = await self.spool.lease(wants)
            more = rest_of_messages(rows, wants, self._space() - len(rows))
            try:
                rest = await self.spool.lease(more) if more else []
            except BaseException:
                self._take(rows)  # they are ours, whatever became of the others
                raise
            rest = [*rows, *rest]
            if self._following is not None and (self._following.unsettled or any(row.crashes for row in rest)):
                rest = await self._following.keep(rest)
            self._take(rest)
            if len(rows) < sum(n for _, n in wants):
                return

    async def _wants(self) -> list[tuple[int, int]]:
        """Return what to lease: (destination, how many)."""
        lanes, look = self._lanes, MOST_DESTINATIONS + self._lanes.full
        while True:
            due = await self.spool.due(look)
            now = self.spool.now()
            found = lanes.open(due, now)
            if found or len(due) < look:
                break
            look *= 2
        self._tell_rests()
        return lanes.wants(found, lanes.space(len(self.leased), now))

    def _tell_rests(self) -> None:
        for dest_id, until in self._lanes.rests(self.spool.now()):
            self._attempts.tell(self.spool.destination_rests(dest_id, until))

    def _allowed_anew(self) -> None:
        """Look again at whoever rested: more may be allowed now."""
        if self.running:
            self._lanes.reopen()
            self._tell_rests()

    def _take(self, rows: list[Leased]) -> None:
        """Have every leased delivery attempted, those of one message and destination together."""
        now = self.spool.now()
        for group in self._hold(rows).values():
            lane = self._lanes.get(group[0].dest_id)
            lane.began(-(-len(group) // MOST_RECIPIENTS), now)
            self._attempts.begin(lane, group)

    def _hold(self, rows: list[Leased]) -> dict[tuple[int, int], list[Leased]]:
        """Note what is leased -> what shares message and destination together."""
        now = self.spool.now()
        groups: dict[tuple[int, int], list[Leased]] = {}
        for row in rows:
            self.leased[row.id] = row
            groups.setdefault((row.message_id, row.dest_id), []).append(row)
            self._lanes.leased(row.dest_id, now)
        return groups

    def _space(self) -> int:
        return self._lanes.space(len(self.leased), self.spool.now())

    def _expire(self) -> Deferred[None]:
        """Give up what expired while nobody tried it, because its destination is left alone."""
        looking = self._looking = Deferred.fromCoroutine(self._expire_some())
        looking.addErrback(
            lambda failure: self.logbook.failure("delivery.fault", failure, what="looking for the expired")
        )
        return looking

    async def _expire_some(self) -> None:
        await self._give_back()
        while self.running and (room := self._space()) > 0:
            before = self.spool.before(self.site.current.delivery.expire)
            rows = await self.spool.overdue(before, min(room, MOST_EXPIRED))
            for group in self._hold(rows).values():
                self._attempts.expire(group)
            if len(rows) < MOST_EXPIRED:
                break
        if self.running:
            await self._lateness.look()

    async def _give_back(self) -> None:
        """Give back leases nobody here knows of: the answer was lost, and the store could not be told so.

        Who is unknown in two looks is; what is being taken over just now is known in the second.
        """
        found = await self.spool.held(self.spool.now() - HELD_FOR)
        unknown = {number for number in found if number not in self.leased}
        forgotten, self._unknown = sorted(unknown & self._unknown), unknown
        for at in range(0, len(forgotten), MOST_EXPIRED):
            part = forgotten[at : at + MOST_EXPIRED]
            self._settler.add([Outcome(number, Result.RELEASED) for number in part])
        if forgotten:
            self.logbook.event("delivery.given_back", n=len(forgotten))

    def _tell_late(self, rows: list[Leased]) -> None:
        for group in self._hold(rows).values():
            self._attempts.tell_late(group)

    def _came(self, rows: list[Leased], outcomes: list[Outcome], reports: list[Report]) -> None:
        """Settle what an attempt came to."""
        self._settler.add(outcomes, reports)
        if self._lanes.left(rows[0].dest_id, len(rows), self.spool.now()):
            self.wake()

    def _settled(self, settled: Settled, outcomes: list[Outcome], reports: list[Report]) -> None:
        """Tell what the store has now, and let it go."""
        if self._following is not None and self._following.late:
            self._following.settled(outcomes)
        again = self._space() <= 0
        lost = frozenset(settled.lost)
        changed = {outcome.delivery_id: outcome for outcome in settled.changed}
        for report in reports:
            log_report(self.logbook, report, self.leased)
        for outcome in outcomes:
            row = self.leased.pop(outcome.delivery_id, None)
            if row is not None:
                log_outcome(self.logbook, row, changed.get(row.id, outcome), lost=row.id in lost)
                again = again or row.crashes > 0  # what may have ended the process is leased one after another
        if again:
            self.wake()
        self._lanes.tidy(self.spool.now())
