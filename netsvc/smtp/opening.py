"""The client's side of a session up to its first transaction, silent: banner, EHLO, STARTTLS, EHLO again, AUTH.

    220          -> EHLO (HELO to a peer that does not know it)  -> Ready
    start_tls    -> TlsBegins, or TlsRefused                       secured -> EHLO again -> Ready
    authenticate -> Challenged ... respond -> Authenticated, or NotAuthenticated

What a peer sends behind its 220 to STARTTLS, or before it was asked, may have
been put there by somebody in the middle: it raises ``InjectedError`` (SMTP.md T4).
What was known of the peer in clear is forgotten inside TLS (RFC 3207 4.2).
"""

from __future__ import annotations

import binascii
import re
from collections import deque
from collections.abc import Callable

from netsvc.mail.escape import escape_bytes
from netsvc.smtp.clientevents import (
    Authenticated,
    Challenged,
    Ended,
    Event,
    NotAuthenticated,
    Ready,
    TlsBegins,
    TlsRefused,
)
from netsvc.smtp.replies import PeerError, PeerReply, ReplyParser

_EXTENSION = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]{0,40})(?:[ =]([\x21-\x7e][\x20-\x7e]{0,500}))?\Z")
MAX_EXTENSIONS = 50
MAX_CHALLENGES = 5
"""Questions of one AUTH; the longest mechanism there is has three."""
MAX_AUTH_LINE = 512
"""Octets of AUTH with an initial response, its end included (RFC 4954 4); longer ones wait to be asked."""

Slot = Callable[[PeerReply], None]
"""What takes the reply to one command."""


class InjectedError(PeerError):
    """There was something where TLS was to begin."""


