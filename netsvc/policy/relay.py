"""The relay rule and the recipient rule: who may send to whom (T8, T10, T11).

Mail is taken for a recipient the directory knows, for anyone in a relay domain,
and from a listed network to anywhere.  Everything else is refused before its
content is asked for.  A recipient whose mailboxes are all full, or too full for
the size that was declared, is told to try later: a hint from figures that may be
some seconds old; the transaction that takes the mail decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from netsvc.deferreds import at_once
from netsvc.interfaces import IPolicy
from netsvc.mail import reply
from netsvc.mail.message import Resolution
from netsvc.mail.recipient import MAX_EXPANDED, MAX_LEVELS, MAX_TARGETS, POSTMASTER, answer
from netsvc.networks import Networks
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted.internet.defer import Deferred

    from netsvc.interfaces import IDirectory, IPolicyGround, ISite
    from netsvc.mail.address import Address
    from netsvc.mail.envelope import Envelope, SessionFacts
    from netsvc.mail.message import MailboxRef
    from netsvc.settings import SiteSettings

_ACCEPT = Verdict("accept", reply.RECIPIENT_OK)
_UNKNOWN = Verdict("reject", reply.UNKNOWN_USER, "unknown recipient")
_FULL = Verdict("defer", reply.MAILBOX_FULL_NOW, "mailbox full")
_TOO_LARGE = Verdict("reject", reply.MAILBOX_FULL, "larger than the mailbox's quota")
_TOO_MANY = Verdict(
    "defer", reply.TOO_MANY_RECIPIENTS, f"more than {MAX_EXPANDED} recipients when aliases are followed"
)
_FAULTS = {
    "loop": "reject: the aliases lead back to where they began",
    "many": f"defer: the aliases lead to more than {MAX_TARGETS} addresses",
    "deep": f"defer: more than {MAX_LEVELS} aliases of aliases",
    "postmaster": "defer: there is no postmaster to be reached",
}
_LOG_IN_FIRST = Verdict("reject", reply.AUTH_REQUIRED, "relaying denied")
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

    def check(self, stage: str, session: SessionFacts, envelope: Envelope) -> Verdict | Deferred[Verdict]:
        """Answer at rcpt for the last recipient of ``envelope``; elsewhere no opinion."""
        if stage not in self.stages:
            return PASS
        address = envelope.recipients[-1].address

        def judge(found: Resolution) -> Verdict:
            if found.local:
                boxes = found.mailboxes
                if len(boxes) == 1 and not found.forwards and not boxes[0].limited:
                    return _ACCEPT
                return self._ours(found, session, envelope.size)
            if session.user or address.domain in self._relay_domains or session.peer in self._relay_from:
                return _ACCEPT
            return _LOG_IN_FIRST if session.auth else _DENIED

        asked = self._directory.resolve(address)
        known = at_once(asked, Resolution)
        return asked.addCallback(judge) if known is None else judge(known)

    def _ours(self, found: Resolution, session: SessionFacts, size: int) -> Verdict:
        """Answer for an address of ours; ``size`` is what the client declared, 0 for nothing."""
        boxes = found.mailboxes
        if not found.known:
            return _refused(found) if found.fault else _UNKNOWN
        if len(boxes) + len(found.forwards) > 1:
            expanded = session.expanded + len(boxes) + len(found.forwards)
            if expanded > MAX_EXPANDED:
                return _TOO_MANY
            session.expanded = expanded
        if boxes and boxes[0].limited and not found.forwards and not self._any_room(boxes, max(size, 1)):
            return _FULL if self._fits(boxes, size) else _TOO_LARGE
        return _ACCEPT

    def _fits(self, boxes: Iterable[MailboxRef], size: int) -> bool:
        """Say whether ``size`` octets would fit into any of ``boxes`` if it were empty."""
        return any((self._directory.room(box) or (0, 0, size))[2] >= size for box in boxes)

    def _any_room(self, boxes: Iterable[MailboxRef], size: int) -> bool:
        """Say whether any of ``boxes`` seems to have room for ``size`` octets now; the others take the mail later."""
        for box in boxes:
            room = self._directory.room(box)
            if room is None or (room[0] >= size and room[1] > 0):
                return True
        return False


def _refused(found: Resolution) -> Verdict:
    action, _, why = _FAULTS[found.fault].partition(": ")
    return Verdict(action, answer(found), why)


def for_postmaster(address: Address) -> bool:
    """Say whether an address is a postmaster's (RFC 5321 4.5.1), in whatever case."""
    return len(address.local) == len(POSTMASTER) and address.local.lower() == POSTMASTER


def recipient_rule(ground: IPolicyGround) -> RecipientRule:
    """Return the rule on a node's ground."""
    return RecipientRule(ground.directory, ground.site)
