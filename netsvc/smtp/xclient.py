"""XCLIENT: a listed test peer says whom it stands for (as Postfix's XCLIENT_README has it).

``XCLIENT NAME=… ADDR=… PORT=… PROTO=… HELO=… LOGIN=… DESTADDR=… DESTPORT=…``, any of them, values in xtext
(``+`` and two capital hexadecimal digits), ``[UNAVAILABLE]`` or ``[TEMPUNAVAIL]`` where nothing is known.  An
accepted one is answered 220 and leads to where the session began.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

from netsvc.mail.reply import BAD_ARGUMENT, SYNTAX
from netsvc.smtp.events import ClientReplaced
from netsvc.smtp.grammar import CommandError, split

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")
KEYWORD = "XCLIENT " + " ".join(NAMES)
"""What EHLO offers listed peers."""
_USAGE = SYNTAX.fill(usage="XCLIENT NAME=value ...")
_UNKNOWN = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+\Z")
_CODED = re.compile(r"\+([0-9A-F]{2})")
_MUST_BE_KNOWN = {"ADDR", "PORT", "PROTO"}


def parse(line: bytes) -> ClientReplaced:
    """Return what an XCLIENT line says.  Raises CommandError."""
    _, argument = split(line)
    given: dict[str, str] = {}
    for item in argument.split(" "):
        name, equals, value = item.partition("=")
        name = name.upper()
        if not equals or name not in NAMES or name in given:
            raise CommandError(_USAGE)
        given[name] = _value(name, value)
    return ClientReplaced(given)


def _value(name: str, text: str) -> str:
    """Return the value of an attribute; "" when it is not known."""
    if text.upper() in _UNKNOWN:
        if name in _MUST_BE_KNOWN:
            raise CommandError(BAD_ARGUMENT.fill(why=f"{name} is to be known"))
        return ""
    value = _CODED.sub(_octet, text) if _XTEXT.match(text) else ""
    if not value or len(value) > 255 or not value.isascii() or not value.isprintable():
        raise CommandError(BAD_ARGUMENT.fill(why=f"{name} is not printable ASCII in xtext"))
    check = _CHECKS.get(name)
    if check is None:
        return value
    try:
        return check(value)
    except ValueError:
        raise CommandError(BAD_ARGUMENT.fill(why=f"{name} has no such value")) from None


def _octet(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def _address(value: str) -> str:
    bare = value[5:] if value.upper().startswith("IPV6:") else value
    if "%" in bare:
        raise ValueError("an address with a zone")
    address = ip_address(bare)
    return str(getattr(address, "ipv4_mapped", None) or address)


def _port(value: str) -> str:
    if not value.isdigit() or len(value) > 5 or int(value) > 65535:
        raise ValueError("no port")
    return str(int(value))


def _protocol(value: str) -> str:
    if value.upper() not in ("SMTP", "ESMTP"):
        raise ValueError("no protocol")
    return value.upper()


def _host(value: str) -> str:
    if " " in value:
        raise ValueError("a name has no blanks")
    return value


_CHECKS = {
    "NAME": _host,
    "ADDR": _address,
    "PORT": _port,
    "PROTO": _protocol,
    "HELO": _host,
    "DESTADDR": _address,
    "DESTPORT": _port,
}


def named(given: Mapping[str, str]) -> str:
    """Return what was given as one text for the logbook."""
    return " ".join(f"{name}={value or '-'}" for name, value in given.items())
