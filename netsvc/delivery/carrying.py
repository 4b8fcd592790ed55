"""Messages carried over an open session: one transaction after another, one outcome a recipient.

What a peer cannot take for some recipients only (an address beyond ASCII, more
recipients than it says it takes, one too many for its taste) parts them: the others
go, in a transaction of their own where it must be.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from netsvc.delivery.faults import AttemptError, bounced
from netsvc.delivery.offers import offered
from netsvc.mail.message import Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.smtp.client import sayable
from netsvc.smtp.clientevents import MAIL_FROM, RCPT_TO, Completed, SendContent
from netsvc.smtp.offering import most_recipients

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.delivery.transcript import Transcript
    from netsvc.delivery.wire import Event, Wire
    from netsvc.interfaces import IBodyReader, ISpool
    from netsvc.mail.message import Leased
    from netsvc.smtp.clientevents import Verdict
    from netsvc.smtp.offering import Transaction

    Failing = Callable[[BaseException, list[Leased], Transcript], list[Outcome]]

HURRY = 32 << 10
"""Octets of content that are sent before the peer has answered the envelope, where it took the last message."""
_TOO_MANY = frozenset({"", "4.5.3", "5.5.3"})
"""Statuses of 452 and 552 to RCPT that say: too many recipients."""


class Carrier:
    """Carries messages over ``wire`` to the host called ``host`` at ``address``.

    ``transactions`` counts those that came to an end; ``stale``: the last message found the connection closed.
    """

    def __init__(self, wire: Wire, spool: ISpool, host: str, address: str) -> None:
        """Begin with the first message of a session."""
        self.wire = wire
        self.host = host
        self.address = address
        self.transactions = 0
        self.stale = False
        self._taken = False
        self._spool = spool
        self._done: dict[int, Outcome] = {}

    async def carry(self, rows: list[Leased], record: Transcript, failed: Failing) -> list[Outcome]:
        """Carry one message to ``rows`` -> one outcome a row, in order.

        ``failed(why, rows, record)`` makes the outcomes of those that have none when something goes wrong.
        """
        wire, session = self.wire, self.wire.session
        replies = session.replies
        self.stale = False
        done = self._done = {}
        most = most_recipients(session.extensions)
        groups = deque([rows] if not most or len(rows) <= most else _cut(rows, most))
        try:
            while groups:
                outcomes, again = await self._send(groups.popleft(), record)
                if not done and not again and not groups:
                    return outcomes  # as nearly always
                done.update((outcome.delivery_id, outcome) for outcome in outcomes)
                groups.extend(again)
        except Exception as why:  # noqa: BLE001 - the store's errors are its own; the rows must not be lost for one
            left = [row for row in rows if row.id not in done]
            self.stale = (
                not done and isinstance(why, AttemptError) and why.fault is Fault.LOST and session.replies == replies
            )
            if not isinstance(why, AttemptError) and session.state != "ready":
                wire.fail(AttemptError(Fault.LOCAL, "the content cannot be read", "4.3.0"))
            record.take(session.dialogue)
            done.update((outcome.delivery_id, outcome) for outcome in failed(why, left, record))
        return [done[row.id] for row in rows]

    async def _send(self, rows: list[Leased], record: Transcript) -> tuple[list[Outcome], list[list[Leased]]]:
        """Carry ``rows`` in one transaction -> the outcomes that are decided, and the groups to carry after it."""
        wire, first = self.wire, rows[0]
        session = wire.session
        reader = await self._spool.open_body(first.blob_id)
        try:
            piece = await reader.read()
            whole = len(piece) >= reader.size
            offer = offered(rows, piece, whole=whole, now=self._spool.now())
            objection = session.objection(offer)
            if objection is not None:
                return self._objected(rows, objection, offer, record)
            try:
                session.begin(offer)
            except ValueError as why:
                utf8 = offer.wishes.utf8
                fit = [row for row in rows if sayable(row.sender, utf8) and sayable(row.rcpt, utf8)]
                return _parted(rows, fit, ("5.1.3", str(why)), record)
            hurried = self._taken and whole and offer.size <= HURRY and session.hurry()
            if hurried:
                await self._content(first.hdr + piece, None)
                record.take(session.dialogue)
                record.sent(offer.size)
            else:
                wire.flush()
                wire.begin_wait()
            event = await self._end(rows, record)
            if isinstance(event, SendContent):
                record.take(session.dialogue)
                record.sent(offer.size)
                await self._content(first.hdr + piece, None if whole else reader)
                event = await self._end(rows, record)
            record.take(session.dialogue)
        finally:
            reader.close()
        assert isinstance(event, Completed)
        self.transactions += 1
        return self._outcomes(rows, event.verdicts, record)

    async def _end(self, rows: list[Leased], record: Transcript) -> Event:
        """Return what ends the transaction; where the way to it breaks, keep what is decided of some."""
        try:
            return await self.wire.event()
        except AttemptError:
            known = [pair for pair in zip(rows, self.wire.session.decided, strict=False) if pair[1] is not None]
            if known:
                record.take(self.wire.session.dialogue)
                outcomes, _ = self._outcomes([row for row, _ in known], tuple(v for _, v in known if v), record)
                self._done.update((outcome.delivery_id, outcome) for outcome in outcomes)
            raise

    def _objected(
        self, rows: list[Leased], objection: tuple[str, str], offer: Transaction, record: Transcript
    ) -> tuple[list[Outcome], list[list[Leased]]]:
        """Bounce what the peer can never take; where only some addresses are to blame, only those."""
        fit = [row for row in rows if row.rcpt.isascii()] if offer.wishes.utf8 else []
        return _parted(rows, fit, objection, record)

    async def _content(self, piece: bytes, reader: IBodyReader | None) -> None:
        """Send the content, which begins with ``piece``; the rest comes from ``reader``."""
        wire, session = self.wire, self.wire.session
        if reader is None:
            wire.send(session.data_to_send() + session.content(piece) + session.finish())
            wire.begin_wait()
            return
        wire.stream()
        try:
            while piece:
                if not await wire.write_block(session.content(piece)):
                    return
                piece = await reader.read()
            await wire.write_block(session.finish())
            wire.begin_wait()
        finally:
            wire.end_stream()

    def _outcomes(
        self, rows: list[Leased], verdicts: tuple[Verdict, ...], record: Transcript
    ) -> tuple[list[Outcome], list[list[Leased]]]:
        session = self.wire.session
        self.stale = not self._done and all(v.stage == MAIL_FROM and v.reply.code == 421 for v in verdicts)
        ms, transcript = record.ms, bytes(record)
        passed_on = "DSN" in session.extensions
        self._taken = some = any(verdict.delivered for verdict in verdicts)
        out, again = [], []
        for row, verdict in zip(rows, verdicts, strict=True):
            reply = verdict.reply
            if some and too_many(verdict) and session.state == "ready":
                again.append(row)
                continue
            result, fault = _result(verdict, some)
            out.append(
                Outcome(
                    *(row.id, result, fault, reply.code, reply.status, reply.words, self.host, self.address),
                    *(self.wire.tls, ms, 0, transcript),
                    passed_on=passed_on and result is Result.DELIVERED,
                )
            )
        return out, [again] if again else []


def _cut(rows: list[Leased], most: int) -> list[list[Leased]]:
    return [rows[start : start + most] for start in range(0, len(rows), most)]


def _parted(
    rows: list[Leased], fit: list[Leased], why: tuple[str, str], record: Transcript
) -> tuple[list[Outcome], list[list[Leased]]]:
    """Bounce the rows that are not ``fit``; the others are carried after that.  All, where none is at fault."""
    status, words = why
    if len(fit) == len(rows):
        fit = []
    others = {row.id for row in fit}
    record.note(words)
    out = bounced([row for row in rows if row.id not in others], Fault.POLICY, status, words, bytes(record))
    return out, [fit] if fit else []


def too_many(verdict: Verdict) -> bool:
    """Whether the peer takes this recipient, but not in this transaction (RFC 5321 4.5.3.1.10; 552 is the old way)."""
    reply = verdict.reply
    return verdict.stage == RCPT_TO and reply.code in {452, 552} and reply.status in _TOO_MANY


def _result(verdict: Verdict, some: bool) -> tuple[Result, Fault]:
    """Return what a verdict comes to; ``some``: others of the transaction were delivered."""
    if verdict.delivered:
        return Result.DELIVERED, Fault.NONE
    later = some and too_many(verdict)
    return (Result.BOUNCED if verdict.reply.permanent and not later else Result.DEFERRED), Fault.REPLY
