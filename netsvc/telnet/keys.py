r"""Bytes from a keyboard become keys, silent.

Text is decoded as UTF-8 across reads, what is not UTF-8 becomes U+FFFD.
Control bytes and escape sequences (CSI and SS3, xterm's, the Linux console's
and rxvt's variants) become a ``Key``; sequences nobody knows are swallowed and
never inserted.  A lone ESC waits for what follows it until ``flush``.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Key(Enum):
    """What a key press means; text comes as str."""

    ENTER = "enter"
    TAB = "tab"
    QUESTION = "question mark"
    BACKSPACE = "backspace"
    DELETE = "delete"
    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"
    HOME = "home"
    END = "end"
    WORD_LEFT = "word left"
    WORD_RIGHT = "word right"
    KILL_END = "kill to the end"
    KILL_START = "kill to the start"
    KILL_WORD = "kill word left"
    KILL_NEXT_WORD = "kill word right"
    YANK = "yank"
    REDRAW = "redraw"
    SEARCH = "search history"
    LAST_WORD = "last word of the line before"
    VERBATIM = "next key as it is"
    INTERRUPT = "interrupt"
    END_OF_INPUT = "end of input"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class WindowSize:
    """``CSI 8 ; rows ; columns t``: how netsvcctl tells that its window changed."""

    columns: int
    rows: int


Press = str | Key | WindowSize
"""A run of text (never empty), a key, or a window's size."""

_SEQUENCE_LIMIT: Final = 32
_CONTROL: Final = re.compile("[\x00-\x1f\x7f?]")

_CONTROLS: Final = {
    "\r": Key.ENTER,
    "\n": Key.ENTER,
    "\t": Key.TAB,
    "?": Key.QUESTION,
    "\x08": Key.BACKSPACE,
    "\x7f": Key.BACKSPACE,
    "\x01": Key.HOME,
    "\x02": Key.LEFT,
    "\x03": Key.INTERRUPT,
    "\x04": Key.END_OF_INPUT,
    "\x05": Key.END,
    "\x06": Key.RIGHT,
    "\x0b": Key.KILL_END,
    "\x0c": Key.REDRAW,
    "\x0e": Key.DOWN,
    "\x10": Key.UP,
    "\x12": Key.SEARCH,
    "\x15": Key.KILL_START,
    "\x16": Key.VERBATIM,
    "\x17": Key.KILL_WORD,
    "\x19": Key.YANK,
    "\x1a": Key.SUSPEND,
}
_META: Final = {
    "b": Key.WORD_LEFT,
    "B": Key.WORD_LEFT,
    "f": Key.WORD_RIGHT,
    "F": Key.WORD_RIGHT,
    "d": Key.KILL_NEXT_WORD,
    "D": Key.KILL_NEXT_WORD,
    ".": Key.LAST_WORD,
    "_": Key.LAST_WORD,
    "\x7f": Key.KILL_WORD,
    "\x08": Key.KILL_WORD,
}
_FINALS: Final = {"A": Key.UP, "B": Key.DOWN, "C": Key.RIGHT, "D": Key.LEFT, "H": Key.HOME, "F": Key.END}
_SS3: Final = {**_FINALS, "M": Key.ENTER}
_TILDES: Final = {"1": Key.HOME, "7": Key.HOME, "4": Key.END, "8": Key.END, "3": Key.DELETE}
_MODIFIED: Final = {"C": Key.WORD_RIGHT, "D": Key.WORD_LEFT}  # with Alt or Ctrl
_WORDS: Final = frozenset({"3", "5", "7"})

_GROUND, _ESC, _CSI, _CSI_LONG, _CSI_BRACKET, _SS3_SEEN = range(6)


class KeyReader:
    """One keyboard."""

    __slots__ = ("_decode", "_parameters", "_state")

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._state = _GROUND
        self._parameters = ""

    @property
    def waiting(self) -> bool:
        """Whether an ESC waits for what follows; after 100 ms of nothing call ``flush``."""
        return self._state == _ESC

    def flush(self) -> None:
        """Nothing followed the ESC: it was the Escape key, which means nothing here."""
        if self._state == _ESC:
            self._state = _GROUND

    def feed(self, data: bytes) -> list[Press]:
        """Return the key presses of ``data``, which may end anywhere; never raises."""
        text = self._decode(data)
        out: list[Press] = []
        i = 0
        while i < len(text):
            if self._state == _GROUND:
                i = self._ground(text, i, out)
            else:
                i += self._sequence(text[i], out)
        return out

    def _ground(self, text: str, start: int, out: list[Press]) -> int:
        found = _CONTROL.search(text, start)
        end = len(text) if found is None else found.start()
        if end > start:
            out.append(text[start:end])
        if found is None:
            return end
        if found[0] == "\x1b":
            self._state = _ESC
        else:
            key = _CONTROLS.get(found[0])
            if key is not None:
                out.append(key)
        return end + 1

    def _sequence(self, char: str, out: list[Press]) -> int:
        """Take one character of an escape sequence -> 1, or 0 when it is not part of it and must be looked at again."""
        state = self._state
        if state == _ESC:
            return self._after_escape(char, out)
        if state == _CSI_BRACKET:  # the Linux console's F1 to F5: CSI [ letter
            self._state = _GROUND
            return 1
        if char < " " or char >= "\x7f":  # no sequence holds these: it was broken off
            self._state = _GROUND
            return 0
        if state == _SS3_SEEN:
            self._state = _GROUND
            if char in _SS3:
                out.append(_SS3[char])
            return 1
        self._control_sequence(char, out)
        return 1

    def _after_escape(self, char: str, out: list[Press]) -> int:
        self._state = _GROUND
        if char == "[":
            self._state = _CSI
            self._parameters = ""
        elif char == "O":
            self._state = _SS3_SEEN
        elif char == "\x1b":
            self._state = _ESC
        elif char in _META:
            out.append(_META[char])
        elif char < " ":
            return 0  # ESC, then a key of its own
        return 1

    def _control_sequence(self, char: str, out: list[Press]) -> None:
        if char >= "@":
            whole = self._state == _CSI
            self._state = _GROUND
            if whole and char == "[" and not self._parameters:
                self._state = _CSI_BRACKET
            elif whole:
                press = _meaning(self._parameters, char)
                if press is not None:
                    out.append(press)
        elif len(self._parameters) < _SEQUENCE_LIMIT:
            self._parameters += char
        else:
            self._state = _CSI_LONG  # swallowed up to its final character


def _meaning(parameters: str, final: str) -> Press | None:
    fields = parameters.split(";")
    if final == "~":
        return _TILDES.get(fields[0])
    if final == "t" and len(fields) == 3 and fields[0] == "8":
        rows, columns = fields[1], fields[2]
        if rows.isascii() and rows.isdigit() and columns.isascii() and columns.isdigit() and len(parameters) < 16:
            return WindowSize(int(columns), int(rows))
        return None
    if len(fields) == 2 and fields[1] in _WORDS and final in _MODIFIED:
        return _MODIFIED[final]
    return _FINALS.get(final)
