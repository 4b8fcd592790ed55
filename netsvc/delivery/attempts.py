"""One attempt from lease to outcome: the agent, the retry schedule, the report, the log line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.task import deferLater

from netsvc.delivery.commandagent import CommandAgent
from netsvc.delivery.faults import AttemptError, deferred
from netsvc.delivery.lanes import MOST_RECIPIENTS
from netsvc.delivery.maildiragent import MaildirAgent
from netsvc.delivery.pluginagent import PluginAgents
from netsvc.delivery.reports import Reports, asks
from netsvc.delivery.retry import dead_for, has_expired, is_past_its_time, next_due
from netsvc.delivery.schedules import ending, terms
from netsvc.delivery.simpleagents import MailboxAgent
from netsvc.delivery.smtpagent import SmtpAgent
from netsvc.mail.message import Hop, Kind, Leased, Result
from netsvc.mail.outcome import CONNECTION_FAULTS, Fault, Outcome, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.python.failure import Failure

    from netsvc.delivery.ground import Ground
    from netsvc.delivery.lanes import Lane
    from netsvc.interfaces import IDeliveryAgent
    from netsvc.settings import SiteSettings

UNREACHED = "the destination could not be reached before the message expired"
UNREACHABLE = "the destination cannot be reached at present"
TOO_LATE = "it could not be delivered by the time its sender set"
REPORT_PAUSE = 5.0
"""Seconds before a report that could not be made is tried again."""


class Attempts:
    """Attempts under way; ``came(rows, outcomes, reports)`` is called once for each."""

    def __init__(self, ground: Ground, came: Callable[[list[Leased], list[Outcome], list[Report]], None]) -> None:
        self._ground = ground
        self._came = came
        self._reports = Reports(ground)
        self._smtp = SmtpAgent(ground)
        self._commands = CommandAgent(ground)
        self._plugins = PluginAgents(ground)
        self.agents: dict[Kind, IDeliveryAgent] = {
            Kind.SMTP: self._smtp,
            Kind.MAILDIR: MaildirAgent(ground),
            Kind.MAILBOX: MailboxAgent(ground),
            Kind.LMTP: self._smtp,
            Kind.COMMAND: self._commands,
            Kind.PLUGIN: self._plugins,
        }
        self._under_way = 0
        self._stopping = False
        self._last: list[Deferred[None]] = []

    def agent(self, row: Leased) -> IDeliveryAgent:
        """Return what carries ``row``."""
        return self.agents[row.kind]

    def begin(self, lane: Lane, rows: list[Leased]) -> None:
        """Attempt ``rows``, which share message and destination, in transactions of at most 100 recipients."""
        for start in range(0, len(rows), MOST_RECIPIENTS):
            self._begin(lane, rows[start : start + MOST_RECIPIENTS])

    def _begin(self, lane: Lane, rows: list[Leased]) -> None:
        first = rows[0]
        hop = Hop(first.kind, first.dest_key, first.domain, first.route)
        lane.key = first.dest_key
        self._under_way += 1
        attempt = maybeDeferred(self.agent(first).attempt, hop, first, rows, None)
        attempt.addCallback(_checked, rows)
        attempt.addErrback(self._broken, rows)
        attempt.addCallback(self._done, lane, rows)
        attempt.addErrback(lambda failure: self._ground.logbook.failure("delivery.fault", failure, what="an attempt"))

    def expire(self, rows: list[Leased]) -> None:
        """Give up ``rows`` of one message, which expired while their destination was left alone, without an attempt."""
        self._under_way += 1
        now = self._ground.spool.now()
        ends = [("5.4.7", TOO_LATE) if is_past_its_time(now, row) else ("4.4.1", UNREACHED) for row in rows]
        outcomes = [
            Outcome(row.id, Result.EXPIRED, Fault.EXPIRED, 0, *end) for row, end in zip(rows, ends, strict=True)
        ]
        judging = Deferred.fromCoroutine(self._judge(rows, outcomes))
        judging.addErrback(lambda failure: self._ground.logbook.failure("delivery.fault", failure, what="expiring"))

    def tell_late(self, rows: list[Leased]) -> None:
        """Tell the sender of ``rows`` of one message, whose destination is left alone, that they are late."""
        self._under_way += 1
        telling = Deferred.fromCoroutine(self._told_late(rows))
        telling.addErrback(lambda failure: self._ground.logbook.failure("delivery.fault", failure, what="a warning"))

    async def _told_late(self, rows: list[Leased]) -> None:
        """Give the rows back untried, with the report: it is stored with the mark that it was made, or not at all."""
        late = [Outcome(row.id, Result.DEFERRED, Fault.CONNECT_FAILED, 0, "4.4.1", UNREACHABLE) for row in rows]
        reports: list[Report] = []
        try:
            late, reports = await self._reports.make(rows, late)
        except Exception:  # noqa: BLE001 - the directory's errors are its own; the next look comes
            self._ground.logbook.failure("delivery.fault", None, what="making a report", msg=rows[0].message_id)
        self._finish(rows, [Outcome(out.delivery_id, Result.RELEASED, warned=out.warned) for out in late], reports)

    def _broken(self, failure: Failure, rows: list[Leased]) -> list[Outcome]:
        """Make the outcomes of an agent that failed, which it must not."""
        self._ground.logbook.failure("delivery.fault", failure, what="delivery agent", msg=rows[0].message_id)
        return deferred(rows, AttemptError(Fault.LOCAL, "internal error", "4.3.0"))

    def _done(self, outcomes: Sequence[Outcome], lane: Lane, rows: list[Leased]) -> None:
        self._note_destination(lane, outcomes[0])
        simple = all(outcome.result is Result.DELIVERED for outcome in outcomes)
        if simple and not any(asks(row, outcome) for row, outcome in zip(rows, outcomes, strict=True)):
            self._finish(rows, list(outcomes), [])
        else:
            judging = Deferred.fromCoroutine(self._judge(rows, outcomes))
            judging.addErrback(lambda failure: self._ground.logbook.failure("delivery.fault", failure, what="judging"))

    async def _judge(self, rows: list[Leased], outcomes: Sequence[Outcome]) -> None:
        """Set when to try again, or that the time is over; make the reports this calls for."""
        now = self._ground.spool.now()
        decided = [self._decided(now, row, outcome) for row, outcome in zip(rows, outcomes, strict=True)]
        whole = True
        while True:
            try:
                decided, reports = await self._reports.make(rows, decided)
                break
            except Exception:  # noqa: BLE001 - the directory's errors are its own; an end without its report is a loss
                self._ground.logbook.failure("delivery.fault", None, what="making a report", msg=rows[0].message_id)
                if whole:
                    rows, decided, whole = *self._without_delivered(rows, decided), False
                if self._stopping:
                    decided = [
                        out if out.result is Result.DELIVERED else Outcome(out.delivery_id, Result.RELEASED, due_at=now)
                        for out in decided
                    ]
                    reports = []
                    break
                await deferLater(self._ground.reactor, REPORT_PAUSE)
        self._finish(rows, decided, reports)

    def _without_delivered(self, rows: list[Leased], outcomes: list[Outcome]) -> tuple[list[Leased], list[Outcome]]:
        """Settle what has been delivered: it must not wait, nor be forgotten, for a report about the others (T34).

        Who wants to hear of the delivery itself is not to miss that: such a one waits.
        """
        done: list[tuple[Leased, Outcome]] = []
        rest: list[tuple[Leased, Outcome]] = []
        for row, out in zip(rows, outcomes, strict=True):
            (done if out.result is Result.DELIVERED and not asks(row, out) else rest).append((row, out))
        if done:
            self._came([row for row, _ in done], [out for _, out in done], [])
        return [row for row, _ in rest], [out for _, out in rest]

    def _decided(self, now: int, row: Leased, outcome: Outcome) -> Outcome:
        settings: SiteSettings = self._ground.site.current
        if outcome.result is Result.RELEASED:
            return replace(outcome, due_at=now)
        if outcome.result is not Result.DEFERRED:
            return outcome
        if is_past_its_time(now, row):
            return replace(outcome, result=Result.EXPIRED, code=0, status="5.4.7", reply=f"{TOO_LATE}: {outcome.reply}")
        row, follows = ending(settings, row), terms(settings, row, outcome)
        if has_expired(now, row, follows, self._ground.spool.lived(row.message_id)):
            return replace(outcome, result=Result.EXPIRED)
        return replace(outcome, due_at=next_due(now, row, follows, self._ground.chance))

    def _finish(self, rows: list[Leased], outcomes: list[Outcome], reports: list[Report]) -> None:
        self._under_way -= 1
        self._came(rows, outcomes, reports)
        if not self._under_way:
            last, self._last = self._last, []
            for done in last:
                done.callback(None)

    def _note_destination(self, lane: Lane, outcome: Outcome) -> None:
        """Count failed connections in a row; leave the destination alone after a few."""
        ground = self._ground
        if outcome.fault in CONNECTION_FAULTS:
            now = ground.spool.now()
            in_a_row = now >= lane.alone_until  # connections that failed side by side are one failure
            lane.failed(in_a_row)
            wait = dead_for(lane.streak, ground.chance)
            if wait and in_a_row and outcome.result is Result.DEFERRED:
                lane.alone_until = lane.dead_until = now + wait
                ground.logbook.event(
                    "delivery.destination_down", destination=lane.key, why=outcome.reply, until_ms=lane.alone_until
                )
                telling = ground.spool.destination_failed(lane.dest_id, lane.dead_until, outcome)
                self.tell(telling.addCallback(lambda _: lane.known()))
            return
        answered = outcome.result is not Result.RELEASED and outcome.fault is not Fault.ROUTING
        if answered and (lane.streak or not lane.proved):
            lane.streak = lane.dead_until = lane.alone_until = 0
            lane.proved = True
            self.tell(ground.spool.destination_ok(lane.dest_id))

    def tell(self, telling: Deferred[Any]) -> None:
        """Log what the store does not take."""
        telling.addErrback(
            lambda failure: self._ground.logbook.failure("delivery.fault", failure, what="state of a destination")
        )

    async def stop(self) -> None:
        """End what is under way: released, unless it is past its final dot."""
        self._stopping = True
        done: Deferred[None] = Deferred()
        if self._under_way:
            self._last.append(done)
        else:
            done.callback(None)
        plugins = Deferred.fromCoroutine(self._plugins.stop())
        await DeferredList([self._smtp.stop(), self._commands.stop(), plugins, done])


def _checked(outcomes: Sequence[Outcome], rows: list[Leased]) -> Sequence[Outcome]:
    """Return what an agent answered.  Raises ValueError when it is not one outcome a recipient, in order."""
    if [outcome.delivery_id for outcome in outcomes] != [row.id for row in rows]:
        raise ValueError("a delivery agent did not answer for each recipient")
    return outcomes
