"""Body hashes of DKIM made while the body goes by (RFC 6376 3.4.3 to 3.4.5).  Quiet.

Whatever the size of the body, a hash holds a few octets of it: the end of a line that may still turn out to be white
space or an empty line.  Linear, too: looking for white space before each CRLF with a regular expression, as libraries
do, takes hours for a mebibyte of blanks.
"""

from __future__ import annotations

import hashlib

_STEP = 32 << 10
"""Octets worked on at once: in a thread, nothing else of this process runs meanwhile."""
_EMPTY_LINES = b"\r\n" * (_STEP // 2)


class BodyHash:
    """SHA-256 of a body in the ``simple`` or ``relaxed`` form, of its first ``limit`` octets where one is given."""

    __slots__ = ("_carry", "_hash", "_left", "_lines", "_relaxed", "_some", "size")

    def __init__(self, form: str, limit: int | None = None) -> None:
        self._relaxed = form == "relaxed"
        self._left = limit
        self._hash = hashlib.sha256()
        self._carry = b""  # what may be cut: white space, or the first half of CRLF
        self._lines = 0  # empty lines that count only when something follows
        self._some = False
        self.size = 0
        """Octets of the canonical body, those beyond the limit too."""

    def update(self, data: bytes) -> None:
        """Take the next piece of the body."""
        for at in range(0, len(data), _STEP):
            self._step(data[at : at + _STEP])

    def digest(self) -> bytes:
        """Return the hash: the body has ended."""
        rest, self._carry = self._carry, b""
        if rest:
            self._put(rest)
        if self._some or not self._relaxed:
            self._emit(b"\r\n")
        self._some = False
        return self._hash.digest()

    def _step(self, data: bytes) -> None:
        data = self._carry + data
        cut = data.removesuffix(b"\r")
        carry = data[len(cut) :]
        if self._relaxed:
            bare = cut.rstrip(b" \t")
            carry = (b" " if len(bare) < len(cut) else b"") + carry
            cut = bare.replace(b"\t", b" ")
            while b"  " in cut:  # each turn halves every run
                cut = cut.replace(b"  ", b" ")
            cut = cut.replace(b" \r\n", b"\r\n")
        self._carry = carry
        if cut:
            self._put(cut)

    def _put(self, data: bytes) -> None:
        """Emit canonical text but for the empty lines at its end."""
        text = data.rstrip(b"\r\n")
        tail = data[len(text) :]
        lines = len(tail) // 2
        if tail != _EMPTY_LINES[: 2 * lines]:  # stray CR or LF among them
            lines = 0
            while data.endswith(b"\r\n", 0, len(data) - 2 * lines):
                lines += 1
            text = data[: len(data) - 2 * lines]
        if not text:
            self._lines += lines
            return
        while self._lines:
            now = min(self._lines, _STEP // 2)
            self._emit(_EMPTY_LINES[: 2 * now])
            self._lines -= now
        self._emit(text)
        self._some = True
        self._lines = lines

    def _emit(self, data: bytes) -> None:
        self.size += len(data)
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        self._hash.update(data)
