"""Agents that touch no network: mailboxes of ours, and routes that are not available yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from netsvc.delivery.faults import AttemptError, deferred
from netsvc.interfaces import IDeliveryAgent
from netsvc.mail.message import Result
from netsvc.mail.outcome import Fault, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.delivery.ground import Ground
    from netsvc.mail.message import Hop, Leased


@implementer(IDeliveryAgent)
class MailboxAgent:
    """Puts held or late mail into a mailbox of the database driver: the settling unit of work does it.

    A mailbox that is full then turns the outcome into a deferral; here it is only given up when its time is over.
    """

    name = "mailbox"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def attempt(
        self, next_hop: Hop, message: Leased, recipients: Sequence[Leased], observer: Callable[[str, str], None] | None
    ) -> Deferred[list[Outcome]]:
        """See IDeliveryAgent."""
        del next_hop, message, observer
        now = self._ground.spool.now()
        outcomes = []
        for row in recipients:
            if row.attempts > 1 and now >= row.expires_at:
                outcomes += deferred([row], AttemptError(Fault.LOCAL, "the mailbox is full", "4.2.2"))
            else:
                outcomes.append(Outcome(row.id, Result.DELIVERED, host=self._ground.hostname))
        return succeed(outcomes)


@implementer(IDeliveryAgent)
class UnavailableAgent:
    """Defers mail for a kind of route that this version cannot serve."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._why = AttemptError(Fault.ROUTING, f"{name} routing is not available yet", "4.4.4")

    def attempt(
        self, next_hop: Hop, message: Leased, recipients: Sequence[Leased], observer: Callable[[str, str], None] | None
    ) -> Deferred[list[Outcome]]:
        """See IDeliveryAgent."""
        del next_hop, message, observer
        return succeed(deferred(recipients, self._why))
