"""One question to a name server and what its answer says, as octets: no socket, no clock.

The codec is twisted.names'; here is what it does not do: the size and the number
of records are bounded before they are decoded (a packet must not hold the
reactor up), the question must be ours, and only records that hang together with
the question by its chain of aliases count.  An answer that is ours but cannot be
used is a fault of that server, as SERVFAIL is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, Final

from twisted.names import dns

from netsvc.mail.escape import escape_bytes
from netsvc.resolver.names import shown_name

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS: Final = {"a": 1, "ptr": 12, "mx": 15, "txt": 16, "aaaa": 28, "tlsa": 52}
"""Kinds of records that can be asked for, by their number."""

CNAME: Final = 5
SOA: Final = 6
IN: Final = 1
OK: Final = 0
FAULT: Final = 2
NO_NAME: Final = 3
WITHOUT_EDNS: Final = frozenset({1, 4})
"""RCODEs FORMERR and NOTIMP: some old server may mean EDNS0 by them."""
_CODES: Final = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED"}

MAX_CHAIN: Final = 8
"""Aliases followed for one name."""
MAX_RECORDS: Final = 200
"""Records in one packet; a packet with more is not looked at."""
MAX_PACKET: Final = 16 << 10
"""Octets of one packet, by TCP; longer ones are not looked at."""
MAX_TEXT: Final = 4096
"""Octets of one TXT record."""
UDP_SIZE: Final = 1232
"""Octets we take by UDP (EDNS0): what passes unfragmented."""

DAY: Final = 86_400
_HEADER: Final = struct.Struct("!6H")
_RECURSE_AND_AUTHENTIC: Final = 0x0120
_RESPONSE: Final = 0x8000
_TRUNCATED: Final = 0x0200
_AUTHENTIC: Final = 0x0020
_EDNS0: Final = b"\0" + struct.pack("!HHIH", 41, UDP_SIZE, 0, 0)

Value = Any
"""a aaaa ptr: str; txt: bytes; mx: (preference, name), name "" for a null MX; tlsa: (usage, selector, type, data)."""


class StrangePacketError(Exception):
    """A packet that is no answer to the question: ignored by UDP, the end of the attempt by TCP."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one answer says of a name.

    ``code`` is the RCODE (0; 3 no such name; others are faults, told by ``why``); ``values`` what was asked for;
    ``ttl`` seconds it may be remembered, also where there are none, -1 where the answer does not say; ``alias`` the
    name to ask next, "" when the chain ended here; ``chain`` the names gone through; ``authentic`` whether the server
    says it validated the answer.
    """

    code: int = 0
    truncated: bool = False
    authentic: bool = False
    values: tuple[Value, ...] = ()
    ttl: int = 0
    alias: str = ""
    chain: tuple[str, ...] = ()
    why: str = ""


def question(name: bytes, kind: str, number: int, *, edns: bool = True) -> bytes:
    """Return the packet that asks for ``kind`` of ``name`` (see names.wire_name)."""
    labels = b"".join(bytes((len(label),)) + label for label in name.split(b"."))
    head = _HEADER.pack(number, _RECURSE_AND_AUTHENTIC, 1, 0, 0, 1 if edns else 0)
    return head + labels + b"\0" + struct.pack("!HH", KINDS[kind], IN) + (_EDNS0 if edns else b"")


def read(packet: bytes, asked: bytes, name: str, kind: str) -> Reading:
    """Return what ``packet`` answers to the question ``asked``, for ``kind`` of ``name``.

    Raises StrangePacketError for what is no answer to it.
    """
    if len(packet) < _HEADER.size:
        raise StrangePacketError(f"a packet of {len(packet)} octets")
    number, flags, *counts = _HEADER.unpack_from(packet)
    if number != int.from_bytes(asked[:2]) or not flags & _RESPONSE:
        raise StrangePacketError("no answer to the question")
    code, truncated, authentic = flags & 15, bool(flags & _TRUNCATED), bool(flags & _AUTHENTIC)
    if code not in {OK, NO_NAME} and counts[0] == 0:
        return Reading(code, why=_CODES.get(code, f"RCODE {code}"))  # some leave the question out with a fault
    length = asked.index(b"\0", _HEADER.size) + 5  # of header, name, type and class
    if counts[0] != 1 or packet[_HEADER.size : length].lower() != asked[_HEADER.size : length]:
        raise StrangePacketError("an answer to another question")
    if code not in {OK, NO_NAME} or truncated:
        return Reading(code, truncated, why=_CODES.get(code, f"RCODE {code}"))
    if sum(counts) > MAX_RECORDS or len(packet) > MAX_PACKET:
        return Reading(FAULT, why=f"an answer of {sum(counts)} records in {len(packet)} octets")
    message = dns.Message()
    try:
        message.fromStr(packet)
        if [len(message.answers), len(message.authority)] != counts[1:3]:
            return Reading(FAULT, why="an answer cut short")  # the codec leaves out what is not there
        return _follow(message, name, kind, Reading(code, authentic=authentic))
    except Exception as error:  # noqa: BLE001 - the codec raises whatever its inner parts raise
        return Reading(FAULT, why=f"an answer not understood ({type(error).__name__})")


def _follow(message: dns.Message, name: str, kind: str, bare: Reading) -> Reading:
    """Follow the aliases of ``name`` through an answer, to the records of ``kind``."""
    aliases, records = _sorted(message, kind)
    chain = [name]
    ttls: list[int] = []
    while chain[-1] not in records and chain[-1] in aliases:
        target, ttl = aliases[chain[-1]]
        if target in chain or len(chain) > MAX_CHAIN:
            return Reading(FAULT, why="a loop or a long chain of aliases")
        chain.append(target)
        ttls.append(ttl)
    found = records.get(chain[-1], [])
    read_values = [_VALUES[kind](payload) for payload, _ in found]
    values = tuple(dict.fromkeys(value for value in read_values if value is not None))
    if kind == "mx" and found and not values:  # which is not "no MX": mail must not go to the name's own address
        return Reading(FAULT, why="MX records of which none names a host")
    ttls += [ttl for _, ttl in found]
    ended = _negative_ttl(message)
    if not values and ended is not None:
        ttls.append(ended)
    pending = not found and len(chain) > 1 and bare.code == OK and ended is None
    told = bool(values) or pending or ended is not None
    return replace(
        bare,
        values=values,
        ttl=min(ttls) if told else -1,
        alias=chain[-1] if pending else "",
        chain=tuple(chain[1:]),
    )


def _sorted(message: dns.Message, kind: str) -> tuple[dict[str, tuple[str, int]], dict[str, list[tuple[Any, int]]]]:
    """Return the aliases and the records of ``kind`` in an answer, by their owners, with their TTLs."""
    aliases: dict[str, tuple[str, int]] = {}
    records: dict[str, list[tuple[Any, int]]] = {}
    for record in message.answers:
        owner = shown_name(record.name.name)
        if owner is None or record.cls != IN:
            continue
        ttl = _bounded(record.ttl)
        if record.type == KINDS[kind]:
            records.setdefault(owner, []).append((record.payload, ttl))
        elif record.type == CNAME:
            target = shown_name(record.payload.name.name)  # type: ignore[union-attr] # a CNAME has one
            if target:
                aliases.setdefault(owner, (target, ttl))
    return aliases, records


def _bounded(ttl: int) -> int:
    """Return a TTL as seconds between 0 and a day; one with the highest bit set is 0 (RFC 2181 8)."""
    return 0 if ttl < 0 or ttl >= 1 << 31 else min(ttl, DAY)


def _negative_ttl(message: dns.Message) -> int | None:
    """Return how long the absence may be remembered (RFC 2308 5), None where the answer does not say."""
    for record in message.authority:
        if record.type == SOA:
            return min(_bounded(record.ttl), _bounded(int(getattr(record.payload, "minimum", 0))))
    return None


def _a(payload: Any) -> str | None:
    return str(payload.dottedQuad())


def _aaaa(payload: Any) -> str | None:
    return str(IPv6Address(payload.address))


def _ptr(payload: Any) -> str | None:
    return shown_name(payload.name.name) or None


def _mx(payload: Any) -> tuple[int, str] | None:
    name = shown_name(payload.name.name)
    return None if name is None else (int(payload.preference), name)


def _txt(payload: Any) -> bytes | None:
    text = b"".join(payload.data)
    return text if len(text) <= MAX_TEXT else None


def _tlsa(payload: Any) -> tuple[int, int, int, bytes]:
    """Return a record, one too short for any use too: that there is one matters (RFC 7672 2.2)."""
    usage, selector, matching = (payload.data[:3] + b"\xff\xff\xff")[:3]  # 255: for private use, so by nobody
    return usage, selector, matching, payload.data[3:]


_VALUES: Final[dict[str, Callable[[Any], Value]]] = {
    "a": _a,
    "aaaa": _aaaa,
    "ptr": _ptr,
    "mx": _mx,
    "txt": _txt,
    "tlsa": _tlsa,
}


def shown_value(value: Value) -> str:
    """Return a value as a person reads it, escaped."""
    if isinstance(value, bytes):
        return escape_bytes(value, 200)
    if isinstance(value, tuple):
        return " ".join(part.hex() if isinstance(part, bytes) else str(part) or "." for part in value)
    return str(value)
