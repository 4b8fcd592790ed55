"""The client's side of an SMTP session, silent: octets in, events out (RFC 5321, 2920, 3030; ``offering``).

A session is greeted, says EHLO (HELO to a peer that does not know it), then
carries one transaction after another:

    Ready  --begin-->  [MAIL RCPT... DATA, in one group with PIPELINING]
           SendContent  --content...finish-->  Completed  (ready again)

To a peer that offers CHUNKING the content goes in one chunk, without asking
first (RFC 3030): no DATA, and ``SendContent`` as soon as a recipient is accepted
and all are answered.

``Completed`` holds one verdict a recipient, in order, whatever went wrong on
the way.  ``Ended`` comes once and last.  A reply with 421 ends the session after
it has decided what was undecided.  Anything a client cannot expect raises
``PeerError``; then the session is over and nothing undecided was delivered,
except that the peer may have taken content whose final dot it was sent.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from netsvc.mail.escape import escape_bytes
from netsvc.smtp import offering
from netsvc.smtp.chunking import ChunkSender
from netsvc.smtp.replies import PeerError, PeerReply, ReplyParser
from netsvc.smtp.transparency import DotStuffer

if TYPE_CHECKING:
    from netsvc.smtp.offering import Transaction

_EXTENSION = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]{0,40})(?:[ =]([\x21-\x7e][\x20-\x7e]{0,500}))?\Z")
MAX_EXTENSIONS = 50

Slot = Callable[[PeerReply], None]
"""What takes the reply to one command."""


class Verdict(NamedTuple):
    """What the peer said of one recipient: its ``reply`` to ``stage``, the command that decided."""

    stage: str
    reply: PeerReply

    @property
    def delivered(self) -> bool:
        """Whether the peer has taken responsibility."""
        return self.stage == END_OF_DATA and self.reply.code < 300


MAIL_FROM = "MAIL FROM"
RCPT_TO = "RCPT TO"
END_OF_DATA = "end of data"


class Ready(NamedTuple):
    """The peer has greeted us: a transaction may begin."""


class SendContent(NamedTuple):
    """The peer waits for content: call ``content`` any number of times, then ``finish``."""


class Completed(NamedTuple):
    """The transaction is over."""

    verdicts: tuple[Verdict, ...]


class Ended(NamedTuple):
    """The session is over: ``reply`` refused it or said goodbye.  Before ``Ready``: the peer does not want us."""

    reply: PeerReply


Event = Ready | SendContent | Completed | Ended


class ClientSession:
    """One session with a peer.

    ``receive`` takes what came and returns events; after every call ``data_to_send`` gives what must go out.
    ``state`` is a word for where the dialogue is; ``replies`` counts what came.  ``dialogue`` collects commands
    (``>``) and replies (``<``) for whoever keeps a record: take them out and clear it.
    """

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self._parser = ReplyParser()
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._slots: deque[Slot] = deque([self._on_banner])
        self._waiting: deque[tuple[bytes, Slot]] = deque()
        self._verdicts: list[Verdict | None] = []
        self._refusal: Verdict | None = None
        self._turn = 0
        self._accepted = 0
        self._outgoing: DotStuffer | ChunkSender = DotStuffer()
        self._chunked = False
        self._unclean = False
        self.tls = False
        self.dialogue: list[tuple[str, bytes | PeerReply]] = []
        self.replies = 0
        self.extensions: dict[str, str] = {}
        self.peer_name = ""
        self.state = "banner"

    @property
    def dotted(self) -> bool:
        """Whether the final dot of content has been sent and not yet answered: the peer may have taken the message."""
        return self.state == END_OF_DATA

    @property
    def patience(self) -> int:
        """Seconds to wait for the next reply (RFC 5321 4.5.3.2)."""
        if self.state == END_OF_DATA:
            return 600
        if self.state == "envelope" and len(self._slots) == 1 and self._slots[0] == self._on_data:
            return 120
        return 300

    @property
    def pipelining(self) -> bool:
        """Whether commands may go out in groups (RFC 2920)."""
        return "PIPELINING" in self.extensions

    def receive(self, data: bytes) -> list[Event]:
        """Take octets from the peer.  Raises PeerError; what comes after ``Ended`` is ignored."""
        if self.state == "ended":
            return []
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

    def objection(self, transaction: Transaction) -> tuple[str, str] | None:
        """Return (enhanced status, words) why this peer can never take ``transaction``, None when it may."""
        return offering.objection(transaction, self.extensions, tls=self.tls)

    def begin(self, transaction: Transaction) -> None:
        """Begin a transaction.  Raises ValueError for a path that cannot stand in a command (none that we accepted)."""
        if self.state != "ready":
            raise RuntimeError(f"a transaction begins in state ready, not {self.state}")
        queue = [(b"RSET\r\n", self._on_reset)] if self._unclean else []
        queue.append((self._mail(transaction), self._on_mail))
        extensions, utf8 = self.extensions, transaction.wishes.utf8
        queue += [
            (
                b"RCPT TO:<" + _path(rcpt, utf8) + b">" + offering.of_rcpt(transaction, n, extensions) + b"\r\n",
                self._on_rcpt,
            )
            for n, rcpt in enumerate(transaction.recipients)
        ]
        self._chunked = "CHUNKING" in extensions
        if not self._chunked:
            queue.append((b"DATA\r\n", self._on_data))
        self._verdicts = [None] * len(transaction.recipients)
        self._refusal = None
        self._turn = self._accepted = 0
        self._outgoing = ChunkSender(transaction.size, transaction.binary) if self._chunked else DotStuffer()
        self._unclean = True
        self.state = "envelope"
        if self.pipelining:
            self._out += [command for command, _ in queue]
            self._slots.extend(slot for _, slot in queue)
        else:
            self._waiting.extend(queue)
            self._send_next()

    def _mail(self, transaction: Transaction) -> bytes:
        path = _path(transaction.sender, transaction.wishes.utf8)
        return b"MAIL FROM:<" + path + b">" + offering.of_mail(transaction, self.extensions) + b"\r\n"

    def content(self, data: bytes) -> bytes:
        """Return the wire form of the next piece of content; send it."""
        outgoing = self._outgoing
        command = outgoing.command if isinstance(outgoing, ChunkSender) else b""
        if command:
            self.dialogue.append((">", command))
            return command + outgoing.push(data)
        return outgoing.push(data)

    def finish(self) -> bytes:
        """Return what ends the content; send it.  Raises ValueError when it has not the size that was announced."""
        if self.state != "content":  # the peer has ended the session meanwhile
            return b""
        self.state = END_OF_DATA
        self._slots.append(self._on_dot)
        return self._outgoing.finish()

    def quit(self) -> None:
        """Take leave; ``Ended`` follows when the peer answers."""
        self._out.append(b"QUIT\r\n")
        self._slots.append(self._on_quit)
        self.state = "quit"

    def _send(self, command: bytes, slot: Slot) -> None:
        self._out.append(command)
        self._slots.append(slot)

    def _send_next(self) -> None:
        if self._waiting:
            self._send(*self._waiting.popleft())

    # replies before the first transaction

    def _on_banner(self, reply: PeerReply) -> None:
        if self._refused(reply, 220):
            return
        self.state = "hello"
        self._send(b"EHLO " + self._hostname.encode("ascii", "replace") + b"\r\n", self._on_ehlo)

    def _on_ehlo(self, reply: PeerReply) -> None:
        if reply.permanent:
            self._send(b"HELO " + self._hostname.encode("ascii", "replace") + b"\r\n", self._on_helo)
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

    # replies within a transaction

    def _on_reset(self, reply: PeerReply) -> None:
        if not reply.positive:
            raise PeerError(f"a reply {reply.code} to RSET")
        self._send_next()

    def _on_mail(self, reply: PeerReply) -> None:
        if not reply.positive:
            self._refuse_all(MAIL_FROM, reply)
            if self._waiting:
                self._complete()
                return
        self._send_next()

    def _on_rcpt(self, reply: PeerReply) -> None:
        if self._refusal is None:
            if reply.positive:
                self._accepted += 1
            else:
                _check_negative(RCPT_TO, reply)
                self._verdicts[self._turn] = Verdict(RCPT_TO, reply)
        self._turn += 1
        if self._chunked and self._turn == len(self._verdicts):
            if self._accepted and self._refusal is None:
                self.state = "content"
                self._events.append(SendContent())
            else:
                self._complete()
        elif not self._chunked and len(self._waiting) == 1 and not self._accepted:
            self._complete()
        else:
            self._send_next()

    def _on_data(self, reply: PeerReply) -> None:
        if reply.code == 354:
            if self._accepted:
                self.state = "content"
                self._events.append(SendContent())
            else:  # RFC 2920 3.1: nobody was accepted, yet the peer waits for content
                self.state = "void"
                self._send(b".\r\n", self._on_void)
            return
        self._refuse_all("DATA", reply)
        self._complete()

    def _on_void(self, reply: PeerReply) -> None:
        del reply  # whatever became of nothing for nobody
        self._unclean = False
        self._complete()

    def _on_dot(self, reply: PeerReply) -> None:
        if not reply.positive:
            _check_negative(END_OF_DATA, reply)
        self._decide(Verdict(END_OF_DATA, reply))
        self._unclean = False
        self._complete()

    def _on_quit(self, reply: PeerReply) -> None:
        self._end(reply)

    def _refuse_all(self, stage: str, reply: PeerReply) -> None:
        _check_negative(stage, reply)
        if self._refusal is None:
            self._refusal = Verdict(stage, reply)

    def _decide(self, verdict: Verdict) -> None:
        self._verdicts = [known or verdict for known in self._verdicts]

    def _complete(self) -> None:
        if self._refusal is not None:
            self._decide(self._refusal)
            if self._refusal.stage == MAIL_FROM:
                self._unclean = False
        self._waiting.clear()
        self._events.append(Completed(tuple(v for v in self._verdicts if v is not None)))
        self._verdicts = []
        self.state = "ready"

    # the end

    def _goodbye(self, reply: PeerReply) -> None:
        if self._verdicts:
            stage = MAIL_FROM if self.state == "envelope" else self.state
            self._decide(self._refusal or Verdict(stage, reply))
            self._complete()
        self._end(reply)

    def _unasked(self, reply: PeerReply) -> None:
        """Take a reply nobody asked for: a refusal while content goes out ends the session, else it is an error."""
        if self.state != "content" or not reply.negative:
            raise PeerError(f"a reply nobody asked for: {reply.wire}")
        self._goodbye(reply)

    def _end(self, reply: PeerReply) -> None:
        self.state = "ended"
        self._slots.clear()
        self._waiting.clear()
        self._out.clear()
        self._events.append(Ended(reply))


def _check_negative(stage: str, reply: PeerReply) -> None:
    if not reply.negative:
        raise PeerError(f"a reply {reply.code} to {stage}")


def _path(text: str, utf8: bool) -> bytes:
    if not (utf8 or text.isascii()) or not text.isprintable() or len(text) > 1000:
        raise ValueError("the path cannot stand in a command")
    return text.encode("utf-8")
