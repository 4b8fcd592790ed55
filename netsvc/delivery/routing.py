"""Where mail for elsewhere goes: the site's routes, by longest match (SITE.md ``[site.routes]``).

A pattern is a domain, ``.example.org`` for what is below it, or ``*``.  A target
is ``mx``, ``[host]:port``, ``lmtp:…`` or ``maildir:/path/{domain}/{local}``.
What no pattern matches goes by ``mx``.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zope.interface import implementer

from netsvc.interfaces import IRouting
from netsvc.mail.address import AddressError, parse_domain
from netsvc.mail.message import Hop, Kind

if TYPE_CHECKING:
    from netsvc.interfaces import ISite
    from netsvc.settings import SiteSettings

_HOST_PORT = re.compile(r"\[([^\[\]]{1,255})\](?::([0-9]{1,5}))?\Z")
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Target:
    """A route's target, taken apart.

    ``key`` names the destination, "" for ``mx`` (each domain is its own).  ``host`` and ``port`` of
    ``[host]:port``: an IP address or a name; ``prefix`` and ``parts`` of ``maildir:``: the fixed folder
    and the path components below it, which may hold ``{domain}`` and ``{local}``.
    """

    kind: Kind
    key: str
    text: str
    host: str = ""
    port: int = 0
    prefix: str = ""
    parts: tuple[str, ...] = ()


def parse_target(text: str) -> Target:
    """Return the target ``text`` names.  Raises ValueError with a sentence for the operator."""
    if text == "mx":
        return Target(Kind.SMTP, "", text)
    if text.startswith("["):
        return _parse_host(text)
    word, colon, rest = text.partition(":")
    if colon and word == "lmtp" and rest:
        return Target(Kind.LMTP, text, text)
    if colon and word == "maildir":
        return _parse_maildir(text, rest)
    raise ValueError(f"{text!r} is not a route: write mx, [host]:port, lmtp:… or maildir:/path/{{domain}}/{{local}}")


def _parse_host(text: str) -> Target:
    match = _HOST_PORT.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not [host]:port, as in [192.0.2.10]:25 or [relay.example.net]:587")
    port = int(match[2] or 25)
    if not 1 <= port <= 65535:
        raise ValueError(f"the port of {text!r} is not within 1 and 65535")
    host = _parse_name(match[1], text)
    shown = f"IPv6:{host}" if ":" in host else host
    return Target(Kind.SMTP, f"[{shown}]:{port}", text, host=host, port=port)


def _parse_name(name: str, text: str) -> str:
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


def _parse_maildir(text: str, path: str) -> Target:
    parts = path.split("/")[1:]
    if not path.startswith("/") or any(part in {"", ".", ".."} for part in parts) or "\0" in path:
        raise ValueError(f"{text!r} needs an absolute path without empty, . or .. components")
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
    return Target(Kind.MAILDIR, f"maildir:{prefix}", text, prefix=prefix, parts=tuple(parts[fixed:]))


def check_pattern(pattern: str) -> str:
    """Return a route's pattern in its stored form.  Raises ValueError with a sentence for the operator."""
    if pattern == "*":
        return pattern
    below = pattern.startswith(".")
    try:
        return "." * below + parse_domain(pattern[below:])
    except AddressError as why:
        raise ValueError(f"{pattern!r} is not a route's pattern (a domain, .domain or *): {why}") from None


_MX = parse_target("mx")


@implementer(IRouting)
class Router:
    """IRouting over the committed site; follows its changes."""

    def __init__(self, site: ISite) -> None:
        self._targets: dict[str, Target] = {}
        self._known: dict[str, Hop] = {}
        self._obey(site.current)
        site.watch(self._obey)

    def _obey(self, settings: SiteSettings) -> None:
        targets = {}
        for pattern, text in settings.routes.items():
            try:
                targets[check_pattern(pattern)] = parse_target(text)
            except ValueError:
                continue  # the configuration refuses it; a store from elsewhere must not stop all mail
        self._targets = targets
        self._known = {}

    def explain(self, domain: str) -> tuple[str, Hop]:
        """Return the pattern that matched ("" for the default) and the hop it yields."""
        name = domain.lower()
        pattern = self._match(name)
        target = self._targets.get(pattern, _MX)
        return pattern, Hop(target.kind, target.key or name, name, target.text)

    def _match(self, name: str) -> str:
        if name in self._targets:
            return name
        dot = name.find(".")
        while dot >= 0:
            if name[dot:] in self._targets:
                return name[dot:]
            dot = name.find(".", dot + 1)
        return "*" if "*" in self._targets else ""

    def route(self, domain: str) -> Hop:
        """See IRouting."""
        hop = self._known.get(domain)
        if hop is None:
            if len(self._known) >= 10_000:
                self._known.clear()
            hop = self._known[domain] = self.explain(domain)[1]
        return hop


def check_route(pattern: str, target: str) -> None:
    """Raise ValueError, with a sentence for the operator, when this cannot be a route."""
    check_pattern(pattern)
    parse_target(target)
