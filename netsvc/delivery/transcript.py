"""The record of one attempt's dialogue: escaped lines with their time, bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.escape import escape_bytes
from netsvc.smtp.replies import PeerReply

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_OCTETS = 16 * 1024
MAX_WORDS = 500
"""Characters of one line."""
_CUT = "... the rest is left out"


class Transcript:
    """Lines ``MS DIRECTION TEXT``, MS since the attempt began: ``>`` we said, ``<`` the peer did, ``-`` it happened."""

    __slots__ = ("_full", "_lines", "_now", "_observer", "_size", "_start")

    def __init__(self, now: Callable[[], float], observer: Callable[[str, str], None] | None = None) -> None:
        self._now = now
        self._start = now()
        self._observer = observer
        self._lines: list[str] = []
        self._size = 0
        self._full = False

    @property
    def ms(self) -> int:
        """Milliseconds since the attempt began."""
        return int((self._now() - self._start) * 1000)

    def note(self, text: str) -> None:
        """Record that something happened; ``text`` is escaped already."""
        self._add(f"{self.ms} - ", "-", text)

    def sent(self, octets: int) -> None:
        """Record that content went out."""
        self._add(f"{self.ms} > ", ">", f"<{octets} octets>")

    def take(self, dialogue: list[tuple[str, bytes | PeerReply]]) -> None:
        """Record, and take out, what a session collected."""
        if not dialogue:
            return
        ms = self.ms
        for direction, said in dialogue:
            text = said.wire if isinstance(said, PeerReply) else escape_bytes(said[:-2], MAX_WORDS)
            self._add(f"{ms} {direction} ", direction, text[:MAX_WORDS])
        dialogue.clear()

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
