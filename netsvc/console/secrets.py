"""Where a line may hold a password, and the line without it (quiet)."""

from __future__ import annotations

import re

_WORD = re.compile(r'"(?:[^"\\]|\\.)*"?|[^\s"|]+')
MASK = "<hidden>"


def _spans(line: str) -> list[tuple[int, int]]:
    """Return where secrets may stand: behind ``password`` (or a beginning of it) in user and enable commands.

    Rather one too many: a line is judged by its words alone, also when it cannot be parsed.
    """
    words = list(_WORD.finditer(line))
    texts = [word[0].lower() for word in words]
    at = 1 if texts and texts[0].startswith("@") else 0
    if texts[at : at + 1] == ["do"]:
        at += 1
    if at >= len(texts) or not ("user".startswith(texts[at]) or "enable".startswith(texts[at])):
        return []
    spans = [
        words[here + 1].span()
        for here in range(at + 1, len(words) - 1)
        if texts[here][:4] in {"pa", "pas", "pass"} and texts[here] != "passwd"
    ]
    if "enable".startswith(texts[at]) and not spans and len(words) > at + 1:
        spans.append((words[at + 1].start(), len(line)))  # "enable SECRET" is no command, but somebody will type it
    return spans


def holds_secret(line: str) -> bool:
    """Say whether the line may hold a password."""
    return bool(_spans(line))


def mask(line: str) -> str:
    """Return the line with what may be a password replaced."""
    for start, end in reversed(_spans(line)):
        line = line[:start] + MASK + line[end:]
    return line
