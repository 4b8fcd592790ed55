"""Targets of routes, taken apart: what carries mail there, and where there is (SITE.md ``[site.routes]``).

``mx``, ``mx:other.example``, ``[host]:port``, ``lmtp:unix:/path``, ``lmtp:[host]:port``,
``maildir:/path/{domain}/{local}``, ``command:NAME``, ``agent:NAME words``.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netsvc.mail.address import AddressError, parse_domain
from netsvc.mail.message import Kind

if TYPE_CHECKING:
    from netsvc.mail.message import Hop

LMTP_PORT = 24
MAX_SOCKET = 107
"""Octets of a socket's path (sun_path without its NUL)."""
MAX_TARGET = 1000
"""Characters of a route's target."""
SHAPES = "mx, mx:other.example, [host]:port, lmtp:unix:/path, lmtp:[host]:port, maildir:/path, command:NAME, agent:NAME"
_HOST_PORT = re.compile(r"\[([^\[\]]{1,255})\](?::([0-9]{1,5}))?\Z")
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """A route's target, taken apart.

    ``key`` names the destination, "" for ``mx`` (each domain is its own).  ``domain``: whose MX records are asked,
    "" for the recipient's; ``host`` and ``port``: an IP address or a name; ``path``: a socket's; ``prefix`` and
    ``parts`` of ``maildir:``: the fixed folder and the path components below it, which may hold ``{domain}`` and
    ``{local}``; ``name``: a command's or an agent's, ``words`` what the route says to the agent.
    """

    kind: Kind
    key: str
    text: str
    host: str = ""
    port: int = 0
    prefix: str = ""
    parts: tuple[str, ...] = ()
    domain: str = ""
    path: str = ""
    name: str = ""
    words: str = ""

    @property
    def by_mx(self) -> bool:
        """Whether DNS says which hosts these are; else the site named them."""
        return self.kind is Kind.SMTP and not self.host


def parse_target(text: str) -> Target:
    """Return the target ``text`` names.  Raises ValueError with a sentence for the operator."""
    if len(text) > MAX_TARGET or not text.isprintable():
        raise ValueError(f"{text[:100]!r} is not one plain line of at most {MAX_TARGET} characters")
    if text == "mx":
        return Target(Kind.SMTP, "", text)
    if text.startswith("["):
        host, port, key = _host(text, text, 25)
        return Target(Kind.SMTP, key, text, host=host, port=port)
    word, colon, rest = text.partition(":")
    if not colon or word not in _PARSERS:
        raise ValueError(f"{text!r} is not a route: write {SHAPES}")
    return _PARSERS[word](text, rest)


def hop_target(hop: Hop) -> Target:
    """Return the target of a delivery as its row keeps it.  Raises ValueError.

    What went by ``mx`` has the domain whose MX is asked as its key; ``[192.0.2.1]`` without a port is the domain of an
    address ``user@[192.0.2.1]``, which nobody at the site wrote.
    """
    if hop.kind is not Kind.SMTP:
        return parse_target(hop.route)
    if hop.key.startswith("[") and not hop.key.endswith("]"):
        return parse_target(hop.key)
    return Target(Kind.SMTP, hop.key, hop.route, domain=hop.key)


def _host(text: str, where: str, usual: int) -> tuple[str, int, str]:
    """Return (host, port, ``[host]:port`` in its one form) of ``where``, a part of ``text``."""
    match = _HOST_PORT.match(where)
    if match is None:
        raise ValueError(f"{text!r} is not [host]:port, as in [192.0.2.10]:25 or [relay.example.net]:587")
    port = int(match[2] or usual)
    if not 1 <= port <= 65535:
        raise ValueError(f"the port of {text!r} is not within 1 and 65535")
    host = _host_name(match[1], text)
    shown = f"IPv6:{host}" if ":" in host else host
    return host, port, f"[{shown}]:{port}"


def _host_name(name: str, text: str) -> str:
    bare = name[5:] if name.lower().startswith("ipv6:") else name
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    if bare == name and not re.fullmatch(r"[0-9.]+", name):
        try:
            return parse_domain(name)
        except AddressError:
            pass
    raise ValueError(f"the host of {text!r} is neither an IP address nor a host name")


def _mx(text: str, rest: str) -> Target:
    try:
        domain = parse_domain(rest)
    except AddressError as why:
        raise ValueError(f"{text!r} is not mx:domain, as in mx:other.example: {why}") from None
    if domain.startswith("["):
        raise ValueError(f"{text!r} names an address: write [{domain.strip('[]')}]:25, which asks no DNS")
    return Target(Kind.SMTP, domain, f"mx:{domain}", domain=domain)


def _lmtp(text: str, rest: str) -> Target:
    if rest.startswith("["):
        host, port, key = _host(text, rest, LMTP_PORT)
        return Target(Kind.LMTP, f"lmtp:{key}", text, host=host, port=port)
    word, colon, path = rest.partition(":")
    if word != "unix" or not colon:
        raise ValueError(f"{text!r} is not lmtp:unix:/path or lmtp:[host]:port")
    _check_path(text, path)
    if len(path.encode()) > MAX_SOCKET:
        raise ValueError(f"the socket's path of {text!r} is longer than {MAX_SOCKET} octets")
    return Target(Kind.LMTP, text, text, path=path)


def _check_path(text: str, path: str) -> tuple[str, ...]:
    """Return the components of an absolute path."""
    parts = tuple(path.split("/")[1:])
    if not path.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise ValueError(f"{text!r} needs an absolute path without empty, . or .. components")
    return parts


def _maildir(text: str, path: str) -> Target:
    parts = _check_path(text, path)
    for part in parts:
        if any(found not in {"{domain}", "{local}"} for found in _PLACEHOLDER.findall(part)):
            raise ValueError(f"{text!r} may hold {{domain}} and {{local}}, nothing else in braces")
        rest = part.replace("{domain}", "").replace("{local}", "")
        if "{" in rest or "}" in rest:
            raise ValueError(f"{text!r} has a brace that is not part of {{domain}} or {{local}}")
    fixed = next((i for i, part in enumerate(parts) if "{" in part), len(parts))
    if fixed == 0:
        raise ValueError(f"{text!r} needs a fixed folder before the first {{domain}} or {{local}}")
    prefix = "/" + "/".join(parts[:fixed])
    return Target(Kind.MAILDIR, f"maildir:{prefix}", text, prefix=prefix, parts=parts[fixed:])


def _command(text: str, name: str) -> Target:
    if not _NAME.match(name):
        raise ValueError(f"{text!r} is not command:NAME: a name has a-z 0-9 - _, at most 32")
    return Target(Kind.COMMAND, text, text, name=name)


def _agent(text: str, rest: str) -> Target:
    name, _, words = rest.partition(" ")
    words = words.strip()
    if not _NAME.match(name):
        raise ValueError(f"{text!r} is not agent:NAME, with what the agent is told behind it")
    key = f"agent:{name} {words}" if words else f"agent:{name}"
    return Target(Kind.PLUGIN, key, key, name=name, words=words)


_PARSERS = {"mx": _mx, "lmtp": _lmtp, "maildir": _maildir, "command": _command, "agent": _agent}
