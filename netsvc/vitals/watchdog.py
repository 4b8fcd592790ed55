"""How long the reactor was held up: a thread asks it, time and again, to say that it lives.

What is measured is the time from the question to the answer, so it is what every
client waits, whoever is to blame: a function that took long, the interpreter's
lock, or a machine with too much to do.  A stretch is seen when it lasts longer
than EVERY_S, up to EVERY_S shorter than it is.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.logbook import Logbook

EVERY_S: Final = 0.05
LONG_S: Final = 0.1
"""Held up so long, it is counted, and what it does is looked at."""
RECENT_S: Final = 60.0
JOIN_S: Final = 2.0
FRAMES: Final = 6


class Watchdog:
    """See the module.  ``call_from_thread`` is the reactor's; ``clock()`` gives monotonic seconds.

    ``most`` is the longest since the start, ``recent`` since a minute or two, in seconds; ``count`` how many were
    longer than LONG_S, and ``where`` what was done in the last of those.
    """

    def __init__(
        self, call_from_thread: Callable[..., object], logbook: Logbook, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with ``start``."""
        self.most = 0.0
        self.count = 0
        self.where = ""
        self._call = call_from_thread
        self._logbook = logbook
        self._clock = clock
        self._home = 0
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._at = 0.0
        self._window = [0.0, 0.0, 0.0]  # when the present minute began, its longest, that of the minute before
        self._told: tuple[float, int] | None = None
        self._thread: threading.Thread | None = None

    @property
    def recent(self) -> float:
        """The longest of this minute and the one before, in seconds."""
        return max(self._window[1:])

    def start(self) -> None:
        """Begin; called in the reactor's thread."""
        self._home = threading.get_ident()
        self._window[0] = self._clock()
        self._thread = threading.Thread(target=self._loop, name="netsvc-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        self._answered.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(JOIN_S)

    def _answer(self) -> None:
        self._at = self._clock()
        self._answered.set()

    def _loop(self) -> None:
        while not self._ended.wait(EVERY_S):
            self.ask()

    def ask(self) -> None:
        """Ask once, wait for the answer, and keep how long it took."""
        asked = self._clock()
        self._answered.clear()
        self._call(self._answer)
        where = ""
        if not self._answered.wait(LONG_S) and not self._ended.is_set():
            where = self._stack()
            self._answered.wait()
        if not self._ended.is_set():
            self.note(self._at - asked, where)

    def _stack(self) -> str:
        """Return what the reactor's thread does: its innermost frames, the last one first."""
        frame = sys._current_frames().get(self._home)  # noqa: SLF001 - there is no other way to see another thread
        if frame is None:
            return ""
        frames = traceback.extract_stack(frame)[-FRAMES:]
        return " < ".join(f"{_short(f.filename)}:{f.lineno} {f.name}" for f in reversed(frames))

    def note(self, took: float, where: str = "") -> None:
        """Keep one answer that came after ``took`` seconds."""
        now = self._clock()
        if now - self._window[0] >= RECENT_S:
            late = now - self._window[0] >= 2 * RECENT_S
            self._window = [now, 0.0, 0.0 if late else self._window[1]]
        self._window[1] = max(self._window[1], took)
        self.most = max(self.most, took)
        if took < LONG_S:
            return
        self.count += 1
        self.where = where or self.where
        took_ms = round(took * 1000)
        self._logbook.debug("reactor.stack", took_ms=took_ms, where=where)
        if self._told is None or now - self._told[0] >= RECENT_S:
            self._logbook.event("reactor.blocked", took_ms=took_ms, count=self.count - (self._told or (0.0, 0))[1])
            self._told = now, self.count

    def rows(self) -> list[dict[str, Any]]:
        """Return health/1 rows."""
        recent, most = round(self.recent * 1000), round(self.most * 1000)
        limit = round(LONG_S * 1000)
        why = f"last held up in {self.where}" if self.where else ""
        return [
            {
                "name": "reactor-held-up", "state": "warn" if recent >= limit else "ok", "value": recent,
                "limit": limit, "most": most, "count": self.count, "unit": "ms", "why": why,
            }
        ]  # fmt: skip


def _short(path: str) -> str:
    """Return the last two parts of a file's path."""
    return "/".join(path.split("/")[-2:])
