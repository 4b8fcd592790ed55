"""Where a lookup stands: among those that were just asked, or among those that nobody has answered yet.

Names whose servers say nothing take all the time there is.  So a lookup has a
seat among the prompt only until every server has been asked once; then it goes
on among the patient, who are many and keep nobody waiting but each other.  A name
that was silent the last time is asked when no other wants the seat.
"""

from __future__ import annotations

import resource
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from netsvc.resolver.slots import Slots

if TYPE_CHECKING:
    from netsvc.resolver.cache import Key

MAX_AT_ONCE = 64
"""Questions that have a socket at the same time."""
OUT_AT_ONCE = 256
"""As many more for mail that goes out; fewer where few files may be open."""
PATIENT_AT_ONCE = 64
PATIENT_OUT_AT_ONCE = 1024
"""As many in addition of those that were not answered at once."""
FEWEST_OUT = 64
SHARE_OF_FILES = 32
"""What mail that goes out has of the open files there may be: one in so many, prompt, and as many patient."""
SILENT = 3600.0
"""Seconds in which a name that was not answered at once gives way to others."""
MOST_SILENT = 20_000


def allowed(most: int, files: int | None = None) -> int:
    """Return how many of ``most`` seats the limit of open files has room for."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if files is None else files
    if soft == resource.RLIM_INFINITY:
        return most
    return min(most, max(soft // SHARE_OF_FILES, FEWEST_OUT))


class Seats:
    """All seats, and the names that were silent lately.  ``clock`` is the reactor."""

    def __init__(self, clock: Any, files: int | None = None) -> None:
        """Have all of them free; ``files`` may be open, None: what this process is allowed."""
        self.prompt = Slots(MAX_AT_ONCE, allowed(OUT_AT_ONCE, files))
        self.patient = Slots(PATIENT_AT_ONCE, allowed(PATIENT_OUT_AT_ONCE, files))
        self._clock = clock
        self._silent: OrderedDict[Key, float] = OrderedDict()

    def doubts(self, key: Key) -> bool:
        """Whether ``key`` was silent lately."""
        return bool(self._silent) and self._silent.get(key, 0.0) > self._clock.seconds()

    def silent(self, key: Key) -> None:
        """Note that nothing came of ``key`` for a long time."""
        self._silent.pop(key, None)
        self._silent[key] = self._clock.seconds() + SILENT
        if len(self._silent) > MOST_SILENT:
            self._silent.popitem(last=False)

    def answered(self, key: Key) -> None:
        """Note that ``key`` was answered."""
        self._silent.pop(key, None)

    def forget(self) -> None:
        """Forget who was silent: other servers are asked now."""
        self._silent.clear()

    def promote(self, key: Key) -> None:
        """Let ``key``, where it waits, be asked for mail that goes out."""
        self.prompt.promote(key)
        self.patient.promote(key)


class Seat:
    """The seat of one lookup: ``take`` it, ``linger`` when all servers were silent once, ``leave`` at the end."""

    __slots__ = ("_held", "_key", "_out", "_reserved", "_seats", "lingers")

    def __init__(self, seats: Seats, key: Key, *, out: bool) -> None:
        """Have none yet."""
        self._seats = seats
        self._key = key
        self._out = out
        self._held: Slots | None = None
        self._reserved = False
        self.lingers = False

    async def take(self) -> None:
        """Wait for a seat among the prompt."""
        seats = self._seats
        self._reserved = await seats.prompt.acquire(self._key, out=self._out, last=seats.doubts(self._key))
        self._held = seats.prompt

    async def linger(self) -> None:
        """Leave the seat to others and wait for one among the patient, the first time."""
        if self.lingers:
            return
        self.lingers = True
        self.leave()
        patient = self._seats.patient
        self._reserved = await patient.acquire(self._key, out=self._out)
        self._held = patient

    def leave(self) -> None:
        """Give back what is held."""
        held, self._held = self._held, None
        if held is not None:
            held.release(reserved=self._reserved)
