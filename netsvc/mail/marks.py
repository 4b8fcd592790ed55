"""What policies want kept with mail: tags and a hold, collected while a session and a transaction go on."""

from __future__ import annotations

from dataclasses import dataclass

MAX_TAGS = 16
"""Tags kept with one message."""


@dataclass(frozen=True, slots=True)
class Marks:
    """``tags`` are words without blanks; ``held_by`` names the policy that wants mail held, "" for none, and why."""

    tags: tuple[str, ...] = ()
    held_by: str = ""
    held_why: str = ""

    def __add__(self, other: Marks) -> Marks:
        """Return both; of two holds the first."""
        tags = tuple(dict.fromkeys(self.tags + other.tags))[:MAX_TAGS]
        held = self if self.held_by else other
        return Marks(tags, held.held_by, held.held_why)


UNMARKED = Marks()
