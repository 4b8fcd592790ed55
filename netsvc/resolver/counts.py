"""What the resolver counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """What happened since the start.

    ``lookups`` asked of us, ``hits`` answered from memory, ``joined`` a question under way; ``queries`` sent to
    servers, ``tcp`` of them by TCP, ``timeouts`` of them without an answer in time or at all; ``absent`` lookups that
    ended with no such name or record, ``failures`` that could not be answered.
    """

    lookups: int = 0
    hits: int = 0
    joined: int = 0
    queries: int = 0
    tcp: int = 0
    timeouts: int = 0
    absent: int = 0
    failures: int = 0
