"""What a guest calls itself at HELO or EHLO (RFC 5321 4.1.1.1, 4.1.4).

RFC 5321 4.1.4 forbids refusing mail because the name does not fit the address;
names that could be nobody's, or that are ours, are another matter.  Each finding
has a setting of its own: off, tag, defer or reject.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from netsvc.deferreds import at_once
from netsvc.interfaces import IPolicy
from netsvc.mail import reply
from netsvc.mail.address import AddressError, parse_domain
from netsvc.policy.guests import Guests, Remembered, for_postmaster, verdict
from netsvc.records import PASS, NameNotFoundError, NameTemporaryError, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred

    from netsvc.interfaces import IPolicyGround
    from netsvc.mail.envelope import Envelope, SessionFacts

REMEMBER = 300.0
HOME = frozenset({"localhost", "localhost.localdomain", "localhost4", "localhost6"})
FINDINGS = ("syntax", "own_name", "bare", "literal", "unresolvable")
"""Settings that say what to do, one a finding, gravest first."""
WORDS = {
    "syntax": "it is neither a host name nor an address literal",
    "own_name": "it is a name or an address of ours",
    "bare": "it is not a fully qualified name",
    "literal": "it is not the address it comes from",
    "unresolvable": "it has no address and no mail exchanger in the DNS",
}
_ORDER = ("reject", "defer", "tag")


def literal_of(name: str) -> str | None:
    """Return the address in an address literal, as text; None where it is none."""
    text = name[1:-1] if name.startswith("[") and name.endswith("]") else ""
    try:
        return str(ipaddress.ip_address(text[5:] if text[:5].upper() == "IPV6:" else text))
    except ValueError:
        return None


@implementer(IPolicy)
class HeloNames:
    """See the module."""

    name = "helo"
    stages = ("helo", "rcpt")

    def __init__(self, ground: IPolicyGround) -> None:
        """Look at nobody yet."""
        self._resolver = ground.resolver
        self._directory = ground.directory
        self._hostname = ground.hostname.lower()
        self._guests = Guests(ground.site)
        self._found: Remembered[tuple[str, str], tuple[str, ...]] = Remembered(self._find, ground.clock, REMEMBER)
        self._actions: dict[str, str] = {}

    def configure(self, values: Mapping[str, Any]) -> None:
        """See IPolicy."""
        self._guests.exempt(values["exempt"])
        self._actions = {finding: values[finding] for finding in FINDINGS}
        self._found.forget()

    def check(self, stage: str, session: SessionFacts, envelope: Envelope) -> Verdict | Deferred[Verdict]:
        """Look the name up at helo; judge at rcpt."""
        if session not in self._guests or not session.helo:
            return PASS
        key = (session.helo.lower(), session.peer)
        if stage == "helo":
            self._found.ahead(key)
            return PASS
        if for_postmaster(envelope):
            return PASS
        asked = self._found.get(key)
        known = at_once(asked, tuple)
        if known is not None:
            return self._judge(known, session)
        return asked.addCallback(self._judge, session)

    def _judge(self, found: tuple[str, ...], session: SessionFacts) -> Verdict:
        """Return what the gravest of the findings asks for; its tag is kept where it is not refused."""
        actions = {finding: self._actions[finding] for finding in found}
        for action in _ORDER:
            there = [finding for finding in found if actions[finding] == action]
            if there and action == "tag":
                tags = tuple(f"helo-{finding.replace('_', '-')}" for finding in there)
                return Verdict("tag", None, f"HELO {session.helo}: {WORDS[there[0]]}", tags)
            if there:
                words = {"name": session.helo, "why": WORDS[there[0]]}
                refusals = (reply.BAD_HELO.fill(**words), reply.BAD_HELO_NOW.fill(**words))
                return verdict(action, refusals, f"HELO {session.helo}: {WORDS[there[0]]}", "")
        return PASS

    async def _find(self, key: tuple[str, str]) -> tuple[str, ...]:
        """Return what is to be said against a name that an address calls itself, of FINDINGS."""
        name, peer = key
        if name.startswith("["):
            return await self._find_literal(name, peer)
        try:
            domain = parse_domain(name.removesuffix("."))
        except AddressError:
            return ("syntax",)
        if _is_address(domain):
            return ("syntax",)
        found = []
        if domain == self._hostname or domain in HOME or await self._directory.is_local(domain):
            found.append("own_name")
        if "." not in domain:
            found.append("bare")
        if not found and self._actions["unresolvable"] != "off" and not await self._resolves(domain):
            found.append("unresolvable")
        return tuple(found)

    async def _find_literal(self, name: str, peer: str) -> tuple[str, ...]:
        literal = literal_of(name)
        if literal is None:
            return ("syntax",)
        if literal == peer:
            return ()
        ours = ipaddress.ip_address(literal).is_loopback or literal in await self._own_addresses()
        return ("own_name", "literal") if ours else ("literal",)

    async def _own_addresses(self) -> set[str]:
        """Return the addresses of our own name."""
        found: set[str] = set()
        for ask in (self._resolver.a, self._resolver.aaaa):
            try:
                found.update(await ask(self._hostname))
            except (NameNotFoundError, NameTemporaryError):
                continue
        return found

    async def _resolves(self, domain: str) -> bool:
        """Say whether a name has an address or a mail exchanger, also where that cannot be found out now."""
        for ask in (self._resolver.a, self._resolver.aaaa, self._resolver.mx):
            try:
                await ask(domain)
            except NameNotFoundError:
                continue
            except NameTemporaryError:
                return True
            return True
        return False


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
