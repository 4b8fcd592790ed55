r"""Transparency (RFC 5321 4.5.2): where content ends, and the dots that hide its own.

Content ends at CR LF . CR LF and nowhere else: LF.LF, LF.CRLF, CR.CR and their
relatives are text (SMTP smuggling).  ``ContentReceiver`` looks at each octet in
chunks, never line by line; ``DotStuffer`` is its mirror for the way out.

How the receiver cuts.  Octets that may be the beginning of CR LF . CR LF are
kept back until more comes: a chunk is given out up to the longest suffix that is
a proper prefix of it.  So no CR LF and no CR LF . is ever divided between two
pieces, and counting or replacing within one piece is the same as within the
whole.  The CR LF that ended the DATA command stands, virtually, before the
first octet.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import re2  # type: ignore[import-untyped]  # google-re2 ships no types

from netsvc.mail.reply import BARE_CR, BARE_LF, MESSAGE_TOO_LARGE, NUL_BYTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netsvc.mail.reply import Reply

END_OF_DATA = b"\r\n.\r\n"
REJECT = "reject"
NORMALIZE = "normalize"
BARE_NEWLINE_CHOICES = (REJECT, NORMALIZE)
"""What is done with a bare LF or CR: refuse the message after its end, or store CR LF instead."""


def _octets() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # a pattern of bytes is UTF-8 else, and skips what is not
    return options


_NOTABLE = re2.compile(rb"\r(?:[^\n]|\n\.)", _octets())
"""A CR that no LF follows, or a line that begins with a dot.  RE2 takes a fifth of what re does on long text."""
_STRAY_LF = re.compile(rb"\n(?<!\r\n)")
"""An LF that no CR precedes; counting both kinds takes twice as long."""
_LONG = 8192
"""Octets from which a chunk is worth a look whether it holds anything notable: one scan instead of three."""


def _held(data: bytes) -> int:
    r"""Return how many octets at the end of ``data`` may be the beginning of CR LF . CR LF."""
    last = data[-1:]
    if last == b"\r":
        return 4 if data.endswith(b"\r\n.\r") else 1
    if last == b"\n":
        return 2 if data.endswith(b"\r\n") else 0
    if last == b".":
        return 3 if data.endswith(b"\r\n.") else 0
    return 0


class ContentReceiver:
    """Takes the octets after 354 and gives the content: unstuffed, checked and counted.

    ``limit`` is in octets of content as stored, 0 for none.  After a fault nothing more is given out, but reading
    goes on to the end of data.
    """

    __slots__ = ("_bare_cr", "_bare_lf", "_limit", "_normalize", "_nul", "_tail", "_virtual", "ended", "size")

    def __init__(self, limit: int = 0, bare_newline: str = REJECT) -> None:
        """Begin one message's content."""
        self.size = 0
        self.ended = False
        self._limit = limit
        self._normalize = bare_newline == NORMALIZE
        self._tail = b"\r\n"
        self._virtual = 2
        self._bare_lf = self._bare_cr = self._nul = False

    @property
    def bare_newline(self) -> bool:
        """Whether a bare LF or CR has been seen."""
        return self._bare_lf or self._bare_cr

    @property
    def fault(self) -> Reply | None:
        """Why the content is refused, None while it is not.

        The order of precedence is fixed, so that the answer does not depend on how the octets were cut.
        """
        if self._limit and self.size > self._limit:
            return MESSAGE_TOO_LARGE.fill(limit=self._limit)
        if self._nul:
            return NUL_BYTE
        if self._bare_lf and not self._normalize:
            return BARE_LF
        if self._bare_cr and not self._normalize:
            return BARE_CR
        return None

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """Take a chunk; return (content, what follows the end of data).

        The second is empty until ``ended`` is true.
        """
        if self._tail:
            data = self._tail + data
        plain = len(data) > _LONG and _NOTABLE.search(data) is None
        end = -1 if plain else data.find(END_OF_DATA)
        rest = b""
        if end >= 0:
            self.ended = True
            rest = data[end + 5 :]
            data = data[: end + 2]
            self._tail = b""
        else:
            held = _held(data)
            self._tail = data[-held:] if held else b""
            data = data[:-held] if held else data
        return (self._content(data, plain=plain) if data else b""), rest

    def _content(self, data: bytes, *, plain: bool) -> bytes:
        """Return the content that ``data`` stands for, b"" once there is a fault.  ``plain``: _NOTABLE is not in it."""
        if plain:
            bare_cr = False
            bare_lf = _STRAY_LF.search(data) is not None
        else:
            pairs = data.count(b"\r\n")
            bare_lf = data.count(b"\n") != pairs
            bare_cr = data.count(b"\r") != pairs
            data = data.replace(b"\r\n.", b"\r\n")
        if self._virtual:
            data = data[2:]
            self._virtual = 0
        return self._checked(data, bare_lf=bare_lf, bare_cr=bare_cr)

    def _checked(self, data: bytes, *, bare_lf: bool, bare_cr: bool) -> bytes:
        """Return the next piece of content, unstuffed, b"" once there is a fault."""
        if bare_lf or bare_cr:
            self._bare_lf |= bare_lf
            self._bare_cr |= bare_cr
            if self._normalize:
                data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        if b"\0" in data:
            self._nul = True
        self.size += len(data)
        if self._nul or (self._limit and self.size > self._limit):
            return b""
        return b"" if self.bare_newline and not self._normalize else data


def without_stray_newlines(data: bytes) -> bytes:
    """Return ``data``, as long as it is, with a space for each CR and LF that is not of a pair."""
    pairs = data.count(b"\r\n")
    if data.count(b"\n") == pairs and data.count(b"\r") == pairs:
        return data
    return b"\r\n".join([line.replace(b"\r", b" ").replace(b"\n", b" ") for line in data.split(b"\r\n")])


class DotStuffer:
    """Makes content fit to be sent after 354: dots stuffed, a stray CR or LF replaced by a space.

    Nothing in the content can end the data or become a command: CR LF . CR LF comes from ``finish`` alone.
    """

    __slots__ = ("_carriage_return", "_line_start")

    def __init__(self) -> None:
        """Begin one message."""
        self._line_start = True
        self._carriage_return = False

    def push(self, data: bytes) -> bytes:
        """Return what to send for the next octets of content; a CR at their end waits for what follows it."""
        if self._carriage_return:
            data = b"\r" + data
        self._carriage_return = data.endswith(b"\r")
        if self._carriage_return:
            data = data[:-1]
        if not data:
            return b""
        data = without_stray_newlines(data)
        out = data.replace(b"\r\n.", b"\r\n..")
        if self._line_start and data.startswith(b"."):
            out = b"." + out
        self._line_start = data.endswith(b"\r\n")
        return out

    def finish(self) -> bytes:
        """Return the end of the data, completing the last line first."""
        stray = b""
        if self._carriage_return:
            self._carriage_return = self._line_start = False
            stray = b" "
        return stray + (b".\r\n" if self._line_start else b"\r\n.\r\n")


def stuff(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what to send for content that comes in ``chunks``, up to and including CR LF . CR LF."""
    stuffer = DotStuffer()
    for chunk in chunks:
        out = stuffer.push(chunk)
        if out:
            yield out
    yield stuffer.finish()
