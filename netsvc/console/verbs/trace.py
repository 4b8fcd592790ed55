"""What is said in sessions: as it happens, and in the last minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from netsvc.commands import Arg, Clause, Command, CommandError, Selects, Word
from netsvc.console.livetables import TRACE
from netsvc.console.render import counted, show_duration, show_time
from netsvc.console.speech import spoken, trace_row
from netsvc.console.stream import Stream
from netsvc.console.verbs.connections import find_session
from netsvc.console.verbs.words import LIMIT
from netsvc.criteria import matches
from netsvc.flightrecorder import Line, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netsvc.console.call import Call

MINUTE = 60_000
USUAL_MS = 5 * MINUTE
"""How long a trace lasts that does not say."""
LONGEST_MS = 60 * MINUTE
USUAL_LINES = 2000
MOST_LINES = 100_000
MOST_SESSIONS = 100
"""Sessions one trace shows; others that match are passed over."""
MOST_TRACES = 8
"""Traces at a time on a node."""
SLICE = 200
"""Items of the past that are looked at in a turn of the reactor."""


class Wanted:
    """Which sessions are traced.  One that matched once stays so, whatever becomes of it."""

    def __init__(self, call: Call) -> None:
        """Take what was chosen; sessions named must be there.  Raises CommandError."""
        chosen = call.chosen
        assert chosen is not None
        self._call = call
        self._where = chosen.where
        self.sessions: set[int] = set()
        self.passed_over: set[int] = set()
        for text, _ in chosen.ids:
            self.sessions.add(find_session(call, text).number)
        self._named = chosen.kind == "ids"

    def __call__(self, entry: object) -> bool:
        """Whether the session's words are wanted."""
        number: int = entry.number  # type: ignore[attr-defined] # what a recorder's items hold
        if number in self.sessions:
            return True
        if self._named:
            return False
        call = self._call
        now = call.session.now_ms()
        row = entry.row(now, call.service.hostname)  # type: ignore[attr-defined] # as above
        if self._where is not None and not matches(self._where, "session", row, now):
            return False
        if len(self.sessions) >= MOST_SESSIONS:
            self.passed_over.add(number)
            return False
        self.sessions.add(number)
        return True


async def trace(call: Call) -> None:
    """Show what is said in sessions, as it happens; or what was said."""
    if call.chosen is None:
        raise CommandError("E103", "Incomplete. Expected one of: ID, where, all", None, ["where"])
    lasts = call.args.get("for")
    if lasts is not None and not 0 < lasts <= LONGEST_MS:
        raise CommandError("E202", "A trace lasts 1h at most. Examples: 30s 5m 1h")
    limit = call.args.get("limit", USUAL_LINES)
    if limit > MOST_LINES:
        raise CommandError("E202", f"A trace has {MOST_LINES} lines at most")
    wanted = Wanted(call)
    await call.audit(call.chosen.text or "all", "", len(wanted.sessions), "ok")
    back = call.args.get("last")
    call.outlet.paged(False)
    try:
        if back is not None:
            limit -= await _past(call, wanted, back, limit)
        if back is None or lasts is not None:
            await _live(call, wanted, lasts or USUAL_MS, max(limit, 1))
    finally:
        call.outlet.paged(True)


async def _show(call: Call, lines: Iterable[Line]) -> int:
    count = 0
    for line in lines:
        count += 1
        if call.machine or call.outlet.style == "json":
            await call.row(trace_row(line))
        else:
            await call.text(spoken(line))
    return count


async def _past(call: Call, wanted: Wanted, back: int, limit: int) -> int:
    """Show the newest ``limit`` lines of the last ``back`` ms -> how many there were."""
    recorder = call.service.sessions.recorder
    since = call.session.now_ms() - back
    found: list[Line] = []
    items = recorder.items(since)
    for at in range(0, len(items), SLICE):
        found += [line for item in items[at : at + SLICE] if wanted(item[1]) for line in lines_of(item)]
        del found[:-limit]
        await deferLater(call.session.clock, 0, lambda: None)
    await _show(call, found)
    oldest = recorder.oldest
    if not found:
        await call.note("Nothing of them is remembered from that time.")
    if oldest is not None and oldest > since:
        await call.note(f"What was said before {show_time(oldest, '%H:%M:%S')} is forgotten.")
    return len(found)


async def _live(call: Call, wanted: Wanted, lasts: int, limit: int) -> None:
    session, recorder = call.session, call.service.sessions.recorder
    if recorder.followers >= MOST_TRACES:
        raise CommandError("E501", f"Busy: {MOST_TRACES} traces run already")
    stream = Stream(session.clock, wanted, limit)
    await call.say(
        f"Tracing for {show_duration(lasts)} or {counted(limit, 'line')}. "
        + ("A line stop ends it." if call.machine else "Ctrl-C ends it.")
    )
    session.streaming = True
    leave = recorder.follow(stream.take)
    timer = session.clock.callLater(lasts / 1000, stream.end)
    shown = 0
    try:
        while (item := await stream.read()) is not None and not call.full:
            shown += await _show(call, list(lines_of(item))[: limit - shown])
            if not stream.ready:
                await call.outlet.flush()
            if shown >= limit:
                break
    except CancelledError:
        pass  # the way a trace is ended
    finally:
        leave()
        session.streaming = False
        if timer.active():
            timer.cancel()
    await call.say(_came_to(stream, wanted, shown))


def _came_to(stream: Stream, wanted: Wanted, shown: int) -> str:
    words = [f"{counted(shown, 'line')} of {counted(len(wanted.sessions), 'session')}."]
    if stream.dropped:
        words.append(
            f"{counted(stream.dropped, 'line')} came too fast and {'was' if stream.dropped == 1 else 'were'} left out."
        )
    if wanted.passed_over:
        words.append(f"{counted(len(wanted.passed_over), 'more session')} matched: {MOST_SESSIONS} are traced at most.")
    return " ".join(words)


COMMANDS = (
    Command(
        (Word("trace", "watch what is said"), Word("session", "in sessions, as it happens or in the last minutes")),
        trace,
        "what is said in sessions, in and out; passwords and content are left out",
        selects=Selects("session", ("ids", "where", "all"), required=True),
        clauses=(
            Clause("last", "what was said in that time", (Arg("last", "duration", "5m", low=1, shown="DURATION"),)),
            Clause("for", "how long; 5m when it is not said", (Arg("for", "duration", "30s 5m", shown="DURATION"),)),
            LIMIT,
        ),
        role="operator",
        table=TRACE,
        examples=(
            "trace session where peer=192.0.2.0/24 for 10m",
            "trace session S12 last 5m",
            "trace session where domain=example.net",
        ),
    ),
)
