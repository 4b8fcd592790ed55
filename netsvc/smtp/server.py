"""The server's side of an SMTP session, silent: octets in, events and octets out.

Use.  ``receive_data`` takes what the client sent; ``next_event`` gives what it
means until NEED_DATA, PAUSED or FLUSH; ``send`` answers the event that asks;
``take_output`` gives what is to be sent.  The session answers by itself what
needs nobody's decision (syntax, sequence, NOOP, RSET, VRFY, HELP, QUIT), keeps
the transaction, and counts errors.

Promises.  Replies leave in command order: while an answer is awaited nothing
behind it is read.  However the octets are cut into chunks, events (but for where
content is cut), replies and content are the same.  Nothing received raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from netsvc.mail import reply as r
from netsvc.mail.address import NULL
from netsvc.mail.envelope import NO_WISHES, Recipient
from netsvc.smtp import grammar, security, states, xclient
from netsvc.smtp.contents import Contents
from netsvc.smtp.events import (
    FLUSH,
    NEED_DATA,
    PAUSED,
    ContentDropped,
    ContentEnded,
    ContentReceived,
    DataRequested,
    Event,
    Greeted,
    Pause,
    RecipientGiven,
    SenderGiven,
    SessionEnded,
    StartTlsRequested,
)
from netsvc.smtp.grammar import CommandError
from netsvc.smtp.lines import LineBuffer, LineTooLongError
from netsvc.smtp.masking import hide_secret
from netsvc.smtp.security import NOTHING, Offer
from netsvc.smtp.states import State
from netsvc.smtp.transparency import ContentReceiver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.smtp.chunking import ChunkGiven, Chunks
    from netsvc.smtp.terms import Terms

_WIRE = {id(row): bytes(row) for row in r.TABLE.values()}
"""The wire form of the table's rows; they live as long as the process, so that an id means one row."""

INJECTION = "data after STARTTLS"
"""Why a session ends whose client sent more in clear behind STARTTLS."""

_MANY = 100
"""Replies kept before the next command is read."""

_NEEDS_CHUNKS = r.BAD_SEQUENCE.fill(why="BINARYMIME content comes with BDAT")

_TOLD = frozenset({Pause, ContentReceived, ContentDropped})
"""What needs no answer."""

_SELF_ANSWERED = {"NOOP": bytes(r.OK), "VRFY": bytes(r.CANNOT_VERIFY), "HELP": bytes(r.HELP)}


class AnswerError(Exception):
    """``send`` was called though no event asks, or with a reply that is no answer to it."""


