"""What a client session tells: of the way to the first transaction, and of each transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from netsvc.smtp.replies import PeerReply

MAIL_FROM = "MAIL FROM"
RCPT_TO = "RCPT TO"
END_OF_DATA = "end of data"


class Verdict(NamedTuple):
    """What the peer said of one recipient: its ``reply`` to ``stage``, the command that decided."""

    stage: str
    reply: PeerReply

    @property
    def delivered(self) -> bool:
        """Whether the peer has taken responsibility."""
        return self.stage == END_OF_DATA and self.reply.code < 300


class Ready(NamedTuple):
    """The peer has answered our EHLO: a transaction may begin, or STARTTLS, or AUTH."""


class TlsBegins(NamedTuple):
    """The peer waits for our handshake: nothing may be said in clear any more.  Call ``secured`` once it is done."""


class TlsRefused(NamedTuple):
    """The peer does not begin TLS now; the session goes on in clear."""

    reply: PeerReply


class Challenged(NamedTuple):
    """The peer asks for the next response of AUTH: call ``respond``, or ``cancel``."""

    data: bytes


class Authenticated(NamedTuple):
    """The peer has taken our credential."""


class NotAuthenticated(NamedTuple):
    """The peer has refused our credential, or took note that we cancelled."""

    reply: PeerReply


class SendContent(NamedTuple):
    """The peer waits for content: call ``content`` any number of times, then ``finish``."""


class Completed(NamedTuple):
    """The transaction is over."""

    verdicts: tuple[Verdict, ...]


class Ended(NamedTuple):
    """The session is over: ``reply`` refused it or said goodbye.  Before ``Ready``: the peer does not want us."""

    reply: PeerReply


Event = Ready | TlsBegins | TlsRefused | Challenged | Authenticated | NotAuthenticated | SendContent | Completed | Ended
