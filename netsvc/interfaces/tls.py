"""What is promised about the TLS policies that destinations publish (MTA-STS, RFC 8461): kept, shown, forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from netsvc.records import Row


class ITlsPolicyRows(Interface):
    """Policies kept for all nodes and over restarts.

    A row is {"domain" (lower case), "id", "mode" (enforce testing none), "max_age" (ms), "hosts" (list of names or
    ``*.name``), "fetched", "until", "used" (ms, wall clock), "tried", "why" (when and why the last fetch failed; 0 and
    "" where it did not)}.
    """

    def get(domain: str) -> Deferred[Row | None]:
        """-> Deferred[row or None]; it may have run out."""

    def put(row: Row) -> Deferred[None]:
        """Keep a row in the place of the domain's; what ran out long ago is removed."""

    def failed(domain: str, at: int, why: str) -> Deferred[None]:
        """Note that what is kept could not be renewed."""

    def used(domain: str, at: int) -> Deferred[None]:
        """Note that mail asked for it."""

    def rows(domain: str = "") -> Deferred[list[Row]]:
        """-> Deferred[list of rows], by domain, of one domain where it is given; 10,000 at most."""

    def stale(fetched_before: int, used_since: int, most: int) -> Deferred[list[Row]]:
        """-> Deferred[list of rows] that are to be renewed, oldest first."""

    def forget(domain: str = "") -> Deferred[int]:
        """Remove a domain's row, all for "" -> Deferred[int]: how many there were."""


class ITlsPolicies(Interface):
    """What TLS must be like with destinations, as people ask for it."""

    def rows(domain: str = "") -> Deferred[list[Row]]:
        """-> Deferred[list of tls.policy/1 rows]: what destinations publish and we obey."""

    def forget(domain: str = "") -> Deferred[int]:
        """Forget a domain's policy, all for "", on every node -> Deferred[int]: how many there were."""
