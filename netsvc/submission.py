"""A message on its way in (floor 4): its body to the spool, its recipients to where their mail belongs.

Nothing of the content is looked at but its header section; where policies are on
at the stage content, they see all of it, and may put fields on top, before it is
handed to the spool as one unit of work.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred, FirstError, fail, gatherResults
from zope.interface import implementer

from netsvc.deferreds import at_once
from netsvc.interfaces import IContent, ISubmission
from netsvc.mail import reply
from netsvc.mail.header import MAX_HEADER, HeaderScan
from netsvc.mail.marks import UNMARKED, Marks
from netsvc.mail.message import FLAG_8BIT, Hop, Kind, LocalDelivery, MailboxRef, Message, NewDelivery, Resolution
from netsvc.mail.reply import ReplyError
from netsvc.mail.trace import received, return_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.interfaces import IBodyWriter
    from netsvc.mail.envelope import Envelope, Recipient
    from netsvc.mailboxservice import MailboxService
    from netsvc.records import Verdict

MAX_HOPS = 50
"""Received fields a message may carry; more is a loop (RFC 5321 6.3)."""

NO_MAILBOX = 0
"""Id of no mailbox: what is to go there waits, and is returned."""

MAILBOX_KEY = "mailbox"
"""Key of the destination of mail that waits in the queue for a mailbox of ours."""

MAX_PIECE = 256 << 10
"""Octets of content a policy reads at once."""


@implementer(IContent)
class Content:
    """See IContent."""

    __slots__ = ("_body", "header", "id", "size")

    def __init__(self, number: int, body: IBodyWriter, header: bytes) -> None:
        self._body = body
        self.id = number
        self.size = body.size
        self.header = header

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """See IContent."""
        return self._body.peek(offset, min(length, MAX_PIECE))


@implementer(ISubmission)
class Submission:
    """One message on its way in."""

    __slots__ = ("_body", "_envelope", "_head", "_marks", "_scan", "_screened", "_service", "_state", "id")

    def __init__(self, service: MailboxService, envelope: Envelope) -> None:
        self._service = service
        self._envelope = envelope
        self._body = service.spool.body()
        self._screened = "content" in service.policies.stages
        self._scan = HeaderScan(keep=self._screened)
        self._marks = UNMARKED
        self._head = b""  # what policies put on top
        self._state = "open"
        self.id = service.spool.new_id()

    def write(self, data: bytes) -> Deferred[None] | None:
        """See ISubmission."""
        if self._state != "open":
            return None
        if not self._scan.done:
            self._scan.feed(data)
        return self._body.write(data)

    def abort(self) -> None:
        """See ISubmission."""
        if self._state in ("open", "screened"):
            self._state = "aborted"
            self._body.abort()

    def commit(self) -> Deferred[int]:
        """See ISubmission."""
        if self._state != "open":
            return fail(ReplyError(reply.TRANSACTION_FAILED, f"commit of a submission that is {self._state}"))
        session = self._envelope.session
        if session.marks is not UNMARKED or session.standing is not UNMARKED:
            self._marks = session.standing + session.marks
        if self._screened:
            return Deferred.fromCoroutine(self._screen())
        return self._resolve()

    async def _screen(self) -> int:
        """Ask the policies about the content, then go on."""
        self._state = "screened"
        try:
            verdict = await self._ask_policies()
        except BaseException:
            self.abort()
            raise
        self._state = "open"
        self._head = verdict.header
        self._marks += Marks(verdict.tags, verdict.held_by, verdict.held_why)
        return await self._resolve()

    async def _ask_policies(self) -> Verdict:
        """Return what the policies say; raises ReplyError where that is no."""
        self._check_header()
        service = self._service
        envelope = replace(self._envelope, content=Content(self.id, self._body, self._scan.header))
        verdict = await service.policies.ask("content", envelope)
        if verdict.action in {"reject", "defer"}:
            raise ReplyError(service.refused(verdict, "content", envelope), f"{verdict.by}: {verdict.why}")
        if self._state != "screened":
            raise ReplyError(reply.TRANSACTION_FAILED, "aborted while policies were asked")
        return verdict

    def _resolve(self) -> Deferred[int]:
        """Ask the directory where the recipients' mail belongs, then go on."""
        asked = [self._service.directory.resolve(r.address) for r in self._envelope.recipients]
        found = [at_once(each, Resolution) for each in asked]
        if None in found:
            return Deferred.fromCoroutine(self._commit_on(asked))
        try:
            return self._accept([resolution for resolution in found if resolution])
        except ReplyError as error:
            return fail(error)

    async def _commit_on(self, asked: Sequence[Deferred[Resolution]]) -> int:
        """Go on where the directory could not answer at once."""
        try:
            found = list(await gatherResults(asked, consumeErrors=True))
        except FirstError as error:
            self.abort()
            raise cast("Exception", error.subFailure.value) from error
        return await self._accept(found)

    def _accept(self, found: Sequence[Resolution]) -> Deferred[int]:
        """Hand the message to the spool, or raise ReplyError with nothing kept."""
        try:
            self._check_header()
            message, deliveries, local = self._rows(found)
        except BaseException:
            self.abort()
            raise
        self._state = "committed"
        return self._service.spool.accept(message, self._body, deliveries, local).addCallback(self._accepted, message)

    def _accepted(self, number: int, message: Message) -> int:
        session = self._envelope.session
        self._service.logbook.event(
            "message.accepted",
            id=number,
            session=session.id,
            peer=session.peer,
            sender=message.sender,
            rcpts=message.rcpts,
            size=message.size,
            msgid=message.msgid,
        )
        if self._marks.held_by:
            self._service.logbook.event(
                "message.held",
                id=number,
                session=session.id,
                peer=session.peer,
                policy=self._marks.held_by,
                why=self._marks.held_why,
            )
        return number

    def _check_header(self) -> None:
        self._scan.close()
        if self._scan.too_long:
            raise ReplyError(reply.HEADER_TOO_LARGE.fill(limit=MAX_HEADER))
        if self._scan.hops > MAX_HOPS:
            raise ReplyError(reply.MAIL_LOOP, f"{self._scan.hops} Received fields")

    def _rows(self, found: Sequence[Resolution]) -> tuple[Message, list[NewDelivery], list[LocalDelivery]]:
        service, envelope = self._service, self._envelope
        now = service.spool.now()
        trace = self._head + received(envelope, self.id, now)
        own = return_path(envelope.reverse_path) + trace
        deliveries: list[NewDelivery] = []
        local: list[LocalDelivery] = []
        seen: set[object] = set()
        gone: list[Recipient] = []
        n = 0
        for recipient, resolution in zip(envelope.recipients, found, strict=True):
            rcpt = str(recipient.address)
            targets: list[MailboxRef | str] = [*resolution.mailboxes, *resolution.forwards]
            if not resolution.local:
                targets = [rcpt]
            for target in targets:
                key = target if isinstance(target, str) else target.id
                if key in seen:
                    continue
                seen.add(key)
                n += 1
                if isinstance(target, str):
                    deliveries.append(self._elsewhere(n, target, recipient, now))
                elif target.driver == "db":
                    local.append(LocalDelivery(n, rcpt, target.address.rpartition("@")[2], target.id, own))
                else:
                    deliveries.append(_to_folder(n, target, recipient, now))
            if not targets and rcpt not in seen:
                seen.add(rcpt)
                gone.append(recipient)
        if not n:
            raise ReplyError(reply.UNKNOWN_USER, "every recipient went away after RCPT")
        for recipient in gone:  # acknowledged at RCPT: the sender is to hear of it
            n += 1
            local.append(LocalDelivery(n, str(recipient.address), recipient.address.domain, NO_MAILBOX, own))
        message = self._message(trace, now, n)
        if self._marks.held_by:
            return message, self._held(deliveries, local, now), []
        return message, deliveries, local

    def _held(self, deliveries: Sequence[NewDelivery], local: Sequence[LocalDelivery], now: int) -> list[NewDelivery]:
        """Return all deliveries on hold; those into our mailboxes wait in the queue as those do that find no room."""
        waiting = [*deliveries]
        for entry in local:
            hop = Hop(Kind.MAILBOX, MAILBOX_KEY, "", f"{MAILBOX_KEY} {entry.mailbox_id}")
            waiting.append(NewDelivery(entry.n, entry.rcpt, entry.domain, hop, now))
        marks = self._marks
        return [replace(each, held_by=marks.held_by, held_why=marks.held_why) for each in waiting]

    def _elsewhere(self, n: int, rcpt: str, recipient: Recipient, now: int) -> NewDelivery:
        domain = rcpt.rpartition("@")[2].lower()
        return NewDelivery(n, rcpt, domain, self._service.routing.route(domain), now, recipient.orcpt, recipient.notify)

    def _message(self, trace: bytes, now: int, rcpts: int) -> Message:
        envelope, scan = self._envelope, self._scan
        session = envelope.session
        return Message(
            id=self.id,
            hdr=trace,
            sender=str(envelope.reverse_path),
            sender_domain=envelope.reverse_path.domain,
            size=self._body.size,
            received_at=now,
            expires_at=now + self._service.site.current.delivery.expire,
            rcpts=rcpts,
            flags=FLAG_8BIT if envelope.body == "8BITMIME" else 0,
            listener=session.listener,
            client=session.peer,
            helo=session.helo,
            tls=session.tls,
            auth=session.user,
            msgid=scan.msgid,
            subject=scan.subject,
            tag=" ".join(self._marks.tags),
        )


def _to_folder(n: int, target: MailboxRef, recipient: Recipient, now: int) -> NewDelivery:
    """Return the delivery into a mailbox kept as a Maildir: idempotent, but not in the accepting unit of work."""
    hop = Hop(Kind.MAILDIR, f"maildir:{target.path}", recipient.address.domain, f"maildir:{target.path}")
    return NewDelivery(n, target.address, recipient.address.domain, hop, now, recipient.orcpt, recipient.notify)
