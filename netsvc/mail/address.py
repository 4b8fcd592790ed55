"""Addresses as RFC 5321 4.1.2 writes them, and, where SMTPUTF8 was asked for, RFC 6531 3.3.

An ``Address`` keeps its local part as given (in its shortest written form) and
its domain in lower case.  The null reverse-path ``<>`` is ``NULL``; the bare
``Postmaster`` of RFC 5321 4.5.1 has an empty domain.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import NamedTuple

from netsvc.mail.escape import escape

MAX_LOCAL = 64
MAX_DOMAIN = 255
MAX_PATH = 256
"""Octets, RFC 5321 4.5.3.1.1 to 4.5.3.1.3 (a path counts its brackets)."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_DOMAIN_CHARACTERS = re.compile(r"[a-z0-9.-]+\Z")
_DOT_ATOM_CHARACTERS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+\Z")
_QUOTED = re.compile(r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"')
_ESCAPE = re.compile(r"\\(.)")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


class AddressError(ValueError):
    """The text is not an address; the message says why, in words fit for a reply."""


class Address(NamedTuple):
    """One mailbox address: ``local`` as written, ``domain`` lower case (a literal keeps its brackets)."""

    local: str
    domain: str

    def __str__(self) -> str:
        """Return ``local@domain``, the bare local part without a domain, or an empty text for NULL."""
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def key(self) -> str:
        """The text local mailboxes and aliases are matched by: all lower case, beyond ASCII in NFC."""
        text = str(self)
        return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).lower()


NULL = Address("", "")
"""The null reverse-path, ``<>``."""


def parse_domain(text: str) -> str:
    """Return the domain or address literal in lower case.  Raises AddressError.

    A name with other letters than ASCII is taken in its IDNA form.
    """
    if len(text) > MAX_DOMAIN:
        raise AddressError(f"the domain is longer than {MAX_DOMAIN} octets")
    if text.startswith("["):
        return _literal(text)
    if not text.isascii():
        try:
            text = text.encode("idna").decode("ascii")
        except UnicodeError:
            raise AddressError("the domain has no IDNA form") from None
    name = text.lower()
    if len(name) > MAX_DOMAIN:
        raise AddressError(f"the domain is longer than {MAX_DOMAIN} octets")
    if not _DOMAIN_CHARACTERS.match(name) or not all(_LABEL.match(label) for label in name.split(".")):
        raise AddressError("the domain is not letters, digits and hyphens between dots")
    return name


def _literal(text: str) -> str:
    inside = text[1:-1].lower()
    if not text.endswith("]"):
        raise AddressError("the address literal does not end in ]")
    if "%" in inside:  # a zone means something on one host only, and may hold any character
        raise AddressError("the address literal has a zone")
    try:
        if inside.startswith("ipv6:"):
            return f"[IPv6:{ipaddress.IPv6Address(inside[5:])}]"
        return f"[{ipaddress.IPv4Address(inside)}]"
    except ValueError:
        raise AddressError("the address literal is neither IPv4 nor IPv6") from None


def parse_local(text: str, *, utf8: bool = False) -> str:
    """Return the local part in its shortest written form.  Raises AddressError.

    With ``utf8`` characters beyond ASCII count as letters (RFC 6531 3.3), but for those that do not show.
    """
    if len(text) > MAX_LOCAL or (utf8 and len(_octets(text)) > MAX_LOCAL):
        raise AddressError(f"the local part is longer than {MAX_LOCAL} octets")
    if not text.isascii():
        if not utf8:
            raise AddressError("the local part is not ASCII")
        if not text.isprintable() or escape(text) != text:
            raise AddressError("the local part has characters that do not show")
    if _is_dot_atom(text):
        return text
    plain = text if text.isascii() else _as_letters(text)
    match = _QUOTED.match(plain)
    if match is None or match.end() != len(plain):
        raise AddressError("the local part is neither a dot-string nor a quoted string")
    inside = _ESCAPE.sub(r"\1", text[1:-1])
    if _is_dot_atom(inside):
        return inside
    return '"' + inside.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_dot_atom(text: str) -> bool:
    plain = text if text.isascii() else _as_letters(text)
    return bool(text and _DOT_ATOM_CHARACTERS.match(plain) and text[0] != "." and text[-1] != "." and ".." not in text)


def _as_letters(text: str) -> str:
    """Return ``text``, as long as it is, with a letter for each character beyond ASCII."""
    return _BEYOND_ASCII.sub(lambda match: "x" * len(match[0]), text)


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def split_address(text: str) -> tuple[str, str]:
    """Return (local part, domain) as written; the domain is empty where no ``@`` divides them."""
    if text.startswith('"'):
        match = _QUOTED.match(text if text.isascii() else _as_letters(text))
        if match is None:
            raise AddressError("the quoted local part does not end")
        rest = text[match.end() :]
        if rest and not rest.startswith("@"):
            raise AddressError("after the quoted local part comes @")
        return text[: match.end()], rest[1:]
    local, _, domain = text.partition("@")
    return local, domain


def parse_address(text: str, *, utf8: bool = False) -> Address:
    """Return the address ``local@domain``.  Raises AddressError.

    The local part is ASCII unless ``utf8`` (RFC 6531); source routes, comments and display names are refused.
    """
    if len(text) > MAX_PATH - 2 or (utf8 and len(_octets(text)) > MAX_PATH - 2):
        raise AddressError(f"the path is longer than {MAX_PATH} octets")
    local, domain = split_address(text)
    if not domain:
        raise AddressError("an address is local-part@domain")
    return Address(parse_local(local, utf8=utf8), parse_domain(domain))
