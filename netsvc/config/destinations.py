"""What the site says of single destinations, ``[site.destinations."KEY"]``, and of kinds of failure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from netsvc.config import values
from netsvc.config.complaints import ValueFaultError, kind_of, nearest, quote
from netsvc.config.table import TableReader
from netsvc.mail.address import AddressError, parse_domain
from netsvc.settings import RETRY_CLASSES, TLS_LEVELS, DestinationSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netsvc.config.complaints import Complaints

MIN_RETRY = 1000
LONGEST_RATE = 7 * 86_400_000
MOST_WAITS = 100
_RETRY_REMEDY = 'write for instance ["5m", "10m", "1h"]'
_RATE = re.compile(r"([0-9]{1,9})/([0-9]{0,9}[a-z][0-9a-z]{0,20})\Z")


def parse_rate(words: str) -> tuple[int, int]:
    """Return (messages, ms) of ``100/1h`` or ``60/m``.  Raises ValueFaultError."""
    match = _RATE.match(words)
    remedy = 'write for instance "100/1h" or "60/m"'
    if match is None:
        raise ValueFaultError(f"{quote(words)} is not a rate", remedy)
    span = match[2] if match[2][0].isdigit() else f"1{match[2]}"
    count, length = int(match[1]), values.parse_duration(span)
    if not count or not 1000 <= length <= LONGEST_RATE:
        raise ValueFaultError(f"{quote(words)} is not a rate: one message or more in a second to a week", remedy)
    return count, length


def retry(value: object) -> tuple[int, ...]:
    """Read the waits between attempts."""
    if isinstance(value, dict):
        raise ValueFaultError("is a table, not a list", "waits by the kind of failure are retry_classes")
    if not isinstance(value, list):
        raise ValueFaultError(f"is {kind_of(value)}, not a list", _RETRY_REMEDY)
    waits = tuple(values.duration(item) for item in value)
    if not waits or min(waits) < MIN_RETRY or len(waits) > MOST_WAITS:
        raise ValueFaultError("needs waits of a second or more", _RETRY_REMEDY)
    return waits


def retry_classes(value: object) -> dict[str, tuple[int, ...]]:
    """Read a table of waits by the kind of failure."""
    if not isinstance(value, dict):
        raise ValueFaultError(f"is {kind_of(value)}, not a table", 'write for instance { greylist = ["5m"] }')
    out = {}
    for name, waits in value.items():
        if name not in RETRY_CLASSES:
            raise ValueFaultError(f"there is no kind of failure {quote(name)}", nearest(name, RETRY_CLASSES))
        try:
            out[name] = retry(waits)
        except ValueFaultError as fault:
            raise ValueFaultError(f"{name} {fault.text}", fault.remedy) from None
    return out


_SMARTHOST = '[site.destinations."[smtp.example.net]:587"]'


_HOST = re.compile(r"(lmtp:)?\[([^\[\]]{1,255})\](?::([0-9]{1,5}))?\Z")


def _host_key(lmtp: str | None, host: str, port: str | None) -> str:
    """Return the key of ``[host]:port`` as a route's target has it: one form, whichever way it was written.

    ``[192.0.2.10]`` without a port is the domain of ``user@[192.0.2.10]``.
    """
    bare = host[5:] if host.lower().startswith("ipv6:") else host
    try:
        address = str(ipaddress.ip_address(bare))
    except ValueError:
        shown, usual = host.lower(), "25"
    else:
        shown, usual = (f"IPv6:{address}" if ":" in address else address), ""
    port = port or ("24" if lmtp else usual)
    return f"{lmtp or ''}[{shown}]" + (f":{int(port)}" if port else "")


def destination_key(words: str) -> str:
    """Return a destination's key as it is kept.  Raises ValueFaultError.

    A domain, ``.domain`` for those below it, ``*``, or the key of a route's target, such as ``[192.0.2.10]:25``.
    """
    key = values.filled(words)
    match = _HOST.match(key)
    if match:
        return _host_key(*match.groups())
    if key == "*" or key[0] == "[" or ":" in key:
        return key
    below = key[0] == "."
    try:
        return "." * below + parse_domain(key[below:])
    except AddressError as error:
        raise ValueFaultError(
            f"{quote(key)} is no destination: {error}", 'write a domain, ".example.org", "[192.0.2.10]:25" or "*"'
        ) from None


def read_destinations(
    complaints: Complaints, tables: Mapping[str, Any], check: Callable[[str], str] = destination_key
) -> dict[str, DestinationSettings]:
    """Return what the table ``[site.destinations]`` says; what is wrong goes to ``complaints``."""
    out: dict[str, DestinationSettings] = {}
    for name, data in tables.items():
        path = ("site", "destinations", name)
        try:
            key = check(name)
        except ValueFaultError as fault:
            complaints.add(path, fault.text, fault.remedy)
            continue
        if not isinstance(data, dict):
            complaints.add(path, f"is {kind_of(data)}, not a table", f'write [site.destinations."{name}"]')
        elif key in out:
            complaints.add(path, f"{key} is there already", "write it once")
        else:
            said = out[key] = _read_one(TableReader(complaints, path, data))
            if said.credential and key[0] in "*.":
                complaints.add((*path, "credential"), "would be shown to many hosts", f"name the host: {_SMARTHOST}")
    return out


def _read_one(reader: TableReader) -> DestinationSettings:
    none: dict[str, tuple[int, ...]] = {}
    said = DestinationSettings(
        connections=reader.take("connections", values.counted, None),
        messages=reader.take("messages", values.counted, None),
        rate=reader.take("rate", lambda value: parse_rate(values.filled(value)), None),
        tls=reader.take("tls", values.chosen(TLS_LEVELS), ""),
        tls_names=reader.take("tls_names", values.listed(_certificate_name), ()),
        credential=reader.take("credential", values.filled, ""),
        retry=reader.take("retry", retry, None),
        retry_classes=reader.take("retry_classes", retry_classes, none),
        expire=reader.take("expire", _long, None),
        warn=reader.take("warn", values.duration, None),
    )
    reader.finish()
    if said.expire is not None and said.warn is not None and said.warn >= said.expire:
        reader.complain("warn", "is not before expire: nobody would be warned", "make it shorter than expire")
    if said.tls_names and said.tls not in {"", "verify"}:
        reader.complain("tls_names", "are looked at only with a verified certificate", 'write tls = "verify" too')
    return said


def _long(value: object) -> int:
    length = values.duration(value)
    if length < MIN_RETRY:
        raise ValueFaultError("is less than a second", 'write for instance "5d"')
    return length


def _certificate_name(value: object) -> str:
    """Read a name a certificate may bear; ``*.example.org`` stands for one label."""
    words = values.filled(value)
    star = words.startswith("*.")
    return "*." * star + values.domain(words[2 * star :])
