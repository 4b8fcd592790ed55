"""A person's terminal: keys become lines, text becomes rows, whatever door it came in by.

At any time it is in one of three modes.  READING: somebody edits a line.
PAGING: ``--More--`` waits for a key.  BUSY: a command runs, and what is typed
is kept in order for the next line.  Ctrl-C in BUSY cancels the command and
forgets what was typed ahead of it.  Nothing typed ahead is ever shown in the
place of a password: keys are only drawn once it is known what they answer.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.console.pager import MORE, Pager, listing, whole_lines
from netsvc.console.stream import take_stop
from netsvc.interfaces import ITerminal
from netsvc.telnet.display import Drawing
from netsvc.telnet.editor import CompleteWanted, EditorEvent, EndOfInput, HelpWanted, LineEditor, Submitted
from netsvc.telnet.keys import Key, KeyReader, Press, WindowSize
from netsvc.telnet.line import LINE_LIMIT
from netsvc.telnet.session import COLUMNS, ROWS, window

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from netsvc.console.wire import Wire
    from netsvc.interfaces import IConsoleSession

TYPED_AHEAD: Final = 64 * 1024
"""Characters kept while a command runs; beyond them nothing is read from the client."""
ESCAPE_SECONDS: Final = 0.1
KEYS_A_TURN: Final = 100
"""Keys acted on before the reactor serves others: each may ask for help, and somebody may send thousands at once."""


class Mode(Enum):
    """What the keyboard is for."""

    BUSY = "busy"
    READING = "reading"
    PAGING = "paging"


@implementer(ITerminal)
class Terminal:
    """One terminal.  ``assistant`` answers ``?`` and Tab; ``running`` is what Ctrl-C cancels."""

    def __init__(self, wire: Wire, clock: IReactorTime) -> None:
        self.editor = LineEditor()
        self.width = COLUMNS
        self.height = ROWS
        self.interactive = True
        self.resizable = False
        self.pages = True
        self.typed_ahead = TYPED_AHEAD
        self.assistant: IConsoleSession | None = None
        self.running: Deferred[Any] | None = None
        self.streaming: Callable[[], bool] = lambda: False
        self.last_input = clock.seconds()
        self._wire = wire
        self._clock = clock
        self._keys = KeyReader()
        self._queue: deque[Press] = deque()
        self._queued = 0
        self._keys_left = KEYS_A_TURN
        self._mode = Mode.BUSY
        self._reading: Deferred[EditorEvent] | None = None
        self._pager = Pager()
        self._shown: list[Deferred[None]] = []
        self._pumping = False
        self._ended = False
        self._held = False
        self._discarding = False
        self._column_zero = True
        self._progress = False
        self._escape: IDelayedCall | None = None
        self.closed = False

    # -- the keyboard --------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether it is the operator's turn."""
        return self._mode is not Mode.BUSY

    @property
    def ahead(self) -> bool:
        """Whether something was typed that nothing has asked for yet."""
        return bool(self._queue)

    def feed(self, data: bytes) -> None:
        """Take bytes from the keyboard."""
        self.last_input = self._clock.seconds()
        for press in self._keys.feed(data):
            if isinstance(press, WindowSize):
                if self.resizable:
                    self.resize(press.columns, press.rows)
                continue
            if press is Key.INTERRUPT:
                if self._keys_left:
                    self._pump()  # what stands before it may begin what it cancels
                if self._mode is Mode.BUSY:
                    self._interrupt()
                    continue
            self._queue.append(press)
            self._queued += len(press) if isinstance(press, str) else 1
        self._pump()
        self._look_for_stop()
        self._watch_escape()
        if self._queued > self.typed_ahead and not self._held:
            self._held = True
            self._wire.hold(True)

    def end_input(self) -> None:
        """Nothing more will be typed: what is queued is answered, then reading comes to its end."""
        self._ended = True
        self.interactive = self.interactive and bool(self._queue)
        if self._mode is Mode.PAGING:
            self._more()
        self._pump()

    def close(self) -> None:
        """Take the connection for gone: whoever reads gets EndOfInput, what is written goes nowhere."""
        self.closed = True
        self.interactive = False
        self._cancel_escape()
        self._queue.clear()
        self._release_shown()
        self._ended = True
        if self._mode is Mode.PAGING:
            self._mode = Mode.BUSY
        self._pump()

    def _watch_escape(self) -> None:
        self._cancel_escape()
        if self._keys.waiting:
            self._escape = self._clock.callLater(ESCAPE_SECONDS, self._flush_escape)

    def _cancel_escape(self) -> None:
        escape_call, self._escape = self._escape, None
        if escape_call is not None:
            escape_call.cancel()

    def _flush_escape(self) -> None:
        self._escape = None
        self._keys.flush()

    def _pump(self) -> None:
        """Hand keys to whoever waits for them.  Reading on from within is left to the loop: it never goes deeper."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._mode is not Mode.BUSY and (self._queue or self._ended) and (self._keys_left or self.closed):
                if not self._queue:
                    self._finish(EndOfInput())
                    continue
                press = self._queue.popleft()
                self._queued -= len(press) if isinstance(press, str) else 1
                self._keys_left -= 1
                if not self._keys_left:
                    self._clock.callLater(0, self._next_turn)
                if self._mode is Mode.PAGING:
                    self._page_key(press)
                elif not isinstance(press, WindowSize):
                    self._edit(press)
        finally:
            self._pumping = False
        self._draw()
        if self._held and self._queued <= self.typed_ahead // 2:
            self._held = False
            self._wire.hold(False)

    def _next_turn(self) -> None:
        self._keys_left = KEYS_A_TURN
        self._pump()

    def _draw(self) -> None:
        if self._mode is Mode.READING:
            self._wire.send(self.editor.take())

    def _look_for_stop(self) -> None:
        """End what a program watches at a line ``stop``."""
        if self.running is not None and self.streaming() and (taken := take_stop(self._queue)):
            self._queued -= taken
            self.running.cancel()

    def _interrupt(self) -> None:
        self._queue.clear()
        self._queued = 0
        if self.running is not None:
            self._put("^C\n" if self.editor.display.drawing is not Drawing.SILENT else "")
            self.running.cancel()

    # -- lines -----------------------------------------------------------------------

    def read(
        self, prompt: str, *, secret: bool = False, assist: bool = False, limit: int = LINE_LIMIT
    ) -> Deferred[EditorEvent]:
        """Read one line -> Deferred[Submitted, TooLong, Cancelled or EndOfInput]."""
        self._end_progress()
        self._discarding = False
        self._pager.restart()
        if not self._column_zero and prompt:
            self._put("\n")
        reading: Deferred[EditorEvent] = Deferred(self._stop_reading)
        self._reading = reading
        self._mode = Mode.READING
        self.editor.begin(prompt, secret=secret, assist=assist, limit=limit)
        self._draw()
        self._column_zero = True
        self._pump()
        return reading

    def _stop_reading(self, reading: Deferred[EditorEvent]) -> None:
        """Whoever asked was cancelled."""
        if self._reading is reading:
            self._reading = None
            self._mode = Mode.BUSY
            self._wire.send("\n")

    def _finish(self, event: EditorEvent) -> None:
        reading, self._reading = self._reading, None
        self._mode = Mode.BUSY
        if reading is not None:
            reading.callback(event)

    def _edit(self, press: str | Key) -> None:
        event = self.editor.press(press)
        if event is None:
            return
        if isinstance(event, CompleteWanted):
            self._wire.send(self.editor.take() + self._completed(event.left))
        elif isinstance(event, HelpWanted):
            text = self.assistant.help(event.left) if self.assistant is not None else ""
            self._wire.send(self.editor.aside(whole_lines(text)))
        else:
            if not isinstance(event, EndOfInput) or self.editor.display.drawing is not Drawing.SILENT:
                self._wire.send(self.editor.take())
            self._finish(event)

    def _completed(self, left: str) -> str:
        """Return what Tab shows."""
        if self.assistant is None:
            return ""
        found = self.assistant.complete(left)
        if len(found.candidates) < 2 or found.insert:
            return self.editor.offer(found.insert, "")
        return self.editor.offer("", listing(found.candidates, self.width))

    # -- ITerminal -------------------------------------------------------------------

    def write(self, text: str) -> Deferred[None] | None:
        """Show ``text`` -> Deferred or None: back-pressure, and the operator's patience when it fills the page."""
        if self.closed or not text:
            return None
        self._end_progress()
        if self._mode is Mode.READING:
            self._wire.send(self.editor.aside(whole_lines(text)))
            return self._wire.pressure()
        if self._discarding:
            return None
        self._pager.add(text)
        if self._mode is Mode.PAGING:
            return self._when_shown()
        return self._page()

    def pressure(self) -> Deferred[None] | None:
        """-> Deferred that fires when more may be written; None: now."""
        return self._wire.pressure()

    def ask(self, question: str, secret: bool = False) -> Deferred[str | None]:
        """Ask for one line -> Deferred[str | None]."""
        return Deferred.fromCoroutine(self._ask(question, secret))

    async def _ask(self, question: str, secret: bool) -> str | None:
        if not self.interactive or self._mode is not Mode.BUSY:
            return None
        event = await self.read(question if question.endswith(" ") else question + " ", secret=secret)
        return event.line if isinstance(event, Submitted) else None

    def progress(self, text: str) -> None:
        """Show a passing line where it can be taken away again."""
        if self._mode is Mode.BUSY and self.editor.display.drawing is Drawing.FULL and self._wire.pressure() is None:
            self._progress = True
            self._wire.send(f"\r{text[: self.width - 1]}\x1b[K")

    # -- the window ------------------------------------------------------------------

    def resize(self, columns: int, rows: int) -> None:
        """Take the window's new size; 0 is unknown."""
        size = window(columns, rows)
        self.width, self.height = size.columns, size.rows
        self.editor.display.columns = self._pager.columns = size.columns

    def draw_as(self, drawing: Drawing) -> None:
        """Draw in another way from now on, the line being edited too: what the terminal can do has become known."""
        if drawing is not self.editor.display.drawing:
            self.editor.display.drawing = drawing
            self._draw()

    def discard_output(self) -> None:
        """AO: show nothing more of the running command's output."""
        if self._mode is not Mode.READING:
            self._discarding = True
            self._pager.forget()
            if self._mode is Mode.PAGING:
                self._more()

    # -- pages -----------------------------------------------------------------------

    @property
    def _page_length(self) -> int:
        """Rows of a page, 0 for no pager: nobody is there to turn pages, or lines are already waiting."""
        typed_ahead = Key.ENTER in self._queue
        if (
            not (self.pages and self.interactive)
            or self._ended
            or typed_ahead
            or self.editor.display.drawing is Drawing.SILENT
        ):
            return 0
        length = None if self.assistant is None else self.assistant.page_length
        return self.height if length is None else length

    def _page(self, most: int = 0) -> Deferred[None] | None:
        """Show what fits -> None, or a Deferred for the rest."""
        self._pager.page = self._page_length
        self._put(self._pager.take(most))
        if self._pager.empty:
            self._release_shown()
            return self._wire.pressure()
        self._mode = Mode.PAGING
        self._wire.send(MORE)
        shown = self._when_shown()
        self._pump()
        return shown

    def _when_shown(self) -> Deferred[None]:
        shown: Deferred[None] = Deferred(self._shown.remove)
        self._shown.append(shown)
        return shown

    def _release_shown(self) -> None:
        shown, self._shown = self._shown, []
        for deferred in shown:
            deferred.callback(None)

    def _more(self, most: int = 0) -> None:
        """Take ``--More--`` away and go on."""
        full = self.editor.display.drawing is Drawing.FULL
        self._wire.send("\r\x1b[K" if full else "\b \b" * len(MORE))
        self._mode = Mode.BUSY
        if not most:
            self._pager.restart()
        self._page(most)

    def _page_key(self, press: Press) -> None:
        if isinstance(press, str):
            if len(press) > 1:
                self._queue.appendleft(press[1:])
                self._queued += len(press) - 1
            if press[0] == " ":
                self._more()
            elif press[0] in "qQ":
                self._quit_page()
        elif press is Key.ENTER:
            self._more(1)
        elif press in (Key.INTERRUPT, Key.END_OF_INPUT):
            self._quit_page()

    def _quit_page(self) -> None:
        """``q``: the rest is not wanted, and neither is the work that makes it."""
        self._pager.forget()
        self._discarding = True
        self._more()
        if self.running is not None:
            self.running.cancel()

    # -- the rest --------------------------------------------------------------------

    def _put(self, text: str) -> None:
        if text:
            self._column_zero = text.endswith("\n")
            self._wire.send(text)

    def _end_progress(self) -> None:
        if self._progress:
            self._progress = False
            self._wire.send("\r\x1b[K")
