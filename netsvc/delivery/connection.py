"""One connection to a peer, carrying one message after another: a coroutine over a ``Wire``.

It is opened for a job, takes the next as soon as one is done, waits idle for a
while, and takes leave.  Every job it took ends with one outcome a recipient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError

from netsvc.delivery.carrying import Carrier
from netsvc.delivery.faults import AttemptError, UndeliverableError, deferred, released, undeliverable
from netsvc.delivery.transcript import Transcript
from netsvc.mail.outcome import Fault
from netsvc.smtp.offering import most_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.delivery.approach import Approach
    from netsvc.delivery.peers import Job, Peer
    from netsvc.delivery.targets import Target
    from netsvc.delivery.wire import Wire
    from netsvc.interfaces import ISessionEntry, ISessions, ISpool
    from netsvc.logbook import Logbook
    from netsvc.mail.message import Leased
    from netsvc.mail.outcome import Outcome

IDLE = 10
"""Seconds a connection waits for another message."""
QUIT_PATIENCE = 5
_STOPPING = "the service is stopping"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every connection needs.

    ``approach`` is the way to a target's hosts; ``said`` is what the site says of TLS and logins there, to be compared.
    """

    spool: ISpool
    sessions: ISessions
    logbook: Logbook
    now: Callable[[], float]
    approach: Callable[[Target, Transcript], Approach]
    said: Callable[[Target], object]


