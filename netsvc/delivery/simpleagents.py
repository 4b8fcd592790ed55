"""The agent that touches no network: mailboxes of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.delivery.faults import AttemptError, bounced, deferred
from netsvc.interfaces import IDeliveryAgent
from netsvc.mail.address import Address, split_address
from netsvc.mail.message import Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.mail.reply import UNKNOWN_USER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netsvc.delivery.ground import Ground
    from netsvc.mail.message import Hop, Leased


@implementer(IDeliveryAgent)
class MailboxAgent:
    """Puts held or late mail into a mailbox of the database driver: the settling unit of work does it.

    A mailbox that is full then turns the outcome into a deferral; here mail is returned when its time is over, or its
    recipient is nobody's any more.
    """

    name = "mailbox"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def attempt(
        self, next_hop: Hop, message: Leased, recipients: Sequence[Leased], observer: Callable[[str, str], None] | None
    ) -> Deferred[list[Outcome]]:
        """See IDeliveryAgent."""
        del next_hop, message, observer
        return Deferred.fromCoroutine(self._all(recipients))

    async def _all(self, rows: Sequence[Leased]) -> list[Outcome]:
        return [await self._one(row) for row in rows]

    async def _one(self, row: Leased) -> Outcome:
        resolution = await self._ground.directory.resolve(Address(*split_address(row.rcpt)))
        if resolution.local and not resolution.known:
            return bounced([row], Fault.LOCAL, UNKNOWN_USER.status, UNKNOWN_USER.text)[0]
        if row.attempts > 1 and self._ground.spool.now() >= row.expires_at:
            return deferred([row], AttemptError(Fault.LOCAL, "the mailbox is full", "4.2.2"))[0]
        return Outcome(row.id, Result.DELIVERED, host=self._ground.hostname)
