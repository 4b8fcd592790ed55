"""What the delivery rooms stand on, handed around as one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IReactorTime

    from netsvc.delivery.allowances import Allowances
    from netsvc.delivery.tlspolicy import TlsPolicies
    from netsvc.interfaces import (
        ICredentials,
        IDeliveryAgentMaker,
        IDirectory,
        IResolver,
        IRouting,
        ISessions,
        ISite,
        ISpool,
    )
    from netsvc.logbook import Logbook


@dataclass(frozen=True, slots=True)
class Ground:
    """The promises delivery builds on.

    ``now`` gives seconds by a clock that never steps; ``chance`` gives 0 <= x < 1; the wall clock is the spool's.
    """

    spool: ISpool
    directory: IDirectory
    site: ISite
    sessions: ISessions
    logbook: Logbook
    reactor: IReactorTime
    hostname: str
    routing: IRouting
    now: Callable[[], float]
    chance: Callable[[], float]
    tls: TlsPolicies | None = None
    credentials: ICredentials | None = None
    resolver: IResolver | None = None
    agents: Mapping[str, IDeliveryAgentMaker] = field(default_factory=dict)
    allowances: Allowances | None = None
