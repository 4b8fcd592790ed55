"""The logbook: the named events we log, their fields, and how they become lines (floor 2).

``Logbook`` writes through twisted.logger, so that whatever observer twistd was
given sees our events too: each carries its text lazily (``{netsvc_text}``), and
peer data is never a format string.  Every text is made safe by ``mail.escape``
and bounded before it leaves this module.  Secrets are not handed in.

``observer`` is the observer ``netsvc`` uses unless twistd was told another: a
line of text for each event on a terminal, a line of JSON otherwise.

Events may be logged from any thread; followers are called in the reactor's
thread when ``Logbook.from_thread`` is set, else where the event was logged.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import IO, TYPE_CHECKING, Any, Final, cast

from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectError,
    ConnectionClosed,
    DNSLookupError,
    ReactorNotRunning,
    TimeoutError,  # noqa: A004 - Twisted's name
    UserError,
)
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer

from netsvc.events import EVENTS
from netsvc.interfaces import IEvents
from netsvc.mail.escape import escape, escape_bytes
from netsvc.mail.ids import show_id
from netsvc.mail.reply import ReplyError
from netsvc.records import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIMIT: Final = 1000
"""Characters of one field's text."""
TRACEBACK_LIMIT: Final = 8000
MAX_FIELDS: Final = 40

LEVELS: Final = {"debug": 10, "info": 20, "warn": 30, "error": 40}
_TWISTED_LEVELS: Final = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
}
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

Record = dict[str, Any]
"""One event: ``time`` (ms since 1970), ``level``, ``event`` and its fields, all safe to show."""


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
                "log_level": _TWISTED_LEVELS[level],
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


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def stamp(ms: int) -> str:
    """Return ``ms`` since 1970 as RFC 3339 in UTC with milliseconds."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


def _word(value: object) -> str:
    if isinstance(value, str):
        if not value or " " in value or '"' in value or "=" in value:
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return value
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    return str(value)


def record_words(record: Record) -> str:
    """Return an event as ``name key=value …``, values with blanks in quotes."""
    words = [record["event"]]
    for key, value in record.items():
        if key in ("time", "level", "event"):
            continue
        words.append(f"{key}={_word(value)}")
    return " ".join(words)


def _foreign(event: Mapping[str, Any]) -> Record:
    """Return a record of an event that was not ours: Twisted's, a library's, a print."""
    level = event.get("log_level")
    word = "error" if level is LogLevel.critical else getattr(level, "name", "info")
    failure = _failure_of(event)
    if failure is None:
        text = formatEvent(dict(event)) or ""
    else:
        why = event.get("why") or (event.get("log_format") and "log_text" not in event and formatEvent(dict(event)))
        text = f"{why or 'unhandled error'}: {type(failure.value).__name__}: {failure.value}"
    record: Record = {
        "time": int(event.get("log_time", 0) * 1000),
        "level": word if word in LEVELS else "info",
        "event": escape(str(event.get("log_namespace", "-")), 100),
    }
    record["text"] = escape(text, LIMIT)
    return record


def _failure_of(event: Mapping[str, Any]) -> Failure | None:
    """Return what went wrong, from an event of twisted.logger or of twisted.python.log."""
    failure = event.get("log_failure") or event.get("failure")
    return failure if isinstance(failure, Failure) else None


def _traceback(failure: Failure) -> str:
    text = failure.getTraceback()
    return text if len(text) <= TRACEBACK_LIMIT else "..." + text[-TRACEBACK_LIMIT:]


def _json(value: object) -> str:
    """Return a field's value as JSON; json.dumps takes three times as long for such small things."""
    if type(value) is str:
        return encode_basestring(value)
    if type(value) is int:
        return str(value)
    return json.dumps(value, default=str)


def json_line(event: Mapping[str, Any]) -> str:
    """Return a twisted.logger event as one line of JSON, LF ended."""
    record = dict(event.get("netsvc_record") or _foreign(event))
    record["time"] = stamp(record["time"])
    failure = _failure_of(event)
    if failure is not None:
        record["traceback"] = _traceback(failure)
    words = [f'"{key}":{_json(value)}' for key, value in record.items()]
    return "{" + ",".join(words) + "}\n"


def text_line(event: Mapping[str, Any]) -> str:
    """Return a twisted.logger event as one line of text, LF ended; a traceback follows in indented lines."""
    record = event.get("netsvc_record") or _foreign(event)
    line = f"{_second(record['time'] // 1000)}Z {record['level']:<5} {record_words(record)}\n"
    failure = _failure_of(event)
    if failure is not None:
        for row in _traceback(failure).split("\n"):
            if row:
                line += f"\t{escape(row, LIMIT)}\n"
    return line


def _is_chatter(event: Mapping[str, Any], threshold: Any) -> bool:
    """Whether an event of somebody else's is left out: Twisted tells of every port and factory at level info."""
    level = event.get("log_level", LogLevel.info)
    if level < threshold:
        return True
    failure = _failure_of(event)
    if failure is not None and isinstance(failure.value, ReactorNotRunning):
        return True  # a second SIGTERM while the first is obeyed
    namespace = event.get("log_namespace", "")
    return level is LogLevel.info and (namespace.startswith("twisted.") or namespace == "log_legacy")


def file_observer(stream: IO[str], form: Callable[[Mapping[str, Any]], str], least: str = "info") -> ILogObserver:
    """Return an observer that writes lines to ``stream``; events of others below ``least`` are left out."""
    threshold = _TWISTED_LEVELS[least]

    def write(event: dict[str, Any]) -> None:
        if "netsvc_record" not in event and _is_chatter(event, threshold):
            return
        try:
            stream.write(form(event))
            stream.flush()
        except (OSError, ValueError):
            return  # a full disk or a closed pipe must not stop the service

    directlyProvides(write, ILogObserver)
    return cast("ILogObserver", write)


def observer(stream: IO[str] | None = None, least: str = "info") -> ILogObserver:
    """Return the observer for ``stream`` (standard output): text when it is a terminal, JSON lines otherwise.

    Of others' events those of ``least`` and above are written, and of Twisted's own chatter warnings and worse.

    ``twistd --logger netsvc.logbook.observer`` asks for it explicitly.
    """
    stream = sys.stdout if stream is None else stream
    return file_observer(stream, text_line if is_terminal(stream) else json_line, least)


def is_terminal(stream: IO[str]) -> bool:
    """Whether somebody may be looking at ``stream``."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False  # a rotating log file, or one that is closed
