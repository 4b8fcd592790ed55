"""xtext: any ASCII text in the value of an SMTP parameter (RFC 3461 4)."""

from __future__ import annotations

import re

_HEX = re.compile(r"\+([0-9A-F]{2})")
_CODED = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*\Z")
_TO_CODE = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")


def from_xtext(text: str) -> str | None:
    """Return what ``text`` stands for, octets as Latin-1; None when it is not xtext."""
    if not _CODED.match(text):
        return None
    return _HEX.sub(lambda match: chr(int(match[1], 16)), text)


def to_xtext(text: str) -> str:
    """Return ``text`` in xtext; characters beyond Latin-1 become ``?``."""
    plain = text.encode("latin-1", "replace").decode("latin-1")
    return _TO_CODE.sub(lambda match: f"+{ord(match[0]):02X}", plain)
