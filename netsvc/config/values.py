"""Values of keys: each reader takes what TOML gave and returns what the rooms work with, or raises ValueFaultError."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from netsvc.config.complaints import ValueFaultError, kind_of, nearest, quote
from netsvc.mail.address import AddressError, parse_address, parse_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SIZES = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DURATIONS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
MAX_NUMBER = 1 << 53
_TEXT_LIMIT = 4096


def text(value: object) -> str:
    """Read a text without control characters."""
    if not isinstance(value, str):
        raise ValueFaultError(f"is {kind_of(value)}, not text", 'write it in quotes: "…"')
    if len(value) > _TEXT_LIMIT or not value.isprintable():
        raise ValueFaultError("holds control characters or is too long", "write one plain line")
    return value


def filled(value: object) -> str:
    """Read a text that is not empty."""
    if not text(value):
        raise ValueFaultError("is empty", "write a value or leave the key out")
    return text(value)


def flag(value: object) -> bool:
    """Read a boolean."""
    if not isinstance(value, bool):
        raise ValueFaultError(f"is {kind_of(value)}, not a boolean", "write true or false")
    return value


def whole(value: object) -> int:
    """Read a number from 0."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueFaultError(f"is {kind_of(value)}, not a whole number", "write digits without quotes")
    if not 0 <= value <= MAX_NUMBER:
        raise ValueFaultError(f"{value} is out of range", f"write 0 to {MAX_NUMBER}")
    return value


def counted(value: object) -> int:
    """Read a number from 1."""
    if whole(value) == 0:
        raise ValueFaultError("is 0", "write a number from 1")
    return whole(value)


def port(value: object) -> int:
    """Read a TCP port."""
    if not 1 <= whole(value) <= 65535:
        raise ValueFaultError(f"{value} is not a port", "write 1 to 65535")
    return whole(value)


def parse_size(words: str) -> int:
    """Return octets of ``50M`` (K M G T are powers of 1024; no letter is octets)."""
    digits = words.rstrip("BKMGTbkmgti")
    unit = words[len(digits) :].upper().removesuffix("B").removesuffix("I")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 15) or unit not in _SIZES:
        raise ValueFaultError(f"{quote(words)} is not a size", 'write for instance "50M", "512K" or "1G"')
    octets = int(digits) * _SIZES[unit]
    if octets > MAX_NUMBER:
        raise ValueFaultError(f"{quote(words)} is larger than any size", 'write for instance "50M"')
    return octets


def size(value: object) -> int:
    """Read a size in octets: a number, or text such as ``50M``."""
    return parse_size(value) if isinstance(value, str) else whole(value)


def parse_duration(words: str) -> int:
    """Return milliseconds of ``5m``, ``1h20m``, ``5d``; each part has its unit: ms s m h d w."""
    remedy = 'write numbers with units: "30s", "5m", "1h20m", "5d"'
    total = at = 0
    while at < len(words):
        end = at
        while end < len(words) and words[end] in "0123456789":
            end += 1
        number = words[at:end]
        at = end
        while end < len(words) and words[end] in "mshdw":
            end += 1
        unit = words[at:end]
        at = end
        if not number or len(number) > 12 or unit not in _DURATIONS:
            raise ValueFaultError(f"{quote(words)} is not a duration", remedy)
        total += int(number) * _DURATIONS[unit]
    if not words or total > MAX_NUMBER:
        raise ValueFaultError(f"{quote(words)} is not a duration", remedy)
    return total


def duration(value: object) -> int:
    """Read a duration in milliseconds: text such as ``1h20m``."""
    if not isinstance(value, str):
        raise ValueFaultError(f"is {kind_of(value)}, not a duration", 'write it with its unit: "30s", "5m", "1h20m"')
    return parse_duration(value)


def network(value: object) -> str:
    """Read an IP network or address in its canonical text."""
    words = text(value)
    try:
        return str(ipaddress.ip_network(words, strict=True))
    except ValueError:
        pass
    try:
        whole_network = ipaddress.ip_network(words, strict=False)
    except ValueError:
        raise ValueFaultError(
            f"{quote(words)} is not a network", 'write for instance "192.0.2.0/24" or "2001:db8::/32"'
        ) from None
    raise ValueFaultError(f"{quote(words)} has bits behind its prefix", f'write "{whole_network}"')


def relay_network(value: object) -> str:
    """Read a network that may relay: never the whole Internet."""
    name = network(value)
    if name.endswith("/0"):
        raise ValueFaultError(f"{quote(name)} is everybody: an open relay", "name the networks that may relay")
    return name


def domain(value: object) -> str:
    """Read a domain name in lower case."""
    words = text(value)
    try:
        name = parse_domain(words)
    except AddressError as error:
        raise ValueFaultError(f"{quote(words)}: {error}", 'write for instance "example.org"') from None
    if name.startswith("["):
        raise ValueFaultError(f"{quote(words)} is an address literal", 'write a name, for instance "example.org"')
    return name


def address(value: object) -> str:
    """Read a mail address."""
    words = text(value)
    try:
        return str(parse_address(words, utf8=True))
    except AddressError as error:
        raise ValueFaultError(f"{quote(words)}: {error}", 'write for instance "alice@example.org"') from None


def host_port(value: object) -> str:
    """Read ``host:port``, an IPv6 address in brackets."""
    words = text(value)
    host, colon, digits = words.rpartition(":")
    if not (colon and host and digits.isascii() and digits.isdigit() and 1 <= int(digits[:6]) <= 65535):
        raise ValueFaultError(f"{quote(words)} is not host:port", 'write for instance "192.0.2.53:53"')
    return words


_SERVER = re.compile(r"\[(?P<six>[0-9A-Fa-f:.]+)\](?::(?P<port6>\d{1,5}))?|(?P<four>[0-9.]+)(?::(?P<port4>\d{1,5}))?")


def name_server(value: object) -> str:
    """Read a name server: an IP address and port, or the address alone; an IPv6 address with a port in brackets."""
    words = text(value)
    parts = _SERVER.fullmatch(words)
    host = parts["six"] or parts["four"] if parts else words
    port = int((parts and (parts["port6"] or parts["port4"])) or 53)
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        number = None
    if number is None or not 1 <= port <= 65535:
        raise ValueFaultError(f"{quote(words)} is not address:port", 'write for instance "192.0.2.53:53"')
    return f"[{number}]:{port}" if number.version == 6 else f"{number}:{port}"


def listed(read: Callable[[object], str]) -> Callable[[object], tuple[str, ...]]:
    """Return a reader of a list whose items ``read`` takes; doubles are refused."""

    def read_list(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise ValueFaultError(f"is {kind_of(value)}, not a list", f"write [{quote(value)}]")
        items: list[str] = []
        for number, item in enumerate(value, 1):
            try:
                checked = read(item)
            except ValueFaultError as fault:
                raise ValueFaultError(f"item {number} {fault.text}", fault.remedy) from None
            if checked in items:
                raise ValueFaultError(f"item {number}, {quote(checked)}, is there already", "write it once")
            items.append(checked)
        return tuple(items)

    return read_list


def chosen(words: Sequence[str]) -> Callable[[object], str]:
    """Return a reader of one of ``words``."""

    def read_choice(value: object) -> str:
        word = text(value)
        if word not in words:
            raise ValueFaultError(f"{quote(word)} is none of its values", nearest(word, words))
        return word

    return read_choice
