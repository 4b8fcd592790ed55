"""The logbook: the named events we log and their fields (floor 2); ``loglines`` makes lines of them.

``Logbook`` writes through twisted.logger, so that whatever observer twistd was
given sees our events too: each carries its text lazily (``{netsvc_text}``), and
peer data is never a format string.  Every text is made safe by ``mail.escape``
and bounded before it leaves this module.  Secrets are not handed in.

Events may be logged from any thread; followers are called in the reactor's
thread when ``Logbook.from_thread`` is set, else where the event was logged.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectError,
    ConnectionClosed,
    DNSLookupError,
    TimeoutError,  # noqa: A004 - Twisted's name
    UserError,
)
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.events import EVENTS
from netsvc.interfaces import IEvents
from netsvc.loglines import LEVELS, LIMIT, TWISTED_LEVELS, Record, record_words
from netsvc.mail.escape import escape, escape_bytes
from netsvc.mail.ids import show_id
from netsvc.mail.reply import ReplyError
from netsvc.records import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_FIELDS: Final = 40

PEER_FAULTS: Final = (
    ConnectionClosed,
    ConnectError,
    TimeoutError,
    UserError,
    DNSLookupError,
    CancelledError,
    ReplyError,
    StoreError,
    OSError,
)
"""What peers, networks and disks do to us: told in one line, without a traceback."""

_ID_FIELDS: Final = frozenset({"msg", "id"})  # an int in these is a queue id


class _Text:
    """An event's line, made only when somebody formats it."""

    __slots__ = ("record",)

    def __init__(self, record: Record) -> None:
        self.record = record

    def __str__(self) -> str:
        return record_words(self.record)


def _safe(key: str, value: object) -> object:
    if type(value) is str:  # nearly all are
        return value if len(value) <= LIMIT and value.isascii() and value.isprintable() else escape(value, LIMIT)
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return show_id(value) if key in _ID_FIELDS and 0 <= value < 1 << 63 else value
    if isinstance(value, bytes):
        return escape_bytes(value, LIMIT)
    if isinstance(value, list | tuple | set | frozenset):
        return escape(" ".join(str(v) for v in value), LIMIT)
    return escape(str(value), LIMIT)


def _odd_key(key: str) -> str:
    """Return a field's name that somebody made up at run time as one that cannot break a line."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in key[:40]) or "_"


class Logbook:
    """What the rooms log by.  ``level`` is the lowest level logged; ``publisher`` takes twisted.logger events."""

    def __init__(self, level: str = "info", publisher: Callable[[dict[str, Any]], object] = globalLogPublisher) -> None:
        self._publisher = publisher
        self._least = LEVELS[level]
        self._followers: list[tuple[int, Callable[[Record], object]]] = []
        self._floor = self._least
        self._home = threading.get_ident()
        self.from_thread: Callable[..., object] | None = None

    @property
    def level(self) -> str:
        """The lowest level that is logged: debug info warn error."""
        return next(word for word, number in LEVELS.items() if number == self._least)

    @level.setter
    def level(self, word: str) -> None:
        self._least = LEVELS[word]
        self._set_floor()

    def _set_floor(self) -> None:
        self._floor = min([self._least, *(least for least, _ in self._followers)])

    def enabled(self, level: str) -> bool:
        """Whether anybody would see an event of ``level``: worth asking before costly fields are made."""
        return LEVELS[level] >= self._floor

    def event(self, name: str, /, **fields: object) -> None:
        """Log ``name`` at the level EVENTS gives it (info when it is not listed there)."""
        known = EVENTS.get(name)
        level = known[0] if known else "info"
        if LEVELS[level] >= self._floor:
            self._emit(name, level, fields)

    def debug(self, name: str, /, **fields: object) -> None:
        """Log ``name`` for whoever looks for a fault."""
        if self._floor <= 10:
            self._emit(name, "debug", fields)

    def warn(self, name: str, /, **fields: object) -> None:
        """Log ``name`` as something to look at."""
        self._emit(name, "warn", fields)

    def error(self, name: str, /, **fields: object) -> None:
        """Log ``name`` as something that must be mended."""
        self._emit(name, "error", fields)

    def failure(self, name: str, failure: Failure | BaseException | None = None, /, **fields: object) -> None:
        """Log ``name`` with what went wrong: one line for what peers and disks do, a traceback for our own mistakes.

        ``failure`` None is the exception being handled.
        """
        if failure is None:
            failure = Failure()  # type: ignore[no-untyped-call] # Twisted's has no types
        elif not isinstance(failure, Failure):
            failure = Failure(failure)  # type: ignore[no-untyped-call] # Twisted's has no types
        cause = failure.value
        fields["why"] = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        if isinstance(cause, PEER_FAULTS):
            known = EVENTS.get(name)
            level = known[0] if known else "warn"
            if LEVELS[level] >= self._floor:
                self._emit(name, level, fields)
        else:
            self._emit(name, "error", fields, failure)

    def _emit(self, name: str, level: str, fields: Mapping[str, object], failure: Failure | None = None) -> None:
        now = time.time()
        record: Record = {"time": int(now * 1000), "level": level, "event": name}
        for key, value in fields.items():
            if key not in record and len(record) < MAX_FIELDS:
                record[key if key.isidentifier() else _odd_key(key)] = _safe(key, value)
        number = LEVELS[level]
        if number >= self._least:
            event: dict[str, Any] = {
                "log_level": TWISTED_LEVELS[level],
                "log_namespace": "netsvc",
                "log_system": "netsvc",
                "log_time": now,
                "log_format": "{netsvc_text}",
                "netsvc_text": _Text(record),
                "netsvc_record": record,
            }
            if failure is not None:
                event["log_failure"] = failure
            self._publisher(event)
        if self._followers:
            if self.from_thread is not None and threading.get_ident() != self._home:
                self.from_thread(self._tell, number, record)
            else:
                self._tell(number, record)

    def _tell(self, number: int, record: Record) -> None:
        for follower in list(self._followers):
            least, callback = follower
            if number >= least:
                try:
                    callback(dict(record))
                except Exception:  # noqa: BLE001 - a follower's mistake must not reach whoever logged
                    self._leave(follower)
                    self.failure("console.fault", what="follower of the logbook")

    def follow(self, callback: Callable[[Record], object], level: str = "info") -> Callable[[], None]:
        """Have ``callback(record)`` called for each event of ``level`` or above -> callable that ends it."""
        follower = (LEVELS[level], callback)
        self._followers.append(follower)
        self._set_floor()
        return lambda: self._leave(follower)

    def _leave(self, follower: tuple[int, Callable[[Record], object]]) -> None:
        if follower in self._followers:
            self._followers.remove(follower)
            self._set_floor()


@implementer(IEvents)
class Events:
    """IEvents over a logbook."""

    def __init__(self, logbook: Logbook) -> None:
        self._logbook = logbook

    def follow(self, callback: Callable[[Record], object]) -> Callable[[], None]:
        """Have ``callback(event)`` called for each logged event -> callable that ends it."""
        return self._logbook.follow(callback)
