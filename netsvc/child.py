"""One program run to its end, within limits, in a thread: fed, listened to, and killed with all it started.

It gets no descriptor but its three, its own session and process group, and the environment it is given.  That it has
ended is known from its pidfd: what it left running cannot keep us waiting by holding its output open.
"""

from __future__ import annotations

import os
import pwd
import selectors
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

READ = 64 << 10


class ChildError(OSError):
    """The program could not be run, ran too long, said too much, or was killed: told in a line of the log."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: exit ``status`` (below 0: by that signal), what it wrote to standard ``output`` and ``errors``."""

    status: int
    output: bytes
    errors: bytes


class Child:
    """One run.  ``kill`` may be called from another thread, before, while and after it runs."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        user: str = "",
        seconds: float,
        output: int,
        spare: bool = False,
    ) -> None:
        """Run ``argv`` for at most ``seconds``, as ``user`` ("": as we are), for ``output`` octets of output.

        Who writes more is killed, or, with ``spare``, not listened to any more: what it says beyond is thrown away.
        """
        self._argv = list(argv)
        self._environment = dict(environment)
        self._user = user
        self._seconds = seconds
        self._most = output
        self._spare = spare
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._reaped = False
        self._killed = False

    def run(self, pieces: Iterator[bytes]) -> Ended:
        """Run it with ``pieces`` as its standard input -> Ended; raises ChildError."""
        end = time.monotonic() + self._seconds
        process = self._start()
        said: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
        try:
            self._talk(process, pieces, said, end)
        finally:
            self.kill(stop=False)  # what it started and left behind, too
            with self._lock:
                self._reaped = True
                status = process.wait()
            for stream in (process.stdin, *said):
                _close(stream)
        if self._killed:
            raise ChildError("killed: nobody waits for it any more")
        return Ended(status, bytes(said[process.stdout]), bytes(said[process.stderr]))

    def kill(self, *, stop: bool = True) -> None:
        """Kill it and all of its process group; with ``stop`` it is not even begun after that."""
        with self._lock:
            self._killed = self._killed or stop
            if self._process is not None and not self._reaped:
                try:
                    os.killpg(self._process.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    return

    def _start(self) -> subprocess.Popen[bytes]:
        account: dict[str, Any] = {}
        if self._user:
            entry = pwd.getpwnam(self._user)
            account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        with self._lock:
            if self._killed:
                raise ChildError("killed before it began")
            try:
                process = self._process = subprocess.Popen(  # noqa: S603 - argv is the site's, and no shell is there
                    self._argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=self._environment,
                    cwd="/",
                    bufsize=0,
                    start_new_session=True,
                    **account,
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise ChildError(f"it cannot be run: {error}") from error
        return process

    def _talk(
        self, process: subprocess.Popen[bytes], pieces: Iterator[bytes], said: dict[Any, bytearray], end: float
    ) -> None:
        """Feed it and listen until it has ended; raises ChildError."""
        gone = os.pidfd_open(process.pid)
        waiting = memoryview(b"")
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(gone, selectors.EVENT_READ)
                for stream in said:
                    os.set_blocking(stream.fileno(), False)
                    selector.register(stream, selectors.EVENT_READ)
                os.set_blocking(process.stdin.fileno(), False)  # type: ignore[union-attr] # it is a pipe
                selector.register(process.stdin, selectors.EVENT_WRITE)  # type: ignore[arg-type] # as above
                over = False
                while not over:
                    ready = selector.select(max(end - time.monotonic(), 0))
                    if not ready and time.monotonic() >= end:
                        raise ChildError(f"killed: it ran longer than {self._seconds:g} s")
                    for key, _ in ready:
                        if key.fileobj == gone:
                            over = True
                        elif key.fileobj is process.stdin:
                            waiting = self._feed(process, pieces, waiting, selector)
                        else:
                            self._listen(key.fileobj, said, selector)
            for stream in said:  # its last words
                self._listen(stream, said, None)
        finally:
            os.close(gone)

    def _feed(
        self,
        process: subprocess.Popen[bytes],
        pieces: Iterator[bytes],
        waiting: memoryview,
        selector: selectors.BaseSelector,
    ) -> memoryview:
        """Write what goes in -> what is left; at the end, or when nobody reads, close."""
        stdin: Any = process.stdin
        waiting = waiting or memoryview(next(pieces, b""))
        try:
            if waiting:
                return waiting[os.write(stdin.fileno(), waiting) :]
        except BlockingIOError:
            return waiting
        except BrokenPipeError:
            waiting = memoryview(b"")
        selector.unregister(stdin)
        stdin.close()
        return waiting

    def _listen(self, stream: Any, said: dict[Any, bytearray], selector: selectors.BaseSelector | None) -> None:
        """Take what it wrote; without a selector, all there is.  Raises ChildError when it is too much."""
        while True:
            try:
                data = os.read(stream.fileno(), READ)
            except BlockingIOError:
                return
            said[stream] += data
            if len(said[stream]) > self._most:
                if not self._spare:
                    raise ChildError(f"killed: it wrote more than {self._most} octets")
                del said[stream][self._most :]
                if selector is None:
                    return  # what it left behind may write for ever
            if not data and selector is not None:
                selector.unregister(stream)
            if not data or selector is not None:
                return


def _close(stream: Any) -> None:
    try:
        stream.close()
    except OSError:
        return
