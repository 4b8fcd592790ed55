"""What a terminal needs of its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


class Wire(Protocol):
    """The way to the client."""

    def send(self, text: str) -> None:
        """Write text, LF between lines."""

    def pressure(self) -> Deferred[None] | None:
        """-> Deferred that fires when more may be written; None: now."""

    def hold(self, on: bool) -> None:
        """Stop or go on reading from the client."""
