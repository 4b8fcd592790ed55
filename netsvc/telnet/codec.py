"""The Telnet wire in both directions, silent (RFC 854, RFC 855).

``Codec.receive`` turns bytes, however they are cut, into events: runs of data
with every line end made one CR, commands, negotiations, subnegotiations.  It
never raises and never asks for a connection to be dropped over a byte it does
not know; a peer that floods it is told of by one ``Flooded`` event.

Line ends (RFC 854, RFC 1123 3.3.1; CONSOLE.md C14): CR NUL, CR LF, LF and bare
CR are each one Enter.  A CR counts at once, and a LF or NUL behind it is
swallowed, whichever read it comes in.  Other NULs are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SE: Final = 240
NOP: Final = 241
DM: Final = 242
BRK: Final = 243
IP: Final = 244
AO: Final = 245
AYT: Final = 246
EC: Final = 247
EL: Final = 248
GA: Final = 249
SB: Final = 250
WILL: Final = 251
WONT: Final = 252
DO: Final = 253
DONT: Final = 254
IAC: Final = 255
EOF: Final = 236
SUSP: Final = 237
ABORT: Final = 238

_IAC: Final = b"\xff"
VERBS: Final = frozenset({WILL, WONT, DO, DONT})

SUBNEGOTIATION_LIMIT: Final = 1024
"""Octets of one subnegotiation that are kept; what is longer is discarded whole."""
SUBNEGOTIATION_FLOOD: Final = 64 * 1024
"""Octets of one subnegotiation after which the peer is flooding."""
COMMAND_FLOOD: Final = 1000
"""Commands and negotiations of one session after which the peer is flooding."""


@dataclass(frozen=True, slots=True)
class Data:
    """A run of data, never empty; every Enter is one CR in it."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Command:
    """A command without operand: IP, AYT, NOP, or a number nobody defined."""

    code: int


@dataclass(frozen=True, slots=True)
class Negotiation:
    """``verb`` is WILL, WONT, DO or DONT."""

    verb: int
    option: int


@dataclass(frozen=True, slots=True)
class Subnegotiation:
    """What stood between SB and SE, doubled IAC made single; at most SUBNEGOTIATION_LIMIT octets."""

    option: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Flooded:
    """The peer sends more commands than any client does; told once, with ``why`` for the logbook."""

    why: str


Event = Data | Command | Negotiation | Subnegotiation | Flooded

_DATA, _IAC_SEEN, _VERB_SEEN, _SB_SEEN, _IN_SB, _SB_IAC = range(6)


class LineEnds:
    """Makes every line end of a stream one CR (see the module's text)."""

    __slots__ = ("_after_cr",)

    def __init__(self) -> None:
        self._after_cr = False

    def feed(self, run: bytes) -> bytes:
        """Return ``run`` with its line ends made CR; may be empty."""
        if self._after_cr and run[:1] in (b"\n", b"\0"):
            run = run[1:]
            self._after_cr = False
        if not run:
            return run
        self._after_cr = run.endswith(b"\r")
        return run.replace(b"\r\n", b"\r").replace(b"\n", b"\r").replace(b"\0", b"")


