"""Text to a transport, with an end to its patience: one writer for every door of the console.

A client that does not read pauses us (the transport says so); whoever writes is
then handed a Deferred and waits.  A client that takes nothing for a minute, or
that is written to regardless until a megabyte waits, is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

PATIENCE_SECONDS: Final = 60.0
OUTPUT_LIMIT: Final = 1024 * 1024


@implementer(IPushProducer)
class Outflow:
    """Writes to ``transport``.  ``encode`` makes text bytes; ``drop(why)`` ends the connection at once."""

    def __init__(
        self, transport: Any, clock: IReactorTime, encode: Callable[[str], bytes], drop: Callable[[str], object]
    ) -> None:
        self.encode = encode
        self._transport = transport
        self._clock = clock
        self._drop = drop
        self._paused = False
        self._unread = 0
        self._waiting: list[Deferred[None]] = []
        self._timer: IDelayedCall | None = None
        self._corked: list[bytes] | None = None
        self._closed = False
        transport.registerProducer(self, True)

    def cork(self) -> None:
        """Gather what is written until ``uncork``."""
        self._corked = []

    def uncork(self) -> None:
        """Write what was gathered, at once."""
        gathered, self._corked = self._corked or [], None
        self.write(b"".join(gathered))

    def send(self, text: str) -> None:
        """Write ``text``."""
        if text:
            self.write(self.encode(text))

    def write(self, data: bytes) -> None:
        """Write bytes that are ready for the wire."""
        if self._closed or not data:
            return
        if self._corked is not None:
            self._corked.append(data)
            return
        if self._paused:
            self._unread += len(data)
            if self._unread > OUTPUT_LIMIT:
                self._drop("the client does not read")
                return
        self._transport.write(data)

    def pressure(self) -> Deferred[None] | None:
        """-> Deferred that fires when the client has read on; None: go on."""
        if not self._paused or self._closed:
            return None
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        if self._paused:
            return
        self._paused = True
        self._timer = self._clock.callLater(PATIENCE_SECONDS, self._stalled)

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._paused = False
        self._unread = 0
        self._cancel_timer()
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def stopProducing(self) -> None:
        """See IProducer: the connection is gone."""
        self.close()

    def close(self) -> None:
        """Write nothing more; whoever waits goes on into nothing."""
        if not self._closed:
            self._closed = True
            self._transport.unregisterProducer()
            self.resumeProducing()

    def _stalled(self) -> None:
        self._timer = None
        self._drop("the client does not read")

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