class ServerSession(Contents):
    """One client's dialogue.

    ``reverse_path``, ``size``, ``body``, ``wishes`` and ``recipients`` are those of the transaction under way;
    ``commands`` and ``errors`` count what came and what was wrong with it, ``messages`` the transactions; ``heard``
    gathers command lines for ``take_heard``;
    ``bare_newline`` tells whether any content held one.
    """

    __slots__ = (
        "_asked",
        "_ending",
        "_exchange",
        "_refused",
        "authenticated",
        "commands",
        "errors",
        "heard",
        "messages",
        "offer",
        "reverse_path",
        "size",
        "wishes",
    )

    def __init__(self, terms: Terms, offer: Offer = NOTHING) -> None:
        """Begin with the greeting to be sent."""
        self.terms = terms
        self.offer = offer
        self.authenticated = False
        self._exchange = False  # the next line is a response within AUTH
        self.state = State.CONNECTED
        self.reverse_path = NULL
        self.recipients: list[Recipient] = []
        self.size = 0
        self.body = "7BIT"
        self.wishes = NO_WISHES
        self.messages = 0  # transactions begun
        self.commands = 0
        self.errors = 0
        self.heard: list[bytes] = []
        self.bare_newline = False
        self._asked: Event | None = None
        self._content: ContentReceiver | Chunks | None = None
        self._chunks: Chunks | None = None  # of the transaction under way, from the first BDAT on
        self._ending = ""
        self._lines = LineBuffer()
        self._out = [terms.greeting]
        self._refused = False

    @property
    def backlog(self) -> int:
        """Octets received that wait behind an answer or within an unfinished line."""
        return len(self._lines)

    @property
    def asked(self) -> Event | None:
        """The event whose answer is awaited."""
        return self._asked

    def receive_data(self, data: bytes) -> None:
        """Take what the client sent; after the end it is dropped."""
        if self.state is not State.CLOSED:
            self._lines.push(data)

    def take_output(self) -> bytes:
        """Return what is to be sent now, each octet once."""
        out = self._out
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    def take_heard(self) -> bytes:
        """Return the command lines read since last asked, CR LF between them, fit to be kept: see ``masking``."""
        heard = self.heard
        if not heard:
            return b""
        data = heard[0] if len(heard) == 1 else b"\r\n".join(heard)
        heard.clear()
        return data

    @property
    def content_size(self) -> int:
        """Octets of content received in the transaction under way."""
        asked = self._asked
        if isinstance(asked, ContentEnded):
            return asked.size
        return 0 if self._content is None else self._content.size

    def next_event(self) -> Event | Pause:
        """Return the next event, or why there is none now."""
        if self._asked is not None:
            return PAUSED
        event = None if self._content is None else self._next_content(self._content)
        while event is None:
            if self._ending:
                event = SessionEnded(self._ending)
                self._ending = ""
                return event
            if len(self._out) >= _MANY:
                return FLUSH
            try:
                line = self._lines.pop(security.MAX_RESPONSE) if self._exchange else self._lines.pop()
                if line is None:
                    return NEED_DATA
                if self._exchange:
                    self.heard.append(b"(%d octets hidden)" % len(line))
                    event = security.answered(line)
                else:
                    event = self._command(line)
                if event is None and self._content is not None:  # a chunk about which nobody is asked
                    event = self._next_content(self._content)
            except CommandError as e:
                self._exchange = False
                self._err(e.reply)
            except LineTooLongError:
                self.commands += 1
                self.heard.append(b"(a line too long)")
                self._err(r.AUTH_LINE_TOO_LONG if self._exchange else r.LINE_TOO_LONG)
                self._exchange = False
        if type(event) not in _TOLD:
            self._asked = cast("Event", event)
        return event

    def send(self, reply: r.Reply) -> None:
        """Answer the event that asks.  A 421 ends the session.  Raises AnswerError."""
        asked = self._asked
        if asked is None:
            raise AnswerError("no event asks")
        kind = type(asked)
        code = reply.code
        if code < 400 and (code == 354) != (kind is DataRequested):
            raise AnswerError("354 accepts DATA, and DATA alone")
        self._asked = None
        if kind is StartTlsRequested and self.backlog:  # nothing that came in clear is obeyed inside (RFC 3207 6)
            self._out.append(_WIRE[id(r.STARTTLS_INJECTION)])
            self._end(INJECTION)
            return
        if code < 400 and isinstance(asked, Greeted):
            hello = self.terms.extended_hello(tls=self.offer.tls) if asked.extended else self.terms.hello
            if asked.extended and self.offer is not NOTHING:
                hello = security.extended_hello(hello, self.offer)
            self._out.append(hello)
        elif kind is DataRequested and self._chunks is not None and code != 421:
            self._begin_chunks(self._chunks, reply)
            return
        elif kind is ContentEnded and self.terms.lmtp and code != 421:
            self._out.append((_WIRE.get(id(reply)) or bytes(reply)) * len(self.recipients))
        else:
            self._out.append(_WIRE.get(id(reply)) or bytes(reply))
        if code == 421:
            self._end("refused")
        elif kind in security.ASKING:
            self._settle(kind, code)
        elif code < 400 or kind is ContentEnded:
            self._accepted(asked)
        elif kind is RecipientGiven:
            self._refused = True

    def send_each(self, replies: Sequence[r.Reply]) -> None:
        """Answer ContentEnded with one reply a recipient, as LMTP has it (RFC 2033 4.2).  Raises AnswerError."""
        if not isinstance(self._asked, ContentEnded) or len(replies) != len(self.recipients):
            raise AnswerError("one reply a recipient answers the end of content")
        self._out.append(b"".join([bytes(reply) for reply in replies]))
        self._accepted(self._asked)
        self._asked = None

    def secured(self, offer: Offer) -> None:
        """Begin anew inside TLS, where ``offer`` holds; what the client said before is forgotten."""
        self.offer = offer
        self.authenticated = False
        self._reset(State.CONNECTED)

    def close(self, reply: r.Reply, why: str) -> None:
        """End the session now, whatever its state, with a reply nobody asked for (421)."""
        if self.state is not State.CLOSED:
            self._asked = None
            self._out.append(bytes(reply))
            self._end(why)

    # What commands mean.

    def _command(self, line: bytes) -> Event | None:
        """Return the event a command is, None when it is answered already.  Raises CommandError."""
        self.commands += 1
        self.heard.append(line)
        verb, event = grammar.parse(line)
        if verb == "AUTH":
            self.heard[-1] = hide_secret(line)
        refused = states.REFUSED[self.state].get(verb)
        if refused is not None:
            if self._refused and not self.terms.lmtp and verb in {"DATA", "BDAT"}:
                refused = r.NO_VALID_RECIPIENTS  # LMTP says 503 (RFC 2033 4.2)
            if verb != "BDAT":
                raise CommandError(refused)
        if verb == "BDAT":
            return self._chunk(cast("ChunkGiven | None", event), refused)
        if event is None:
            if verb == "XCLIENT" and self.terms.xclient:
                if self.state in states.UNDER_WAY:
                    raise CommandError(states.NESTED)
                return xclient.parse(line)
            if verb in security.VERBS:
                return security.parse(verb, line, security.Standing(self.state, self.offer, self.authenticated))
            dropped = self._chunks is not None and verb == "RSET"
            self._simple(verb)
            return ContentDropped() if dropped else None
        if isinstance(event, RecipientGiven):
            if event.beyond_ascii and not self.wishes.utf8:
                raise CommandError(r.NEEDS_SMTPUTF8)
            if len(self.recipients) >= self.terms.max_recipients:
                self._out.append(_WIRE[id(r.TOO_MANY_RECIPIENTS)])
                return None
        elif isinstance(event, SenderGiven):
            return self._mail(event)
        elif verb == "DATA" and self.body == "BINARYMIME":
            raise CommandError(_NEEDS_CHUNKS)
        elif verb in grammar.HELLOS and (verb == "LHLO") != self.terms.lmtp:
            raise CommandError(r.NOT_IMPLEMENTED if verb == "LHLO" else r.UNKNOWN_COMMAND)
        return event  # type: ignore[return-value] # ChunkGiven is BDAT's alone

    def _mail(self, event: SenderGiven) -> Event | None:
        """Return the event when a MAIL may be asked about, None when the session ends.  Raises CommandError."""
        offer, terms = self.offer, self.terms
        if offer.demand is not None and not self.authenticated:
            raise CommandError(offer.demand)
        if event.params:
            objection = terms.objection(event.size, event.wishes, tls=offer.tls, authenticated=self.authenticated)
            if objection is not None:
                raise CommandError(objection)
            if "AUTH" in event.params and not offer.mechanisms:
                raise CommandError(security.AUTH_UNKNOWN)
        if terms.max_messages and self.messages >= terms.max_messages:
            self._out.append(bytes(r.TOO_MANY_MESSAGES.fill(hostname=terms.hostname)))
            self._end("too many messages")
            return None
        return event

    def _simple(self, verb: str) -> None:
        """Answer a command that asks nobody.  Raises CommandError."""
        answer = _SELF_ANSWERED.get(verb)
        if answer is not None:
            self._out.append(answer)
        elif verb == "QUIT":
            self._out.append(self.terms.bye)
            self._end("quit")
        elif verb == "RSET":
            self._out.append(_SELF_ANSWERED["NOOP"])
            self._reset(states.AFTER_RESET[self.state])
        elif self.commands == 1 and verb in grammar.HTTP_VERBS:
            self._out.append(_WIRE[id(r.NOT_SMTP)])
            self._end("not smtp")
        else:
            known = verb in grammar.VERBS or verb in grammar.NOT_OFFERED
            raise CommandError(r.NOT_IMPLEMENTED if known else r.UNKNOWN_COMMAND)

    # What answers change.

    def _accepted(self, asked: Event) -> None:
        state = states.ACCEPTED[type(asked)]
        if isinstance(asked, RecipientGiven):
            self.recipients.append(Recipient(asked.path, asked.orcpt, asked.notify))
            self.state = state
        elif isinstance(asked, DataRequested):
            self._content = ContentReceiver(self.terms.max_message_size, self.terms.bare_newline)
            self.state = state
        else:
            self._reset(state)
            if isinstance(asked, SenderGiven):
                self.reverse_path, self.size, self.body = asked.path, asked.size, asked.body
                self.wishes = asked.wishes
                self.messages += 1

    def _settle(self, kind: type[Event], code: int) -> None:
        """Act on the answer to STARTTLS or within AUTH."""
        if kind is StartTlsRequested:
            if code < 400:
                self._reset(State.CONNECTED)
        else:
            self._exchange = code == security.GO_ON
            self.authenticated = code == security.SUCCEEDED

    def _reset(self, state: State) -> None:
        """Forget the transaction."""
        self.state = state
        self.reverse_path = NULL
        self.size = 0
        self.body = "7BIT"
        self.wishes = NO_WISHES
        self._refused = False
        self._chunks = None
        if self.recipients:
            self.recipients = []

    def _end(self, why: str) -> None:
        self._reset(State.CLOSED)
        self._content = None
        self._ending = why
        self._lines.take()

    def _err(self, reply: r.Reply) -> None:
        """Answer a command that is wrong in itself; the last error allowed ends the session instead."""
        self.errors += 1
        if self.heard:
            self.heard[-1] = hide_secret(self.heard[-1])
        if self.errors < self.terms.max_errors:
            self._out.append(_WIRE.get(id(reply)) or bytes(reply))
            return
        self._out.append(bytes(r.TOO_MANY_ERRORS.fill(hostname=self.terms.hostname)))
        self._end("too many errors")
