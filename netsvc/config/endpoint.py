"""Endpoint strings as Twisted writes them (``tcp:25:interface=127.0.0.1``), checked before anything is bound."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins

from netsvc.config.complaints import ValueFaultError, nearest, quote

REMEDY: Final = 'write for instance "tcp:25", "tcp:2525:interface=127.0.0.1" or "tcp6:25"'
MAX_UNIX_PATH: Final = 107
"""Octets of a path that fit into a socket address."""

_KEYS: Final = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "interface", "backlog"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}
_LATER: Final = {"ssl": "TLS", "tls": "TLS", "txtorcon": "Tor", "haproxy": "the PROXY protocol"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A checked endpoint string.  ``port`` and ``interface`` are of TCP, ``path`` of a socket file."""

    text: str
    kind: str
    port: int = 0
    interface: str = ""
    path: str = ""

    @property
    def is_local(self) -> bool:
        """Whether only this host can reach it; False where the string does not tell."""
        if self.kind == "unix":
            return True
        return bool(self.interface) and ipaddress.ip_address(self.interface).is_loopback


def _brought_kinds() -> set[str]:
    """Return the kinds of endpoint that plugins of Twisted bring."""
    return {parser.prefix for parser in getPlugins(IStreamServerEndpointStringParser)}


def split_endpoint(text: str) -> tuple[list[str], dict[str, str]]:
    r"""Return (words, keys) of an endpoint string; ``\`` takes the meaning of the character behind it."""
    words: list[str] = []
    keys: dict[str, str] = {}
    part, key = "", ""
    characters = iter(text + ":")
    for c in characters:
        if c == "\\":
            part += next(characters)
        elif c == "=" and not key and part:
            key, part = part, ""
        elif c == ":":
            if key in keys:
                raise ValueFaultError(f"{quote(text)} gives {quote(key)} twice", REMEDY)
            if key:
                keys[key] = part
            else:
                words.append(part)
            part = key = ""
        else:
            part += c
    if part or key:
        raise ValueFaultError(f"{quote(text)} ends in a backslash", REMEDY)
    return words, keys


def check_endpoint(text: str) -> Endpoint:
    """Return the endpoint ``text`` describes; raises ValueFaultError.  Kinds that plugins bring are taken as is."""
    words, keys = split_endpoint(text)
    kind = words[0] if words else ""
    if kind.isdigit() or not kind:
        raise ValueFaultError(f"{quote(text)} does not say what kind of endpoint it is", REMEDY)
    if kind in _LATER:
        raise ValueFaultError(f"{_LATER[kind]} on a listener is not yet supported", REMEDY)
    known = _KEYS.get(kind)
    if known is None:
        if kind not in _brought_kinds():
            raise ValueFaultError(f"{quote(text)}: there is no kind of endpoint called {quote(kind)}", REMEDY)
        return Endpoint(text, kind)
    values = dict(zip(known, words[1:], strict=False))
    if len(words) - 1 > len(known):
        raise ValueFaultError(f"{quote(text)} has too many parts", REMEDY)
    for key in keys:
        if key not in known:
            raise ValueFaultError(f"{quote(text)}: {kind} has no {quote(key)}", nearest(key, known))
    values.update(keys)
    if kind == "unix":
        return _unix(text, values)
    if kind == "systemd":
        return _systemd(text, values)
    return _tcp(text, kind, values)


def _number(text: str, values: dict[str, str], key: str, default: int) -> int:
    word = values.get(key, str(default))
    if not (word.isascii() and word.isdigit() and len(word) <= 5 and int(word) <= 65535):
        raise ValueFaultError(f"{quote(text)}: {quote(word)} is not a {key}", REMEDY)
    return int(word)


def _tcp(text: str, kind: str, values: dict[str, str]) -> Endpoint:
    if "port" not in values:
        raise ValueFaultError(f"{quote(text)} names no port", REMEDY)
    number = _number(text, values, "port", 0)
    _number(text, values, "backlog", 50)
    interface = values.get("interface", "")
    if interface:
        try:
            address = ipaddress.ip_address(interface)
        except ValueError:
            raise ValueFaultError(
                f"{quote(text)}: {quote(interface)} is not an IP address",
                r'an interface is an address: "127.0.0.1", "\\:\\:1"',
            ) from None
        if kind == "tcp6" and address.version == 4:
            raise ValueFaultError(f"{quote(text)}: {interface} is IPv4", 'write "tcp:" for it')
    return Endpoint(text, kind, number, interface)


def _unix(text: str, values: dict[str, str]) -> Endpoint:
    path = values.get("address", "")
    if not path:
        raise ValueFaultError(f"{quote(text)} names no path", 'write for instance "unix:/run/netsvc/smtp.sock"')
    if len(path.encode("utf-8", "surrogateescape")) > MAX_UNIX_PATH:
        raise ValueFaultError(f"the path is longer than {MAX_UNIX_PATH} octets", "choose a shorter one")
    mode = values.get("mode", "666")
    if not (len(mode) <= 4 and mode and all(c in "01234567" for c in mode)):
        raise ValueFaultError(f"{quote(text)}: {quote(mode)} is not a mode", 'write octal digits: "mode=660"')
    return Endpoint(text, "unix", path=path)


def _systemd(text: str, values: dict[str, str]) -> Endpoint:
    if values.get("domain") not in ("INET", "INET6", "UNIX"):
        raise ValueFaultError(f"{quote(text)} names no domain", 'write "systemd:domain=INET:name=NAME"')
    if ("index" in values) == ("name" in values):
        raise ValueFaultError(f"{quote(text)} names not exactly one of name and index", "give the socket's name")
    if "index" in values:
        _number(text, values, "index", 0)
    return Endpoint(text, "systemd")
