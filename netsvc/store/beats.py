"""The heart of a node among nodes: a thread and a connection of its own, so that no other work delays it.

Every five seconds it says that this node lives, follows the database's clock,
fences nodes that have fallen silent and takes back what they held.  When this
node finds itself fenced it begins anew with a new epoch: what it leased before
is settled late or lost, never twice.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from netsvc.records import StoreError
from netsvc.store import membership
from netsvc.store.batches import Batches, Unit
from netsvc.store.membership import BEAT_MS, GRACE_MS, LEASE_MS, SELF_FENCE
from netsvc.store.tx import SETTLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.store.engine import Engine
    from netsvc.store.tx import Tx


class Beats:
    """This node's heartbeat.  ``log(event, **fields)`` may be called in its thread."""

    def __init__(self, engine: Engine, name: str, version: str, log: Callable[..., None]) -> None:
        """Beat for the node ``name``; begin with ``start``."""
        self._engine = engine
        self._name = name
        self._version = version
        self._log = log
        self._stop = threading.Event()
        self._good = time.monotonic()
        self._thread = threading.Thread(target=self._loop, name="netsvc-beat", daemon=True)
        self.fenced: list[Callable[[], None]] = []
        """Called in the heart's thread when this node has been fenced."""

    def start(self) -> None:
        """Begin to beat."""
        self._good = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End; the thread is gone soon after."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait for the end."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def safe(self) -> bool:
        """Say whether the lease is good for a while yet, by the monotonic clock and without the database."""
        return time.monotonic() - self._good < SELF_FENCE * LEASE_MS / 1000

    def _loop(self) -> None:
        batches = Batches(self._engine.links.writer(), self._engine.clock)
        while not self._stop.wait(BEAT_MS / 1000):
            self.beat(batches)
        batches.link.close()

    def beat(self, batches: Batches) -> bool:
        """Beat once on ``batches``; return whether it was good."""
        sent = time.monotonic()
        engine = self._engine
        (_, result) = batches.run([Unit(self._beat, SETTLE)])[0]
        if isinstance(result, Exception):
            self._log("store.beat_failed", why=str(result))
            return False
        if not result:
            self._renew(batches)
            return False
        self._good = sent
        try:
            outer = engine.links.clock()
        except Exception as error:  # noqa: BLE001  the clock goes on by itself meanwhile
            self._log("store.beat_failed", why=str(error))
        else:
            if outer is not None:
                engine.clock.sync(outer)
        for of in self._silent(batches):
            self._take_back(batches, of)
        return True

    def _beat(self, tx: Tx) -> bool:
        good = membership.beat(tx, self._engine.node_id, self._engine.epoch)
        if good:
            membership.fence(tx, self._engine.node_id)
        return good

    def _silent(self, batches: Batches) -> list[tuple[int, int]]:
        (_, found) = batches.run([Unit(membership.orphaned, SETTLE)])[0]
        return [] if isinstance(found, Exception) else found

    def _take_back(self, batches: Batches, of: tuple[int, int]) -> None:
        engine = self._engine
        due_at = engine.now() + GRACE_MS
        more = True
        while more and not self._stop.is_set():
            (_, result) = batches.run([Unit(lambda tx: membership.take_back(tx, of, engine.node_id, due_at), SETTLE)])[
                0
            ]
            if isinstance(result, Exception):
                return
            more, n, held = result
            if n:
                self._log("store.recovered", node=of[0], released=n, held=len(held))
            for message_id, number in held:
                self._log("store.poison", msg=message_id, n=number)

    def _renew(self, batches: Batches) -> None:
        """Begin anew after this node was fenced."""
        engine = self._engine
        (_, result) = batches.run([Unit(lambda tx: membership.register(tx, self._name, self._version), SETTLE)])[0]
        if isinstance(result, StoreError):
            self._log("store.beat_failed", why=str(result))
            return
        engine.node_id, engine.epoch = result
        self._good = time.monotonic()
        self._log("store.fenced", node=engine.node_id, epoch=engine.epoch)
        for callback in self.fenced:
            callback()
