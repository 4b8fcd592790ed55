"""One connection to a filter: packets out under back-pressure, events in, one reader at a time (floor 3)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from zope.interface import implementer

from netsvc.policy.milter.codec import Answer, Event, MilterError, MilterReader

if TYPE_CHECKING:
    from twisted.python.failure import Failure

MAX_WAITING = 2000
"""Events nobody has read yet; a filter that says more than that is cut off."""
PROGRESS = Answer("progress")
"""A filter that needs longer says so; the policy's own deadline holds all the same."""


@implementer(IPushProducer)
class MilterConnection(Protocol):
    """What a filter is talked to over.  ``gone`` says why there is nothing to talk to any more, None while there is."""

    def __init__(self, clock: Any, timeout: float) -> None:
        """Wait at most ``timeout`` seconds for each thing the filter says; ``clock`` is the reactor."""
        self._clock = clock
        self._timeout = timeout
        self._timer: Any = None
        self._reader = MilterReader()
        self._events: deque[Event] = deque()
        self._wanted: Deferred[Event] | None = None
        self._held: Deferred[None] | None = None
        self._paused = False
        self.gone: Exception | None = None
        self.steps = 0
        """What the filter said it does not want to see, or not to answer."""
        self.used = 0
        """Messages it has judged over this connection."""

    # What Twisted calls.

    def connectionMade(self) -> None:
        """Have the transport tell when it is full."""
        transport: Any = self.transport
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Take what the filter says."""
        try:
            for event in self._reader.feed(data):
                if event != PROGRESS:
                    self._events.append(event)
                elif self._timer is not None:
                    self._timer.reset(self._timeout)
            if len(self._events) > MAX_WAITING:
                raise MilterError("more than anybody asked for")  # noqa: TRY301 - the same end
        except MilterError as error:
            self.lose(error)
        self._hand_out()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail whoever waits."""
        self._end(MilterError(f"the filter closed the connection: {reason.getErrorMessage()}"))

    def pauseProducing(self) -> None:
        """Send nothing more for now: the filter does not read."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._paused = False
        held, self._held = self._held, None
        if held is not None:
            held.callback(None)

    def stopProducing(self) -> None:
        """Stop: the connection is gone."""

    # What a dialogue does.

    def send(self, data: bytes) -> None:
        """Send packets."""
        if self.gone is None:
            transport: Any = self.transport
            transport.write(data)

    def drained(self) -> Deferred[None]:
        """-> Deferred[None], when the filter takes more; fails when it is gone."""
        if self.gone is not None:
            return fail(self.gone)
        if not self._paused:
            return succeed(None)
        held = self._held = Deferred(self._forget)
        return held

    def event(self) -> Deferred[Event]:
        """-> Deferred[Event]: the next thing the filter says; fails when it is gone."""
        wanted: Deferred[Event] = Deferred(self._forget)
        self._wanted = wanted
        self._hand_out()
        if self._wanted is not None:
            self._timer = self._clock.callLater(self._timeout, self._late)
        return wanted

    def _late(self) -> None:
        self._timer = None
        self.lose(MilterError(f"no answer within {self._timeout:g} s"))

    def lose(self, why: Exception | None = None) -> None:
        """Cut it, whatever the filter is doing; what it said and nobody has heard is dropped."""
        self._events.clear()
        self._end(why or MilterError("given up"))
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def close(self, last: bytes) -> None:
        """Say ``last`` and close."""
        self.send(last)
        if self.gone is None:
            transport: Any = self.transport
            transport.unregisterProducer()
            transport.loseConnection()
            self._end(MilterError("closed"))

    def _hand_out(self) -> None:
        wanted = self._wanted
        if wanted is not None and (self._events or self.gone is not None):
            self._forget(wanted)
            if self._events:
                wanted.callback(self._events.popleft())
            else:
                wanted.errback(self.gone)

    def _end(self, why: Exception) -> None:
        if self.gone is None:
            self.gone = why
        self._hand_out()
        held, self._held = self._held, None
        if held is not None:
            held.errback(self.gone)

    def _forget(self, deferred: Any) -> None:
        """Let go of a Deferred that is answered, or was cancelled."""
        if deferred is self._wanted:
            self._wanted = None
            timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
        elif deferred is self._held:
            self._held = None
