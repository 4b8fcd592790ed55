"""What this node may do at each destination now: connections, messages on each, messages in a time.

Operators' limits come first, then the site's settings of the destination, then
those of all; nodes that share a store divide them (``shares``).  Limits of a
next hop that many domains share are found by its key, not by the domains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netsvc.delivery.shares import owners, part
from netsvc.settings import NO_DESTINATION as _NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.interfaces import IDestinations, ISite
    from netsvc.settings import DestinationSettings, SiteSettings

GROW_S = 10.0
"""Seconds for which a node waits before it takes over what another one had: that one's last connections end."""
MOST_KNOWN = 20_000


class Allowed(NamedTuple):
    """What this node may do at one destination.

    ``connections`` 0: others send there.  ``rate``: (messages, ms).  ``first``: of those that send there, this node is
    the one that tries whether a dead destination lives again; ``alone``: nobody else sends there.
    """

    connections: int
    messages: int
    rate: tuple[int, int] | None = None
    first: bool = True
    alone: bool = True


class Allowances:
    """Keeps what is allowed, by destination; ``now`` is the wall clock (ms), ``steady`` one of seconds."""

    def __init__(
        self,
        site: ISite,
        destinations: IDestinations | None,
        now: Callable[[], int],
        steady: Callable[[], float],
    ) -> None:
        self._site = site
        self._destinations = destinations
        self._now = now
        self._steady = steady
        self._known: dict[str, Allowed] = {}
        self._nodes: tuple[int, ...] = () if destinations is None else destinations.nodes
        self._before: tuple[int, ...] | None = None
        self._settled_at = 0.0
        self._ends = 0
        site.watch(lambda _: self._known.clear())
        if destinations is not None:
            destinations.watch(self._changed)

    def _changed(self) -> None:
        assert self._destinations is not None
        nodes = self._destinations.nodes
        if nodes != self._nodes:
            if self._nodes:
                self._before = self._nodes if self._before is None else self._before
                self._settled_at = self._steady() + GROW_S
            self._nodes = nodes
        self._known.clear()

    def look(self) -> None:
        """Let go what has ended meanwhile; called now and then."""
        if self._before is not None and self._steady() >= self._settled_at:
            self._before = None
            self._known.clear()
        if self._ends and self._now() >= self._ends:
            self._known.clear()
            self._ends = 0

    def of(self, key: str) -> Allowed:
        """Return what is allowed at ``key``."""
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[key] = self._find(key)
        return known

    def said(self, key: str) -> tuple[DestinationSettings, DestinationSettings]:
        """Return what operators say of ``key`` now, and what the site says."""
        settings: SiteSettings = self._site.current
        site = settings.destination(key)
        if self._destinations is None or key not in self._destinations.limits:
            return _NOTHING, site
        limits, until = self._destinations.limits[key]
        if until:
            if until <= self._now():
                return _NOTHING, site
            self._ends = min(self._ends or until, until)
        return limits, site

    def _find(self, key: str) -> Allowed:
        operator, site = self.said(key)
        usual = self._site.current.delivery
        connections = operator.connections or site.connections or usual.connections
        whole = Allowed(connections, operator.messages or site.messages or usual.messages, operator.rate or site.rate)
        now = self._divide(key, whole, self._nodes)
        if self._before is None:
            return now
        before = self._divide(key, whole, self._before)
        rate = now.rate
        if rate is not None and before.rate is not None:
            rate = min(rate, before.rate)
        return now._replace(connections=min(now.connections, before.connections), rate=rate)

    def _divide(self, key: str, whole: Allowed, nodes: tuple[int, ...]) -> Allowed:
        """Return this node's part."""
        if len(nodes) < 2 or self._destinations is None:
            return whole
        most = min(whole.connections, whole.rate[0]) if whole.rate else whole.connections
        ours = owners(key, nodes, most)
        if self._destinations.node not in ours:
            return whole._replace(connections=0, first=False, alone=False)
        rank = ours.index(self._destinations.node)
        rate = (part(whole.rate[0], rank, len(ours)), whole.rate[1]) if whole.rate else None
        connections = part(whole.connections, rank, len(ours))
        return Allowed(connections, whole.messages, rate, first=rank == 0, alone=len(ours) == 1)
