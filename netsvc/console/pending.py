"""Selections that wait for ``confirm TOKEN`` (quiet)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netsvc.commands import CommandError

if TYPE_CHECKING:
    from netsvc.records import Selection

LIFE_MS = 60_000
MAX_WAITING = 16


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a token stands for."""

    verb: str
    actor: str
    selection: Selection
    args: dict[str, object]
    until_ms: int


class Pending:
    """Tokens of one use, for one operator, good for a minute; the oldest makes room when there are many."""

    def __init__(self) -> None:
        """Begin with none."""
        self._waiting: dict[str, Waiting] = {}

    def keep(self, waiting: Waiting) -> str:
        """Keep it and return its token."""
        while len(self._waiting) >= MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        token = f"T-{secrets.token_hex(4)}"
        self._waiting[token] = waiting
        return token

    def take(self, token: str, verb: str, actor: str, now_ms: int) -> Waiting:
        """Return what ``token`` stands for, once.  Raises CommandError E303 when it is unknown, old or another's."""
        waiting = self._waiting.get(token)
        if waiting is None or waiting.actor != actor or waiting.verb != verb or waiting.until_ms < now_ms:
            raise CommandError("E303", f'No selection waits under "{token}" for {verb}: look again with dry-run')
        del self._waiting[token]
        return waiting
