"""SPF records read: terms and macros (RFC 7208 4.6, 5, 6, 7).  Quiet: text in, values out.

The whole record is read before anything is evaluated, because a mistake anywhere in it is a permerror (4.6).  All of
it is linear: hostile records are cut by the resolver at what DNS can carry.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

QUALIFIERS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
MAX_TERMS = 500
"""Terms of one record that are read; more is a permerror."""
MAX_NAME = 253

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_TOP_LABEL = re.compile(r"[A-Za-z0-9-]{1,63}")
_MACRO = re.compile(r"([A-Za-z])([0-9]{0,3})([rR]?)([.\-+,/_=]*)")
_CIDR = re.compile(r"0|[1-9][0-9]{0,2}")
_DELIMITERS = ".-+,/_="
_LETTERS = "slodiphv"
_EXP_LETTERS = "crt"


class SpfSyntaxError(ValueError):
    """The record, or a name made by it, is not what RFC 7208 allows: a permerror."""


@dataclass(frozen=True, slots=True)
class Macro:
    """One ``%{…}``: its letter (lower case), how many right-most labels to keep (0: all), reversed, delimiters."""

    letter: str
    digits: int = 0
    reverse: bool = False
    delimiters: str = "."
    url: bool = False


Spec = tuple[str | Macro, ...]
"""A macro string: texts and macros in turn."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One mechanism: what a match means (``result``), its ``name``, domain ``spec``, and networks or CIDR lengths."""

    result: str
    name: str
    spec: Spec = ()
    network: Network | None = None
    cidr4: int = 32
    cidr6: int = 128
    text: str = ""


@dataclass(frozen=True, slots=True)
class SpfRecord:
    """A whole record: mechanisms in order, and where ``redirect=`` leads (None: nowhere)."""

    mechanisms: tuple[Mechanism, ...]
    redirect: Spec | None = None


def is_spf(record: bytes) -> bool:
    """Whether a TXT record is an SPF record at all (4.5)."""
    return record[:6].lower() == b"v=spf1" and record[6:7] in (b"", b" ")


def read_record(record: bytes) -> SpfRecord:
    """Return what ``record`` says; raises SpfSyntaxError."""
    try:
        text = record.decode("ascii")
    except UnicodeDecodeError:
        raise SpfSyntaxError("the record is not ASCII") from None
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, Spec] = {}
    terms = [term for term in text.split(" ")[1:] if term]
    if len(terms) > MAX_TERMS:
        raise SpfSyntaxError("too many terms")
    for term in terms:
        name = _NAME.match(term)
        if name is not None and term[name.end() : name.end() + 1] == "=":
            _modifier(name[0].lower(), term[name.end() + 1 :], modifiers)
        else:
            mechanisms.append(_mechanism(term))
    return SpfRecord(tuple(mechanisms), modifiers.get("redirect"))


def _modifier(name: str, value: str, found: dict[str, Spec]) -> None:
    if name in {"redirect", "exp"}:
        if name in found:
            raise SpfSyntaxError(f"{name}= is there twice")
        found[name] = read_domain_spec(value)
    else:
        read_spec(value, exp=True)  # unknown ones are ignored, but must be macro strings (6)


def _mechanism(term: str) -> Mechanism:
    result = QUALIFIERS.get(term[0], "")
    rest = term[1:] if result else term
    result = result or "pass"
    at = min((n for n in (rest.find(":"), rest.find("/")) if n >= 0), default=len(rest))
    name, rest = rest[:at].lower(), rest[at:]
    if name == "all" and not rest:
        return Mechanism(result, name, text=term)
    if name in {"ip4", "ip6"} and rest.startswith(":"):
        return Mechanism(result, name, network=_network(name, rest[1:]), text=term)
    if name in {"include", "exists"} and rest.startswith(":"):
        return Mechanism(result, name, read_domain_spec(rest[1:]), text=term)
    if name == "ptr" and not rest.startswith("/"):
        return Mechanism(result, name, read_domain_spec(rest[1:]) if rest else (), text=term)
    if name in {"a", "mx"}:
        rest, cidr4, cidr6 = _dual_cidr(rest)
        return Mechanism(result, name, read_domain_spec(rest[1:]) if rest else (), None, cidr4, cidr6, term)
    raise SpfSyntaxError(f"no mechanism {term[:60]}")


def _network(name: str, text: str) -> Network:
    host, slash, length = text.partition("/")
    wrong = SpfSyntaxError(f"no network {text[:60]}")
    if "%" in host or (slash and not _CIDR.fullmatch(length)):
        raise wrong
    try:
        if name == "ip4":
            return ipaddress.IPv4Network((ipaddress.IPv4Address(host), int(length or 32)), strict=False)
        return ipaddress.IPv6Network((ipaddress.IPv6Address(host), int(length or 128)), strict=False)
    except ValueError:
        raise wrong from None


