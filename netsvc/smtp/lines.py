r"""Command lines out of chunks: CR LF ends a line, nothing else does.

A line longer than LIMIT octets is discarded up to its CR LF and told of once;
no part of it becomes a command.  A bare LF or CR stays in the line, where the
grammar refuses it.  The work is linear in what comes in: octets that wait behind
an unanswered command are kept in their chunks, and what is searched again is
less than LIMIT octets.
"""

from __future__ import annotations

LIMIT = 2048
"""Octets of a command line with its parameters and CR LF (RFC 5321 4.5.3.1.4 asks for 512 and more with extensions)."""


class LineTooLongError(Exception):
    """A line longer than LIMIT has ended; all of it is gone."""


class LineBuffer:
    """Octets received and not yet used: given out as lines, or whole."""

    __slots__ = ("_behind", "_data", "_discarding", "_position")

    def __init__(self) -> None:
        """Begin empty."""
        self._data = b""
        self._position = 0
        self._behind: list[bytes] = []
        self._discarding = False

    def __len__(self) -> int:
        """Return how many octets wait."""
        return len(self._data) - self._position + sum(map(len, self._behind))

    def push(self, data: bytes) -> None:
        """Append octets."""
        if self._position == len(self._data) and not self._behind:
            self._data = data
            self._position = 0
        else:
            self._behind.append(data)

    def pop(self, limit: int = LIMIT) -> bytes | None:
        """Return the next line without its CR LF, None when there is no whole line.  Raises LineTooLongError.

        ``limit`` is in octets, with CR LF.
        """
        start = self._position
        end = self._data.find(b"\r\n", start)
        if end < 0:
            if self._behind:
                self._data = self.take()
                return self.pop(limit)
            if len(self._data) - start >= limit:
                self._discarding = True
            if self._discarding:
                self._data = b"\r" if self._data.endswith(b"\r") else b""
                self._position = 0
            return None
        self._position = end + 2
        if self._discarding or self._position - start > limit:
            self._discarding = False
            raise LineTooLongError
        return self._data[start:end]

    def take(self, most: int = 0) -> bytes:
        """Return what waits, at most ``most`` octets of it, and forget that; 0: all.

        Less than ``most`` may be given though more waits: nothing is copied to join it.
        """
        if most and len(self._data) - self._position > most:
            start = self._position
            self._position += most
            return self._data[start : self._position]
        data = self._data[self._position :] if self._position else self._data
        self._position = 0
        if self._behind and not most:
            data = b"".join([data, *self._behind])
            self._behind.clear()
        elif self._behind:
            self._data = self._behind.pop(0)
            return data or self.take(most)
        self._data = b""
        return data
