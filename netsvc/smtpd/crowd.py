"""Taking turns: who has sent many commands at once goes on a little at a time, so that nobody else waits for it.

All of them together get TURN_S of a turn of the reactor; the rest of it belongs to whoever sends commands one by one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from netsvc.smtpd.connection import SmtpConnection

TURN_S = 0.002


class Crowd:
    """Connections that wait for their turn.  ``clock`` is the reactor."""

    def __init__(self, clock: IReactorTime) -> None:
        """Nobody waits."""
        self._clock = clock
        self._waiting: deque[SmtpConnection] = deque()
        self._call: IDelayedCall | None = None

    def join(self, connection: SmtpConnection) -> None:
        """Have ``connection.take_turn()`` called when it is its turn, not at once."""
        self._waiting.append(connection)
        if self._call is None:
            self._call = self._clock.callLater(0, self._serve)

    def _serve(self) -> None:
        """Serve those who wait now, each once, as far as the time goes."""
        self._call = None
        end = self._clock.seconds() + TURN_S
        for _ in range(len(self._waiting)):
            self._waiting.popleft().take_turn()
            if self._clock.seconds() >= end:
                break
        if self._waiting and self._call is None:
            self._call = self._clock.callLater(0, self._serve)
