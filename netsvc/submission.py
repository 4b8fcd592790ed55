"""A message on its way in (floor 4): its body to the spool, its recipients to where their mail belongs.

Nothing of the content is looked at but its header section; where policies are on
at the stage content, they see all of it, and may put fields on top, before it is
handed to the spool as one unit of work.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, cast

from twisted.internet.defer import Deferred, FirstError, fail, gatherResults
from zope.interface import implementer

from netsvc.deferreds import at_once
from netsvc.interfaces import IContent, ISubmission
from netsvc.mail import granting, reply
from netsvc.mail.completing import complete
from netsvc.mail.header import MAX_HEADER, HeaderScan
from netsvc.mail.loops import CUT, cut
from netsvc.mail.marks import UNMARKED, Marks
from netsvc.mail.message import Hop, Kind, LocalDelivery, MailboxRef, Message, NewDelivery, Refusals, Resolution
from netsvc.mail.reply import ReplyError
from netsvc.mail.trace import received, return_path
from netsvc.mail.xtext import to_xtext
from netsvc.records import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.python.failure import Failure

    from netsvc.interfaces import IBodyWriter, IDirectory, IPolicies, IRouting, ISite, ISpool, IVitals
    from netsvc.logbook import Logbook
    from netsvc.mail.envelope import Envelope, Recipient
    from netsvc.mail.reply import Reply
    from netsvc.records import Verdict

MAX_HOPS = 50
"""Received fields a message may carry; more is a loop (RFC 5321 6.3)."""

NO_MAILBOX = 0
"""Id of no mailbox: what is to go there waits, and is returned."""

MAX_PIECE = 256 << 10
"""Octets of content a policy reads at once."""


class Takes(Protocol):
    """What a submission needs of the service it is one of."""

    spool: ISpool
    directory: IDirectory
    site: ISite
    routing: IRouting
    policies: IPolicies
    vitals: IVitals | None
    logbook: Logbook
    hostname: str

    def refused(self, verdict: Verdict, stage: str, envelope: Envelope) -> Reply:
        """Return the reply of a refusal, and tell the logbook of it."""
        ...


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

    __slots__ = (
        "_body",
        "_envelope",
        "_head",
        "_marks",
        "_numbers",
        "_refusals",
        "_scan",
        "_screened",
        "_service",
        "_state",
        "id",
    )

    def __init__(self, service: Takes, envelope: Envelope) -> None:
        self._service = service
        self._envelope = envelope
        self._body = service.spool.body()
        self._screened = "content" in service.policies.stages
        self._scan = HeaderScan(keep=self._screened)
        self._marks = UNMARKED
        self._head = b""  # what policies put on top
        self._numbers: list[list[int]] = []  # of the deliveries each recipient comes to
        self._refusals: Refusals | None = None
        self._state = "open"
        self.id = service.spool.new_id()

    def write(self, data: bytes) -> Deferred[None] | None:
        """See ISubmission."""
        if self._state != "open":
            return None
        if not self._scan.done:
            self._scan.feed(data)
        return self._body.write(data)

    @property
    def refused(self) -> dict[int, Reply]:
        """See ISubmission."""
        made = self._refusals.made if self._refusals is not None else {}
        return {i: made[own[0]] for i, own in enumerate(self._numbers) if len(own) == 1 and own[0] in made}

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
        asked = service.policies.ask("content", envelope)
        verdict = await asked if isinstance(asked, Deferred) else asked
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
            if self._scan.passed:
                found = self._cut_loops(found)
            message, deliveries, local = self._rows(found)
        except BaseException:
            self.abort()
            raise
        self._state = "committed"
        stored = self._service.spool.accept(message, self._body, deliveries, local, self._refusals)
        return stored.addCallbacks(self._accepted, self._not_stored, callbackArgs=(message,))

    def _not_stored(self, failure: Failure) -> Failure:
        """Tell who decides whether mail is taken when it was the store that failed."""
        vitals, cause = self._service.vitals, getattr(failure.value, "__cause__", None)
        if vitals is not None and isinstance(cause, StoreUnavailableError):
            vitals.not_stored(cause)
        return failure

    def _accepted(self, number: int, message: Message) -> int:
        session = self._envelope.session
        self._service.policies.accepted(session, message.sender_domain, message.size)
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

    def _cut_loops(self, found: Sequence[Resolution]) -> Sequence[Resolution]:
        """Return ``found`` without what the message has been sent on to before; raises ReplyError for a mere loop."""
        envelope = self._envelope
        left = cut(self._scan.passed, envelope.session.hostname, envelope.recipients, found)
        for recipient, resolution in zip(envelope.recipients, left, strict=True):
            if resolution is CUT:
                self._service.logbook.event(
                    "mail.loop_cut", id=self.id, session=envelope.session.id, rcpt=str(recipient.address)
                )
        return left

    def _rows(self, found: Sequence[Resolution]) -> tuple[Message, list[NewDelivery], list[LocalDelivery]]:
        service, envelope = self._service, self._envelope
        now = service.spool.now()
        trace = self._head + received(envelope, self.id, now)
        if envelope.session.service == "submission":
            trace += complete(self._scan, self.id, service.hostname, now)
        own = return_path(envelope.reverse_path) + trace
        deliveries: list[NewDelivery] = []
        local: list[LocalDelivery] = []
        seen: dict[object, int] = {}
        gone: list[int] = []
        due_at = granting.first_due(envelope.wishes, now)
        n = 0
        for recipient, resolution in zip(envelope.recipients, found, strict=True):
            if resolution is CUT:
                self._numbers.append([])  # a place for each recipient: LMTP answers them in order
                continue
            rcpt = str(recipient.address)
            targets: list[MailboxRef | str] = [*resolution.mailboxes, *resolution.forwards]
            if not resolution.local:
                targets = [rcpt]
            numbers: list[int] = []
            for target in targets:
                key = target if isinstance(target, str) else target.id
                if key in seen:
                    numbers.append(seen[key])
                    continue
                n += 1
                seen[key] = n
                numbers.append(n)
                if isinstance(target, str):
                    deliveries.append(self._elsewhere(n, target, recipient, due_at))
                elif target.driver == "db":
                    domain = target.address.rpartition("@")[2]
                    local.append(LocalDelivery(n, rcpt, domain, target.id, own, recipient.orcpt, recipient.notify))
                else:
                    deliveries.append(_to_folder(n, target, recipient, due_at))
            self._numbers.append(numbers)
            if not targets:
                gone.append(len(self._numbers) - 1)
        if not n:
            raise ReplyError(reply.UNKNOWN_USER, "every recipient went away after RCPT")
        for index in gone:  # acknowledged at RCPT: the sender is to hear of it
            recipient = envelope.recipients[index]
            rcpt = str(recipient.address)
            if rcpt not in seen:
                n += 1
                seen[rcpt] = n
                local.append(
                    LocalDelivery(n, rcpt, recipient.address.domain, NO_MAILBOX, own, recipient.orcpt, recipient.notify)
                )
            self._numbers[index].append(seen[rcpt])
        return self._message(trace, now, n), *self._divided(deliveries, local, (now, due_at))

    def _divided(
        self, deliveries: list[NewDelivery], local: list[LocalDelivery], times: tuple[int, int]
    ) -> tuple[list[NewDelivery], list[LocalDelivery]]:
        """Return what waits in the queue, and what is filed at once; of both, where LMTP may refuse one recipient."""
        marks, (now, due_at) = self._marks, times
        if self._envelope.session.service == "lmtp":
            several = {n for numbers in self._numbers if len(numbers) > 1 for n in numbers}
            self._refusals = Refusals(frozenset(entry.n for entry in local) - several)
        filed, later = granting.divided(local, held=bool(marks.held_by) or due_at > now, due_at=due_at)
        deliveries += later
        if marks.held_by:
            deliveries = [replace(each, held_by=marks.held_by, held_why=marks.held_why) for each in deliveries]
        return deliveries, filed

    def _elsewhere(self, n: int, rcpt: str, recipient: Recipient, due_at: int) -> NewDelivery:
        domain = rcpt.rpartition("@")[2].lower()
        hop = self._service.routing.route(domain, str(self._envelope.reverse_path))
        return NewDelivery(n, rcpt, domain, hop, due_at, _named(recipient, rcpt), recipient.notify)

    def _message(self, trace: bytes, now: int, rcpts: int) -> Message:
        envelope, scan = self._envelope, self._scan
        session, wishes = envelope.session, envelope.wishes
        return Message(
            id=self.id,
            hdr=trace,
            sender=str(envelope.reverse_path),
            sender_domain=envelope.reverse_path.domain,
            size=self._body.size,
            received_at=now,
            expires_at=granting.released(wishes, now) + self._service.site.current.delivery.expire,
            rcpts=rcpts,
            flags=granting.flags(envelope),
            listener=session.listener,
            client=session.peer,
            helo=session.helo,
            tls=session.tls,
            auth=session.user,
            msgid=scan.msgid,
            subject=scan.subject,
            tag=" ".join(self._marks.tags),
            envid=wishes.envid,
            ret=wishes.ret,
            prio=wishes.priority,
            by_at=granting.deliver_by(wishes, now),
        )


def _to_folder(n: int, target: MailboxRef, recipient: Recipient, due_at: int) -> NewDelivery:
    """Return the delivery into a mailbox kept as a Maildir: idempotent, but not in the accepting unit of work."""
    hop = Hop(Kind.MAILDIR, f"maildir:{target.path}", recipient.address.domain, f"maildir:{target.path}")
    orcpt = _named(recipient, target.address)
    return NewDelivery(n, target.address, recipient.address.domain, hop, due_at, orcpt, recipient.notify)


def _named(recipient: Recipient, target: str) -> str:
    """Return the ORCPT of ``target``: the sender's; else, where an alias led there, the address he knows (RFC 3461)."""
    known = str(recipient.address)
    if recipient.orcpt or known.lower() == target.lower() or not known.isascii():
        return recipient.orcpt
    return f"rfc822;{to_xtext(known)}"
