"""What one check of the conformance suite is: a requirement, by RFC and section, and a dialogue that shows it kept.

The tables beside hold them; ``book`` has all.  They are run silently (tests/smtp/test_conformance.py) and against the
real process (tests/system/test_conformance.py), and docs/conformance.md lists them.
"""

from dataclasses import dataclass
from typing import NamedTuple

TRANSFER, SUBMISSION, SUBMISSIONS, LMTP = "transfer", "submission", "submissions", "lmtp"
DOORS = (TRANSFER, SUBMISSION, SUBMISSIONS, LMTP)
"""Listeners: mail between servers, users' with STARTTLS, users' inside TLS from the start, local delivery."""

HOST = "mx1.example.org"
USER, PASSWORD = "alice@example.org", "correct horse"
KNOWN = frozenset({USER, "bob@example.org", "postmaster@example.org"})
MAX_SIZE, MAX_RECIPIENTS, MAX_MESSAGES = 64 << 10, 100, 10


class Turn(NamedTuple):
    """Octets the client sends, and a pattern for each reply they bring, matched from the start of its first line."""

    sends: bytes
    replies: tuple[str, ...]


HANDSHAKE = Turn(b"", ())
"""Here the client begins TLS."""


class Stored(NamedTuple):
    """A message that is kept: its content as sent, where, and a pattern found in what stands before it there."""

    content: bytes
    to: tuple[str, ...] = ("bob@example.org",)
    trace: str = ""


@dataclass(frozen=True)
class Check:
    """One requirement.

    ``ends``: the service closes the connection behind the last reply.  ``stored``: the messages that are kept; no
    others are.  ``glued``: the octets of a turn mean this only when they come together.  ``alive``: shown by the
    process alone.  ``envid`` and ``reports``: the process sends a report of that envelope, in which the patterns are
    found; no ``reports``: it sends none.
    """

    rfc: int
    section: str
    says: str
    turns: tuple[Turn, ...]
    door: str = TRANSFER
    greeting: str = "220 "
    ends: bool = False
    stored: tuple[Stored, ...] = ()
    glued: bool = False
    alive: bool = False
    envid: str = ""
    reports: tuple[str, ...] = ()

    @property
    def name(self):
        """The name it has in the reports of tests."""
        return f"rfc{self.rfc}-{self.section}-{self.says.replace(' ', '_')}"

    @property
    def segments(self):
        """The turns, divided at handshakes."""
        found = [[]]
        for turn in self.turns:
            if turn is HANDSHAKE:
                found.append([])
            else:
                found[-1].append(turn)
        return found


def check(rfc, section, says, *turns, **more):
    return Check(rfc, section, says, turns, **more)


def raw(octets, *replies):
    return Turn(octets, replies)


def say(line, *replies):
    """One command line; what is beyond ASCII in it is sent as UTF-8."""
    return Turn(line.encode("utf-8") + b"\r\n", replies)


def content(octets, *replies):
    """What follows 354, dots stuffed already, and the end of data."""
    return Turn(octets + b".\r\n", replies or ("250 2.0.0 \\w+ queued",))


def chunk(octets, *replies, last=False):
    return Turn(b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b"") + octets, replies)


EHLO = say("EHLO client.example.net", "250-")
MAIL = say("MAIL FROM:<carol@example.net>", "250 2.1.0")
RCPT = say("RCPT TO:<bob@example.org>", "250 2.1.5")
DATA = say("DATA", "354 ")
RSET = say("RSET", "250 2.0.0")
NOOP = say("NOOP", "250 2.0.0")
QUIT = say("QUIT", "221 2.0.0")
BEGUN = (EHLO, MAIL, RCPT)
OPEN = (*BEGUN, DATA)
TEXT = b"From: Carol <carol@example.net>\r\nSubject: check\r\n\r\nText.\r\n"
KEPT = Stored(TEXT)
