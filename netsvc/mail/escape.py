r"""The one function through which every foreign string is shown, logged or stored.

What came from the network, a file or a peer may hold escape sequences, line
ends, bidirectional controls or characters that print as nothing.  ``escape``
makes all of it visible: ``\xNN`` below U+0100, ``\u{NNNN}`` above.  A backslash
stays as it is, so the result is for reading, not for reversing.  (CWE-117,
CWE-150; CONSOLE.md C23.)  The result never holds a C0, DEL, C1, NUL or bidi
control, nor a line or paragraph separator, nor a lone surrogate.
"""

from __future__ import annotations

import re

# Bidi controls and marks, zero-width and invisible characters, separators, tags, surrogates, non-characters.
_BAD = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)


def _visible(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{{{number:04X}}}"


def escape(text: str, limit: int | None = None) -> str:
    """Return ``text`` with every unsafe character made visible, cut to ``limit`` characters.

    A cut text ends in "..."; ``limit`` counts characters of the result.
    """
    if not text.isprintable() or not text.isascii():
        if limit is not None and len(text) > limit:
            text = text[: limit + 1]
        text = _BAD.sub(_visible, text)
    if limit is not None and len(text) > limit:
        text = text[: max(limit - 3, 0)] + "..."[:limit]
    return text


def escape_bytes(data: bytes, limit: int | None = None) -> str:
    r"""Return ``data`` read as UTF-8 for showing; bytes that are not become ``\xNN``."""
    if limit is not None and len(data) > 4 * limit + 4:
        data = data[: 4 * limit + 4]
    return escape(data.decode("utf-8", "backslashreplace"), limit)
