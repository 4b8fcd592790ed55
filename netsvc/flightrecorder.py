"""The last minutes of every SMTP dialogue, in bounded memory (floor 2).

Sessions hand in what was said by reference: nothing is split, decoded or
escaped until an operator asks.  Content and secrets are never handed in.  The
oldest is forgotten first; how far back it reaches depends on how much is said.

An item is a plain tuple ``(at, entry, heard, said, content, size)``: ms since
1970, the session's entry in the registry, the peer's command lines with CR LF
between them, our replies as they left, the octets of a content that has ended,
and what the item takes.  Where ``said`` is None, ``heard`` is a tuple of
(direction, safe text).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from netsvc.mail.escape import escape_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 8 << 20
"""Octets it may take."""

ITEM = 220
"""What an item takes beside its text."""

ENTRY = 1500
"""What a session takes that has ended and is only remembered here."""

MOST = 4096
"""Octets kept of the lines that came in one piece."""

LINE = 256
"""Octets kept of a line when there are many."""

SHOWN = 500
"""Characters shown of a line."""

Item = tuple[int, Any, "bytes | tuple[tuple[str, str], ...]", "bytes | None", int, int]


class Line(NamedTuple):
    """One line as it is shown: ``direction`` in (from the peer), out (from us) or note; ``text`` is safe."""

    at: int
    entry: Any
    direction: str
    text: str


_WORDS = {"<": "in", ">": "out"}


class FlightRecorder:
    """The memory, and those who listen to what goes in."""

    __slots__ = ("_followers", "_items", "_limit", "octets")

    def __init__(self, limit: int = LIMIT) -> None:
        """Keep at most ``limit`` octets; 0: nothing at all, but who follows is told."""
        self._limit = limit
        self._items: deque[Item] = deque()
        self._followers: tuple[Callable[[Item], None], ...] = ()
        self.octets = 0

    def keep(self, at: int, entry: Any, heard: bytes, said: bytes, content: int) -> None:
        """Take what was said at ``at``: lines, replies, octets of content."""
        size = ITEM + len(heard) + len(said)
        if size > MOST:
            heard, said = shorten(heard), shorten(said)
            size = ITEM + len(heard) + len(said)
        item = (at, entry, heard, said, content, size)
        items = self._items
        items.append(item)
        total = self.octets + size
        while total > self._limit:
            total -= items.popleft()[5]
        self.octets = total
        if self._followers:
            self._tell(item)

    def keep_lines(self, at: int, entry: Any, lines: tuple[tuple[str, str], ...], *, last: bool = False) -> None:
        """Take lines that are safe already; ``last``: the session has ended, and is remembered here alone."""
        size = (ENTRY if last else ITEM) + sum([100 + len(text) for _, text in lines])
        item = (at, entry, lines, None, 0, size)
        self._items.append(item)
        self.octets += size
        while self.octets > self._limit:
            self.octets -= self._items.popleft()[5]
        if self._followers:
            self._tell(item)

    def _tell(self, item: Item) -> None:
        for follower in self._followers:
            follower(item)

    def follow(self, callback: Callable[[Item], None]) -> Callable[[], None]:
        """Have ``callback(item)`` called for each item from now on -> callable that ends it."""
        self._followers = (*self._followers, callback)

        def leave() -> None:
            self._followers = tuple(follower for follower in self._followers if follower is not callback)

        return leave

    @property
    def followers(self) -> int:
        """How many follow."""
        return len(self._followers)

    def items(self, since: int = 0) -> list[Item]:
        """Return what is kept since then, oldest first."""
        found: list[Item] = []
        for item in reversed(self._items):
            if item[0] < since:
                break
            found.append(item)
        found.reverse()
        return found

    def find(self, number: int) -> Any:
        """Return the entry of the session ``number`` if anything of it is kept, else None."""
        for item in reversed(self._items):
            if item[1].number == number:
                return item[1]
        return None

    @property
    def oldest(self) -> int | None:
        """The time of the oldest item, ms; None while there is none."""
        return self._items[0][0] if self._items else None


def shorten(data: bytes) -> bytes:
    """Return lines, each cut and as many as are worth keeping; the last says how many are not there."""
    if len(data) <= MOST // 2:
        return data
    kept: list[bytes] = []
    room = MOST // 2
    lines = data.split(b"\r\n")
    for line in lines:
        short = line if len(line) <= LINE else line[: LINE - 3] + b"..."
        room -= len(short) + 2
        if room < 0:
            kept.append(b"(%d more lines)" % (len(lines) - len(kept)))
            break
        kept.append(short)
    return b"\r\n".join(kept)


def lines_of(item: Item) -> Iterator[Line]:
    """Return an item as lines, made safe."""
    at, entry, heard, said, content, _ = item
    if content > 0:
        yield Line(at, entry, "note", f"content of {content} octets")
    if said is None:
        for direction, text in heard:  # type: ignore[misc] # pairs, as said is None
            yield Line(at, entry, _WORDS.get(direction, "note"), text)
        return
    if heard:
        for line in heard.split(b"\r\n"):  # type: ignore[union-attr] # bytes, as said is there
            yield Line(at, entry, "in", escape_bytes(line, SHOWN))
    if said:
        for line in said.removesuffix(b"\r\n").split(b"\r\n"):
            yield Line(at, entry, "out", escape_bytes(line, SHOWN))
