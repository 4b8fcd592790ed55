"""The values of ESMTP parameters: what MAIL and RCPT ask for beyond the path.

Each keyword has one function that takes its value as written and gives what it
means.  Whether a listener offers it is not asked here (``server``).  Values that
are passed on (ENVID, ORCPT) are kept as written, in xtext, and are checked to
decode to something that can stand in a report.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from netsvc.mail.address import AddressError, parse_address
from netsvc.mail.envelope import (
    NO_WISHES,
    NOTIFY_DELAY,
    NOTIFY_FAILURE,
    NOTIFY_NEVER,
    NOTIFY_SUCCESS,
    RET_FULL,
    RET_HDRS,
    Wishes,
)
from netsvc.mail.escape import escape
from netsvc.mail.xtext import from_xtext
from netsvc.smtp.events import BODY_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DIGITS = re.compile(r"[0-9]{1,20}")
_INTERVAL = re.compile(r"[0-9]{1,9}")
_BY = re.compile(r"([+-]?[0-9]{1,9});([RN])(T?)", re.IGNORECASE)
_PRIORITY = re.compile(r"-?[0-9]")
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.IGNORECASE,
)
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,40}")
_NOTIFY = {"SUCCESS": NOTIFY_SUCCESS, "FAILURE": NOTIFY_FAILURE, "DELAY": NOTIFY_DELAY}
MAX_ENVID = 100
"""Characters of an envelope id, encoded (RFC 3461 4.4)."""
MAX_ORCPT = 500
"""Characters of an original recipient, encoded (RFC 3461 4.2)."""


class ParameterError(ValueError):
    """A value is wrong; the message says why, in words fit for a reply."""


def _flag(name: str, value: str) -> bool:
    if value:
        raise ParameterError(f"{name} has no value")
    return True


def size(value: str) -> int:
    """Return SIZE= (RFC 1870)."""
    if not _DIGITS.fullmatch(value):
        raise ParameterError("SIZE is a number of octets")
    return int(value)


def body(value: str) -> str:
    """Return BODY= (RFC 6152, 3030)."""
    kind = value.upper()
    if kind not in BODY_TYPES:
        raise ParameterError("BODY is 7BIT, 8BITMIME or BINARYMIME")
    return kind


def _ret(value: str) -> dict[str, Any]:
    kind = {"FULL": RET_FULL, "HDRS": RET_HDRS}.get(value.upper())
    if kind is None:
        raise ParameterError("RET is FULL or HDRS")
    return {"ret": kind}


def _envid(value: str) -> dict[str, Any]:
    if not value or len(value) > MAX_ENVID or not _shows(from_xtext(value)):
        raise ParameterError(f"ENVID is xtext of 1 to {MAX_ENVID} characters")
    return {"envid": value}


def _hold_for(value: str) -> dict[str, Any]:
    if not _INTERVAL.fullmatch(value) or not int(value):
        raise ParameterError("HOLDFOR is a number of seconds")
    return {"hold_for": int(value)}


def _hold_until(value: str) -> dict[str, Any]:
    match = _DATE_TIME.fullmatch(value)
    try:
        if match is None:
            raise ValueError(value)  # noqa: TRY301 - one words for what is not written so and what no calendar has
        zone = "+00:00" if match[3].upper() == "Z" else match[3]
        moment = datetime.fromisoformat(f"{match[1]}T{match[2]}{zone}").astimezone(UTC)
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):
        raise ParameterError("HOLDUNTIL is a date and time such as 2030-01-31T12:00:00Z") from None
    return {"hold_until": max(seconds, 1) * 1000}


def _by(value: str) -> dict[str, Any]:
    match = _BY.fullmatch(value)
    if match is None:
        raise ParameterError("BY is seconds;R or seconds;N, and T for a trace")
    seconds, mode = int(match[1]), match[2].upper()
    if mode == "R" and seconds <= 0:
        raise ParameterError("BY with mode R is a positive number of seconds")
    return {"by": seconds, "by_return": mode == "R", "by_trace": bool(match[3])}


def _auth(value: str) -> dict[str, Any]:
    """Check AUTH=: who the client says has submitted the message (RFC 4954 5).

    No client is trusted to say that: it is as if <> had been said.
    """
    if value != "<>":
        text = from_xtext(value) or ""
        try:
            parse_address(text, utf8=not text.isascii())
        except AddressError:
            raise ParameterError("AUTH is a mailbox in xtext, or <>") from None
    return {}


def _priority(value: str) -> dict[str, Any]:
    if not _PRIORITY.fullmatch(value):
        raise ParameterError("MT-PRIORITY is a number from -9 to 9")
    return {"priority": int(value)}


_WISHES: dict[str, Callable[[str], dict[str, Any]]] = {
    "SMTPUTF8": lambda value: {"utf8": _flag("SMTPUTF8", value)},
    "RET": _ret,
    "ENVID": _envid,
    "REQUIRETLS": lambda value: {"requiretls": _flag("REQUIRETLS", value)},
    "HOLDFOR": _hold_for,
    "HOLDUNTIL": _hold_until,
    "BY": _by,
    "MT-PRIORITY": _priority,
    "AUTH": _auth,
}
OF_MAIL = frozenset({"SIZE", "BODY", *_WISHES})
OF_RCPT = frozenset({"NOTIFY", "ORCPT"})
"""Keywords known with MAIL and with RCPT."""


def wishes(params: Mapping[str, str]) -> Wishes:
    """Return what the parameters of a MAIL ask for beyond size and body.  Raises ParameterError."""
    found: dict[str, Any] = {}
    for name, value in params.items():
        read = _WISHES.get(name)
        if read is not None:
            found.update(read(value))
    if "hold_for" in found and "hold_until" in found:
        raise ParameterError("HOLDFOR and HOLDUNTIL do not go together")
    return Wishes(**found) if found else NO_WISHES


def notify(value: str) -> int:
    """Return the sum of NOTIFY_... that NOTIFY= asks for (RFC 3461 4.1).  Raises ParameterError."""
    words = value.upper().split(",")
    if words == ["NEVER"]:
        return NOTIFY_NEVER
    if len(set(words)) != len(words) or not _NOTIFY.keys() >= set(words):
        raise ParameterError("NOTIFY is NEVER, or of SUCCESS, FAILURE and DELAY with commas")
    return sum(_NOTIFY[word] for word in words)


def original_recipient(value: str) -> str:
    """Return ORCPT= as written, address type and xtext, once it is checked (RFC 3461 4.2, 6533 3).

    Raises ParameterError.
    """
    kind, semicolon, address = value.partition(";")
    known = _ATOM.fullmatch(kind) is not None and bool(semicolon and address) and len(value) <= MAX_ORCPT
    if known and kind.lower() == "utf-8":
        known = address.isprintable() and escape(address) == address and " " not in address
    elif known:
        known = _shows(from_xtext(address))
    if not known:
        raise ParameterError("ORCPT is an address type, a semicolon, and an address in xtext")
    return value


def _shows(text: str | None) -> bool:
    """Say whether decoded xtext can stand in one line of a report."""
    return bool(text) and text is not None and text.isascii() and text.isprintable()
