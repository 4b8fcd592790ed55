"""The milter protocol, version 6, seen from the mail server: commands as bytes, answers as values.  Quiet.

A packet is its length (four octets, big endian), a letter and data.  A filter is trusted to judge mail, not to be free
of faults: packets and the number of changes are bounded, and whatever is no answer raises MilterError alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERSION = 6
MAX_PACKET = 256 << 10
"""Octets of one answer; the largest there are replace the body, 64 KiB each."""
CHUNK = 65535
"""Octets of body in one packet."""

# What a filter may do (SMFIF_*); all that are known are offered, those not in APPLIED are counted and left undone.
ADD_HEADERS, QUARANTINE = 0x01, 0x20
ALL_ACTIONS = 0xFF

# What a filter does not want to see, or not to answer (SMFIP_*).
NO_CONNECT, NO_HELO, NO_MAIL, NO_RCPT, NO_BODY, NO_HEADERS, NO_EOH, NO_DATA = 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x200
MUTE_HEADERS, MUTE_CONNECT, MUTE_HELO, MUTE_MAIL, MUTE_RCPT = 0x80, 0x1000, 0x2000, 0x4000, 0x8000
MUTE_DATA, MUTE_EOH, MUTE_BODY = 0x10000, 0x40000, 0x80000
SKIP, LEADING_SPACE = 0x400, 0x100000
OFFERED = (
    NO_CONNECT | NO_HELO | NO_MAIL | NO_RCPT | NO_BODY | NO_HEADERS | NO_EOH | NO_DATA | 0x100
    | MUTE_HEADERS | MUTE_CONNECT | MUTE_HELO | MUTE_MAIL | MUTE_RCPT | MUTE_DATA | MUTE_EOH | MUTE_BODY
    | SKIP | LEADING_SPACE
)  # fmt: skip

ANSWERS = {
    b"c": "continue",
    b"a": "accept",
    b"r": "reject",
    b"t": "tempfail",
    b"d": "discard",
    b"s": "skip",
    b"p": "progress",
    b"f": "fail",
    b"4": "shutdown",
}
"""Answers that are their letter alone."""


class MilterError(OSError):
    """A filter that is gone, late, or says what is not the protocol: a peer's fault, told in a line of the log."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a filter answered to the offer: what it may do, and what it wants to see (``steps``, SMFIP bits)."""

    version: int
    actions: int
    steps: int


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: ``kind`` of ANSWERS, or ``reply`` with ``code``, ``status`` and ``text`` as the filter wrote them."""

    kind: str
    code: int = 0
    status: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """Something a filter wants changed.

    ``kind``: header insert-header change-header add-recipient remove-recipient sender body quarantine.  ``name`` and
    ``value`` are of a header field, an address, or (value) a reason; of a body only its size is kept, in ``index``.
    """

    kind: str
    name: bytes = b""
    value: bytes = b""
    index: int = 0


Event = Terms | Answer | Change


class MilterReader:
    """Bytes in, events out."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Event]:
        """Return what is whole by now; raises MilterError."""
        buffer = self._buffer
        buffer += data
        events: list[Event] = []
        at = 0
        while len(buffer) - at >= 4:
            length = int.from_bytes(buffer[at : at + 4], "big")
            if not 0 < length <= MAX_PACKET:
                raise MilterError(f"a packet of {length} octets")
            if len(buffer) - at < 4 + length:
                break
            events.append(read_packet(bytes(buffer[at + 4 : at + 5]), bytes(buffer[at + 5 : at + 4 + length])))
            at += 4 + length
        del buffer[:at]
        return events


def read_packet(letter: bytes, data: bytes) -> Event:
    """Return what one packet says; raises MilterError."""
    kind = ANSWERS.get(letter)
    if kind is not None:
        return Answer(kind)
    if letter == b"O":
        if len(data) < 12:
            raise MilterError("terms that are too short")
        return Terms(*struct.unpack("!III", data[:12]))
    if letter == b"y":
        return _reply(data)
    return _change(letter, data)


