"""What operators allow destinations, and which nodes share the work: kept at hand for delivery (IDestinations)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.task import LoopingCall
from zope.interface import implementer

from netsvc.interfaces import IDestinations
from netsvc.store.destinations import said_limits
from netsvc.store.membership import LEASE_MS, UP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.defer import Deferred

    from netsvc.settings import DestinationSettings
    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx

LOOK_S = 2.0
"""How often other nodes' changes are looked for."""


@implementer(IDestinations)
class Steering:
    """See IDestinations.  ``load`` comes before it means anything."""

    def __init__(self, engine: Engine, clock: Any) -> None:
        """Stand on ``engine``; ``clock`` is the reactor."""
        self._engine = engine
        self.limits: Mapping[str, tuple[DestinationSettings, int]] = {}
        self.nodes: tuple[int, ...] = ()
        self._watchers: list[Callable[[], None]] = []
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    @property
    def node(self) -> int:
        """This node's id."""
        return self._engine.node_id

    def start(self) -> None:
        """Look for other nodes and their changes from now on (PostgreSQL)."""
        if self._engine.dialect == "postgresql" and not self._looking.running:
            self._looking.start(LOOK_S, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> Deferred[None]:
        # While the store does not answer, everything stays as it is.
        return self.load().addErrback(lambda _: None)

    def load(self) -> Deferred[None]:
        """Read anew -> Deferred[None]; watchers are told when something has changed."""
        return self._engine.read(self._read).addCallback(self._take)

    def _read(self, tx: Tx) -> tuple[dict[str, tuple[DestinationSettings, int]], tuple[int, ...]]:
        nodes = (self.node,)
        if tx.dialect == "postgresql":
            sql = "SELECT id FROM node WHERE state = ? AND heartbeat_at > ? ORDER BY id"
            nodes = tuple(row[0] for row in tx.rows(sql, (UP, tx.now - LEASE_MS)))
        return said_limits(tx), nodes

    def _take(self, found: tuple[dict[str, tuple[DestinationSettings, int]], tuple[int, ...]]) -> None:
        if found == (self.limits, self.nodes):
            return
        self.limits, self.nodes = found
        for callback in list(self._watchers):
            callback()

    def watch(self, callback: Callable[[], None]) -> None:
        """See IDestinations."""
        self._watchers.append(callback)
