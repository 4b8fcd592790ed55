"""The client's side of an SMTP session, silent: octets in, events out (RFC 5321, 2920, 3030; ``offering``).

A session is opened (``opening``), then carries one transaction after another:

    Ready  --begin-->  [MAIL RCPT... DATA, in one group with PIPELINING]
           SendContent  --content...finish-->  Completed  (ready again)

To a peer that offers CHUNKING the content goes in one chunk, without asking
first (RFC 3030): no DATA, and ``SendContent`` as soon as a recipient is accepted
and all are answered.  ``hurry`` right after ``begin`` does not wait for that: the
content follows the commands at once, and there is no ``SendContent``.

``Completed`` holds one verdict a recipient, in order, whatever went wrong on
the way.  ``Ended`` comes once and last.  A reply with 421 ends the session after
it has decided what was undecided.  Anything a client cannot expect raises
``PeerError``; then the session is over and nothing undecided was delivered,
except that the peer may have taken content whose final dot it was sent.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from netsvc.smtp import offering
from netsvc.smtp.chunking import ChunkSender
from netsvc.smtp.clientevents import END_OF_DATA, MAIL_FROM, RCPT_TO, Completed, SendContent, Verdict
from netsvc.smtp.opening import Opening
from netsvc.smtp.replies import PeerError
from netsvc.smtp.transparency import DotStuffer

if TYPE_CHECKING:
    from netsvc.smtp.offering import Transaction
    from netsvc.smtp.opening import Slot
    from netsvc.smtp.replies import PeerReply

MAX_PATH = 1000
"""Characters of a path; RFC 5321 4.5.3.1.3 promises 256 octets."""


class ClientSession(Opening):
    """One session with a peer: ``Opening``, and transactions."""

    def __init__(self, hostname: str) -> None:
        super().__init__(hostname)
        self._waiting: deque[tuple[bytes, Slot]] = deque()
        self._verdicts: list[Verdict | None] = []
        self._refusal: Verdict | None = None
        self._turn = 0
        self._accepted = 0
        self._outgoing: DotStuffer | ChunkSender = DotStuffer()
        self._chunked = False
        self._unclean = False
        self._hurried = False

    @property
    def dotted(self) -> bool:
        """Whether the final dot of content has been sent and not yet answered: the peer may have taken the message."""
        return self.state == END_OF_DATA

    @property
    def patience(self) -> int:
        """Seconds to wait for the next reply (RFC 5321 4.5.3.2)."""
        if self.state == END_OF_DATA:
            return 300 if self._hurried and len(self._slots) > 1 else 600
        if self.state == "envelope" and len(self._slots) == 1 and self._slots[0] == self._on_data:
            return 120
        return 300

    @property
    def decided(self) -> tuple[Verdict | None, ...]:
        """What is decided of each recipient though the transaction is not over; empty where nothing is."""
        return tuple(known or self._refusal for known in self._verdicts) if self.state == "void" else ()

    @property
    def pipelining(self) -> bool:
        """Whether commands may go out in groups (RFC 2920)."""
        return "PIPELINING" in self.extensions

    def objection(self, transaction: Transaction) -> tuple[str, str] | None:
        """Return (enhanced status, words) why this peer can never take ``transaction``, None when it may."""
        return offering.objection(transaction, self.extensions, tls=self.tls and self.verified)

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
        self._hurried = False
        self.state = "envelope"
        if self.pipelining:
            self._out += [command for command, _ in queue]
            self._slots.extend(slot for _, slot in queue)
        else:
            self._waiting.extend(queue)
            self._send_next()

    def hurry(self) -> bool:
        """Send the content now, behind the commands of ``begin`` -> False where this peer has to be asked first.

        To a peer that takes commands in groups and content in chunks that is one round trip instead of two.
        """
        if self.state != "envelope" or not (self._chunked and self.pipelining):
            return False
        self._hurried = True
        self.state = "content"
        return True

    def _mail(self, transaction: Transaction) -> bytes:
        path = _path(transaction.sender, transaction.wishes.utf8)
        said = b" AUTH=<>" if self.authenticated else b""  # RFC 4954 5: we do not vouch for whoever wrote it
        return b"MAIL FROM:<" + path + b">" + offering.of_mail(transaction, self.extensions) + said + b"\r\n"

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

    def _send_next(self) -> None:
        if self._waiting:
            self._send(*self._waiting.popleft())

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
        if self._hurried:
            return
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
            else:
                self._nothing()
            return
        self._refuse_all("DATA", reply)
        self._complete()

    def _nothing(self) -> None:
        """End content for nobody: none was accepted, yet the peer waits for it (RFC 2920 3.1).

        What is decided stands, whatever becomes of nothing (``decided``).
        """
        self.state = "void"
        self._send(b".\r\n", self._on_void)

    def _on_void(self, reply: PeerReply) -> None:
        del reply  # whatever became of nothing for nobody
        self._unclean = False
        self._complete()

    def _on_dot(self, reply: PeerReply) -> None:
        if not reply.positive:
            _check_negative(END_OF_DATA, reply)
        if self._refusal is None:
            self._decide(Verdict(END_OF_DATA, reply))
        self._unclean = self._hurried and not self._accepted
        self._complete()

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
            asked = self.state == "envelope" or (self._hurried and len(self._slots) > 1)
            stage = MAIL_FROM if asked else self.state
            self._decide(self._refusal or Verdict(stage, reply))
            self._complete()
        self._waiting.clear()
        self._end(reply)

    def _unasked(self, reply: PeerReply) -> None:
        """Take a reply nobody asked for: a refusal while content goes out ends the session, else it is an error."""
        if self.state != "content" or not reply.negative:
            super()._unasked(reply)
        self._goodbye(reply)


def _check_negative(stage: str, reply: PeerReply) -> None:
    if not reply.negative:
        raise PeerError(f"a reply {reply.code} to {stage}")


def sayable(path: str, utf8: bool) -> bool:
    """Whether ``path`` can stand in a command; ``utf8``: of a transaction with SMTPUTF8."""
    return (utf8 or path.isascii()) and path.isprintable() and len(path) <= MAX_PATH


def _path(text: str, utf8: bool) -> bytes:
    if not sayable(text, utf8):
        raise ValueError("the path cannot stand in a command")
    return text.encode("utf-8")
