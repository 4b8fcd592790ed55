"""What is wrong with a configuration: all of it at once, each with its place and its remedy."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netsvc.mail.escape import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHOWN = 200
"""Characters of a value or name repeated in a complaint."""


class ValueFaultError(ValueError):
    """A value is not what its key takes.  ``remedy`` says what to write instead, "" when the text says it already."""

    def __init__(self, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong.  ``where`` is a file or an option, ``line`` 0 when it is not known."""

    where: str
    line: int
    key: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return ``FILE:LINE: KEY: what is wrong; remedy`` in one line."""
        place = f"{self.where}:{self.line}" if self.line else self.where
        words = [place]
        if self.key:
            words.append(self.key)
        words.append(f"{self.text}; {self.remedy}" if self.remedy else self.text)
        return escape(": ".join(words), 1000)


class ConfigError(Exception):
    """The configuration cannot be used; ``complaints`` says all of why."""

    def __init__(self, complaints: Iterable[Complaint]) -> None:
        self.complaints = tuple(complaints)
        super().__init__("\n".join(str(complaint) for complaint in self.complaints))


class Complaints:
    """Complaints being collected about one source.  ``lines`` says on which line a key stands."""

    def __init__(self, where: str, lines: Mapping[tuple[str, ...], int] | None = None) -> None:
        self.where = where
        self.found: list[Complaint] = []
        self._lines = lines or {}

    def add(self, path: tuple[str, ...], text: str, remedy: str = "", where: str = "") -> None:
        """Note what is wrong with the key ``path``; ``where`` names another source, such as an option."""
        line = 0 if where else self.line(path)
        self.found.append(Complaint(where or self.where, line, show_path(path), text, remedy))

    def line(self, path: tuple[str, ...]) -> int:
        """Return the line ``path`` or the nearest table around it stands on, 0 when none is known."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return 0

    def check(self) -> None:
        """Raise ConfigError when anything was found."""
        if self.found:
            raise ConfigError(sorted(self.found, key=lambda complaint: (complaint.where != self.where, complaint.line)))


def show_path(path: Iterable[str]) -> str:
    """Return a key's path as TOML writes it."""
    return ".".join(
        key if key and key.isascii() and key.replace("-", "").replace("_", "").isalnum() else f'"{key}"' for key in path
    )


def quote(value: object) -> str:
    """Return ``value`` for a complaint: safe, in quotes when it is text, cut."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return '"' + escape(value, SHOWN) + '"' if isinstance(value, str) else escape(str(value), SHOWN)


def kind_of(value: object) -> str:
    """Return the word for a TOML value's type."""
    if isinstance(value, bool):
        return "a boolean"
    for kind, word in ((int, "a number"), (float, "a fraction"), (str, "text"), (list, "a list"), (dict, "a table")):
        if isinstance(value, kind):
            return word
    return "a date or time"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean NAME?`` or what names there are."""
    names = sorted(known)
    close = difflib.get_close_matches(word[:100], names, 1, 0.6)
    if close:
        return f"did you mean {close[0]}?"
    return "known are: " + ", ".join(names) if names else ""
