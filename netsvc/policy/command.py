"""The policy ``command``: a program run for each message, whose exit status says what is done with it (floor 3).

No shell is anywhere: the site says argv.  The program reads the message (our Received field, then the content) from
standard input and may write a line of words for the log and the reply.  It sees an environment of our making, runs in
a process group of its own and is killed with all of it when its time is over, or when it writes too much.

Exit status: 0 nothing against it, 65 67 69 77 refused, 75 try again later, 90 hold; anything else is a failure.
"""

from __future__ import annotations

import os
import pwd
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread
from zope.interface import implementer

from netsvc.child import Child, ChildError, Ended
from netsvc.interfaces import IPolicy
from netsvc.mail import reply
from netsvc.mail.escape import escape_bytes
from netsvc.mail.ids import show_id
from netsvc.mail.trace import received
from netsvc.offreactor import OffReactor
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from netsvc.interfaces import IPolicyGround
    from netsvc.mail.envelope import Envelope, SessionFacts

REFUSED = frozenset({65, 67, 69, 77})
"""EX_DATAERR, EX_NOUSER, EX_UNAVAILABLE, EX_NOPERM of sysexits.h."""
TEMPORARY = 75
"""EX_TEMPFAIL."""
HOLD = 90
PIECE = 256 << 10
MAX_WORDS = 100 << 10
"""Octets of recipients in the environment; the system takes 128 KiB in one variable."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class _Settings:
    argv: tuple[str, ...]
    user: str
    seconds: float
    output: int


@implementer(IPolicy)
class CommandHook:
    """See the module."""

    name = "command"
    stages = ("content",)

    def __init__(self, ground: IPolicyGround, wall: Callable[[], float] = time.time) -> None:
        self._clock = ground.clock
        self._hostname = ground.hostname
        self._wall = wall
        self._threads = OffReactor(ground.clock, "command", 1)
        self._running: set[Child] = set()
        self._settings = _Settings((), "", 0.0, 0)
        ground.clock.addSystemEventTrigger("during", "shutdown", self.stop)

    def configure(self, values: Mapping[str, Any]) -> None:
        """See IPolicy."""
        argv, user = tuple(values["argv"]), values["user"]
        if not argv:
            raise ValueError('argv: there is no command; write for instance ["/usr/local/bin/judge", "--strict"]')
        if not Path(argv[0]).is_absolute() or not os.access(argv[0], os.X_OK):
            raise ValueError(f"argv: {argv[0]} is no program that can be run; write its whole path")
        if any("\0" in word for word in argv):
            raise ValueError("argv: a NUL character")
        if user:
            _check_user(user)
        self._settings = _Settings(argv, user, values["timeout"] / 1000, values["output"])
        self._threads.allow(values["at_once"])

    def check(self, stage: str, session: SessionFacts, envelope: Envelope) -> Deferred[Verdict]:
        """See IPolicy."""
        del stage
        settings = self._settings
        child = Child(
            settings.argv,
            self._environment(session, envelope),
            user=settings.user,
            seconds=settings.seconds,
            output=settings.output,
        )
        self._running.add(child)
        ended: Deferred[Ended] = Deferred(lambda _: child.kill())

        def over(result: Any) -> None:
            self._running.discard(child)
            if not ended.called:  # it was cancelled else, and its program killed
                ended.callback(result)

        self._threads(child.run, self._message(envelope)).addBoth(over)
        return ended.addCallback(_verdict)

    def stop(self) -> None:
        """Kill what runs: the service ends."""
        for child in self._running:
            child.kill()

    def _message(self, envelope: Envelope) -> Iterator[bytes]:
        """Yield the message in pieces, in the thread that runs the command."""
        content = envelope.content
        yield received(envelope, content.id, int(self._wall() * 1000))
        at = 0
        while at < content.size:
            piece: bytes = blockingCallFromThread(self._clock, content.read, at, PIECE)
            if not piece:
                return
            at += len(piece)
            yield piece

    def _environment(self, session: SessionFacts, envelope: Envelope) -> dict[str, str]:
        recipients = "\n".join(str(recipient.address) for recipient in envelope.recipients)
        words = {
            "ID": show_id(envelope.content.id),
            "HOSTNAME": self._hostname,
            "LISTENER": session.listener,
            "CLIENT": session.peer,
            "HELO": session.helo,
            "USER": session.user,
            "TLS": session.tls,
            "SENDER": str(envelope.reverse_path),
            "RECIPIENTS": recipients[:MAX_WORDS],
            "SIZE": str(envelope.content.size),
        }
        named = {f"NETSVC_{name}": word.replace("\0", "") for name, word in words.items()}
        return {"PATH": PATH, "LANG": "C.UTF-8", **named}


def _check_user(user: str) -> None:
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise ValueError(f"user: there is no account {user}") from None
    if os.geteuid():
        raise ValueError("user: the service does not run as root, so that it cannot become another")


def _verdict(ended: Ended) -> Verdict:
    """Return what an exit status means; raises ChildError for one that means nothing."""
    words = _first_line(ended.output)
    why = f"exit status {ended.status}: {words}" if words else f"exit status {ended.status}"
    if ended.status == 0:
        return PASS
    if ended.status in REFUSED:
        return Verdict("reject", reply.FILTER_REJECTED.fill(text=words or "Message refused"), why)
    if ended.status == TEMPORARY:
        return Verdict("defer", reply.FILTER_DEFERRED.fill(text=words or "Try again later"), why)
    if ended.status == HOLD:
        return Verdict("hold", None, why, ("command-hold",))
    raise ChildError(f"{why} {_first_line(ended.errors)}".strip())


def _first_line(said: bytes) -> str:
    return escape_bytes(said.partition(b"\n")[0].strip(), 200)


def command_hook(ground: IPolicyGround) -> CommandHook:
    """Return the policy on ``ground``."""
    return CommandHook(ground)