class Connection:
    """One connection; ``start`` it once."""

    def __init__(self, peer: Peer, job: Job, around: Surroundings) -> None:
        self.peer = peer
        self._job: Job | None = job
        self._around = around
        self._wire: Wire | None = None
        self._entry: ISessionEntry | None = None
        self._resume: Deferred[Job | None] | None = None
        self._approach: Approach | None = None
        self._opening: Deferred[Wire] | None = None
        self._address = ""
        self._messages = 0
        self._carrier: Carrier | None = None
        self._stopping = False
        self._kicked = False
        self._said = around.said(peer.target)
        self._outdated = False
        self.ended: Deferred[None] = Deferred()

    def start(self) -> None:
        """Begin; ``ended`` fires when the connection is gone."""
        running = Deferred.fromCoroutine(self._run())
        running.addErrback(self._broken)
        running.addBoth(lambda _: self.ended.callback(None))

    def resume(self, job: Job) -> None:
        """Carry ``job`` on this idle connection."""
        self._wake(job)

    def stop(self) -> None:
        """Take no more jobs.  What has not reached its final dot is broken off and released."""
        self._stopping = True
        if self._resume is not None:
            self._wake(None)
        elif self._wire is not None and not self._wire.session.dotted:
            self._wire.fail(AttemptError(Fault.LOST, _STOPPING))
        elif self._wire is None and self._opening is not None:
            self._opening.cancel()

    def look_again(self) -> None:
        """Take no further message where the site has changed what TLS must be like: this session keeps old terms."""
        if not self._outdated and self._around.said(self.peer.target) != self._said:
            self._outdated = True
            if self._resume is not None:
                self._wake(None)

    def abort(self, words: str = "ended by an operator") -> None:
        """End the connection at once, whatever it is doing."""
        if self._wire is not None:
            self._wire.fail(AttemptError(Fault.LOST, words))  # which wakes whoever is idle

    def kick(self, reason: str = "") -> bool:
        """End the connection by an operator's wish -> False when the final dot's answer comes first.

        A message whose content has been sent may be kept by the peer: breaking off would send it twice.  Asked a
        second time it is broken off all the same.
        """
        wire, again = self._wire, self._kicked
        self._kicked = True
        if wire is not None and wire.session.dotted and not again:
            return False
        self.abort(f"ended by an operator: {reason}" if reason else "ended by an operator")
        return True

    def _transaction_facts(self) -> tuple[str, Sequence[str], int] | None:
        """Return (sender, recipients, octets) of the message being carried, None between messages."""
        job = self._job
        if job is None:
            return None
        first = job.rows[0]
        return first.sender, [row.rcpt for row in job.rows], len(first.hdr) + first.size

    def _rest_ends(self) -> None:
        self._wake(None)

    def _wake(self, job: Job | None) -> None:
        waiter, self._resume = self._resume, None
        if waiter is not None:
            waiter.callback(job)

    def _broken(self, failure: object) -> None:
        """Our own mistake: nobody may wait for ever because of it."""
        self._around.logbook.failure("delivery.fault", failure, what="smtp connection")  # type: ignore[arg-type] # an errback's argument
        job, self._job = self._job, None
        if self._wire is not None:
            self._wire.fail(AttemptError(Fault.LOCAL, "internal error", "4.3.0"))
        self._leave()
        if job is not None and not job.done.called:
            job.end(deferred(job.rows, AttemptError(Fault.LOCAL, "internal error", "4.3.0")))

    async def _run(self) -> None:
        job = self._job
        assert job is not None
        record = Transcript(self._around.now, job.observer)
        try:
            wire = await self._open(record)
        except AttemptError as why:
            self._refused(job, why, record)
            return
        if self._outdated:
            self._job = None
            self.peer.again(job)
            await self._farewell(wire)
            return
        while job is not None:
            self._job = job
            self._messages += 1
            await self._carry(wire, job, record)
            job = await self._next(wire)
            if job is not None:
                record = Transcript(self._around.now, job.observer)
                record.entry, wire.record = self._entry, record
                record.note(f"message {self._messages + 1} of the connection to {self._where}")
        await self._farewell(wire)

    # opening

    async def _open(self, record: Transcript) -> Wire:
        """Return a wire whose peer is ready for a transaction.  Raises AttemptError of the destination's kind."""
        approach = self._approach = self._around.approach(self.peer.target, record)
        while True:
            self._opening = Deferred.fromCoroutine(approach.next())
            try:
                wire = self._wire = await self._opening
            except (CancelledError, ConnectingCancelledError):
                raise AttemptError(Fault.LOST, _STOPPING) from None
            except AttemptError:
                self._address = approach.address
                raise
            self._enter(wire, approach, record)
            try:
                await approach.greet(wire)
            except AttemptError as why:
                if self._stopping or self._kicked:
                    raise
                self._wire = None
                self._end_entry(why.words)
                approach.failed(why)
                continue
            assert self._entry is not None
            self._entry.helo, self._entry.tls = wire.session.peer_name, wire.tls
            self._carrier = Carrier(wire, self._around.spool, self._host, self._address)
            record.take(wire.session.dialogue)
            self.peer.opened(self)
            return wire

    def _enter(self, wire: Wire, approach: Approach, record: Transcript) -> None:
        """List the session that begins."""
        self._address = str(getattr(wire.transport.getPeer(), "host", ""))
        self._entry = entry = self._around.sessions.open("smtp-out", self._address, domain=self.peer.target.key)
        entry.kick, entry.transaction, entry.port = self.kick, self._transaction_facts, approach.host.port
        entry.state = "greeting"
        record.entry, wire.record = entry, record
        entry.keep_lines((("-", f"connected to [{self._address}]:{entry.port} for {self.peer.target.key}"),))

    def _end_entry(self, why: str) -> None:
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.why = why
            entry.close()

    @property
    def _host(self) -> str:
        """The name of the host we speak with, or last tried to."""
        return self.peer.target.host if self._approach is None else self._approach.host.name

    @property
    def _where(self) -> str:
        return f"{self._host} ({self._address})"

    def _refused(self, job: Job, why: AttemptError, record: Transcript) -> None:
        """End a job whose destination could not be reached or does not want us."""
        self._job = None
        if why.reply is None:
            record.note(why.words)
        if isinstance(why, UndeliverableError) and not self._stopping:
            for each in (job, *self.peer.take_waiting()):
                each.end(undeliverable(each.rows, why, bytes(record)))
            self._leave()
            return
        waits = not self._stopping and self.peer.failed(job)
        self._leave()
        if not waits:
            job.end(released(job.rows) if self._stopping else self._deferred(job.rows, why, record))

    # carrying

    async def _carry(self, wire: Wire, job: Job, record: Transcript) -> None:
        """Carry one job to its end: its outcomes are given out when this returns."""
        carrier, entry = self._carrier, self._entry
        assert carrier is not None
        assert entry is not None
        entry.state = "transaction"
        outcomes = await carrier.carry(job.rows, record, self._failed)
        self._count(wire)
        self._job = None
        if carrier.stale and self._messages > 1 and not (job.again or self._stopping or self._kicked):
            self._leave()
            self.peer.again(job)
            return
        job.end(outcomes)
        if wire.session.state == "ready":
            self.peer.carried()
        elif not self._stopping and not self._kicked:
            self.peer.broke()

    def _failed(self, why: BaseException, rows: list[Leased], record: Transcript) -> list[Outcome]:
        """Return the outcomes of what something went wrong with: the peer, the way to it, or our own store."""
        if not isinstance(why, AttemptError):
            self._around.logbook.failure("delivery.fault", None, what="content", msg=rows[0].message_id)
            why = AttemptError(Fault.LOCAL, f"the content cannot be read: {type(why).__name__}", "4.3.0")
        record.note(why.words)
        return released(rows) if why.words == _STOPPING else self._deferred(rows, why, record)

    def _deferred(self, rows: Sequence[Leased], why: AttemptError, record: Transcript) -> list[Outcome]:
        outcomes = deferred(rows, why, host=self._host, addr=self._address, ms=record.ms, transcript=bytes(record))
        tls = "" if self._wire is None else self._wire.tls
        return [replace(outcome, tls=tls) for outcome in outcomes] if tls else outcomes

    def _count(self, wire: Wire) -> None:
        entry = self._entry
        assert entry is not None
        entry.messages = self._messages
        entry.commands = wire.session.replies
        entry.octets = wire.octets

    # between messages and at the end

    async def _next(self, wire: Wire) -> Job | None:
        """Return the next job, waiting idle for one; None when the connection is to be closed."""
        most = self.peer.most_messages()
        most = min(most_messages(wire.session.extensions) or most, most)
        if self._stopping or self._kicked or self._outdated or not wire.usable or self._messages >= most:
            return None
        job = self.peer.next_job()
        assert self._entry is not None
        assert self._approach is not None
        if job is not None or self._approach.wanted:
            return job
        self._entry.state = "idle"
        waiter: Deferred[Job | None] = Deferred()
        self._resume = waiter
        self.peer.idle.append(self)
        wire.rest(IDLE, self._rest_ends)
        self._approach.rest(self._rest_ends)
        job = await waiter
        wire.end_rest()
        self._approach.end_rest(self._rest_ends)
        if job is None and self in self.peer.idle:
            self.peer.idle.remove(self)
        return job

    async def _farewell(self, wire: Wire) -> None:
        self._leave()
        if not wire.usable:
            wire.close()
            return
        try:
            wire.session.quit()
            wire.flush()
            wire.give_until(QUIT_PATIENCE)
            await wire.event()
        except AttemptError:
            return  # it is gone already
        wire.close()

    def _leave(self) -> None:
        """Take no more jobs."""
        self._end_entry("" if self._wire is None else self._wire.why)
        if self._approach is not None:
            self._approach.left()
        self.peer.left(self)
