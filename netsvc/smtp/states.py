"""Where a server session stands, and what that allows.

Theory.  A session is a line of states.  ``CONNECTED`` knows nothing of the
client.  EHLO or HELO leads to ``GREETED``, whatever came before it: it resets
(RFC 5321 4.1.4).  An accepted MAIL begins a transaction (``MAIL``), the first
accepted RCPT makes it one that can take content (``RCPT``), 354 opens the
content (``DATA``), its end asks for a decision (``COMMIT``), and the decision,
good or bad, leads to ``IDLE``: greeted, with no transaction.  Content that comes in chunks
is in ``DATA`` while octets of one are to come, in ``CHUNKS`` between two.  RSET leads there
from every greeted state.  QUIT, a 421 or too many errors lead to ``CLOSED``,
which has no way out.

A command moves the session only when its answer is positive.  A refused command
leaves everything as it was, with one memory: whether recipients were refused,
because DATA without any recipient is 503 when none was given and 554 when none
was accepted.

So tables say everything: which command is refused in which state before anybody
is asked, and where an event leads once it has been accepted.  Commands that are
in none (NOOP, VRFY, HELP, ...) are always allowed and move nothing.
"""

from __future__ import annotations

from enum import StrEnum

from netsvc.mail.reply import BAD_SEQUENCE, Reply
from netsvc.smtp.events import ClientReplaced, ContentEnded, DataRequested, Event, Greeted, RecipientGiven, SenderGiven


class State(StrEnum):
    """A state; its value is the word sessions are listed with."""

    CONNECTED = "connect"
    GREETED = "helo"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CHUNKS = "bdat"
    COMMIT = "commit"
    IDLE = "idle"
    CLOSED = "closed"


GREET_FIRST = BAD_SEQUENCE.fill(why="send EHLO or HELO first")
_MAIL_FIRST = BAD_SEQUENCE.fill(why="send MAIL first")
_RCPT_FIRST = BAD_SEQUENCE.fill(why="send RCPT first")
NESTED = BAD_SEQUENCE.fill(why="a transaction is under way")

_CHUNKS_BEGUN = BAD_SEQUENCE.fill(why="content has begun with BDAT")

_NO_TRANSACTION = {"RCPT": _MAIL_FIRST, "DATA": _MAIL_FIRST, "BDAT": _MAIL_FIRST}

REFUSED: dict[State, dict[str, Reply]] = {
    State.CONNECTED: dict.fromkeys(("MAIL", "RCPT", "DATA", "BDAT"), GREET_FIRST),
    State.GREETED: _NO_TRANSACTION,
    State.IDLE: _NO_TRANSACTION,
    State.MAIL: {"MAIL": NESTED, "DATA": _RCPT_FIRST, "BDAT": _RCPT_FIRST},
    State.RCPT: {"MAIL": NESTED},
    State.CHUNKS: {"MAIL": NESTED, "RCPT": _CHUNKS_BEGUN, "DATA": _CHUNKS_BEGUN},
}
"""Commands refused in a state, with the reply; in the other states no command is read."""

ACCEPTED: dict[type[Event], State] = {
    Greeted: State.GREETED,
    ClientReplaced: State.CONNECTED,
    SenderGiven: State.MAIL,
    RecipientGiven: State.RCPT,
    DataRequested: State.DATA,
    ContentEnded: State.IDLE,
}
"""Where an event leads that got a positive answer."""

AFTER_RESET: dict[State, State] = dict.fromkeys(REFUSED, State.IDLE) | {State.CONNECTED: State.CONNECTED}
"""Where RSET leads."""

UNDER_WAY = frozenset({State.MAIL, State.RCPT, State.DATA, State.CHUNKS, State.COMMIT})
"""States within a transaction."""
