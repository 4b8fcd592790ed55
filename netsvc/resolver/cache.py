"""What has been looked up, remembered as long as its TTL says and as far as there is room."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netsvc.records import NameNotFoundError, NameTemporaryError

if TYPE_CHECKING:
    from netsvc.resolver.packets import Value

MAX_ENTRIES = 20_000
MAX_OCTETS = 8 << 20
ENTRY_OCTETS = 300
"""What an entry costs beside its values, roughly."""

LONGEST = 86_400.0
"""Seconds that what was found is remembered at most."""
LONGEST_ABSENCE = 3600.0
"""Seconds that the absence of a name is remembered at most."""
UNTOLD_ABSENCE = 60.0
"""Seconds that an absence is remembered where the answer does not say."""
FAILURE = 5.0
"""Seconds in which what could not be looked up is not tried again (RFC 2308 7.1)."""

Key = tuple[bytes, str]
"""A name as asked on the wire, and a kind."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a lookup: ``values``, or none and ``fault``: "" (absent) or why it could not be looked up.

    ``until`` is when it is to be forgotten, in seconds of the resolver's clock; ``chain`` the names behind aliases;
    ``authentic`` whether the name server says that it validated it (worth what the way to that server is).
    """

    values: tuple[Value, ...] = ()
    until: float = 0.0
    chain: tuple[str, ...] = ()
    authentic: bool = False
    absent: str = ""
    fault: str = ""

    def error(self) -> Exception | None:
        """Return what the asker is told instead of values."""
        if self.fault:
            return NameTemporaryError(self.fault)
        return None if self.values else NameNotFoundError(self.absent)

    @property
    def octets(self) -> int:
        """How much room it takes, roughly."""
        return ENTRY_OCTETS + sum(_octets(value) for value in (*self.values, *self.chain))


def _octets(value: Value) -> int:
    if isinstance(value, tuple):
        return 60 + sum(_octets(part) for part in value if not isinstance(part, int))
    return 50 + len(value)


class Cache:
    """Answers by key, within MAX_ENTRIES and MAX_OCTETS; what was not asked for longest goes first."""

    def __init__(self, max_entries: int = MAX_ENTRIES, max_octets: int = MAX_OCTETS) -> None:
        """Remember nothing."""
        self._max_entries = max_entries
        self._max_octets = max_octets
        self._answers: OrderedDict[Key, Answer] = OrderedDict()
        self.octets = 0

    def __len__(self) -> int:
        """How many answers are remembered, stale ones too."""
        return len(self._answers)

    def get(self, key: Key, now: float) -> Answer | None:
        """Return what is known of ``key`` at ``now``."""
        answer = self._answers.get(key)
        if answer is None:
            return None
        if answer.until <= now:
            self.forget(key)
            return None
        self._answers.move_to_end(key)
        return answer

    def put(self, key: Key, answer: Answer, now: float) -> None:
        """Remember ``answer``, unless it is stale already."""
        self.forget(key)
        if answer.until <= now or answer.octets > self._max_octets:
            return
        self._answers[key] = answer
        self.octets += answer.octets
        while len(self._answers) > self._max_entries or self.octets > self._max_octets:
            self.forget(next(iter(self._answers)))

    def forget(self, key: Key) -> bool:
        """Forget ``key``; return whether it was known."""
        answer = self._answers.pop(key, None)
        if answer is not None:
            self.octets -= answer.octets
        return answer is not None

    def flush(self, name: bytes | None = None) -> int:
        """Forget every kind of ``name``, or everything (None) -> how many answers that were."""
        keys = [key for key in self._answers if name is None or key[0] == name]
        for key in keys:
            self.forget(key)
        return len(keys)

    def items(self, now: float) -> list[tuple[Key, Answer]]:
        """Return what is known at ``now``, what was asked for last first."""
        return [(key, answer) for key, answer in reversed(self._answers.items()) if answer.until > now]
