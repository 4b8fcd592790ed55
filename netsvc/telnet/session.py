"""One Telnet session, silent: codec and options joined, told as what a terminal cares about.

``receive`` returns events in the order of the bytes that caused them; ``take``
returns what must be sent to the peer.  Commands that stand for a key become
that key's byte in the stream of data, so that they keep their place in what was
typed ahead: IP BRK ABORT are Ctrl-C, EC Delete, EL Ctrl-U, EOF Ctrl-D, SUSP Ctrl-Z.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from netsvc.telnet.codec import (
    ABORT,
    AO,
    AYT,
    BRK,
    DO,
    EC,
    EL,
    EOF,
    IP,
    SUSP,
    WILL,
    Codec,
    Command,
    Data,
    Flooded,
    Negotiation,
    Subnegotiation,
    negotiation,
    subnegotiation,
)
from netsvc.telnet.options import ECHO, NAWS, SGA, TM, TTYPE, Options, State

COLUMNS: Final = 80
ROWS: Final = 24
_TTYPE_IS: Final = 0
_TTYPE_SEND: Final = b"\x01"
_TTYPE_ASKS: Final = 5  # RFC 1091 lets a client name all it can be, one an answer
_NAME: Final = re.compile(rb"[^A-Za-z0-9._+-]")
_CAPABLE: Final = (
    *("xterm", "vt1", "vt2", "vt3", "vt4", "vt5", "linux", "screen", "tmux", "rxvt", "putty", "konsole", "gnome"),
    *("ansi", "cygwin", "alacritty", "kitty", "foot", "iterm", "wezterm", "st-", "eterm", "mintty", "ghostty"),
)

KEYS: Final = {IP: b"\x03", BRK: b"\x03", ABORT: b"\x03", EC: b"\x7f", EL: b"\x15", EOF: b"\x04", SUSP: b"\x1a"}
"""Commands that stand for a key, and its byte."""


@dataclass(frozen=True, slots=True)
class Typed:
    """Bytes from the keyboard; every Enter is one CR."""

    data: bytes


@dataclass(frozen=True, slots=True)
class EchoChanged:
    """Whether we echo has been agreed (``on``) or refused."""

    on: bool


@dataclass(frozen=True, slots=True)
class Resized:
    """The window's size, clamped to what can be drawn on."""

    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Named:
    """The terminal's kind, lower case; ``capable``: moves its cursor and erases lines as a VT100 does."""

    name: str
    capable: bool


@dataclass(frozen=True, slots=True)
class AreYouThere:
    """AYT: say something."""


@dataclass(frozen=True, slots=True)
class AbortOutput:
    """AO: throw away what is being shown."""


@dataclass(frozen=True, slots=True)
class MarkWanted:
    """DO TM: answer with ``MARK`` once everything before has been shown or thrown away."""


MARK: Final = negotiation(WILL, TM)
SessionEvent = Typed | EchoChanged | Resized | Named | AreYouThere | AbortOutput | MarkWanted | Flooded


def window(columns: int, rows: int) -> Resized:
    """Return a size that can be drawn on: 0 is unknown, the rest clamped to 20..1000 x 5..500."""
    return Resized(min(max(columns or COLUMNS, 20), 1000), min(max(rows or ROWS, 5), 500))


def capable(name: str) -> bool:
    """Whether a terminal of that name moves its cursor and erases lines."""
    return name.lower().startswith(_CAPABLE)


class TelnetSession:
    """The server's end of one connection."""

    __slots__ = ("_asked", "_codec", "_name", "_options", "_out")

    def __init__(self) -> None:
        self._codec = Codec()
        self._options = Options()
        self._out = bytearray()
        self._asked = 0
        self._name = ""

    @property
    def commands(self) -> int:
        """How many commands and negotiations came so far."""
        return self._codec.commands

    @property
    def echo(self) -> bool | None:
        """Whether we echo: agreed, refused, or None as long as the client has not answered."""
        state = self._options.us.state(ECHO)
        return None if state is State.WANTYES else state is State.YES

    @property
    def agreed(self) -> bool:
        """Whether the client sends each key at once: ECHO and SGA are both on."""
        return bool(self.echo) and self._options.us.state(SGA) is State.YES

    def open(self) -> None:
        """Begin the session: the opening is the first thing ``take`` returns."""
        self._out += self._options.opening()

    def take(self) -> bytes:
        """Return what must be sent, once."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def receive(self, data: bytes) -> list[SessionEvent]:
        """Return what ``data`` means; never raises."""
        events: list[SessionEvent] = []
        for event in self._codec.receive(data):
            if isinstance(event, Data):
                events.append(Typed(event.data))
            elif isinstance(event, Negotiation):
                self._negotiated(event, events)
            elif isinstance(event, Subnegotiation):
                self._subnegotiated(event, events)
            elif isinstance(event, Command):
                _command(event.code, events)
            else:
                events.append(event)
        return events

    def _negotiated(self, event: Negotiation, events: list[SessionEvent]) -> None:
        before = self.echo
        self._out += self._options.hear(event.verb, event.option)
        if event.option == TTYPE and event.verb == WILL:
            self._ask_name()
        elif event.option == TM and event.verb == DO:
            events.append(MarkWanted())
        echo = self.echo
        if echo is not before and echo is not None:
            events.append(EchoChanged(echo))

    def _ask_name(self) -> None:
        if self._asked == 0:
            self._asked = 1
            self._out += subnegotiation(TTYPE, _TTYPE_SEND)

    def _subnegotiated(self, event: Subnegotiation, events: list[SessionEvent]) -> None:
        if self._options.him.state(event.option) is not State.YES:
            return  # never agreed: nothing to answer, nothing to believe
        if event.option == NAWS and len(event.data) == 4:
            size = int.from_bytes(event.data, "big")
            events.append(window(size >> 16, size & 0xFFFF))
        elif event.option == TTYPE and event.data[:1] == bytes((_TTYPE_IS,)):
            self._named(_NAME.sub(b"", event.data[1:])[:40].decode("ascii").lower(), events)

    def _named(self, name: str, events: list[SessionEvent]) -> None:
        """Take a name; ask for the next while it tells nothing and is not the one before again."""
        known = capable(name)
        repeated = name == self._name
        self._name = name
        events.append(Named(name, known))
        if not known and not repeated and 0 < self._asked < _TTYPE_ASKS:
            self._asked += 1
            self._out += subnegotiation(TTYPE, _TTYPE_SEND)


def _command(code: int, events: list[SessionEvent]) -> None:
    key = KEYS.get(code)
    if key is not None:
        events.append(Typed(key))
    elif code == AYT:
        events.append(AreYouThere())
    elif code == AO:
        events.append(AbortOutput())
