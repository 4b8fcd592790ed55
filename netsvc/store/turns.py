"""Whose turn it is to write: the writer's thread's or the writer process's.

SQLite has one writer at a time, and who finds it taken would wait by sleeping.
So both ask here first, and where both have work they take turns.  The reactor,
which speaks for the process, never waits: it is called when its turn has come.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Turns:
    """One lock with two who want it: a thread (``with turns:``) and the reactor (``claim`` and ``release``)."""

    def __init__(self, call_from_thread: Callable[..., Any], granted: Callable[[], None]) -> None:
        """``granted()`` is called in the reactor when a claim that was refused may succeed, or has."""
        self._call = call_from_thread
        self._granted = granted
        self._lock = threading.Lock()
        self.thread_waits = False
        """The reactor should come to an end."""
        self._wanted = False
        self._given = False

    def __enter__(self) -> None:
        """Wait for the thread's turn."""
        self.thread_waits = True
        self._lock.acquire()
        self.thread_waits = False

    def __exit__(self, *_: object) -> None:
        """End the thread's turn; the reactor's begins when it wants one."""
        if self._wanted:
            self._wanted = False
            self._given = True  # the lock stays taken and is the reactor's now
            self._call(self._granted)
            return
        self._lock.release()
        if self._wanted:  # since we looked
            self._call(self._granted)

    def claim(self) -> bool:
        """Say, in the reactor, whether its turn begins now; if not, ``granted`` will be called."""
        if self._given:
            self._given = False
            return True
        if self._try():
            return True
        self._wanted = True
        if self._try():  # the thread may have ended its turn without having seen that
            self._wanted = False
            return True
        return False

    def _try(self) -> bool:
        return not self.thread_waits and self._lock.acquire(blocking=False)

    def release(self) -> None:
        """End the reactor's turn."""
        self._lock.release()
