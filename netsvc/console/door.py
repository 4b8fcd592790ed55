"""What every connection of the console has in common: its life, its ends, and the wire its terminal writes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from netsvc.console.outflow import Outflow
from netsvc.console.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from netsvc.interfaces import IConsoleSession, IHouse, IOperator

CLOSE_SECONDS: Final = 60.0
"""How long a client may take to read what was written before the end."""


@implementer(IHalfCloseableProtocol)
class Door(Protocol):
    """One connection.  ``gone`` fires when it has ended; ``closed(door)`` is called before."""

    def __init__(self, house: IHouse, peer: str, closed: Callable[[Any], object]) -> None:
        self.house = house
        self.peer = peer
        self.gone: Deferred[None] = Deferred()
        self.session: IConsoleSession | None = None
        self.entry: Any = None
        self.terminal: Terminal
        self.outflow: Outflow
        self.why = "the client left"
        self._closed = closed
        self._held = False

    def begin(self, encode: Callable[[str], bytes], **facts: str) -> None:
        """Set up the terminal and what it writes to; ``facts`` go into the registry of sessions."""
        transport: Any = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpKeepAlive(True)
            transport.setTcpNoDelay(True)
        self.entry = self.house.sessions.open("console", self.peer, **facts)
        self.entry.kick = self.kick
        self.outflow = Outflow(transport, self.house.clock, encode, self.drop)
        self.terminal = Terminal(self, self.house.clock)

    def converse(self, talk: Coroutine[Any, Any, None]) -> None:
        """Run the conversation; the connection ends with it."""
        talking = Deferred.fromCoroutine(talk)
        talking.addErrback(self._fault)
        talking.addBoth(lambda _: self.leave())

    def count(self) -> None:
        """Count one command."""
        self.entry.commands += 1
        self.entry.state = "command"

    async def report(self, name: str, operator: IOperator | None, why: str, source: str) -> None:
        """Audit a login, or a refused one; an audit trail that cannot be written is logged and keeps nobody out."""
        house = self.house
        role = "" if operator is None else operator.role
        if operator is not None:
            house.logbook.event("operator.login", session=self.entry.id, user=name, source=source, role=role)
        else:
            house.logbook.event("operator.refused", session=self.entry.id, user=name, source=source, why=why)
        affected, result = (0, "denied") if operator is None else (1, "ok")
        try:
            await house.mailbox_service.audit.record(name, role, source, "login", name, "", affected, result)
        except Exception:  # noqa: BLE001 - see above
            house.logbook.failure("console.fault", None, what="audit of a login")

    # -- Twisted's side ------------------------------------------------------------

    def readConnectionLost(self) -> None:
        """See IHalfCloseableProtocol: the client has said all it wants to say."""
        self.terminal.end_input()

    def writeConnectionLost(self) -> None:
        """See IHalfCloseableProtocol: nobody listens any more."""
        self.drop("the client does not listen")

    def connectionLost(self, reason: Any = None) -> None:
        """End whatever still runs."""
        del reason
        if self.entry is not None:
            self.entry.close()
            self.terminal.close()  # before what runs is cancelled: what was typed ahead must not be begun
            self.outflow.close()
            if self.session is not None:
                self.session.close()
            logbook = self.house.logbook
            logbook.debug("session.closed", session=self.entry.id, kind="console", peer=self.peer, why=self.why)
        self._closed(self)
        self.gone.callback(None)

    # -- Wire, for the terminal ------------------------------------------------------

    def send(self, text: str) -> None:
        """Write text."""
        self.outflow.send(text)

    def pressure(self) -> Deferred[None] | None:
        """See Wire."""
        return self.outflow.pressure()

    def hold(self, on: bool) -> None:
        """Stop or go on reading."""
        transport: Any = self.transport
        self._held = on
        if on:
            transport.pauseProducing()
        else:
            transport.resumeProducing()

    # -- the ends --------------------------------------------------------------------

    def drop(self, why: str) -> None:
        """End the connection at once."""
        self.why = why
        transport: Any = self.transport
        self.outflow.close()
        transport.abortConnection()

    def leave(self, patience: float = CLOSE_SECONDS) -> None:
        """End the connection when everything written has been read, or after ``patience`` seconds."""
        self.outflow.close()
        transport: Any = self.transport
        if self._held:
            self.hold(on=False)
        transport.loseConnection()
        if not self.gone.called:
            abort = self.house.clock.callLater(patience, transport.abortConnection)
            self.gone.addCallback(lambda _: abort.cancel() if abort.active() else None)

    def kick(self, reason: str = "") -> None:
        """End the session by an operator's wish."""
        self.end("kicked", "Your session was ended by an operator." + (f" {reason}" if reason else ""))

    def end(self, why: str, text: str) -> None:
        """Say ``text`` and end the session."""
        self.why = why
        self.tell(text)
        self.leave()

    def tell(self, text: str) -> None:
        """Show a line to whoever looks on, whatever is going on."""
        if not self.terminal.closed and self.terminal.interactive:
            self.terminal.write("\n" + text + "\n")

    def _fault(self, failure: Any) -> None:
        self.why = "a fault of ours"
        self.house.logbook.failure("console.fault", failure, session=self.entry.id, what="console session")
