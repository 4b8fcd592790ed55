"""Threads of the content checks' own, so that what they chew on keeps neither the reactor nor the store waiting.

Python's lock is still shared: what runs here must be cut into steps of a few milliseconds, and be linear (T23, T24).
"""

from __future__ import annotations

from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred


class _Pool(ThreadPool):
    """A pool whose threads do not keep a process that ends."""

    threadFactory = staticmethod(partial(Thread, daemon=True))  # type: ignore[assignment] # Twisted says: the class


class OffReactor:
    """Runs functions in at most ``threads`` threads, which are there once there is something to do."""

    def __init__(self, reactor: Any, name: str, threads: int) -> None:
        """Use ``reactor`` to come back into its thread; ``name`` is what the threads are called."""
        self._reactor = reactor
        self._pool = _Pool(0, threads, name)
        self._started = False

    def __call__(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run ``function(*args)`` in a thread -> Deferred of its result."""
        if not self._started:
            self._started = True
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, function, *args)

    def allow(self, threads: int) -> None:
        """Use at most ``threads`` from now on."""
        self._pool.adjustPoolsize(0, threads)

    def stop(self) -> None:
        """Take nothing more, and wait for what runs.  Not needed where the process ends: the threads end with it."""
        if self._started:
            self._started = False
            self._pool.stop()
