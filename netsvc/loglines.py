"""How events become lines: JSON or text, and the observer that writes them (floor 2).

``observer`` is the one ``netsvc`` uses unless twistd was told another: a line of
text for each event on a terminal, a line of JSON otherwise.
"""

from __future__ import annotations

import json
import sys
import threading
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import IO, TYPE_CHECKING, Any, Final

from twisted.internet.error import ReactorNotRunning
from twisted.logger import ILogObserver, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIMIT: Final = 1000
"""Characters of one field's text."""
TRACEBACK_LIMIT: Final = 8000

LEVELS: Final = {"debug": 10, "info": 20, "warn": 30, "error": 40}
TWISTED_LEVELS: Final = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
}

Record = dict[str, Any]
"""One event: ``time`` (ms since 1970), ``level``, ``event`` and its fields, all safe to show."""


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


@implementer(ILogObserver)
class LineWriter:
    """Writes lines to ``stream``; events of others below ``least`` are left out.

    Once told of the reactor's ``callLater``, lines of one turn below warning are written together at its end: a line
    a message would otherwise be a system call a message.  What is lost when the process is killed is that turn's lines.
    """

    def __init__(self, stream: IO[str], form: Callable[[Mapping[str, Any]], str], least: str = "info") -> None:
        self._stream = stream
        self._form = form
        self._threshold = TWISTED_LEVELS[least]
        self._waiting: list[str] = []
        self._later: Callable[..., object] | None = None
        self._home = 0

    def gather(self, call_later: Callable[..., object] | None) -> None:
        """Write at the end of a turn from now on (None: at once), for events of the calling thread."""
        self.flush()
        self._later = call_later
        self._home = threading.get_ident()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Write, now or at the end of the turn."""
        if "netsvc_record" not in event and _is_chatter(event, self._threshold):
            return
        try:
            line = self._form(event)
        except ValueError:
            return
        self._waiting.append(line)
        level = event.get("log_level", LogLevel.info)
        if self._later is None or level >= LogLevel.warn or threading.get_ident() != self._home:
            self.flush()
        elif len(self._waiting) == 1:
            self._later(0, self.flush)

    def flush(self) -> None:
        """Write what waits.  A full disk or a closed pipe must not stop the service."""
        lines, self._waiting = self._waiting, []
        if lines:
            try:
                self._stream.write("".join(lines))
                self._stream.flush()
            except (OSError, ValueError):
                return


def file_observer(stream: IO[str], form: Callable[[Mapping[str, Any]], str], least: str = "info") -> LineWriter:
    """Return an observer that writes lines to ``stream``; events of others below ``least`` are left out."""
    return LineWriter(stream, form, least)


def observer(stream: IO[str] | None = None, least: str = "info") -> LineWriter:
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
