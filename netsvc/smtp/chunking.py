"""Content in chunks: BDAT (RFC 3030; T21).

A chunk says its size beforehand, so nothing in it can end it: its octets are
counted, never searched.  They are consumed whatever becomes of the chunk, so that
no octet of content is ever read as a command; where a size cannot be understood,
or is over the limit, the session ends instead.

The text of a message that is not BINARYMIME is held to what DATA would bring: no
bare CR or LF, no NUL.  What is found is told at the end, so that the answer does
not depend on where the client divided the message.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from netsvc.mail.reply import CHUNK_TAKEN
from netsvc.smtp.events import NEED_DATA, ContentReceived, Pause
from netsvc.smtp.transparency import REJECT, ContentReceiver, without_stray_newlines

if TYPE_CHECKING:
    from netsvc.mail.reply import Reply
    from netsvc.smtp.lines import LineBuffer

_CHUNK = re.compile(r"([0-9]+)(?: +(LAST))?\Z", re.IGNORECASE)
MAX_DIGITS = 20
MAX_CHUNK = 10**MAX_DIGITS
"""Octets no chunk has: the size of one whose number is longer than MAX_DIGITS."""


class ChunkGiven(NamedTuple):
    """A BDAT command: ``size`` octets follow it; ``last``: they are the end of the message."""

    size: int
    last: bool


def chunk_given(argument: str) -> ChunkGiven | None:
    """Return what follows BDAT, None when it cannot be understood."""
    match = _CHUNK.match(argument)
    if match is None:
        return None
    digits = match[1]
    return ChunkGiven(int(digits) if len(digits) <= MAX_DIGITS else MAX_CHUNK, match[2] is not None)


class ChunkReceiver(ContentReceiver):
    """The content that chunks bring; ``binary``: any octets are text."""

    __slots__ = ("_binary",)

    def __init__(self, limit: int = 0, bare_newline: str = REJECT, *, binary: bool = False) -> None:
        """Begin one message's content."""
        super().__init__(limit, bare_newline)
        self._tail = b""
        self._virtual = 0
        self._binary = binary

    def take(self, data: bytes) -> bytes:
        """Return the content that the next octets give: a CR at their end waits for what follows it."""
        if self._binary:
            self.size += len(data)
            return data
        if self._tail:
            data = self._tail + data
        self._tail = b"\r" if data.endswith(b"\r") else b""
        if self._tail:
            data = data[:-1]
        return self._text(data) if data else b""

    def finish(self) -> bytes:
        """Return what is left once the last octet has come, b"" the next time."""
        data, self._tail = self._tail, b""
        return self._text(data) if data else b""

    def _text(self, data: bytes) -> bytes:
        pairs = data.count(b"\r\n")
        return self._checked(data, bare_lf=data.count(b"\n") != pairs, bare_cr=data.count(b"\r") != pairs)


class Chunks:
    """Where a session stands within the chunks of one message, or within one that is refused.

    ``left`` octets of the present chunk are to come.  ``refusal`` answers it instead of 250; then what comes is
    dropped.  ``announced`` counts the octets of all chunks; ``size`` what has come of content.
    """

    __slots__ = ("_octets", "announced", "last", "left", "receiver", "refusal")

    def __init__(self, refusal: Reply | None = None) -> None:
        """Begin before the first chunk."""
        self.receiver: ChunkReceiver | None = None
        self.refusal = refusal
        self.announced = self.left = self._octets = 0
        self.last = False

    @property
    def size(self) -> int:
        """Octets of content so far."""
        return self.receiver.size if self.receiver is not None else 0

    @property
    def reply(self) -> Reply:
        """What the present chunk is answered, once it has come."""
        return self.refusal or CHUNK_TAKEN.fill(octets=self._octets)

    def begin(self, chunk: ChunkGiven) -> Chunks:
        """Begin a chunk; return these chunks."""
        self.left = self._octets = chunk.size
        self.last = chunk.last
        self.announced += chunk.size
        return self

    def next(self, lines: LineBuffer) -> ContentReceived | Pause | None:
        """Take what has come of the present chunk; return content, NEED_DATA, or None once the chunk is over."""
        receiver = self.receiver
        while self.left:
            data = lines.take(self.left)
            if not data:
                return NEED_DATA
            self.left -= len(data)
            if receiver is not None and (content := receiver.take(data)):
                return ContentReceived(content)
        if receiver is not None and self.last and (content := receiver.finish()):
            return ContentReceived(content)
        return None


class ChunkSender:
    """Makes content of a known size fit to be sent as one chunk.

    ``command`` is the BDAT that goes before the first octet, b"" once it was read.  In text a stray CR or LF is
    replaced by a space, as in what is sent after 354; ``binary`` content is as it is.
    """

    __slots__ = ("_binary", "_carriage_return", "_command", "_left")

    def __init__(self, size: int, binary: bool) -> None:
        """Begin one message of ``size`` octets."""
        self._left = size
        self._binary = binary
        self._command = b"BDAT %d LAST\r\n" % size
        self._carriage_return = False

    @property
    def command(self) -> bytes:
        """The command, once."""
        command, self._command = self._command, b""
        return command

    def push(self, data: bytes) -> bytes:
        """Return what to send for the next octets of content; a CR at their end waits for what follows it."""
        self._left -= len(data)
        if self._binary:
            return data
        if self._carriage_return:
            data = b"\r" + data
        self._carriage_return = data.endswith(b"\r")
        return without_stray_newlines(data[:-1] if self._carriage_return else data)

    def finish(self) -> bytes:
        """Return what is left to be sent.  Raises ValueError when the content was not of its size."""
        if self._left:
            raise ValueError("the content has not the size that was announced")
        return self.command + (b" " if self._carriage_return else b"")
