"""Where mail for elsewhere goes: the site's routes, by longest match (SITE.md ``[site.routes]``).

A sender's route decides first: its whole address, then its domain, then the
longest ``.domain`` above that; ``<>`` is mail without a sender.  Then the
recipient's domain, the longest ``.domain`` above it, and ``*``.  What nothing
matches goes by ``mx``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from netsvc.delivery.targets import parse_target
from netsvc.interfaces import IRouting
from netsvc.mail.address import AddressError, parse_address, parse_domain, split_address
from netsvc.mail.message import Hop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from netsvc.delivery.targets import Target
    from netsvc.interfaces import ISite
    from netsvc.records import Row
    from netsvc.settings import SiteSettings

NULL = "<>"
"""The pattern of mail without a sender, reports mostly."""
REMEMBERED = 10_000
"""Domains whose hop is remembered."""


def check_pattern(pattern: str) -> str:
    """Return a route's pattern in its stored form.  Raises ValueError with a sentence for the operator."""
    if pattern == "*":
        return pattern
    below = pattern.startswith(".")
    try:
        return "." * below + parse_domain(pattern[below:])
    except AddressError as why:
        raise ValueError(f"{pattern!r} is not a route's pattern (a domain, .domain or *): {why}") from None


def check_sender(pattern: str) -> str:
    """Return a sender route's pattern in its stored form.  Raises ValueError with a sentence for the operator."""
    if pattern == NULL:
        return pattern
    try:
        if "@" in pattern:
            return parse_address(pattern, utf8=True).key
        below = pattern.startswith(".")
        return "." * below + parse_domain(pattern[below:])
    except AddressError as why:
        raise ValueError(
            f"{pattern!r} is not a sender route's pattern (an address, a domain, .domain or <>): {why}"
        ) from None


_MX = parse_target("mx")


def _domain_patterns(name: str) -> Iterator[str]:
    """Yield what may stand for the domain ``name``, the longest first."""
    yield name
    dot = name.find(".")
    while dot >= 0:
        yield name[dot:]
        dot = name.find(".", dot + 1)


def recipient_patterns(domain: str) -> Iterator[str]:
    """Yield the patterns that may match a recipient's ``domain``, in lower case, in the order they are looked for."""
    yield from _domain_patterns(domain)
    yield "*"


def sender_patterns(sender: str) -> Iterator[str]:
    """Yield the patterns that may match ``sender``, in lower case, "" for none, in the order they are looked for."""
    if not sender:
        yield NULL
        return
    yield sender
    yield from _domain_patterns(split_address(sender)[1])


@implementer(IRouting)
class Router:
    """IRouting over the committed site; follows its changes."""

    def __init__(self, site: ISite) -> None:
        self._targets: dict[str, Target] = {}
        self._senders: dict[str, Target] = {}
        self._known: dict[str, Hop] = {}
        self._obey(site.current)
        site.watch(self._obey)

    def _obey(self, settings: SiteSettings) -> None:
        self._targets = _read(settings.routes, check_pattern)
        self._senders = _read(settings.sender_routes, check_sender)
        self._known = {}

    def route(self, domain: str, sender: str = "") -> Hop:
        """See IRouting."""
        if self._senders:
            hop = self._of_sender(domain, sender)
            if hop is not None:
                return hop
        hop = self._known.get(domain)
        if hop is None:
            hop = self._of_recipient(domain)
            if len(self._known) >= REMEMBERED:
                self._known = {}
            self._known[domain] = hop
        return hop

    def judge(self, domain: str, sender: str | None = "") -> Hop:
        """Return the same, from whatever thread: nothing is remembered."""
        hop = self._of_sender(domain, sender) if self._senders and sender is not None else None
        return hop or self._of_recipient(domain)

    def _of_sender(self, domain: str, sender: str) -> Hop | None:
        senders = self._senders
        for pattern in sender_patterns(sender.lower()):
            if pattern in senders:
                return _hop(senders[pattern], domain.lower())
        return None

    def _of_recipient(self, domain: str) -> Hop:
        name, targets = domain.lower(), self._targets
        for pattern in recipient_patterns(name):
            if pattern in targets:
                return _hop(targets[pattern], name)
        return _hop(_MX, name)

    def check(self, pattern: str, target: str, *, of_sender: bool = False) -> tuple[str, str]:
        """See IRouting."""
        return check_route(pattern, target, of_sender=of_sender), parse_target(target).key

    def explain(self, domain: str, sender: str | None = None) -> list[Row]:
        """See IRouting."""
        told: list[Row] = []
        name = domain.lower()
        if sender is not None:
            for pattern in sender_patterns(sender.lower()) if self._senders else ():
                told.append(_tried("sender", pattern, self._senders.get(pattern)))
                if told[-1]["matched"]:
                    return told
        for pattern in recipient_patterns(name):
            if name.startswith("[") and pattern.startswith("."):
                continue  # nothing is below an address
            told.append(_tried("route", pattern, self._targets.get(pattern)))
            if told[-1]["matched"]:
                return told
        told.append(_tried("default", "", _MX))
        return told


def _tried(rule: str, pattern: str, target: Target | None) -> Row:
    return {"rule": rule, "pattern": pattern, "target": target.text if target else "", "matched": target is not None}


def _hop(target: Target, name: str) -> Hop:
    return Hop(target.kind, target.key or name, name, target.text)


def _read(routes: Mapping[str, str], check: Callable[[str], str]) -> dict[str, Target]:
    """Return the routes' targets; those that are none are passed over.

    The configuration refuses them, but a store from elsewhere must not stop all mail.
    """
    found = {}
    for pattern, text in routes.items():
        try:
            found[check(pattern)] = parse_target(text)
        except ValueError:
            continue
    return found


def check_route(pattern: str, target: str, *, of_sender: bool = False) -> str:
    """Return the pattern of a route in its stored form.

    Raises ValueError, with a sentence for the operator, when this cannot be a route.
    """
    stored = check_sender(pattern) if of_sender else check_pattern(pattern)
    parse_target(target)
    return stored
