"""What operators keep out: blocked peers and paused listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from netsvc.records import DoorRule, Row


class IDoorRules(Interface):
    """Where the rules are kept; each method answers with every rule that stands, oldest first."""

    shared = Attribute("bool: other nodes may change them")

    def now() -> int:
        """-> int: ms since 1970, by the clock the rules' times are of."""

    def load() -> Deferred[list[DoorRule]]:
        """-> Deferred[list[DoorRule]]"""

    def put(rule: DoorRule) -> Deferred[list[DoorRule]]:
        """Keep a rule, in the place of one with its kind and key -> Deferred[list[DoorRule]]; fails with StoreError."""

    def drop(kind: str, key: str) -> Deferred[list[DoorRule]]:
        """Take a rule back -> Deferred[list[DoorRule]]"""


class IDoors(Interface):
    """Who may come in at all, asked before anything else of a connection; known at once, never through the store."""

    def blocked(peer: str) -> DoorRule | None:
        """-> the rule that keeps the IP address ``peer`` out, None when there is none."""

    def paused(listener: str) -> DoorRule | None:
        """-> the rule that pauses this node's listener of that name, None when there is none."""

    def attach(listener: Any) -> None:
        """Show ``listener`` among this node's; it has name protocol address accepted refused guarded."""

    def blocks() -> list[Row]:
        """-> list of block/1 rows, oldest first."""

    def listeners() -> list[Row]:
        """-> list of listener/1 rows, as configured."""

    def block(network: str, reason: str, actor: str, until: int) -> Deferred[None]:
        """Keep a network (canonical text) out until ``until``, ms, 0 for ever -> Deferred; fails with StoreError."""

    def unblock(network: str) -> Deferred[bool]:
        """-> Deferred[bool]: whether it had been blocked."""

    def pause(listener: str, reason: str, actor: str, until: int) -> Deferred[None]:
        """Take nobody in by this node's ``listener`` until ``until``, ms, 0 for ever -> Deferred; fails with StoreError."""

    def resume(listener: str) -> Deferred[bool]:
        """-> Deferred[bool]: whether it had been paused."""