def _dual_cidr(text: str) -> tuple[str, int, int]:
    """Cut ``/n``, ``//n`` or ``/n//n`` off the end of ``text`` (5.6)."""
    cidr4, cidr6 = 32, 128
    head, double, length = text.rpartition("//")
    if double and length.isdigit():
        text, cidr6 = head, _length(length, 128)
    head, single, length = text.rpartition("/")
    if single and length.isdigit() and "}" not in length:
        text, cidr4 = head, _length(length, 32)
    if text and not text.startswith(":"):
        raise SpfSyntaxError(f"no CIDR length {text[:60]}")
    return text, cidr4, cidr6


def _length(text: str, most: int) -> int:
    if not _CIDR.fullmatch(text) or int(text) > most:
        raise SpfSyntaxError(f"no CIDR length {text[:60]}")
    return int(text)


def read_domain_spec(text: str) -> Spec:
    """Return a macro string that ends like a domain: in a macro or in a top label (7.1)."""
    spec = read_spec(text)
    if not spec:
        raise SpfSyntaxError("an empty domain")
    last = spec[-1]
    if isinstance(last, Macro):
        return spec
    label = last.removesuffix(".").rpartition(".")
    top = label[2]
    if not label[1] or not _TOP_LABEL.fullmatch(top) or top.isdigit() or top[0] == "-" or top[-1] == "-":
        raise SpfSyntaxError(f"no domain {text[:60]}")
    return spec


def read_spec(text: str, *, exp: bool = False) -> Spec:
    """Return the macro string ``text``; ``exp`` allows the letters that are for explanations only."""
    parts: list[str | Macro] = []
    at = 0
    while at < len(text):
        percent = text.find("%", at)
        end = len(text) if percent < 0 else percent
        if end > at:
            if not all("!" <= c <= "~" for c in text[at:end]):
                raise SpfSyntaxError("a control character")
            parts.append(text[at:end])
        if percent < 0:
            break
        kind = text[percent + 1 : percent + 2]
        if kind == "{":
            close = text.find("}", percent)
            if close < 0:
                raise SpfSyntaxError("a macro without an end")
            parts.append(_macro(text[percent + 2 : close], _LETTERS + (_EXP_LETTERS if exp else "")))
            at = close + 1
            continue
        literal = {"%": "%", "_": " ", "-": "%20"}.get(kind)
        if literal is None:
            raise SpfSyntaxError("a percent sign that begins no macro")
        parts.append(literal)
        at = percent + 2
    return tuple(parts)


def _macro(text: str, letters: str) -> Macro:
    match = _MACRO.fullmatch(text)
    if match is None or match[1].lower() not in letters or (match[2] and not int(match[2])):
        raise SpfSyntaxError(f"no macro {text[:60]}")
    return Macro(match[1].lower(), int(match[2] or 0), bool(match[3]), match[4] or ".", match[1].isupper())


def expand(spec: Spec, values: Mapping[str, str]) -> str:
    """Return ``spec`` with ``values`` {letter: text} filled in (7.3)."""
    return "".join(part if isinstance(part, str) else _expanded(part, values[part.letter]) for part in spec)


def letters_of(spec: Spec) -> set[str]:
    """Return the macro letters ``spec`` needs."""
    return {part.letter for part in spec if isinstance(part, Macro)}


def _expanded(macro: Macro, value: str) -> str:
    parts = _split(value, macro.delimiters)
    if macro.reverse:
        parts.reverse()
    if macro.digits:
        parts = parts[-macro.digits :]
    text = ".".join(parts)
    return quote(text, safe="-._~") if macro.url else text


def _split(value: str, delimiters: str) -> list[str]:
    for other in set(delimiters) & set(_DELIMITERS) - {"."}:
        value = value.replace(other, "\0")
    if "." in delimiters:
        value = value.replace(".", "\0")
    return value.split("\0")


def fitting(name: str) -> str:
    """Return ``name`` as it can be looked up: without a trailing dot, labels cut from the left until it fits (7.3)."""
    name = name.removesuffix(".")
    while len(name) > MAX_NAME:
        name = name.partition(".")[2] or name[1:]
    return name


def is_domain(name: str, *, dots: int = 1) -> bool:
    """Whether ``name`` can be looked up at all: ASCII labels of 1 to 63 octets, ``dots`` of dots at least."""
    labels: Iterable[str] = name.removesuffix(".").split(".")
    if name.count(".") < dots or len(name) > MAX_NAME + 1 or not name.isascii():
        return False
    return all(0 < len(label) < 64 and "\0" not in label for label in labels)
