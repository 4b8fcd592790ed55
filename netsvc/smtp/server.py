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

from dataclasses import dataclass
from functools import cached_property

from netsvc.mail import reply as r
from netsvc.mail.address import NULL, Address
from netsvc.smtp import grammar, security, states, xclient
from netsvc.smtp.events import (
    FLUSH,
    NEED_DATA,
    PAUSED,
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
from netsvc.smtp.transparency import BARE_NEWLINE_CHOICES, REJECT, ContentReceiver

_WIRE = {id(row): bytes(row) for row in r.TABLE.values()}
"""The wire form of the table's rows; they live as long as the process, so that an id means one row."""

INJECTION = "data after STARTTLS"
"""Why a session ends whose client sent more in clear behind STARTTLS."""

_MANY = 100
"""Replies kept before the next command is read."""

_SELF_ANSWERED = {"NOOP": bytes(r.OK), "VRFY": bytes(r.CANNOT_VERIFY), "HELP": bytes(r.HELP)}


@dataclass(frozen=True)
class Terms:
    """What a listener offers its clients.  Sizes in octets; ``max_message_size`` 0 for none."""

    hostname: str
    max_message_size: int = 0
    max_recipients: int = 1000
    max_errors: int = 20
    bare_newline: str = REJECT
    xclient: bool = False

    def __post_init__(self) -> None:
        """Refuse what no session could keep."""
        if self.bare_newline not in BARE_NEWLINE_CHOICES:
            raise ValueError(f"bare_newline is one of {', '.join(BARE_NEWLINE_CHOICES)}")
        if self.max_message_size < 0 or self.max_recipients < 1 or self.max_errors < 1:
            raise ValueError("a limit is positive")

    @cached_property
    def greeting(self) -> bytes:
        """The reply to a connection."""
        return bytes(r.GREETING.fill(hostname=self.hostname))

    @cached_property
    def bye(self) -> bytes:
        """The reply to QUIT."""
        return bytes(r.BYE.fill(hostname=self.hostname))

    @cached_property
    def hello(self) -> bytes:
        """The reply to HELO."""
        return bytes(r.HELLO.fill(hostname=self.hostname))

    @cached_property
    def extended_hello(self) -> bytes:
        """The reply to EHLO: the name and the extensions (RFC 1870, 2034, 2920, 6152)."""
        first = r.HELLO.fill(hostname=self.hostname)
        size = f"SIZE {self.max_message_size}"
        offered = ("PIPELINING", size, "8BITMIME", "ENHANCEDSTATUSCODES", *([xclient.KEYWORD] if self.xclient else []))
        return bytes(r.Reply(first.code, "", (*first.lines, *offered)))


class AnswerError(Exception):
    """``send`` was called though no event asks, or with a reply that is no answer to it."""


class ServerSession:
    """One client's dialogue.

    ``reverse_path``, ``size``, ``body`` and ``recipients`` are those of the transaction under way; ``commands`` and
    ``errors`` count what came and what was wrong with it; ``heard`` gathers command lines for ``take_heard``;
    ``bare_newline`` tells whether any content held one.
    """

    __slots__ = (
        "_asked",
        "_content",
        "_ending",
        "_exchange",
        "_lines",
        "_out",
        "_refused",
        "authenticated",
        "bare_newline",
        "body",
        "commands",
        "errors",
        "heard",
        "offer",
        "recipients",
        "reverse_path",
        "size",
        "state",
        "terms",
    )

    def __init__(self, terms: Terms, offer: Offer = NOTHING) -> None:
        """Begin with the greeting to be sent."""
        self.terms = terms
        self.offer = offer
        self.authenticated = False
        self._exchange = False  # the next line is a response within AUTH
        self.state = State.CONNECTED
        self.reverse_path = NULL
        self.recipients: list[Address] = []
        self.size = 0
        self.body = "7BIT"
        self.commands = 0
        self.errors = 0
        self.heard: list[bytes] = []
        self.bare_newline = False
        self._asked: Event | None = None
        self._content: ContentReceiver | None = None
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
        if self._content is not None:
            return self._next_content(self._content)
        event: Event | None = None
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
                event = security.answered(line) if self._exchange else self._command(line)
            except CommandError as e:
                self._exchange = False
                self._err(e.reply)
            except LineTooLongError:
                self.commands += 1
                self.heard.append(b"(a line too long)")
                self._err(r.AUTH_LINE_TOO_LONG if self._exchange else r.LINE_TOO_LONG)
                self._exchange = False
        self._asked = event
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
            terms = self.terms
            if not asked.extended:
                self._out.append(terms.hello)
            elif self.offer is NOTHING:
                self._out.append(terms.extended_hello)
            else:
                self._out.append(security.extended_hello(terms.extended_hello, self.offer))
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
            if verb == "DATA" and self._refused:
                refused = r.NO_VALID_RECIPIENTS
            raise CommandError(refused)
        if event is None:
            if verb == "XCLIENT" and self.terms.xclient:
                if self.state in states.UNDER_WAY:
                    raise CommandError(states.NESTED)
                return xclient.parse(line)
            if verb in security.VERBS:
                return security.parse(verb, line, security.Standing(self.state, self.offer, self.authenticated))
            self._simple(verb)
        elif verb == "MAIL":
            if self.offer.demand is not None and not self.authenticated:
                raise CommandError(self.offer.demand)
            self._check_size(event)
        elif verb == "RCPT" and len(self.recipients) >= self.terms.max_recipients:
            self._out.append(_WIRE[id(r.TOO_MANY_RECIPIENTS)])
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

    def _check_size(self, event: Event) -> None:
        limit = self.terms.max_message_size
        if limit and isinstance(event, SenderGiven) and event.size > limit:
            raise CommandError(r.MESSAGE_TOO_LARGE.fill(limit=limit))

    def _next_content(self, content: ContentReceiver) -> Event | Pause:
        if not content.ended:
            data, rest = content.receive(self._lines.take())
            if rest:
                self._lines.push(rest)  # at once: what is received from now on comes behind it
            if data:
                return ContentReceived(data)
            if not content.ended:
                return NEED_DATA
        self._content = None
        self.state = State.COMMIT
        self.bare_newline = self.bare_newline or content.bare_newline
        self._asked = ContentEnded(content.size, content.fault)
        return self._asked

    # What answers change.

    def _accepted(self, asked: Event) -> None:
        state = states.ACCEPTED[type(asked)]
        if isinstance(asked, RecipientGiven):
            self.recipients.append(asked.path)
            self.state = state
        elif isinstance(asked, DataRequested):
            self._content = ContentReceiver(self.terms.max_message_size, self.terms.bare_newline)
            self.state = state
        else:
            self._reset(state)
            if isinstance(asked, SenderGiven):
                self.reverse_path, self.size, self.body = asked.path, asked.size, asked.body

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
        self._refused = False
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
