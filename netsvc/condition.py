"""What watches over this node, made from its real parts (floor 7, beside house)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.threads import deferToThreadPool

from netsvc.smtpd.slots import Slots, descriptor_cap
from netsvc.store.checkup import Checkup
from netsvc.vitals.readiness import Readiness
from netsvc.vitals.vitals import Vitals
from netsvc.vitals.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from netsvc.config.node import NodeConfig
    from netsvc.logbook import Logbook
    from netsvc.store.store import Store
    from netsvc.vitals.vitals import Watched


def make_vitals(config: NodeConfig, store: Store, logbook: Logbook, reactor: Any, *others: Watched) -> Vitals:
    """Return what tells how the node is, and ``others`` with it, not yet started."""

    def in_thread(function: Callable[[], Any]) -> Deferred[Any]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), function)

    folder = Path(config.state) if store.engine.dialect == "sqlite" else None
    largest = max((int(listener.settings.get("max_message_size", 0)) for listener in config.listeners), default=0)
    readiness = Readiness(Checkup(store.engine, folder), logbook, reactor, in_thread, largest)
    return Vitals(readiness, Watchdog(reactor.callFromThread, logbook), Slots(descriptor_cap(), logbook), *others)
