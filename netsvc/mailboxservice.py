"""The one object every door shares (floor 4).

It promises nothing of its own: it asks the policies who may send, the directory
where a recipient's mail belongs, and hands the spool one unit of work for each
message.  Doors know it only as ``IMailboxService``.

What it trusts: that the door checked the grammar of what it hands in.  What it
does not: the content, of which it looks at the header section and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred, FirstError, fail, gatherResults, succeed
from zope.interface import implementer

from netsvc.deferreds import at_once
from netsvc.interfaces import IMailboxService, ISubmission
from netsvc.mail import reply
from netsvc.mail.envelope import Envelope, Recipient
from netsvc.mail.header import MAX_HEADER, HeaderScan
from netsvc.mail.message import FLAG_8BIT, Hop, Kind, LocalDelivery, MailboxRef, Message, NewDelivery, Resolution
from netsvc.mail.reply import Reply, ReplyError
from netsvc.mail.trace import received, return_path
from netsvc.records import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from netsvc.interfaces import (
        IAccounts,
        IAudit,
        IDirectory,
        IEvents,
        IMailStore,
        IPolicy,
        IQueueAdmin,
        IRouting,
        ISessions,
        ISite,
        ISpool,
    )
    from netsvc.logbook import Logbook
    from netsvc.mail.address import Address
    from netsvc.mail.envelope import SessionFacts

MAX_HOPS = 50
"""Received fields a message may carry; more is a loop (RFC 5321 6.3)."""

NO_MAILBOX = 0
"""Id of no mailbox: what is to go there waits, and is returned."""


@dataclass(frozen=True, slots=True)
class Floors:
    """What the service stands on: one object a promise."""

    spool: ISpool
    queue: IQueueAdmin
    mail: IMailStore
    directory: IDirectory
    accounts: IAccounts
    audit: IAudit
    site: ISite
    sessions: ISessions
    events: IEvents
    routing: IRouting


@implementer(IMailboxService)
class MailboxService:
    """SMTP receives through it, the console looks and acts through it."""

    def __init__(self, floors: Floors, *, hostname: str, policies: Sequence[IPolicy], logbook: Logbook) -> None:
        self.queue = floors.queue
        self.mail = floors.mail
        self.directory = floors.directory
        self.accounts = floors.accounts
        self.audit = floors.audit
        self.site = floors.site
        self.sessions = floors.sessions
        self.events = floors.events
        self.spool = floors.spool
        self.routing = floors.routing
        self.hostname = hostname
        self.logbook = logbook
        self._at = {stage: [p for p in policies if stage in p.stages] for stage in ("mail", "rcpt")}

    def verify_sender(self, session: SessionFacts, reverse_path: Address, params: Mapping[str, str]) -> Deferred[Reply]:
        """See IMailboxService.  SIZE= beyond the limit is refused here (RFC 1870 6.1)."""
        limit = session.max_message_size
        size = params.get("SIZE", "")
        if limit and size.isdigit() and int(size) > limit:
            return succeed(reply.MESSAGE_TOO_LARGE.fill(limit=limit))
        if not self._at["mail"]:
            return succeed(reply.SENDER_OK)
        return self._ask("mail", Envelope(session, reverse_path), reply.SENDER_OK)

    def verify_recipient(
        self, session: SessionFacts, forward_path: Address, params: Mapping[str, str]
    ) -> Deferred[Reply]:
        """See IMailboxService.  What no policy accepts is not relayed."""
        del params  # the grammar allows none yet
        return self._ask("rcpt", Envelope(session, recipients=(Recipient(forward_path),)), reply.RELAY_DENIED)

    def _ask(self, stage: str, envelope: Envelope, otherwise: Reply) -> Deferred[Reply]:
        """Ask the policies of ``stage`` in turn; the first opinion counts."""
        for n, policy in enumerate(self._at[stage]):
            asked = policy.check(stage, envelope.session, envelope)
            verdict = at_once(asked, Verdict)
            if verdict is None:
                return Deferred.fromCoroutine(self._ask_on(stage, envelope, otherwise, (n, asked)))
            answer = self._judge(stage, envelope, otherwise, verdict)
            if answer is not None:
                return succeed(answer)
        return succeed(otherwise)

    async def _ask_on(
        self, stage: str, envelope: Envelope, otherwise: Reply, waiting: tuple[int, Deferred[Verdict]]
    ) -> Reply:
        """Go on where a policy could not answer at once."""
        n, asked = waiting
        answer = self._judge(stage, envelope, otherwise, await asked)
        for policy in self._at[stage][n + 1 :]:
            if answer is not None:
                break
            answer = self._judge(stage, envelope, otherwise, await policy.check(stage, envelope.session, envelope))
        return answer or otherwise

    def _judge(self, stage: str, envelope: Envelope, otherwise: Reply, verdict: Verdict) -> Reply | None:
        """Return the reply a verdict asks for, None when it is no opinion."""
        if verdict.action == "accept":
            return verdict.reply or otherwise
        if verdict.action not in {"reject", "defer"}:
            return None
        answer = verdict.reply or reply.TRANSACTION_FAILED
        session = envelope.session
        self.logbook.event(
            "smtp.refused",
            session=session.id,
            peer=session.peer,
            stage=stage,
            sender=str(envelope.reverse_path),
            rcpt=str(envelope.recipients[-1].address) if envelope.recipients else "",
            code=answer.code,
            why=verdict.why,
        )
        return answer

    def submit(self, envelope: Envelope) -> Submission:
        """See IMailboxService."""
        return Submission(self, envelope)


@implementer(ISubmission)
class Submission:
    """One message on its way in."""

    __slots__ = ("_body", "_envelope", "_scan", "_service", "_state", "id")

    def __init__(self, service: MailboxService, envelope: Envelope) -> None:
        self._service = service
        self._envelope = envelope
        self._body = service.spool.body()
        self._scan = HeaderScan()
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
        if self._state == "open":
            self._state = "aborted"
            self._body.abort()

    def commit(self) -> Deferred[int]:
        """See ISubmission."""
        if self._state != "open":
            return fail(ReplyError(reply.TRANSACTION_FAILED, f"commit of a submission that is {self._state}"))
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
        trace = received(envelope, self.id, now)
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
        return self._message(trace, now, n), deliveries, local

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
        )


def _to_folder(n: int, target: MailboxRef, recipient: Recipient, now: int) -> NewDelivery:
    """Return the delivery into a mailbox kept as a Maildir: idempotent, but not in the accepting unit of work."""
    hop = Hop(Kind.MAILDIR, f"maildir:{target.path}", recipient.address.domain, f"maildir:{target.path}")
    return NewDelivery(n, target.address, recipient.address.domain, hop, now, recipient.orcpt, recipient.notify)
