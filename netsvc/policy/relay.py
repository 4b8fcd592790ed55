"""The relay rule and the recipient rule: who may send to whom (T8, T10, T11).

Mail is taken for a recipient the directory knows, for anyone in a relay domain,
and from a listed network to anywhere.  Everything else is refused before its
content is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from netsvc.deferreds import at_once
from netsvc.interfaces import IPolicy
from netsvc.mail import reply
from netsvc.mail.message import Resolution
from netsvc.networks import Networks
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from netsvc.interfaces import IDirectory, IPolicyGround, ISite
    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.settings import SiteSettings

_ACCEPT = Verdict("accept", reply.RECIPIENT_OK)
_UNKNOWN = Verdict("reject", reply.UNKNOWN_USER, "unknown recipient")
_DENIED = Verdict("reject", reply.RELAY_DENIED, "relaying denied")


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

    def configure(self, values: Mapping[str, Any]) -> None:
        """Do nothing: what it needs of the site are no settings of its own."""

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


def recipient_rule(ground: IPolicyGround) -> RecipientRule:
    """Return the rule on a node's ground."""
    return RecipientRule(ground.directory, ground.site)
