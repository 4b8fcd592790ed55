"""The agent that hands mail to programs: routes ``command:NAME``, programs in ``[site.commands.NAME]``.

One program is run for each recipient, as the service's own user, in a session of its own, with an environment of our
making.  It reads the message (Return-Path, our Received field, the content) from standard input; its exit status is
the outcome (``command``).  When its time is over it is killed with all it started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread
from zope.interface import implementer

from netsvc.child import Child, ChildError
from netsvc.config.carriers import COMMAND, all_values
from netsvc.config.complaints import ValueFaultError
from netsvc.delivery.command import UnfitWordError, delivery_id, expand, judged
from netsvc.delivery.faults import AttemptError, bounced, deferred, released
from netsvc.delivery.lineends import UnixLines
from netsvc.delivery.maildiragent import own_return_path
from netsvc.delivery.transcript import Transcript
from netsvc.delivery.turns import Turns
from netsvc.interfaces import IDeliveryAgent
from netsvc.mail.escape import escape, escape_bytes
from netsvc.mail.message import Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.offreactor import OffReactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from netsvc.child import Ended
    from netsvc.delivery.ground import Ground
    from netsvc.interfaces import IBodyReader
    from netsvc.mail.message import Hop, Leased

MOST_THREADS = 64
"""Programs run at a time, whatever the commands allow."""
MOST_OUTPUT = 4 << 10
"""Octets of what a program says that are listened to."""
STOP_PATIENCE = 30
"""Seconds that a stop waits for programs that run."""
PATH = "/usr/local/bin:/usr/bin:/bin"
_LINES = 40


@implementer(IDeliveryAgent)
class CommandAgent:
    """IDeliveryAgent for routes ``command:NAME``."""

    name = "command"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._reactor: Any = ground.reactor
        self._threads = OffReactor(ground.reactor, "delivery-command", MOST_THREADS)
        self._turns: dict[str, Turns] = {}
        self._running: set[Child] = set()
        self._stopping = False
        self._idle: Deferred[None] | None = None

    def attempt(
        self, next_hop: Hop, message: Leased, recipients: Sequence[Leased], observer: Callable[[str, str], None] | None
    ) -> Deferred[list[Outcome]]:
        """See IDeliveryAgent."""
        del message
        return Deferred.fromCoroutine(self._all(next_hop.route.partition(":")[2], recipients, observer))

    async def _all(
        self, name: str, rows: Sequence[Leased], observer: Callable[[str, str], None] | None
    ) -> list[Outcome]:
        turns = self._turns.get(name)
        if turns is None:
            turns = self._turns[name] = Turns(lambda: self._at_once(name))
        outcomes = []
        for row in rows:
            if not await turns.take():
                outcomes += released([row])
                continue
            record = Transcript(self._ground.now, observer)
            try:
                outcomes.append(await self._one(name, row, record))
            except AttemptError as why:
                record.note(why.words)
                outcomes += deferred([row], why, ms=record.ms, transcript=bytes(record))
            finally:
                turns.leave()
        return outcomes

    def _at_once(self, name: str) -> int:
        said = self._ground.site.current.commands.get(name, {})
        wanted = said.get("at_once")
        return wanted if isinstance(wanted, int) and wanted > 0 else 4

    def _values(self, name: str) -> dict[str, Any]:
        """Return what the site says of a command.  Raises AttemptError."""
        commands: Mapping[str, Mapping[str, Any]] = self._ground.site.current.commands
        if name not in commands:
            raise AttemptError(Fault.ROUTING, f"there is no command {name}", "4.3.5")
        try:
            return all_values("commands", COMMAND, commands[name])
        except ValueFaultError as fault:
            raise AttemptError(Fault.ROUTING, f"command {name}: {fault.text}", "4.3.5") from None

    async def _one(self, name: str, row: Leased, record: Transcript) -> Outcome:
        values = self._values(name)
        try:
            words = expand(values["argv"], row)
        except UnfitWordError as why:
            return bounced([row], Fault.LOCAL, why.status, why.words, bytes(record))[0]
        record.note(f"running {escape(values['argv'][0])} for {delivery_id(row)}")
        child = Child(
            [word.decode("utf-8", "surrogateescape") for word in words],
            _environment(values["environment"]),
            seconds=values["timeout"] / 1000,
            output=MOST_OUTPUT,
            spare=True,
        )
        ended = await self._run(name, child, row, unix=values["line_end"] == "lf")
        _listen(record, ended)
        result, status, said = judged(name, ended.status, ended.output.strip() or ended.errors)
        fault = Fault.NONE if result is Result.DELIVERED else Fault.LOCAL
        host, transcript = self._ground.hostname, bytes(record)
        return Outcome(row.id, result, fault, 0, status, said, host, ms=record.ms, transcript=transcript)

    async def _run(self, name: str, child: Child, row: Leased, *, unix: bool) -> Ended:
        """Run a program over the message.  Raises AttemptError."""
        try:
            reader = await self._ground.spool.open_body(row.blob_id)
        except Exception as why:
            self._ground.logbook.failure("delivery.fault", None, what="content", msg=row.message_id)
            raise AttemptError(Fault.LOCAL, "the content cannot be read", "4.3.0") from why
        self._running.add(child)
        try:
            if self._stopping:
                child.kill()
            head = own_return_path(row.sender) + row.hdr
            ended: Ended = await self._threads(child.run, self._pieces(head, reader, unix=unix))
        except ChildError as why:
            raise AttemptError(Fault.LOCAL, f"command {name}: {why}", "4.3.0") from why
        except Exception as why:
            self._ground.logbook.failure("delivery.fault", None, what=f"command {name}", msg=row.message_id)
            raise AttemptError(Fault.LOCAL, f"command {name}: it could not be fed", "4.3.0") from why
        finally:
            reader.close()
            self._running.discard(child)
            if self._idle is not None and not self._running:
                idle, self._idle = self._idle, None
                idle.callback(None)
        return ended

    def _pieces(self, head: bytes, reader: IBodyReader, *, unix: bool) -> Iterator[bytes]:
        """Yield the message, in the thread that runs the program."""
        lines = UnixLines()
        read: Any = reader.read  # Twisted's types expect no Deferred of octets
        piece = head
        while piece:
            shaped = lines.push(piece) if unix else piece
            if shaped:
                yield shaped
            piece = blockingCallFromThread(self._reactor, read)
        if unix and (rest := lines.end()):
            yield rest

    def stop(self) -> Deferred[None]:
        """Begin nothing more; fires when what ran has ended, after a while by force."""
        self._stopping = True
        for turns in self._turns.values():
            turns.close()
        done: Deferred[None] = Deferred()
        if not self._running:
            done.callback(None)
            return done
        self._idle = done
        late = self._reactor.callLater(STOP_PATIENCE, self._kill)

        def over(_: None) -> None:
            if late.active():
                late.cancel()

        return done.addCallback(over)

    def _kill(self) -> None:
        for child in list(self._running):
            child.kill()


def _environment(pairs: Sequence[str]) -> dict[str, str]:
    """Return a program's environment: nothing of ours, nothing of the message."""
    own = dict(pair.split("=", 1) for pair in pairs)
    return {"PATH": PATH, "LANG": "C.UTF-8", **own}


def _listen(record: Transcript, ended: Ended) -> None:
    """Record what a program said, line by line."""
    for word, said in (("output", ended.output), ("errors", ended.errors)):
        for line in said.split(b"\n")[:_LINES]:
            if line.strip():
                record.note(f"{word}: {escape_bytes(line.rstrip(), 500)}")
    record.note(f"it ended with {ended.status}")
