"""The relay rule and the recipient rule: who may send to whom (T8, T10, T11).

Mail is taken for a recipient the directory knows, for anyone in a relay domain,
and from a listed network to anywhere.  Everything else is refused before its
content is asked for.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from netsvc.deferreds import at_once
from netsvc.interfaces import IPolicy
from netsvc.mail import reply
from netsvc.mail.message import Resolution
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netsvc.interfaces import IDirectory, ISite
    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.settings import SiteSettings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ACCEPT = Verdict("accept", reply.RECIPIENT_OK)
_UNKNOWN = Verdict("reject", reply.UNKNOWN_USER, "unknown recipient")
_DENIED = Verdict("reject", reply.RELAY_DENIED, "relaying denied")


class Networks:
    """Listed networks, asked often about few peers."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._networks: list[Network] = [ipaddress.ip_network(text, strict=False) for text in texts]
        self._known: dict[str, bool] = {}

    def __contains__(self, peer: str) -> bool:
        """Say whether the IP address ``peer`` (text) is in one of them; an IPv4-mapped one counts as IPv4."""
        known = self._known.get(peer)
        if known is None:
            if len(self._known) > 10_000:
                self._known.clear()
            known = self._known[peer] = self._look(peer)
        return known

    def _look(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        return any(address in network for network in self._networks if network.version == address.version)


class Domains:
    """Listed domains; ``.example.org`` lists what is below it, ``*`` everything."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = frozenset(pattern.lower() for pattern in patterns)

    def __contains__(self, domain: str) -> bool:
        """Say whether ``domain`` (lower case) is listed."""
        if domain in self._patterns or "*" in self._patterns:
            return True
        dot = domain.find(".")
        while dot >= 0:
            if domain[dot:] in self._patterns:
                return True
            dot = domain.find(".", dot + 1)
        return False


@implementer(IPolicy)
class RecipientRule:
    """Known recipients are acknowledged; others are relayed only where the site says so."""

    name = "recipient"
    stages = frozenset({"rcpt"})

    def __init__(self, directory: IDirectory, site: ISite) -> None:
        self._directory = directory
        self._obey(site.current)
        site.watch(self._obey)

    def _obey(self, settings: SiteSettings) -> None:
        self._relay_from = Networks(settings.relay_from)
        self._relay_domains = Domains(settings.relay_domains)

    def check(self, stage: str, session: SessionFacts, envelope: Envelope) -> Deferred[Verdict]:
        """Answer at rcpt for the last recipient of ``envelope``; elsewhere no opinion."""
        if stage not in self.stages:
            return succeed(PASS)
        address = envelope.recipients[-1].address

        def judge(resolution: Resolution) -> Verdict:
            if resolution.local:
                return _ACCEPT if resolution.known else _UNKNOWN
            if address.domain in self._relay_domains or session.peer in self._relay_from:
                return _ACCEPT
            return _DENIED

        asked = self._directory.resolve(address)
        known = at_once(asked, Resolution)
        return asked.addCallback(judge) if known is None else succeed(judge(known))