class Opening:
    """What a session has beside transactions.

    ``receive`` takes what came and returns events; after every call ``data_to_send`` gives what must go out.
    ``state`` is a word for where the dialogue is; ``replies`` counts what came.  ``dialogue`` collects commands
    (``>``) and replies (``<``) for whoever keeps a record: take them out and clear it.

    ``tls``: we are inside TLS; ``verified``: with the peer that was meant; ``near``: that is a process of this host.
    Whoever knows sets the last two.
    ``authenticated``: the peer knows us.
    """

    hello = "EHLO"
    """The verb we introduce ourselves with; HELO follows where EHLO is not known."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname.encode("ascii", "replace")
        self._parser = ReplyParser()
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._slots: deque[Slot] = deque([self._on_banner])
        self._challenges = 0
        self._initial: bytes | None = None
        self.tls = self.verified = self.near = self.authenticated = False
        self.dialogue: list[tuple[str, bytes | PeerReply]] = []
        self.replies = 0
        self.extensions: dict[str, str] = {}
        self.peer_name = ""
        self.state = "banner"

    def receive(self, data: bytes) -> list[Event]:
        """Take octets from the peer.  Raises PeerError; what comes after ``Ended`` is ignored."""
        if self.state == "ended":
            return []
        if self.state == "handshake":
            raise InjectedError("octets in clear where TLS begins")
        events: list[Event] = []
        self._events = events
        parser = self._parser
        parser.feed(data)
        while self.state != "ended" and (reply := parser.next()) is not None:
            self.replies += 1
            self.dialogue.append(("<", reply))
            if reply.code == 421:
                self._goodbye(reply)
            elif self._slots:
                self._slots.popleft()(reply)
            else:
                self._unasked(reply)
        return events

    def data_to_send(self) -> bytes:
        """Return, once, what must go out now."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self.dialogue += [(">", command) for command in self._out]
        self._out.clear()
        return data

    def quit(self) -> None:
        """Take leave; ``Ended`` follows when the peer answers."""
        self._out.append(b"QUIT\r\n")
        self._slots.append(self._on_quit)
        self.state = "quit"

    def _send(self, command: bytes, slot: Slot) -> None:
        self._out.append(command)
        self._slots.append(slot)

    # banner and EHLO

    def _on_banner(self, reply: PeerReply) -> None:
        if not self._refused(reply, 220):
            self._say_hello()

    def _say_hello(self) -> None:
        self.state = "hello"
        self._send(self.hello.encode("ascii") + b" " + self._hostname + b"\r\n", self._on_ehlo)

    def _on_ehlo(self, reply: PeerReply) -> None:
        if reply.permanent and self.hello == "EHLO":
            self._send(b"HELO " + self._hostname + b"\r\n", self._on_helo)
        elif not self._refused(reply, 250):
            for line in reply.lines[1 : MAX_EXTENSIONS + 1]:
                match = _EXTENSION.match(line.rstrip())
                if match is not None:
                    self.extensions[match[1].decode("ascii").upper()] = (match[2] or b"").decode("ascii")
            self._greeted(reply)

    def _on_helo(self, reply: PeerReply) -> None:
        if not self._refused(reply, 250):
            self._greeted(reply)

    def _greeted(self, reply: PeerReply) -> None:
        self.peer_name = escape_bytes(reply.lines[0].split(b" ")[0], 255)
        self.state = "ready"
        self._events.append(Ready())

    def _refused(self, reply: PeerReply, wanted: int) -> bool:
        if reply.negative:
            self._end(reply)
        elif reply.code != wanted:
            raise PeerError(f"a reply {reply.code} to {self.state}")
        return reply.negative

    # STARTTLS

    def start_tls(self) -> None:
        """Ask for TLS.  Raises InjectedError where something came that we did not ask for."""
        self._at_rest()
        self.state = "starttls"
        self._send(b"STARTTLS\r\n", self._on_starttls)

    def _on_starttls(self, reply: PeerReply) -> None:
        if reply.code == 220:
            if self._parser.pending:
                raise InjectedError("octets in clear behind the reply to STARTTLS")
            self.state = "handshake"
            self._events.append(TlsBegins())
            return
        if not reply.negative:
            raise PeerError(f"a reply {reply.code} to STARTTLS")
        self.state = "ready"
        self._events.append(TlsRefused(reply))

    def secured(self) -> None:
        """Go on inside TLS, all forgotten: with EHLO, or with the banner where nothing was said before."""
        self.tls = True
        self._parser = ReplyParser()
        if self.state == "banner":
            return
        self.extensions = {}
        self.peer_name = ""
        self._say_hello()

    # AUTH

    @property
    def mechanisms(self) -> frozenset[str]:
        """The mechanisms of AUTH that the peer offers here, upper case."""
        return frozenset(self.extensions.get("AUTH", "").upper().split())

    def authenticate(self, mechanism: str, initial: bytes | None = None) -> None:
        """Begin AUTH; ``initial`` is the first response, None where the peer speaks first.

        Raises InjectedError where something came that we did not ask for.
        """
        self._at_rest()
        self.state = "auth"
        self._challenges = 0
        self._initial = None
        command = b"AUTH " + mechanism.encode("ascii")
        if initial is not None:
            whole = command + b" " + (_base64(initial) or b"=")
            if len(whole) + 2 <= MAX_AUTH_LINE:
                command = whole
            else:
                self._initial = initial
        self._send(command + b"\r\n", self._on_auth)

    def respond(self, data: bytes) -> None:
        """Answer what the peer asked."""
        self._send(_base64(data) + b"\r\n", self._on_auth)

    def cancel(self) -> None:
        """Break AUTH off; ``NotAuthenticated`` follows."""
        self._send(b"*\r\n", self._on_auth)

    def _on_auth(self, reply: PeerReply) -> None:
        if reply.code == 334:
            self.dialogue[-1] = ("<", PeerReply(334, (b"(%d octets hidden)" % len(reply.lines[0]),)))
            self._on_challenge(reply)
            return
        if reply.code != 235 and not reply.negative:
            raise PeerError(f"a reply {reply.code} to AUTH")
        self.state = "ready"
        self.authenticated = reply.code == 235
        self._events.append(NotAuthenticated(reply) if reply.negative else Authenticated())

    def _on_challenge(self, reply: PeerReply) -> None:
        self._challenges += 1
        if self._challenges > MAX_CHALLENGES:
            raise PeerError("AUTH that does not end")
        try:
            data = binascii.a2b_base64(reply.lines[0].strip(), strict_mode=True)
        except ValueError:
            raise PeerError("a challenge of AUTH that is not base64") from None
        initial, self._initial = self._initial, None
        if initial is not None and not data:
            self.respond(initial)
        else:
            self._events.append(Challenged(data))

    def _at_rest(self) -> None:
        if self.state != "ready":
            raise RuntimeError(f"nothing of the opening is said in state {self.state}")
        if self._parser.pending:
            raise InjectedError("octets that nobody asked for")

    # the end

    def _on_quit(self, reply: PeerReply) -> None:
        self._end(reply)

    def _goodbye(self, reply: PeerReply) -> None:
        self._end(reply)

    def _unasked(self, reply: PeerReply) -> None:
        """Take a reply nobody asked for."""
        raise PeerError(f"a reply nobody asked for: {reply.wire}")

    def _end(self, reply: PeerReply) -> None:
        self.state = "ended"
        self._slots.clear()
        self._out.clear()
        self._events.append(Ended(reply))


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)
