"""A look at a message's header section while its content goes by.

Nothing is decoded and nothing is changed; the scan is linear and stops at its
caps (T23).  What it finds is for the console: Message-ID, Subject, and how many
Received fields there are (loops, RFC 5321 6.3).
"""

from __future__ import annotations

import re

from netsvc.mail.escape import escape, escape_bytes
from netsvc.mail.trace import OURS

MAX_HEADER = 1 << 20
"""Octets of header section looked at; a longer one is refused by the mailbox service."""
MAX_VALUE = 998
"""Octets of a field's value that are kept."""

_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_ENCODED = re.compile(r"=\?([A-Za-z0-9_-]{1,40})(?:\*[A-Za-z0-9-]{1,20})?\?([bqBQ])\?([^? ]{0,200})\?=")


class HeaderScan:
    """Feed it content until ``done``; then read ``msgid``, ``subject`` and ``hops``.

    ``dated`` and ``identified`` say whether there is a Date and a Message-ID.

    ``too_long`` says that the header section went on beyond MAX_HEADER.  ``header`` is the section itself, without
    the empty line behind it, where it is to be kept (``keep``); ``passed`` is it where the message has been at a
    netsvc before.
    """

    __slots__ = (
        "_keep",
        "_pieces",
        "_size",
        "_tail",
        "dated",
        "done",
        "header",
        "hops",
        "identified",
        "msgid",
        "passed",
        "subject",
        "too_long",
    )

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self.header = b""
        self.passed = b""
        self._pieces: list[bytes] = []
        self._size = 0
        self._tail = b"\r\n"
        self.done = False
        self.dated = False
        self.identified = False
        self.too_long = False
        self.hops = 0
        self.msgid = ""
        self.subject = ""

    def feed(self, data: bytes) -> None:
        """Take the next piece of content; cheap once ``done``."""
        if self.done:
            return
        seam = (self._tail + data[:3]).find(b"\r\n\r\n")  # an end that begins in what came before
        end = seam - len(self._tail) if seam >= 0 else data.find(b"\r\n\r\n")
        if seam >= 0 or end >= 0:
            if end >= -2:
                self._pieces.append(data[: end + 2])
            else:  # of the empty line something has come already
                self._pieces = [b"".join(self._pieces)[: end + 2]]
            self.close()
            return
        self._pieces.append(data)
        self._size += len(data)
        self._tail = (self._tail + data[-3:])[-3:]
        if self._size > MAX_HEADER:
            self.too_long = True
            self.close()

    def close(self) -> None:
        """Look at what came: the content has ended, perhaps within the header section."""
        if self.done:
            return
        self.done = True
        header = b"".join(self._pieces)[:MAX_HEADER]
        self._pieces = []
        if self._keep:
            self.header = header
        names = (b"\n" + header).lower()  # a field's name begins a line
        self.hops = names.count(b"\nreceived:")
        if self.hops and OURS in header:
            self.passed = header
        at = names.find(b"\nmessage-id:")
        self.identified = at >= 0
        self.dated = b"\ndate:" in names
        if at >= 0:
            self.msgid = escape_bytes(_value(header, at + 11), 250)
        at = names.find(b"\nsubject:")
        if at >= 0:
            value = _value(header, at + 8)
            self.subject = escape(_decode_words(value.decode("utf-8", "backslashreplace")), 250)


def _value(header: bytes, start: int) -> bytes:
    """Return the unfolded value that begins at ``start``, at most MAX_VALUE octets."""
    piece = header[start : start + MAX_VALUE]
    end = piece.find(b"\n")
    while end >= 0 and piece[end + 1 : end + 2] in (b" ", b"\t"):
        end = piece.find(b"\n", end + 1)
    if end >= 0:
        piece = piece[:end]
    if b"\n" in piece:
        piece = _FOLD.sub(b"", piece)
    return piece.replace(b"\t", b" ").strip()


def _decode_words(text: str) -> str:
    """Return ``text`` with its RFC 2047 encoded words decoded where that works; bounded, for showing only."""
    if "=?" not in text:
        return text
    text = re.sub(r"\?=[ \t]{1,10}=\?", "?==?", text)
    return _ENCODED.sub(_decode_word, text)


def _decode_word(match: re.Match[str]) -> str:
    charset, how, body = match[1], match[2].lower(), match[3]
    try:
        if how == "b":
            import binascii  # noqa: PLC0415  (few subjects need it)

            data = binascii.a2b_base64(body + "=" * (-len(body) % 4))
        else:
            import quopri  # noqa: PLC0415

            data = quopri.decodestring(body.encode("ascii").replace(b"_", b" "))
        if charset.lower().replace("_", "-") not in _CHARSETS:
            return match[0]
        return data.decode(charset, "replace")
    except (ValueError, LookupError):
        return match[0]


_CHARSETS = frozenset(
    {"utf-8", "us-ascii", "koi8-r", "koi8-u", "iso-2022-jp", "shift-jis", "euc-jp", "gb2312", "gbk", "gb18030"}
    | {"big5", "euc-kr", "ks-c-5601-1987"}
    | {f"iso-8859-{n}" for n in range(1, 17)}
    | {f"windows-{n}" for n in range(1250, 1259)}
)
"""Charsets of encoded words that are decoded; another one leaves the word as it is."""
