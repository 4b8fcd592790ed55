"""The client's side of an LMTP session, silent (RFC 2033): LHLO, and one reply a recipient after the content.

The peer answers for each recipient it accepted at RCPT, in their order; so it has no queue of its own and one full
mailbox keeps nothing from the others.  Where the session ends among those replies, what was answered is decided:
``decided`` tells, since trying such recipients again would deliver to them twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.smtp.client import ClientSession
from netsvc.smtp.clientevents import END_OF_DATA, Verdict
from netsvc.smtp.replies import PeerError

if TYPE_CHECKING:
    from netsvc.smtp.offering import Transaction
    from netsvc.smtp.replies import PeerReply


class LmtpSession(ClientSession):
    """One LMTP session with a peer; see ClientSession."""

    hello = "LHLO"

    def __init__(self, hostname: str) -> None:
        super().__init__(hostname)
        self._unanswered: list[int] = []

    def objection(self, transaction: Transaction) -> tuple[str, str] | None:
        """See ClientSession.  A store is the end of the way: it need not offer REQUIRETLS, if nobody listens there."""
        wishes = transaction.wishes
        if wishes.requiretls and (self.near or (self.tls and self.verified)):
            transaction = transaction._replace(wishes=wishes._replace(requiretls=False))
        return super().objection(transaction)

    @property
    def decided(self) -> tuple[Verdict | None, ...]:
        """What the peer has said of each recipient, None where it has not, once it has the content; else empty."""
        return tuple(self._verdicts) if self.state == END_OF_DATA else ()

    def hurry(self) -> bool:
        """Return False: who is accepted says how many replies follow the content."""
        return False

    def finish(self) -> bytes:
        """Return what ends the content; as many replies follow as recipients were accepted."""
        ending = super().finish()
        if self.state == END_OF_DATA:
            self._slots.pop()
            self._unanswered = [n for n, verdict in enumerate(self._verdicts) if verdict is None]
            self._slots.extend([self._on_each] * len(self._unanswered))
        return ending

    def _nothing(self) -> None:
        """See ClientSession.  The peer owes no reply: there is one for each recipient it accepted (RFC 2033 4.2)."""
        self._out.append(b".\r\n")
        self._complete()

    def _on_each(self, reply: PeerReply) -> None:
        if not (reply.positive or reply.negative):
            raise PeerError(f"a reply {reply.code} to {END_OF_DATA}")
        self._verdicts[self._unanswered.pop(0)] = Verdict(END_OF_DATA, reply)
        if not self._unanswered:
            self._unclean = False
            self._complete()
