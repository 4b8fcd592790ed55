"""Replies of a peer, as a client must read them (RFC 5321 4.2), within bounds (SMTP.md T38, T39).

``ReplyParser`` is fed octets as they come and gives whole replies.  What is not
a reply, or is larger than any honest one, raises ``PeerError`` and nothing else.
A line may end in LF alone: there is nothing to smuggle into a reply.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from netsvc.mail.escape import escape, escape_bytes

MAX_LINE = 2048
"""Octets of one reply line, its end included; RFC 5321 4.5.3.1.5 promises 512."""
MAX_LINES = 100
MAX_REPLY = 64 * 1024
"""Octets of one reply, all lines together."""

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\r\n\x00]*))?\r?\n\Z")
_STATUS = re.compile(rb"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |\Z)")


class PeerError(Exception):
    """The peer broke the protocol; the text says how, with the peer's words escaped."""


class PeerReply(NamedTuple):
    """One reply: ``code`` 200..599 and the texts behind it, a line each, as they came."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def positive(self) -> bool:
        """Whether the command did what it should: 2xx."""
        return self.code < 300

    @property
    def negative(self) -> bool:
        """Whether the peer refused, for now or for good: 4xx or 5xx."""
        return self.code >= 400

    @property
    def permanent(self) -> bool:
        """Whether the peer refused for good: 5xx."""
        return self.code >= 500

    @property
    def status(self) -> str:
        """The enhanced status (RFC 2034) the text begins with, "" when none of the code's class stands there."""
        found = _STATUS.match(self.lines[0])
        if found is None or found[1][0] != 48 + self.code // 100:
            return ""
        return found[1].decode("ascii")

    @property
    def words(self) -> str:
        """The text of all lines behind code and status, escaped, lines parted by a space."""
        status = self.status.encode("ascii")
        skip = len(status) + 1 if status else 0
        texts = [line[skip:] if status and line.startswith(status) else line for line in self.lines]
        return escape_bytes(b" ".join(texts).strip(), 1000)

    @property
    def wire(self) -> str:
        """The reply as it came, escaped, lines parted by `` / ``: for the dialogue's record."""
        texts = [line.decode("utf-8", "backslashreplace") for line in self.lines]
        return escape(f"{self.code} {' / '.join(texts)}", 1000)


class ReplyParser:
    """Octets in, replies out."""

    __slots__ = ("_at", "_buffer", "_code", "_lines", "_octets")

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._code = 0
        self._lines: list[bytes] = []
        self._octets = 0

    def feed(self, data: bytes) -> None:
        """Take what the peer sent; then ask ``next`` until it has no more."""
        self._buffer = self._buffer[self._at :] + data
        self._at = 0

    @property
    def pending(self) -> bool:
        """Whether there is more than was taken: a part of a reply, or whole ones."""
        return self._at < len(self._buffer) or bool(self._lines)

    def next(self) -> PeerReply | None:
        """Return the next whole reply, None while it has not all come.  Raises PeerError."""
        while True:
            end = self._buffer.find(b"\n", self._at, self._at + MAX_LINE)
            if end < 0:
                if len(self._buffer) - self._at >= MAX_LINE:
                    raise PeerError(f"a reply line of more than {MAX_LINE} octets")
                return None
            line = self._buffer[self._at : end + 1]
            self._at = end + 1
            reply = self._line(line)
            if reply is not None:
                return reply

    def _line(self, line: bytes) -> PeerReply | None:
        match = _LINE.match(line)
        if match is None:
            raise PeerError(f"not an SMTP reply: {escape_bytes(line.rstrip(), 100)}")
        code = int(match[1])
        if self._lines and code != self._code:
            raise PeerError(f"a reply of many lines with the codes {self._code} and {code}")
        self._code = code
        self._lines.append(match[3] or b"")
        self._octets += len(line)
        if self._octets > MAX_REPLY or len(self._lines) > MAX_LINES:
            raise PeerError(f"a reply of more than {MAX_LINES} lines or {MAX_REPLY} octets")
        if match[2] == b"-":
            return None
        reply = PeerReply(code, tuple(self._lines))
        self._lines = []
        self._octets = 0
        return reply
