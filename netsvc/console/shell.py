"""What happens once somebody is in: lines are read and run until they leave, for people and for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred

from netsvc.telnet.display import Drawing
from netsvc.telnet.editor import Cancelled, EndOfInput, Submitted, TooLong
from netsvc.telnet.line import LINE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from netsvc.console.terminal import Terminal
    from netsvc.interfaces import IConsoleSession

IDLE_SECONDS: Final = 600.0
WARNING_SECONDS: Final = 60.0
MACHINE_LINE_LIMIT: Final = 64 * 1024
_TOO_LONG: Final = {"status": "error", "err": {"code": "E104"}}
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def json_line(thing: Mapping[str, Any]) -> bytes:
    """Return one object of machine mode for the wire: UTF-8, LF ended."""
    return _json(thing).encode("utf-8", "replace") + b"\n"


class Shell:
    """One session on one terminal.

    ``write`` takes bytes for the wire (machine mode's); ``count`` is called with each command's line as it begins.
    """

    def __init__(
        self,
        session: IConsoleSession,
        terminal: Terminal,
        write: Callable[[bytes], object],
        count: Callable[[], object],
    ) -> None:
        self.session = session
        self.terminal = terminal
        self._write = write
        self._count = count
        self.failed: Mapping[str, Any] | None = None
        """The end of the first command that failed."""

    async def talk(self, *, script: bool = False) -> None:
        """Serve a person until they leave or their input ends; a ``script`` is neither greeted nor prompted."""
        session, terminal = self.session, self.terminal
        terminal.assistant = session
        if not script:
            terminal.write(await session.greeting() + "\n")
        while not session.ended and not terminal.closed:
            if session.machine:
                await self.serve()
                return
            terminal.editor.display.columns = session.page_width or terminal.width
            answer = await terminal.read("" if script else session.prompt + " ", assist=True)
            if isinstance(answer, EndOfInput):
                break
            if isinstance(answer, TooLong):
                self._note(_TOO_LONG)
                terminal.write(f"% The line is longer than {LINE_LIMIT} characters: nothing was done. [E104]\n")
            elif isinstance(answer, Submitted) and answer.line.strip():
                await self.command(answer.line)

    async def command(self, line: str) -> None:
        """Run one line for a person."""
        if not self.session.is_secret(line):
            self.terminal.editor.history.add(line)
        self._count()
        await self._run(lambda: self.session.execute(line, self.terminal))

    async def serve(self, *, hello: bool = True) -> None:
        """Serve a program: machine mode until its input ends."""
        session, terminal = self.session, self.terminal
        terminal.draw_as(Drawing.SILENT)
        terminal.streaming = lambda: bool(getattr(session, "streaming", False))
        terminal.interactive = False
        terminal.assistant = None
        if hello:
            self._put({"hello": session.hello()})
        while not session.ended and not terminal.closed:
            answer = await terminal.read("", limit=MACHINE_LINE_LIMIT)
            if isinstance(answer, EndOfInput):
                return
            if isinstance(answer, TooLong):
                self._refuse_line()
            elif isinstance(answer, Submitted) and answer.line.strip():
                await self._serve_line(answer.line)
            else:
                assert isinstance(answer, Submitted | Cancelled)  # blank, or Ctrl-C with nothing to cancel

    async def _serve_line(self, line: str) -> None:
        self._count()
        await self._run(lambda: self.session.execute_machine(line, self._put))

    async def _run(self, start: Callable[[], Deferred[None]]) -> None:
        running = start()
        self.terminal.running = running
        try:
            await running
        except CancelledError:
            return  # the session has said so, or nobody is there any more
        finally:
            self.terminal.running = None
            self._note(self.session.end)

    def _note(self, end: Mapping[str, Any] | None) -> None:
        if self.failed is None and end is not None and end.get("status") != "ok":
            self.failed = end

    def _put(self, thing: Mapping[str, Any]) -> Deferred[None] | None:
        self._write(json_line(thing))
        return self.terminal.pressure()

    def _refuse_line(self) -> None:
        self._note(_TOO_LONG)
        message = f"The line is longer than {MACHINE_LINE_LIMIT} characters: nothing was done"
        self._put({"err": {"code": "E104", "msg": message, "col": None, "suggest": []}})
        end = {"tag": None, "status": "error", "rows": 0, "total": None, "ms": 0, "schema": None}
        self._put({"end": end})


class IdleWatch:
    """Ends a session whose operator has typed nothing for ten minutes, with a warning a minute before.

    ``end()`` is called at the end.  A command that runs is no idleness; time counts from when it is our turn to wait.
    """

    def __init__(self, terminal: Terminal, clock: IReactorTime, end: Callable[[], object], seconds: float) -> None:
        self._terminal = terminal
        self._clock = clock
        self._end = end
        self._seconds = seconds
        self._warned = False
        self._call: IDelayedCall | None = None
        self._wait(seconds - WARNING_SECONDS)

    def stop(self) -> None:
        """Watch no longer."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _wait(self, seconds: float) -> None:
        self._call = self._clock.callLater(max(seconds, 1.0), self._look)

    def _look(self) -> None:
        self._call = None
        terminal = self._terminal
        if not terminal.waiting:
            terminal.last_input = self._clock.seconds()
        idle = self._clock.seconds() - terminal.last_input
        if idle >= self._seconds:
            self._end()
            return
        warning_in = self._seconds - WARNING_SECONDS - idle
        if warning_in > 0:
            self._warned = False
            self._wait(warning_in)
            return
        if not self._warned:
            self._warned = True
            if terminal.interactive:
                terminal.write("Nothing was typed for a while: this session ends in a minute.\n")
        self._wait(self._seconds - idle)
