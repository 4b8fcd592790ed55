"""Patterns typed by people, run on RE2: linear time whatever is typed, with bounded memory (floor 2).

Case does not matter and ``.`` takes every character.  What was compiled is
kept in a small cache, for one filter is asked of many rows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2  # type: ignore[import-untyped]  # google-re2 ships no types

MAX_PATTERN = 1000
"""Characters of a pattern."""

_MAX_MEMORY = 1 << 21


class PatternError(ValueError):
    """A pattern that is not taken: a fault in it, or too large.  The message is fit to be shown."""


def _options() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    return options


def _compile(source: str, what: str) -> Any:
    try:
        return re2.compile(source, _options())
    except (re2.error, UnicodeError) as error:
        raise PatternError(f"it is not a {what}, or too large a one") from error


def _bounded(source: str) -> str:
    if len(source) > MAX_PATTERN:
        raise PatternError(f"a pattern has at most {MAX_PATTERN} characters")
    return source


@lru_cache(maxsize=256)
def compile_regex(source: str) -> Any:
    """Return ``source`` compiled, to be asked with ``.search(text)``.  Raises PatternError."""
    return _compile(_bounded(source), "regular expression")


@lru_cache(maxsize=256)
def compile_glob(pattern: str) -> Any:
    """Return ``pattern`` (``*`` any run, ``?`` one character) compiled, to be asked with ``.search(text)``.

    Raises PatternError.
    """
    try:
        parts = [".*" if c == "*" else "." if c == "?" else re2.escape(c) for c in _bounded(pattern)]
    except UnicodeError as error:  # half of a character
        raise PatternError("it is not a pattern") from error
    return _compile(r"\A" + "".join(parts) + r"\z", "pattern")
