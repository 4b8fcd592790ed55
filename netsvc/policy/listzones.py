"""DNS lists as a site names them, and what a list's answers mean (RFC 5782).  Quiet: text and numbers alone.

A list is written ``[NAME:]ZONE[=FILTER][*WEIGHT]``:

* ``zen.example.org``: listed there counts 1;
* ``zen.example.org=127.0.0.[2..11]*3``: only these answers count, and 3;
* ``dnswl.example.org=127.0.[0..255].[2;3]*-5``: a list of good clients;
* ``zen.example.org:KEY.zen.example.net*2``: NAME is told to clients in place of a zone that holds a key.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

MAX_WEIGHT = 1000
_LIST = re.compile(r"(?:([^:=*\s]{1,100}):)?([A-Za-z0-9._-]{1,180})(?:=([0-9.;\[\]]{7,100}))?(?:\*(-?[0-9]{1,4}))?")
_ZONE = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_OCTETS = re.compile(r"\[([^\[\]]*)\]|([0-9]+)")

Octets = tuple[frozenset[int], frozenset[int], frozenset[int], frozenset[int]]


@dataclass(frozen=True, slots=True)
class ListZone:
    """One list: ``name`` is told to clients, ``zone`` asked; ``octets`` what answers count, None for the usual."""

    name: str
    zone: str
    weight: int = 1
    octets: Octets | None = None

    def lists(self, addresses: list[str]) -> bool:
        """Say whether one of a list's answers (IPv4 addresses as text) counts."""
        return any(self._counts(address) for address in addresses)

    def _counts(self, address: str) -> bool:
        parts = [int(part) for part in address.split(".")]
        if self.octets is None:
            return parts[0] == 127 and not is_complaint(address)
        return all(part in allowed for part, allowed in zip(parts, self.octets, strict=True))


def is_complaint(address: str) -> bool:
    """Say whether an answer is no listing but a list's word that it does not serve us (127.255.255.0/24)."""
    return address.startswith("127.255.255.")


def parse_list(text: str) -> ListZone:
    """Read one list.  Raises ValueError with a sentence for the operator."""
    parts = _LIST.fullmatch(text)
    if parts is None:
        raise ValueError(f"{text!r} is not [NAME:]ZONE[=FILTER][*WEIGHT], as in zen.example.org=127.0.0.[2..11]*3")
    name, zone, octets, weight = parts.groups()
    number = int(weight) if weight else 1
    if not number or abs(number) > MAX_WEIGHT:
        raise ValueError(f"{text!r}: a weight is 1 to {MAX_WEIGHT}, or negative for a list of good clients")
    zone = zone.removesuffix(".").lower()
    if _ZONE.fullmatch(zone) is None:
        raise ValueError(f"{text!r}: {zone!r} is no zone such as zen.example.org")
    return ListZone(name or zone, zone, number, None if octets is None else parse_filter(octets))


def parse_filter(text: str) -> Octets:
    """Read four octets between dots, each a number or ``[2;4;10..20]``.  Raises ValueError."""
    wanted: list[frozenset[int]] = []
    at = 0
    for n in range(4):
        found = _OCTETS.match(text, at)
        if found is None:
            raise ValueError(f"{text!r} is no filter such as 127.0.0.[2..11]")
        wanted.append(_numbers(found[1] or found[2] or "", text))
        at = found.end()
        if n < 3 and text[at : at + 1] != ".":
            raise ValueError(f"{text!r} is no filter such as 127.0.0.[2..11]")
        at += n < 3
    if at != len(text):
        raise ValueError(f"{text!r} has more than four octets")
    return wanted[0], wanted[1], wanted[2], wanted[3]


def _numbers(text: str, whole: str) -> frozenset[int]:
    numbers: set[int] = set()
    for part in text.split(";"):
        low, dots, high = part.partition("..")
        ends = [low, high if dots else low]
        if not all(end.isdigit() and len(end) <= 3 and int(end) <= 255 for end in ends) or int(ends[0]) > int(ends[1]):
            raise ValueError(f"{whole!r}: {part!r} is no octet, nor a range of octets")
        numbers.update(range(int(ends[0]), int(ends[1]) + 1))
    return frozenset(numbers)


def reversed_address(ip: str) -> str | None:
    """Return how an address is written before a list's zone (RFC 5782 2.1, 2.4), None for no address."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    return address.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
