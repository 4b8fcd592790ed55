"""Values as operators type them: durations, sizes, times, networks, names (quiet).

Every function takes the text and answers with a value, or raises
``ValueError`` with words fit for ``% "…" is not …``.  Times are UTC.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime, timedelta

from netsvc.criteria import Network

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY
MAX_NUMBER = (1 << 63) - 1

_UNITS = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_DURATION = re.compile(r"(-?)((?:[0-9]{1,12}(?:ms|[smhdw]))+)\Z", re.ASCII | re.IGNORECASE)
_PART = re.compile(r"([0-9]+)(ms|[smhdw])", re.ASCII | re.IGNORECASE)
_SIZE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,3}))?([kmgt]?)(?:i?b)?\Z", re.ASCII | re.IGNORECASE)
_SCALE = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?(?:\.[0-9]+)?(z?)\Z", re.ASCII | re.IGNORECASE)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ](.+))?\Z", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z|[^\s@\":]{1,64}@[a-z0-9.-]{1,253}\Z")
_IP_LIKE = re.compile(r"[0-9.]+\Z|[0-9a-f.]*:[0-9a-f:.]*\Z", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

EXAMPLES = {
    "duration": "30s 5m 2h 1d",
    "size": "512 10k 5M 1G",
    "time": "14:05 2026-11-23 2026-11-23T14:05Z -2h yesterday",
    "number": "0 25 1000",
    "percent": "90% 100%",
    "id": "01ARZ3NDEKTSV 01ARZ3NDEKTSV.2",
    "bool": "true false",
    "address": "192.0.2.1 10.0.0.0/8 2001:db8::/32",
}
"""Examples of each kind of value, for errors and for ``?``."""


def parse_int(text: str) -> int:
    """Return the number >= 0.  Raises ValueError."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > MAX_NUMBER:
        raise ValueError("a number")
    return int(text)


def parse_percent(text: str) -> int:
    """Return the percentage, a number >= 0 with or without ``%``.  Raises ValueError."""
    try:
        return parse_int(text.removesuffix("%"))
    except ValueError:
        raise ValueError("a percentage") from None


def parse_duration(text: str) -> tuple[int, int]:
    """Return (ms, ms of the smallest unit named).  Raises ValueError."""
    if text == "0":
        return 0, SECOND
    match = _DURATION.match(text)
    if match is None:
        raise ValueError("a duration")
    parts = [(int(n), _UNITS[unit.lower()]) for n, unit in _PART.findall(match[2])]
    total = sum(n * unit for n, unit in parts)
    if total > MAX_NUMBER:
        raise ValueError("a duration")
    return (-total if match[1] else total), min(unit for _, unit in parts)


def parse_size(text: str) -> int:
    """Return octets; k M G T are powers of 1024.  Raises ValueError."""
    match = _SIZE.match(text)
    if match is None:
        raise ValueError("a size")
    scale = _SCALE[match[3].lower()]
    octets = int(match[1]) * scale
    if match[2]:
        octets += int(match[2]) * scale // 10 ** len(match[2])
    if octets > MAX_NUMBER:
        raise ValueError("a size")
    return octets


def parse_time(text: str, now_ms: int) -> tuple[int, int]:
    """Return (ms since 1970, ms of the span the text names: a day, a minute, a second).  Raises ValueError."""
    word = text.lower()
    today = now_ms - now_ms % DAY
    if word in {"today", "yesterday", "now"}:
        return {"today": (today, DAY), "yesterday": (today - DAY, DAY), "now": (now_ms, 1)}[word]
    if text[:1] in {"-", "+"}:
        try:
            ago, unit = parse_duration(text[1:])
        except ValueError:
            raise ValueError("a time") from None
        return (now_ms - ago if text[0] == "-" else now_ms + ago), unit
    clock = _CLOCK.match(text)
    if clock is not None:
        offset, span = _of_clock(clock)
        return today + offset, span
    return _parse_date(text)


def _of_clock(clock: re.Match[str]) -> tuple[int, int]:
    hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3] or 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("a time")
    return hour * HOUR + minute * MINUTE + second * SECOND, SECOND if clock[3] else MINUTE


def _parse_date(text: str) -> tuple[int, int]:
    match = _DATE.match(text)
    if match is None:
        raise ValueError("a time")
    try:
        day = datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=UTC)
    except ValueError:
        raise ValueError("a time") from None
    start = (day - _EPOCH) // timedelta(milliseconds=1)
    if not match[4]:
        return start, DAY
    clock = _CLOCK.match(match[4])
    if clock is None:
        raise ValueError("a time")
    offset, span = _of_clock(clock)
    return start + offset, span


def parse_bool(text: str) -> bool:
    """Return true yes on 1 as True, false no off 0 as False.  Raises ValueError."""
    word = text.lower()
    if word in {"true", "yes", "on", "1"}:
        return True
    if word in {"false", "no", "off", "0"}:
        return False
    raise ValueError("true or false")


def parse_peer(text: str) -> str | Network:
    """Return an IP address in its canonical text, a Network, or a plain word.  Raises ValueError."""
    try:
        if "/" in text:
            return Network(str(ipaddress.ip_network(text, strict=False)))
        return str(ipaddress.ip_address(text))
    except ValueError:
        if "/" in text or "*" in text or _IP_LIKE.match(text):
            raise ValueError("an address or a network") from None
        return text


def parse_name(text: str) -> str:
    """Return an account's name in lower case: letters, digits, ``.`` ``_`` ``-``, or a mailbox's address.

    Raises ValueError.
    """
    name = text.lower()
    if not _NAME.match(name):
        raise ValueError("a name (letters, digits, dots, hyphens, or a mailbox's address)")
    return name
