"""What the house knows of its own condition: room for sessions, space, the store, the reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from netsvc.mail.reply import Reply


class ISlots(Interface):
    """Room for sessions of all SMTP listeners together."""

    cap = Attribute("int: how many there may be")
    used = Attribute("int: how many there are")
    stressed = Attribute("bool: so many that deadlines are short")

    def find(*, submission: bool, loopback: bool) -> str:
        """-> str: where a slot is to be taken from for such a client, "" where there is none; that counts as refused."""

    def take(where: str) -> None:
        """Take the slot that was found."""

    def release(where: str) -> None:
        """Give it back."""

    def watch(callback: Callable[[], object]) -> None:
        """Have ``callback()`` called whenever stress begins or ends."""

    def rows() -> list[dict[str, Any]]:
        """-> list of health/1 rows."""


class ICheckup(Interface):
    """How the store is, asked by whoever decides whether mail is taken."""

    def measure() -> tuple[int | None, int | None, int]:
        """-> (octets free, octets in all where mail is kept, commits that failed so far).  Blocks: in a thread.

        None where the store's space is not this host's.
        """

    def probe() -> Deferred[None]:
        """Write something durably -> Deferred[None]; fails with StoreError."""

    def examine() -> str:
        """-> str: what is wrong with the files, "" when nothing is.  Blocks: in a thread."""


class IVitals(Interface):
    """How this node is, and whether it takes mail."""

    def refusal(limit: int) -> Reply | None:
        """-> Reply | None: why no transaction may begin of a message of up to ``limit`` octets."""

    def not_stored(error: BaseException) -> None:
        """Hear that a message could not be stored."""

    def rows() -> list[dict[str, Any]]:
        """-> list of health/1 rows."""
