"""What a program that takes mail is told, and what its end means (sysexits.h); see ``commandagent``.

A placeholder is a word of argv by itself and is replaced by one word, whatever the address holds: no shell is there
to read it.  A value that begins with ``-`` could be taken for an option of the program: it is refused, unless a word
``--`` stands before it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netsvc.mail.escape import escape_bytes
from netsvc.mail.ids import show_id
from netsvc.mail.message import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.mail.message import Leased

MAX_WORDS = 300
"""Characters of what a program said that stand in an outcome."""
PERMANENT = {
    65: ("5.6.0", "the message cannot be taken as it is"),
    67: ("5.1.1", "there is no such user"),
    68: ("5.1.2", "there is no such host"),
    69: ("5.3.0", "the service is not available"),
    73: ("5.2.0", "its file cannot be made"),
    76: ("5.5.0", "the other side broke the protocol"),
    77: ("5.7.0", "permission denied"),
}
"""Exit statuses that return the mail: EX_DATAERR NOUSER NOHOST UNAVAILABLE CANTCREAT PROTOCOL NOPERM."""
TEMPORARY = {
    64: ("4.3.5", "wrong words of the command"),
    66: ("4.3.0", "an input is missing"),
    70: ("4.3.0", "an error in the program"),
    71: ("4.3.0", "an error of the system"),
    72: ("4.3.0", "a file of the system is missing"),
    74: ("4.3.0", "an error while reading or writing"),
    75: ("4.3.0", "a failure that passes"),
    78: ("4.3.5", "the program is not set up"),
}
"""Exit statuses after which it is tried again, as after any that stands in neither table."""
EX_TEMPFAIL = 75
_STATUS = re.compile(rb"([45]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|\Z)")


class UnfitWordError(Exception):
    """A word would look like an option of the program; ``status`` is what the sender is told."""

    def __init__(self, words: str, status: str) -> None:
        super().__init__(words)
        self.words = words
        self.status = status


def delivery_id(row: Leased) -> str:
    """Return what ``{id}`` stands for: the delivery's id as operators see it, the same at every attempt."""
    return f"{show_id(row.message_id)}.{row.n}"


def expand(argv: Sequence[str], row: Leased) -> list[bytes]:
    """Return ``argv`` for ``row``, UTF-8.  Raises UnfitWordError."""
    local, _, domain = row.rcpt.rpartition("@")
    words = {
        "{sender}": (row.sender, "5.1.7", "the sender's address"),
        "{rcpt}": (row.rcpt, "5.1.3", "the address"),
        "{local}": (local, "5.1.3", "the address"),
        "{domain}": (domain.lower(), "5.1.3", "the address"),
        "{id}": (delivery_id(row), "5.3.0", "the id"),
    }
    said = []
    for n, word in enumerate(argv):
        value, status, what = words.get(word, (word, "", ""))
        if status and (value.startswith("-") and "--" not in argv[:n]):
            raise UnfitWordError(f"{what} begins with a hyphen, which the command must not be told", status)
        if "\0" in value:
            raise UnfitWordError(f"{what} holds a NUL character", status)
        said.append(value.encode("utf-8", "surrogateescape"))
    return said


def judged(name: str, status: int, output: bytes) -> tuple[Result, str, str]:
    """Return (result, enhanced status, words) of a program that ended with ``status`` and said ``output``.

    ``status`` below 0 is the signal that ended it.  A failing program whose words begin with an enhanced status
    decides by that, as in ``5.2.2 mailbox full``; 75 is temporary whatever it says.
    """
    if status == 0:
        return Result.DELIVERED, "", ""
    first = output.strip().partition(b"\n")[0].strip()
    found = _STATUS.match(first)
    words = escape_bytes(first[found.end() :] if found else first, MAX_WORDS)
    if status < 0:
        code, usual = "4.3.0", f"it was ended by signal {-status}"
    else:
        code, usual = PERMANENT.get(status) or TEMPORARY.get(status) or ("4.3.0", "a failure")
    if found and status > 0 and (status != EX_TEMPFAIL or first.startswith(b"4")):
        code = found[1].decode("ascii")
    result = Result.BOUNCED if code.startswith("5") else Result.DEFERRED
    ended = f"command {name} ended with {status}" if status > 0 else f"command {name}: {usual}"
    detail = words or (usual if status > 0 else "")
    return result, code, f"{ended}: {detail}" if detail else ended
