"""One session's content on its way to the service: its submission, from 354 to what the client is told at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from netsvc.mail import reply as r
from netsvc.mail.envelope import Envelope
from netsvc.mail.reply import Reply, ReplyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.interfaces import IMailboxService, ISubmission
    from netsvc.logbook import Logbook
    from netsvc.mail.envelope import SessionFacts
    from netsvc.smtp.events import ContentEnded
    from netsvc.smtp.server import ServerSession


class Intake:
    """Holds the submission of the transaction under way.

    ``committing``: it is being committed; ``received`` are the octets of a content that has ended, not yet recorded.
    """

    __slots__ = ("_facts", "_logbook", "_noted", "_service", "_session", "_submission", "committing", "received")

    def __init__(self, session: ServerSession, service: IMailboxService, logbook: Logbook, facts: SessionFacts) -> None:
        """Begin without one."""
        self._session = session
        self._service = service
        self._logbook = logbook
        self._facts = facts
        self._submission: ISubmission | None = None
        self._noted = False  # a bare newline has been logged
        self.committing = False
        self.received = 0

    def open(self) -> Reply:
        """Open a submission for the session's envelope; return the answer to who wants to send content."""
        session = self._session
        recipients = tuple(session.recipients)
        envelope = Envelope(
            self._facts, session.reverse_path, recipients, session.size, session.body, wishes=session.wishes
        )
        try:
            self._submission = self._service.submit(envelope)
        except Exception:  # noqa: BLE001 - whatever it is, the client may try again
            return self.refusal(Failure())  # type: ignore[no-untyped-call] # Twisted's has no types
        return r.START_MAIL

    def write(self, data: bytes) -> Deferred[None] | None:
        """Hand on a piece of content; return the service's back-pressure."""
        if self._submission is None:
            return None
        try:
            return self._submission.write(data)
        except Exception:  # noqa: BLE001 - a broken promise; the content is read to its end and refused
            self.broken(Failure())  # type: ignore[no-untyped-call] # Twisted's has no types
            return None

    def broken(self, failure: Failure) -> None:
        """Give the submission up: a promise about it was broken."""
        self.refusal(failure)
        self.forget()

    def commit(self, event: ContentEnded) -> Deferred[int] | Reply:
        """Commit what has come; a reply says that there is nothing to commit."""
        submission = self._submission
        self.received = event.size
        if self._session.bare_newline and not self._noted:
            self._noted = True
            self._logbook.event("smtp.bare_newline", session=self._facts.id, peer=self._facts.peer)
        if event.fault is not None or submission is None:
            self.forget()
            return event.fault or r.NOT_TAKEN
        self.committing = True
        try:
            return submission.commit()
        except Exception:  # noqa: BLE001 - a broken promise; nothing was kept
            return fail()

    def settled(self, reply: Reply) -> Sequence[Reply]:
        """Let the submission go, whose commit came to ``reply``; return one a recipient where they differ (LMTP)."""
        submission, self.committing = self._submission, False
        session = self._session
        refused = submission.refused if submission is not None and session.terms.lmtp else {}
        if reply.positive:
            self._submission = None
        else:
            self.forget()
        return [refused.get(n, reply) for n in range(len(session.recipients))] if refused else []

    def refusal(self, failure: Failure) -> Reply:
        """Log what failed and return the reply for it."""
        logbook, facts = self._logbook, self._facts
        error = failure.value
        if not isinstance(error, ReplyError):
            logbook.failure("smtp.fault", failure, session=facts.id, peer=facts.peer)
            return r.NOT_TAKEN
        if self.committing and self._submission is not None:
            reply = error.reply
            logbook.event(
                "mail.not_taken",
                msg=self._submission.id,
                session=facts.id,
                peer=facts.peer,
                code=reply.code,
                why=error.cause or reply.text,
            )
        return error.reply

    def forget(self) -> None:
        """Abort the submission, unless it is being committed."""
        submission = self._submission
        if submission is not None and not self.committing:
            self._submission = None
            try:
                submission.abort()
            except Exception:  # noqa: BLE001 - a broken promise; the session goes on without it
                self._logbook.failure("smtp.fault", None, session=self._facts.id)
