"""SASLprep (RFC 4013): names and passwords brought to one form, so that what looks the same is the same."""

from __future__ import annotations

import stringprep
from unicodedata import ucd_3_2_0

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class PrepError(ValueError):
    """A text that no name and no password may be."""


def saslprep(text: str) -> str:
    """Return ``text`` prepared as a query (RFC 3454 7: characters newer than Unicode 3.2 are allowed).

    Raises PrepError for what is prohibited.  The result may be empty.
    """
    if text.isascii():
        if text and not text.isprintable():
            raise PrepError("control characters are prohibited")
        return text
    mapped = "".join(_mapped(c) for c in text if not stringprep.in_table_b1(c))
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    for c in prepared:
        if any(prohibited(c) for prohibited in _PROHIBITED):
            raise PrepError(f"U+{ord(c):04X} is prohibited")
    _check_direction(prepared)
    return prepared


def _mapped(c: str) -> str:
    return " " if stringprep.in_table_c12(c) else c


def _check_direction(text: str) -> None:
    """Refuse mixed directions (RFC 3454 6)."""
    if not any(stringprep.in_table_d1(c) for c in text):
        return
    if any(stringprep.in_table_d2(c) for c in text):
        raise PrepError("characters of both directions are mixed")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise PrepError("what is written from right to left begins and ends so")
