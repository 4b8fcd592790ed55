"""The record of one attempt's dialogue: escaped lines with their time, bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.escape import escape_bytes
from netsvc.smtp.masking import hide_secret
from netsvc.smtp.replies import PeerReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.interfaces import ISessionEntry

MAX_OCTETS = 16 * 1024
MAX_WORDS = 500
"""Characters of one line."""
_CUT = "... the rest is left out"


class Transcript:
    """Lines ``MS DIRECTION TEXT``, MS since the attempt began: ``>`` we said, ``<`` the peer did, ``-`` it happened."""

    __slots__ = ("_full", "_lines", "_now", "_observer", "_size", "_start", "entry")

    def __init__(self, now: Callable[[], float], observer: Callable[[str, str], None] | None = None) -> None:
        self._now = now
        self._start = now()
        self._observer = observer
        self._lines: list[str] = []
        self._size = 0
        self._full = False
        self.entry: ISessionEntry | None = None  # what it is recorded under too

    @property
    def ms(self) -> int:
        """Milliseconds since the attempt began."""
        return int((self._now() - self._start) * 1000)

    def note(self, text: str) -> None:
        """Record that something happened; ``text`` is escaped already."""
        self._add(f"{self.ms} - ", "-", text)
        if self.entry is not None:
            self.entry.keep_lines((("-", text),))

    def sent(self, octets: int) -> None:
        """Record that content went out."""
        self._add(f"{self.ms} > ", ">", f"<{octets} octets>")
        if self.entry is not None:
            self.entry.keep_lines((("-", f"content of {octets} octets"),))

    def take(self, dialogue: list[tuple[str, bytes | PeerReply]]) -> None:
        """Record, and take out, what a session collected."""
        if not dialogue:
            return
        ms = self.ms
        lines = []
        for direction, said in dialogue:
            text = (said.wire if isinstance(said, PeerReply) else _command(said))[:MAX_WORDS]
            self._add(f"{ms} {direction} ", direction, text)
            lines.append((direction, text))
        dialogue.clear()
        if self.entry is not None:
            self.entry.keep_lines(tuple(lines))

    def _add(self, start: str, direction: str, text: str) -> None:
        if self._observer is not None:
            self._observer(direction, text)
        if self._full:
            return
        self._size += len(start) + len(text) + 1
        if self._size > MAX_OCTETS // 2:  # characters; the octets below are cut for certain
            self._full = True
            start, text = f"{self.ms} - ", _CUT
        self._lines.append(start + text)

    def __bytes__(self) -> bytes:
        """Return the record, UTF-8, LF between lines, at most MAX_OCTETS."""
        return "\n".join(self._lines).encode("utf-8", "replace")[:MAX_OCTETS]


def _command(said: bytes) -> str:
    """Return a command as it may be read: secrets hidden, safe, without its line end."""
    line = said[:-2]
    return escape_bytes(line if said[:4] in {b"MAIL", b"RCPT"} else hide_secret(line), MAX_WORDS)
