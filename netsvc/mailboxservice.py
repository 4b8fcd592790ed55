"""The one object every door shares (floor 4).

It promises nothing of its own: it asks the policies who may send, the directory
where a recipient's mail belongs, and hands the spool one unit of work for each
message.  Doors know it only as ``IMailboxService``.

What it trusts: that the door checked the grammar of what it hands in.  A message
on its way in is a ``submission.Submission``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from netsvc.interfaces import IMailboxService
from netsvc.mail import reply
from netsvc.mail.envelope import Envelope, Recipient
from netsvc.mail.marks import UNMARKED, Marks
from netsvc.mail.reply import Reply
from netsvc.records import PASS, Verdict
from netsvc.submission import Submission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.interfaces import (
        IAccounts,
        IAudit,
        ICertificates,
        ICounters,
        ICredentials,
        IDeliveryAgentMaker,
        IDeliveryMap,
        IDirectory,
        IDoors,
        IEvents,
        IMailStore,
        IPolicies,
        IQueueAdmin,
        IResolver,
        IRouting,
        ISenders,
        ISessions,
        ISite,
        ISpool,
        ITlsPolicies,
        IVitals,
    )
    from netsvc.logbook import Logbook
    from netsvc.mail.address import Address
    from netsvc.mail.envelope import SessionFacts

ACCEPTED = {
    "connect": reply.OK,
    "helo": reply.HELLO,
    "mail": reply.SENDER_OK,
    "rcpt": reply.RECIPIENT_OK,
    "content": reply.OK,
}
"""Replies of stages where a policy accepts without one of its own."""

SESSION_STAGES = frozenset({"connect", "helo"})
"""Stages whose marks stay for all mail of the session."""


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
    doors: IDoors
    vitals: IVitals | None = None
    senders: ISenders | None = None
    certificates: ICertificates | None = None
    resolver: IResolver | None = None
    counters: ICounters | None = None
    credentials: ICredentials | None = None


@implementer(IMailboxService)
class MailboxService:
    """SMTP receives through it, the console looks and acts through it."""

    def __init__(self, floors: Floors, *, hostname: str, policies: IPolicies, logbook: Logbook) -> None:
        self.doors = floors.doors
        self.senders = floors.senders
        self.certificates = floors.certificates
        self.vitals = floors.vitals
        self.resolver = floors.resolver
        self.counters = floors.counters
        self.credentials = floors.credentials
        self.delivery_map: IDeliveryMap | None = None
        self.agents: Mapping[str, IDeliveryAgentMaker] = {}
        self.tls_policies: ITlsPolicies | None = None
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
        self.policies = policies
        self.hostname = hostname
        self.logbook = logbook

    def verify_connection(self, session: SessionFacts) -> Deferred[Reply] | None:
        """See IMailboxService.  A refusal is 554 or 421, which a greeting may be (RFC 5321 4.3.2)."""
        rule = self.doors.blocked(session.peer)  # a client behind a proxy is known only now
        if rule is not None:
            refusal = reply.BLOCKED_FOR_NOW if rule.until else reply.BLOCKED
            return succeed(refusal.fill(hostname=session.hostname, peer=session.peer))
        if "connect" not in self.policies.stages:
            return None
        return self._ask_session("connect", Envelope(session), reply.OK)

    def verify_helo(self, session: SessionFacts) -> Deferred[Reply] | None:
        """See IMailboxService."""
        if "helo" not in self.policies.stages:
            return None
        return self._ask_session("helo", Envelope(session), reply.HELLO)

    def verify_sender(self, session: SessionFacts, reverse_path: Address, params: Mapping[str, str]) -> Deferred[Reply]:
        """See IMailboxService.  SIZE= beyond the limit is refused here (RFC 1870 6.1)."""
        limit = session.max_message_size
        size = params.get("SIZE", "")
        if limit and size.isdigit() and int(size) > limit:
            return succeed(reply.MESSAGE_TOO_LARGE.fill(limit=limit))
        unready = self.vitals.refusal(limit) if self.vitals is not None else None
        if unready is not None:
            return succeed(unready)
        session.sender = reverse_path
        session.declared = declared = int(size) if size.isdigit() else 0
        session.expanded = 0
        session.marks = UNMARKED
        if session.user and reverse_path.domain and self.senders is not None:
            return Deferred.fromCoroutine(self._own_sender(session, reverse_path, declared))
        return self._usual_sender(session, reverse_path, declared)

    async def _own_sender(self, session: SessionFacts, reverse_path: Address, declared: int) -> Reply:
        """Refuse somebody who has logged in an address that is not his."""
        assert self.senders is not None
        if await self.senders.may_use(session.user, str(reverse_path)):
            return await self._usual_sender(session, reverse_path, declared)
        verdict = Verdict("reject", reply.SENDER_NOT_YOURS, f"{session.user} may not send as this address", by="sender")
        return self.refused(verdict, "mail", Envelope(session, reverse_path, size=declared))

    def _usual_sender(self, session: SessionFacts, reverse_path: Address, declared: int) -> Deferred[Reply]:
        if "mail" not in self.policies.stages:
            return succeed(reply.SENDER_OK)
        return self._ask("mail", Envelope(session, reverse_path, size=declared), reply.SENDER_OK)

    def verify_recipient(
        self, session: SessionFacts, forward_path: Address, params: Mapping[str, str]
    ) -> Deferred[Reply]:
        """See IMailboxService.  What no policy accepts is not relayed."""
        del params  # no policy looks at them
        envelope = Envelope(session, session.sender, recipients=(Recipient(forward_path),), size=session.declared)
        return self._ask("rcpt", envelope, reply.RELAY_DENIED)

    def _ask(self, stage: str, envelope: Envelope, otherwise: Reply) -> Deferred[Reply]:
        """Ask the policies of ``stage``; ``otherwise`` is the reply where none decides."""
        asked = self.policies.ask(stage, envelope)
        if isinstance(asked, Deferred):
            return asked.addCallback(self._judge, stage, envelope, otherwise)
        return succeed(self._judge(asked, stage, envelope, otherwise))

    def _ask_session(self, stage: str, envelope: Envelope, otherwise: Reply) -> Deferred[Reply] | None:
        """As ``_ask``; None where nobody has anything to say at once."""
        asked = self.policies.ask(stage, envelope)
        if asked is PASS:
            return None
        if isinstance(asked, Deferred):
            return asked.addCallback(self._judge, stage, envelope, otherwise)
        return succeed(self._judge(asked, stage, envelope, otherwise))

    def _judge(self, verdict: Verdict, stage: str, envelope: Envelope, otherwise: Reply) -> Reply:
        """Return the reply a verdict asks for, and remember what is to be kept with the mail."""
        session = envelope.session
        if (verdict.tags or verdict.held_by) and verdict.action not in {"reject", "defer"}:
            marks = Marks(verdict.tags, verdict.held_by, verdict.held_why)
            if stage in SESSION_STAGES:
                session.standing += marks
            else:
                session.marks += marks
        if verdict.action == "accept":
            return verdict.reply or ACCEPTED[stage]
        if verdict.action in {"reject", "defer"}:
            return self.refused(verdict, stage, envelope)
        return otherwise

    def refused(self, verdict: Verdict, stage: str, envelope: Envelope) -> Reply:
        """Return the reply of a refusal, and tell the logbook of it."""
        session = envelope.session
        answer = verdict.reply or (reply.TRANSACTION_FAILED if verdict.action == "reject" else reply.NOT_TAKEN)
        if any("{hostname}" in line for line in answer.lines):
            answer = Reply(
                answer.code, answer.status, tuple(line.replace("{hostname}", self.hostname) for line in answer.lines)
            )
        if stage == "connect" and answer.code not in {421, 554}:
            code = 554 if answer.permanent else 421
            answer = Reply(code, answer.status, (f"{self.hostname} {answer.lines[0]}", *answer.lines[1:]))
        session.refusals += 1
        if answer.status == reply.UNKNOWN_USER.status:
            session.unknown += 1
            self.policies.unknown(session)
        rcpt = envelope.recipients[-1].address if envelope.recipients else ""
        log = self.logbook.debug if verdict.quiet else self.logbook.event
        log(
            "smtp.refused",
            session=session.id,
            peer=session.peer,
            stage=stage,
            sender=str(envelope.reverse_path),
            rcpt=str(rcpt),
            code=answer.code,
            why=verdict.why,
            policy=verdict.by,
        )
        return answer

    def submit(self, envelope: Envelope) -> Submission:
        """See IMailboxService."""
        return Submission(self, envelope)
