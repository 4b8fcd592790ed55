"""Accepting connections when there is no file descriptor left (floor 2).

A listening socket stays readable while a connection waits that cannot be
accepted: without more ado the process would do nothing but try.  Here it pauses
for a second and tries again; who waits stays with the kernel meanwhile.  Doors
operators come in by keep spare descriptors, and give one up for each who comes.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from netsvc.logbook import Logbook

PAUSE_S: Final = 1.0
TELL_S: Final = 60.0
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
OUTPUT: Final = 64 << 10
"""Octets of replies the kernel keeps for a client that does not read them; it counts them twice, with its own."""
SPARES: Final = 4
"""Descriptors a door for operators keeps."""


class PatientSocket:
    """Stands in for the socket of a Twisted ``port``; ``clock`` is the reactor, ``spares`` how many are kept."""

    def __init__(self, port: Any, name: str, logbook: Logbook, clock: Any, spares: int = 0) -> None:
        """Take the port's socket."""
        self._socket = port.socket
        self._port = port
        self._name = name
        self._logbook = logbook
        self._clock = clock
        self._wanted = spares
        self._spares: list[int] = []
        self._told: float | None = None
        self._refill()

    def __getattr__(self, name: str) -> Any:
        """Be the socket in all else."""
        return getattr(self._socket, name)

    def accept(self) -> Any:
        """Accept a connection; where there is no descriptor for it, say that none waits, and pause."""
        try:
            return self._socket.accept()
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            found = self._sacrifice()
            if found is None:
                self._pause(error)
                raise BlockingIOError(errno.EAGAIN, "paused") from None
            return found

    def _sacrifice(self) -> Any:
        """Give up a spare descriptor for whoever waits; None where there is none."""
        if not self._spares:
            return None
        os.close(self._spares.pop())
        self._clock.callLater(PAUSE_S, self._refill)
        try:
            return self._socket.accept()
        except OSError:
            return None

    def _refill(self) -> None:
        if self._socket.fileno() < 0:
            self.close_spares()
            return
        while len(self._spares) < self._wanted:
            try:
                self._spares.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                return

    def _pause(self, error: OSError) -> None:
        now = self._clock.seconds()
        if self._told is None or now >= self._told + TELL_S:
            self._told = now
            self._logbook.event("listener.no_descriptors", listener=self._name, why=os.strerror(error.errno or 0))
        self._port.stopReading()
        self._clock.callLater(PAUSE_S, self._resume)

    def _resume(self) -> None:
        if self._port.connected:
            self._port.startReading()

    def close(self) -> None:
        """Close it, and the spares."""
        self.close_spares()
        self._socket.close()

    def close_spares(self) -> None:
        """Give the spare descriptors back."""
        while self._spares:
            os.close(self._spares.pop())


def be_patient(port: Any, name: str, logbook: Logbook, clock: Any, *, spares: int = 0) -> None:
    """Have ``port`` pause where it could only try again and again; other things than Twisted's ports are left alone."""
    if getattr(port, "socket", None) is not None:
        port.socket = PatientSocket(port, name, logbook, clock, spares)


def limit_output(port: Any) -> None:
    """Have the kernel keep little for clients of ``port`` that read nothing: accepted connections inherit it."""
    listening = getattr(port, "socket", None)
    if listening is not None:
        with suppress(OSError):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, OUTPUT)
