"""The Twisted shell of a client session: octets between a transport and ``ClientSession``.

Whoever owns a ``Wire`` awaits its events; a deadline that has passed, a lost
connection or a peer that breaks the protocol raises ``AttemptError`` there.
Deadlines are looked at by one clock call for all wires (``Deadlines``), so a
message costs no timer.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IHandshakeListener, IPushProducer, ITLSTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from twisted.internet.tcp import Connection as TcpConnection
from zope.interface import implementer

from netsvc.delivery.faults import AttemptError
from netsvc.mail.outcome import Fault
from netsvc.smtp.client import ClientSession
from netsvc.smtp.clientevents import Completed
from netsvc.smtp.clientevents import Event as SessionEvent
from netsvc.smtp.opening import InjectedError
from netsvc.smtp.replies import PeerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IReactorTime
    from twisted.python.failure import Failure

    from netsvc.delivery.tlscontext import PeerCheck
    from netsvc.delivery.transcript import Transcript

BLOCK_PATIENCE = 180
"""Seconds for one block of content to leave (RFC 5321 4.5.3.2.5)."""
HANDSHAKE_PATIENCE = 30
"""Seconds for a TLS handshake (SMTP.md T6)."""
CLOSE_PATIENCE = 5
"""Seconds for the peer to take note that we close; TLS asks it to say so."""
TICK = 1.0
"""Seconds between two looks at the deadlines."""


class Secured(NamedTuple):
    """The TLS handshake has ended well, as far as was asked for."""


Event = SessionEvent | Secured


class _Transport(ITLSTransport, IConsumer):
    """What a wire asks of its transport."""


class Deadlines:
    """Wires and the times by which something must have come; ticks only while there are any.

    ``now`` is a clock of seconds that no step of the wall clock moves.
    """

    def __init__(self, clock: IReactorTime, now: Callable[[], float]) -> None:
        self.now = now
        self._wires: set[Wire] = set()
        self._call = LoopingCall(self._tick)
        self._call.clock = clock

    def watch(self, wire: Wire) -> None:
        """Begin to look after ``wire``."""
        self._wires.add(wire)
        if not self._call.running:
            self._call.start(TICK, now=False)

    def forget(self, wire: Wire) -> None:
        """Look no longer after ``wire``."""
        self._wires.discard(wire)
        if not self._wires and self._call.running:
            self._call.stop()

    def _tick(self) -> None:
        now = self.now()
        for wire in [w for w in self._wires if w.deadline <= now]:
            wire.late()


@implementer(IPushProducer, IHandshakeListener)
class Wire(Protocol):
    """One connection to a peer.

    ``tls`` says what was negotiated, and how sure we are of the peer; "" in clear.  ``sure``: nobody can have led us to
    another host than the one that was meant; where not, a good certificate proves nothing.
    """

    transport: _Transport

    def __init__(self, session: ClientSession, deadlines: Deadlines) -> None:
        self.session = session
        self.deadline = deadlines.now() + session.patience
        self.octets = 0
        self.lost = False
        self.sure = True
        self.tls = ""
        self.record: Transcript | None = None  # takes what is said at once, for whoever looks on
        self._deadlines = deadlines
        self._events: deque[Event] = deque()
        self._error: AttemptError | None = None
        self._waiter: Deferred[None] | None = None
        self._on_idle_end: Callable[[], None] | None = None
        self._paused = False
        self._direct: TcpConnection | None = None
        self._check: PeerCheck | None = None
        self._shaking = False

    def connectionMade(self) -> None:
        """Begin: the peer speaks first."""
        if not isinstance(self.transport.getPeer(), UNIXAddress):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        if isinstance(self.transport, TcpConnection):
            self._direct = self.transport
        self._deadlines.watch(self)

    def send(self, data: bytes) -> None:
        """Send ``data``: to the socket at once while that takes all, which spares the reactor a turn a time.

        Once it did not, what is left is with the transport, and all that follows goes that way too.
        """
        direct = self._direct
        if direct is not None:
            if not direct.TLS:
                sent = direct.writeSomeData(data)
                if sent == len(data):
                    return
                if isinstance(sent, int):  # else the connection is lost: the transport finds out by itself
                    data = data[sent:]
            self._direct = None
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """Hand octets to the session; send what it answers; wake whoever waits."""
        session = self.session
        self.octets += len(data)
        before = session.replies
        try:
            events = session.receive(data)
        except InjectedError as why:
            self.fail(AttemptError(Fault.TLS, f"somebody meddles with STARTTLS: {why}", "4.7.5"))
            return
        except PeerError as why:
            self.fail(AttemptError(Fault.LOST, f"the peer broke the protocol: {why}", "4.5.0"))
            return
        if session.replies != before:
            self.deadline = self._deadlines.now() + session.patience
        out = session.data_to_send()
        if out:
            self.send(out)
        if self.record is not None:
            self.record.take(session.dialogue)
        if events:
            self._events.extend(events)
            self._wake()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override] # Twisted's default is a constant
        """Tell whoever waits."""
        self.lost = True
        self._deadlines.forget(self)
        if self._error is None:
            if self._shaking:
                self._error = self._broken_handshake(reason)
            else:
                self._error = AttemptError(Fault.LOST, f"the connection was lost in state {self.session.state}")
        self._wake()

    # TLS

    def start_tls(self, check: PeerCheck) -> None:
        """Begin the handshake; ``Secured`` comes when it has ended well, an AttemptError when not."""
        self._check = check
        self._shaking = True
        self.give_until(HANDSHAKE_PATIENCE)
        self.transport.startTLS(check)

    def handshakeCompleted(self) -> None:
        """See IHandshakeListener.  Twisted tells of handshakes too whose certificate was not taken."""
        check = self._check
        assert check is not None
        refusal = check.refusal
        if refusal is not None:
            self.fail(refusal)
            return
        self._shaking = False
        handle = self.transport.getHandle()  # type: ignore[attr-defined] # of TLS transports, in no interface
        self.tls = check.describe(handle)
        self.session.verified = check.verified and self.sure
        self._events.append(Secured())
        self._wake()

    def _broken_handshake(self, reason: Failure) -> AttemptError:
        check = self._check
        if check is not None and check.error is not None:
            return check.error
        return AttemptError(Fault.TLS, f"the TLS handshake failed: {_words(reason)}", "4.7.5")

    def late(self) -> None:
        """Give up: the deadline has passed."""
        if self._on_idle_end is not None:
            self._wake()
            return
        if self._shaking:
            self.fail(AttemptError(Fault.TLS, "the TLS handshake did not end in time", "4.7.5"))
            return
        self.fail(AttemptError(Fault.LOST, f"no answer in time in state {self.session.state}"))

    def fail(self, why: AttemptError) -> None:
        """End the connection at once; ``why`` is raised where the next event is awaited."""
        if self._error is None:
            self._error = why
        if not self.lost:
            self._deadlines.forget(self)
            self.transport.abortConnection()
        self._wake()

    def _wake(self) -> None:
        if self._on_idle_end is not None:
            ended, self._on_idle_end = self._on_idle_end, None
            ended()
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.callback(None)

    async def event(self) -> Event:
        """Return the session's next event.  Raises AttemptError."""
        while not self._events:
            if self._error is not None:
                raise self._error
            await self._wait()
        return self._events.popleft()

    def _wait(self) -> Deferred[None]:
        self._waiter = Deferred()
        return self._waiter

    @property
    def why(self) -> str:
        """What ended it, "" while nothing has."""
        return "" if self._error is None else self._error.words

    @property
    def usable(self) -> bool:
        """Whether another transaction may begin on it: nothing has come that ends it."""
        return self._error is None and not self._events and self.session.state == "ready"

    def begin_wait(self) -> None:
        """Count the time for the peer's next answer from now."""
        self.deadline = self._deadlines.now() + self.session.patience

    def give_until(self, seconds: float) -> None:
        """Set the deadline ``seconds`` from now."""
        self.deadline = self._deadlines.now() + seconds

    def rest(self, seconds: float, ended: Callable[[], None]) -> None:
        """Be idle: ``ended()`` is called once, when the time is over or the peer does anything."""
        self._on_idle_end = ended
        self.give_until(seconds)

    def end_rest(self) -> None:
        """Be idle no longer."""
        self._on_idle_end = None

    def flush(self) -> None:
        """Send what the session has to say."""
        out = self.session.data_to_send()
        if out:
            self.send(out)
            if self.record is not None:
                self.record.take(self.session.dialogue)

    async def write_block(self, data: bytes) -> bool:
        """Send a block of content and wait until the transport takes more.

        False: the peer has decided already, send no more.  Raises AttemptError.
        """
        self.give_until(BLOCK_PATIENCE)
        self.transport.write(data)
        while self._paused and not self._events and self._error is None:
            await self._wait()
        if self._error is not None and not self._events:
            raise self._error
        return not any(isinstance(event, Completed) for event in self._events)

    def stream(self) -> None:
        """Begin to obey the transport's back-pressure."""
        self._paused = False
        self._direct = None
        self.transport.registerProducer(self, True)

    def end_stream(self) -> None:
        """Obey it no longer."""
        if not self.lost:
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._paused = False
        self._wake()

    def stopProducing(self) -> None:
        """See IPushProducer: the connection is gone."""
        self._paused = False

    def close(self) -> None:
        """Close politely what has been said; nothing more is awaited."""
        if not self.lost:
            self.give_until(CLOSE_PATIENCE)
            self.transport.loseConnection()


class WireFactory(Factory):
    """Makes the one wire of a connection."""

    noisy = False

    def __init__(
        self, hostname: str, deadlines: Deadlines, session: Callable[[str], ClientSession] = ClientSession
    ) -> None:
        self._hostname = hostname
        self._deadlines = deadlines
        self._session = session

    def buildProtocol(self, addr: IAddress | None) -> Wire:
        """Return a wire with a fresh session."""
        del addr
        return Wire(self._session(self._hostname), self._deadlines)


def _words(reason: Failure) -> str:
    """Return what OpenSSL or Twisted say, short: the reasons of an SSL.Error, else the exception's own words."""
    found = reason.value.args[0] if reason.value is not None and reason.value.args else None
    if isinstance(found, list) and found and isinstance(found[0], tuple):
        return ", ".join(dict.fromkeys(str(entry[-1]) for entry in found))
    return reason.getErrorMessage()
