"""One client's dialogue: what its session's events ask, asked of the mailbox service.

What it promises: 250 for a message is sent only when ``commit`` has fired; a
transaction that ends otherwise is aborted; an exception below becomes 451 and a
line in the logbook, never a lost connection.  While an answer or the store's
back-pressure is ``awaiting``, nothing more is understood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from netsvc.deferreds import at_once
from netsvc.mail import reply as r
from netsvc.mail.ids import show_id
from netsvc.mail.reply import Reply
from netsvc.smtp.events import (
    FLUSH,
    AuthAnswered,
    AuthRequested,
    ClientReplaced,
    ContentDropped,
    ContentEnded,
    ContentReceived,
    DataRequested,
    Greeted,
    Pause,
    RecipientGiven,
    SenderGiven,
    SessionEnded,
    StartTlsRequested,
)
from netsvc.smtp.security import NOTHING
from netsvc.smtp.server import INJECTION, AnswerError, ServerSession
from netsvc.smtp.states import UNDER_WAY, State
from netsvc.smtpd.intake import Intake
from netsvc.smtpd.login import Logins
from netsvc.smtpd.outlet import nobody
from netsvc.smtpd.standin import greeted_anew, replace_client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.interfaces import IMailboxService, ISessionEntry
    from netsvc.logbook import Logbook
    from netsvc.mail.envelope import SessionFacts
    from netsvc.smtp.security import Offer
    from netsvc.smtp.terms import Terms
    from netsvc.smtpd.guard import Guard
    from netsvc.smtpd.outlet import Outlet

BURST = 25
"""Commands understood in one go: who sends more at once lets others go first."""


class Dialogue:
    """A session and the service that answers it.

    ``session`` is the ServerSession; ``awaiting``: a Deferred of the service has not fired; ``crowding``: more
    waits than is understood in one go; ``over``: the session has ended, for the reason ``why``; ``upgrading``: TLS
    is to begin. ``answered`` is called when what was awaited has come.
    """

    __slots__ = (
        "_answered",
        "_entry",
        "_facts",
        "_guard",
        "_handle",
        "_intake",
        "_logbook",
        "_logins",
        "_moved",
        "_running",
        "_service",
        "awaiting",
        "crowding",
        "over",
        "session",
        "upgrading",
        "why",
    )

    def __init__(
        self,
        terms: Terms,
        service: IMailboxService,
        logbook: Logbook,
        *,
        who: tuple[SessionFacts, ISessionEntry],
        answered: Callable[[], None],
        guard: Guard | None = None,
    ) -> None:
        """Begin with the greeting to be sent."""
        offer = NOTHING if guard is None else guard.outside(loopback=who[0].loopback)
        self.session = ServerSession(terms, offer)
        self._guard = guard
        self._handle: Any = None  # the TLS session
        self._logins: Logins | None = None
        self.upgrading = False
        self.awaiting = False
        self.crowding = False
        self.over = False
        self.why = "closed"
        self._service = service
        self._logbook = logbook
        self._facts, self._entry = who
        self._answered = answered
        self._intake = Intake(self.session, service, logbook, self._facts)
        self._running = False
        self._moved = False  # something awaited has come

    def admit(self) -> None:
        """Ask whether the client is welcome; until that is known it is not greeted, but ``awaiting`` is set."""
        try:
            asked = self._service.verify_connection(self._facts)
        except Exception:  # noqa: BLE001 - whatever it is, the client is greeted
            asked = fail()
        if asked is None:
            return
        reply = at_once(asked, Reply)
        if reply is None:
            self._wait(asked, self._admitted)
        else:
            self._welcome(reply)

    def _admitted(self, reply: Reply) -> None:
        self.awaiting = False
        self._welcome(reply)
        self._resume()

    def _welcome(self, reply: Reply) -> None:
        """Let the greeting go out, or send the client away with a reply in its place (RFC 5321 3.1)."""
        session = self.session
        if not reply.positive and session.state is State.CONNECTED:
            session.take_output()
            session.close(reply, "not welcome")

    def secure(self, offer: Offer, handle: Any) -> None:
        """Begin anew inside the TLS session ``handle``, where ``offer`` holds; all that was said is forgotten."""
        facts, entry = self._facts, self._entry
        self.session.secured(offer)
        self._handle = handle
        self._logins = None
        facts.helo = entry.helo = facts.user = entry.user = ""
        facts.extended = False
        self.awaiting = self.upgrading = False

    def run(self, outlet: Outlet) -> bool:
        """Act on what has been received until something is awaited, replies are stuck, or all is used.

        Return whether a command, a content or a wait for the service came to its end.
        """
        session = self.session
        self._running = True
        commands = session.commands
        moved, self._moved = self._moved, False
        self.crowding = False
        while not self.awaiting:
            if session.commands - commands >= BURST:
                self.crowding = True
                break
            event = session.next_event()
            kind = type(event)
            if kind is not Pause:
                moved = moved or kind is not ContentReceived
                self._ACTIONS[kind](self, event)
            elif event is FLUSH and not outlet.full:
                out = session.take_output()
                outlet.write(out)
                self._entry.keep(session.take_heard(), out)
            else:
                break
        self._running = False
        out = session.take_output()
        if out:
            outlet.write(out)
        if out or session.heard:
            intake = self._intake
            self._entry.keep(session.take_heard(), out, intake.received)
            intake.received = 0
        return moved or session.commands != commands

    @property
    def committing(self) -> bool:
        """Whether a message is being committed: it may be kept, so that nothing but its answer may be said."""
        return self._intake.committing

    def transaction(self) -> tuple[str, Sequence[str], int] | None:
        """Return (sender, recipients, octets of content) of the transaction under way, None without one."""
        session = self.session
        if session.state not in UNDER_WAY:
            return None
        recipients = [str(each.address) for each in session.recipients]
        return str(session.reverse_path), recipients, session.content_size

    def close(self, reply: Reply, why: str) -> bool:
        """End the session with ``reply``; return whether ``run`` is to be called for that."""
        self.session.close(reply, why)
        self.awaiting = False
        return not self._running

    def end(self, why: str = "") -> None:
        """End without a word: the connection is gone, or is about to be."""
        self.over = True
        self.why = why or self.why
        self._answered = nobody
        self._intake.forget()

    # What events ask for.

    def _greeted(self, event: Greeted) -> None:
        self._facts.helo = self._entry.helo = event.name
        self._facts.extended = event.extended
        try:
            asked = self._service.verify_helo(self._facts)
        except Exception:  # noqa: BLE001 - whatever it is, the client may try again
            asked = fail()
        if asked is None:
            self.session.send(r.HELLO)
        else:
            self._settle(asked)

    def _client_replaced(self, event: ClientReplaced) -> None:
        replace_client(self._facts, self._entry, event.given, self._logbook)
        self.session.authenticated = bool(self._facts.user)
        greeting = r.GREETING.fill(hostname=self._facts.hostname)
        asked = self._service.verify_connection(self._facts)
        if asked is None:
            self.session.send(greeting)
        else:
            self._settle(asked.addCallback(greeted_anew, greeting))

    def _starttls(self, event: StartTlsRequested) -> None:
        del event
        self.session.send(r.READY_FOR_TLS)
        if self.session.state is not State.CLOSED:
            self.awaiting = self.upgrading = True  # until ``secure``

    def _auth(self, event: AuthRequested | AuthAnswered) -> None:
        if self._logins is None:
            assert self._guard is not None, "AUTH is offered by a guard only"
            self._logins = Logins(self._guard, self._facts, self._entry, self._handle)
        self._settle(self._logins.answer(event))

    def _dropped(self, event: ContentDropped) -> None:
        del event
        self._intake.forget()

    def _sender(self, event: SenderGiven) -> None:
        self._intake.forget()  # of chunks that EHLO has ended
        self._verify(self._service.verify_sender, event)

    def _recipient(self, event: RecipientGiven) -> None:
        self._verify(self._service.verify_recipient, event)

    def _data(self, event: DataRequested) -> None:
        del event
        self._answer(self._intake.open())

    def _content(self, event: ContentReceived) -> None:
        pressure = self._intake.write(event.data)
        if pressure is not None and not pressure.called:
            self.awaiting = True
            pressure.addBoth(self._written)

    def _content_ended(self, event: ContentEnded) -> None:
        done = self._intake.commit(event)
        if isinstance(done, Reply):
            self._answer(done)
            return
        number = at_once(done, int)
        if number is None:
            self._wait(done, self._committed)
        else:
            self._committed(number)

    def _session_ended(self, event: SessionEnded) -> None:
        if event.why == INJECTION:
            self._logbook.event("smtp.starttls_injection", session=self._facts.id, peer=self._facts.peer)
        self.end(event.why)

    # Answers.

    def _verify(self, ask: Callable[..., Deferred[Reply]], event: SenderGiven | RecipientGiven) -> None:
        """Ask the service about a path, and answer."""
        try:
            asked = ask(self._facts, event.path, event.params)
        except Exception:  # noqa: BLE001 - whatever it is, the client may try again
            asked = fail()
        self._settle(asked)

    def _settle(self, asked: Deferred[Reply]) -> None:
        """Answer with the reply that is asked for."""
        reply = at_once(asked, Reply)
        if reply is None:
            self._wait(asked, self._verified)
        else:
            self._answer(reply)

    def _wait(self, asked: Deferred[Any], use: Callable[[Any], None]) -> None:
        self.awaiting = True
        asked.addCallbacks(use, self._failed)
        asked.addErrback(self._broken)

    def _verified(self, reply: Reply) -> None:
        self.awaiting = False
        self._answer(reply)
        self._resume()

    def _broken(self, failure: Failure) -> None:
        """Log a mistake of our own; the deadline ends the session."""
        self._logbook.failure("smtp.fault", failure, session=self._facts.id)

    def _committed(self, number: int) -> None:
        self._entry.messages += 1
        self.awaiting = self._intake.committing = False
        self._answer_content(r.queued(show_id(number)))
        self._resume()

    def _failed(self, failure: Failure) -> None:
        self.awaiting = False
        reply = self._intake.refusal(failure)
        if self._intake.committing:
            self._answer_content(reply)
        else:
            self._answer(reply)
        self._resume()

    def _answer_content(self, reply: Reply) -> None:
        """Answer what a commit came to: with ``reply``, but for recipients that were refused alone."""
        each = self._intake.settled(reply)
        if each and not self.over and self.session.asked is not None:
            self.session.send_each(each)
        else:
            self._answer(reply)

    def _written(self, result: object) -> None:
        """Go on: the store takes more."""
        if isinstance(result, Failure):
            self._intake.broken(result)
        self.awaiting = False
        self._resume()

    def _resume(self) -> None:
        if not self._running:
            self._moved = True
            self._answered()

    def _answer(self, reply: Reply) -> None:
        """Answer the session's event, unless it has ended meanwhile."""
        if self.over or self.session.asked is None:
            return
        try:
            self.session.send(reply)
        except (AnswerError, AttributeError):  # no answer to this event, or no Reply at all
            self._logbook.failure("smtp.fault", None, session=self._facts.id)
            self.session.send(r.NOT_TAKEN)

    _ACTIONS: ClassVar[dict[type, Callable[[Dialogue, Any], None]]] = {
        Greeted: _greeted,
        ClientReplaced: _client_replaced,
        StartTlsRequested: _starttls,
        AuthRequested: _auth,
        AuthAnswered: _auth,
        SenderGiven: _sender,
        RecipientGiven: _recipient,
        DataRequested: _data,
        ContentReceived: _content,
        ContentDropped: _dropped,
        ContentEnded: _content_ended,
        SessionEnded: _session_ended,
    }