def _change(letter: bytes, data: bytes) -> Change:
    if letter == b"h":
        name, value = _strings(data, 2)
        return Change("header", name, value)
    if letter in (b"i", b"m"):
        if len(data) < 4:
            raise MilterError("a header field without its place")
        name, value = _strings(data[4:], 2)
        return Change(
            "insert-header" if letter == b"i" else "change-header", name, value, int.from_bytes(data[:4], "big")
        )
    if letter in (b"+", b"2"):
        return Change("add-recipient", _strings(data, 1)[0])
    if letter == b"-":
        return Change("remove-recipient", _strings(data, 1)[0])
    if letter == b"e":
        return Change("sender", _strings(data, 1)[0])
    if letter == b"b":
        return Change("body", index=len(data))
    if letter == b"q":
        return Change("quarantine", value=_strings(data, 1)[0])
    raise MilterError(f"an unknown answer {letter!r}")


def _strings(data: bytes, count: int) -> list[bytes]:
    """Return the first ``count`` strings of ``data``, each ended by NUL."""
    parts = data.split(b"\0", count)
    if len(parts) <= count:
        raise MilterError("a string is missing")
    return parts[:count]


def _reply(data: bytes) -> Answer:
    """Return a reply: ``CCC text``, lines as SMTP has them; ``%%`` is one percent sign."""
    lines = data.rstrip(b"\0").replace(b"%%", b"%").decode("utf-8", "backslashreplace").split("\n")
    code, status, texts = 0, "", []
    for line in lines[:20]:
        number, text = line[:3], line[4:].strip("\r")
        if not (number.isascii() and number.isdigit() and line[3:4] in ("", " ", "-")):
            raise MilterError("a reply without a code")
        code = code or int(number)
        word, _, rest = text.partition(" ")
        if _is_status(word, code):
            status, text = word, rest
        texts.append(text.strip())
    if not 400 <= code <= 599:
        raise MilterError(f"a reply with the code {code}")
    return Answer("reply", code, status, " ".join(text for text in texts if text))


def _is_status(word: str, code: int) -> bool:
    parts = word.split(".")
    return (
        len(parts) == 3
        and all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts)
        and parts[0] == str(code // 100)
    )


# Commands.


def packet(letter: bytes, data: bytes = b"") -> bytes:
    """Return one packet."""
    return (len(data) + 1).to_bytes(4, "big") + letter + data


def _cstring(text: str | bytes) -> bytes:
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    return data.replace(b"\0", b"") + b"\0"


def offer() -> bytes:
    """Return the offer a connection begins with (SMFIC_OPTNEG)."""
    return packet(b"O", struct.pack("!III", VERSION, ALL_ACTIONS, OFFERED))


def macros(letter: bytes, values: Mapping[str, str]) -> bytes:
    """Return the macros of the command that follows; those without a value are left out."""
    return packet(b"D", letter + b"".join(_cstring(k) + _cstring(v) for k, v in values.items() if v))


def connect(name: str, ip: str, port: int) -> bytes:
    """Return the client's name and address; "" or what is no address: unknown."""
    if ":" in ip:
        return packet(b"C", _cstring(name) + b"6" + struct.pack("!H", port) + _cstring(f"IPv6:{ip}"))
    if ip.count(".") == 3:
        return packet(b"C", _cstring(name) + b"4" + struct.pack("!H", port) + _cstring(ip))
    return packet(b"C", _cstring(name) + b"U")


def helo(name: str) -> bytes:
    """Return the client's own name for itself."""
    return packet(b"H", _cstring(name))


def sender(path: str, params: Iterable[str] = ()) -> bytes:
    """Return MAIL: ``path`` without brackets."""
    return packet(b"M", b"".join(_cstring(word) for word in (f"<{path}>", *params)))


def recipient(path: str) -> bytes:
    """Return RCPT."""
    return packet(b"R", _cstring(f"<{path}>"))


def header(name: bytes, value: bytes) -> bytes:
    """Return one header field; ``value`` with LF alone between its lines."""
    return packet(b"L", _cstring(name) + _cstring(value))


def body(chunk: bytes) -> bytes:
    """Return a piece of body, CHUNK octets at most."""
    return packet(b"B", chunk)


DATA = packet(b"T")
END_OF_HEADERS = packet(b"N")
END_OF_BODY = packet(b"E")
ABORT = packet(b"A")
QUIT = packet(b"Q")
NEXT_CLIENT = packet(b"K")
"""This client is gone, another comes on the same connection (SMFIC_QUIT_NC)."""
