"""Where a line may hold a password, and the line without it (quiet)."""

from __future__ import annotations

import re

from netsvc.commands import ROLE_ORDER

_WORD = re.compile(r'"(?:[^"\\]|\\.)*"?|[^\s"|]+')
MASK = "<hidden>"
_PLAIN = (*ROLE_ORDER, "role", "mailbox")
"""What may stand behind the name in a ``user`` command; all else is taken for a password."""
_HARMLESS = ("grant", "revoke", "mailbox")
"""``user`` commands that take no password."""


def _begin(line: str) -> int | None:
    """Return where what may be a secret begins in ``user``, ``enable`` and ``credential`` commands, to the line's end.

    Rather too much than too little: a line is judged by its words alone, also when it cannot be parsed, and
    whatever is not one of the words that may stand there counts as a password somebody typed in the wrong place.
    """
    words = list(_WORD.finditer(line))
    texts = [word[0].strip('"').lower() for word in words]
    at = 1 if texts and texts[0].startswith("@") else 0
    if texts[at : at + 1] == ["do"]:
        at += 1
    if at < len(texts) and "credential".startswith(texts[at]):
        return _in_credential(line, words, at + 3)
    if at >= len(texts) or not ("user".startswith(texts[at]) or "enable".startswith(texts[at])):
        return None
    verb = texts[at + 1] if at + 1 < len(texts) else ""
    if "user".startswith(texts[at]) and len(verb) > 1 and any(word.startswith(verb) for word in _HARMLESS):
        return None
    first = at + (3 if "user".startswith(texts[at]) else 1)  # behind: user VERB NAME
    for here in range(first, len(words)):
        if "|" in line[words[here - 1].end() : words[here].start()]:
            return None
        if "password".startswith(texts[here]):
            return words[here + 1].start() if here + 1 < len(words) else None
        if first == at + 1 or not any(word.startswith(texts[here]) for word in _PLAIN):
            return words[here].start()
    return None


def _in_credential(line: str, words: list[re.Match[str]], first: int) -> int | None:
    """Return where a secret begins behind ``credential VERB NAME``: at whatever is not ``user USER``."""
    at = first
    while at < len(words):
        text = words[at][0].strip('"').lower()
        if "|" in line[words[at - 1].end() : words[at].start()]:
            return None
        if "password".startswith(text):
            return words[at + 1].start() if at + 1 < len(words) else None
        if not "user".startswith(text):
            return words[at].start()
        at += 2
    return None


def holds_secret(line: str) -> bool:
    """Say whether the line may hold a password."""
    return _begin(line) is not None


def mask(line: str) -> str:
    """Return the line with what may be a password replaced."""
    begin = _begin(line)
    return line if begin is None else line[:begin] + MASK