class Codec:
    """One connection's parser.  ``commands`` counts commands and negotiations received so far."""

    __slots__ = ("_flooded", "_line_ends", "_option", "_sb", "_sb_size", "_state", "_verb", "commands")

    def __init__(self) -> None:
        self._state = _DATA
        self._line_ends = LineEnds()
        self._verb = 0
        self._option = -1
        self._sb = bytearray()
        self._sb_size = 0
        self._flooded = False
        self.commands = 0

    def receive(self, data: bytes) -> list[Event]:
        """Return the events of ``data``, which may end anywhere; after Flooded there are none."""
        events: list[Event] = []
        i = 0
        while i < len(data) and not self._flooded:
            if self._state == _DATA:
                i = self._data(data, i, events)
            elif self._state == _IN_SB:
                i = self._inside(data, i, events)
            else:
                self._byte(data[i], events)
                i += 1
        return events

    def _data(self, data: bytes, start: int, events: list[Event]) -> int:
        """Take data up to the next IAC that is not doubled -> where to go on."""
        end = data.find(_IAC, start)
        doubled = False
        while end >= 0 and data.startswith(_IAC, end + 1):
            doubled = True
            end = data.find(_IAC, end + 2)
        run = data[start:] if end < 0 else data[start:end]
        run = self._line_ends.feed(run.replace(_IAC * 2, _IAC) if doubled else run)
        if run:
            events.append(Data(run))
        if end < 0:
            return len(data)
        self._state = _IAC_SEEN
        return end + 1

    def _inside(self, data: bytes, start: int, events: list[Event]) -> int:
        """Take what is in a subnegotiation up to the next IAC -> where to go on."""
        end = data.find(_IAC, start)
        stop = len(data) if end < 0 else end
        self._keep(data[start:stop], events)
        if end < 0:
            return stop
        self._state = _SB_IAC
        return end + 1

    def _keep(self, piece: bytes, events: list[Event]) -> None:
        self._sb_size += len(piece)
        if self._sb_size <= SUBNEGOTIATION_LIMIT:
            self._sb += piece
        elif self._sb_size > SUBNEGOTIATION_FLOOD:
            self._flood("subnegotiation without an end", events)

    def _flood(self, why: str, events: list[Event]) -> None:
        self._flooded = True
        events.append(Flooded(why))

    def _count(self, events: list[Event]) -> None:
        self.commands += 1
        if self.commands > COMMAND_FLOOD:
            self._flood("too many commands", events)

    def _byte(self, byte: int, events: list[Event]) -> None:
        """Take one byte of a command."""
        if self._state == _IAC_SEEN:
            self._after_iac(byte, events)
        elif self._state == _VERB_SEEN:
            self._state = _DATA
            self._count(events)
            events.append(Negotiation(self._verb, byte))
        elif self._state == _SB_SEEN:
            if byte == IAC:  # IAC SB IAC SE: no option at all
                self._state = _SB_IAC
            else:
                self._option = byte
                self._state = _IN_SB
        elif byte == IAC:  # doubled, in a subnegotiation
            self._keep(_IAC, events)
            self._state = _IN_SB
        else:
            self._end_sb(events)
            if byte != SE:  # SE is missing: the command counts all the same
                self._after_iac(byte, events)

    def _after_iac(self, byte: int, events: list[Event]) -> None:
        self._state = _DATA
        if byte == IAC:
            self._line_ends.feed(_IAC)
            events.append(Data(_IAC))
        elif byte in VERBS:
            self._verb = byte
            self._state = _VERB_SEEN
        elif byte == SB:
            self._count(events)
            self._option = -1
            self._sb.clear()
            self._sb_size = 0
            self._state = _SB_SEEN
        else:
            self._count(events)
            events.append(Command(byte))

    def _end_sb(self, events: list[Event]) -> None:
        self._state = _DATA
        if self._option >= 0 and self._sb_size <= SUBNEGOTIATION_LIMIT:
            events.append(Subnegotiation(self._option, bytes(self._sb)))
        self._sb.clear()


def encode(text: str) -> bytes:
    """Return ``text`` for the wire: UTF-8, each LF (or CR LF) one CR LF, IAC doubled (which UTF-8 never holds)."""
    return double_iac(text.encode("utf-8", "replace").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


def double_iac(data: bytes) -> bytes:
    """Return ``data`` with 0xFF doubled: every path of data to a Telnet peer ends here."""
    return data.replace(_IAC, b"\xff\xff")


def negotiation(verb: int, option: int) -> bytes:
    """Return the three bytes of a negotiation."""
    return bytes((IAC, verb, option))


def subnegotiation(option: int, data: bytes) -> bytes:
    """Return a whole subnegotiation."""
    return bytes((IAC, SB, option)) + double_iac(data) + bytes((IAC, SE))
