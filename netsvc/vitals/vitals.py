"""All that is known of the node's condition, in one place (IVitals)."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, Any, Protocol

from zope.interface import implementer

from netsvc.interfaces import IVitals

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from netsvc.interfaces import ISlots
    from netsvc.mail.reply import Reply
    from netsvc.vitals.readiness import Readiness
    from netsvc.vitals.watchdog import Watchdog

DESCRIPTORS_WARN = 90
"""Percent of the descriptors in use from which on it is worth a look."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Watched(Protocol):
    """Something that has health/1 rows."""

    def rows(self) -> list[dict[str, Any]]:
        """Return them."""


@implementer(IVitals)
class Vitals:
    """See IVitals."""

    def __init__(self, readiness: Readiness, watchdog: Watchdog, slots: ISlots, *others: Watched) -> None:
        """Tell of these."""
        self.readiness = readiness
        self.watchdog = watchdog
        self.slots = slots
        self._others = others

    def start(self) -> None:
        """Begin to look."""
        self.readiness.start()
        self.watchdog.start()

    def stop(self) -> Deferred[None] | None:
        """End."""
        self.watchdog.stop()
        return self.readiness.stop()

    def rows(self) -> list[dict[str, Any]]:
        """See IVitals."""
        parts: tuple[Any, ...] = (self.readiness, self.slots, *self._others, self.watchdog)
        return [row for part in parts for row in part.rows()] + [descriptors(), memory()]

    def refusal(self, limit: int) -> Reply | None:
        """See IVitals."""
        return self.readiness.refusal(limit)

    def not_stored(self, error: BaseException) -> None:
        """See IVitals."""
        self.readiness.not_stored(error)


def descriptors() -> dict[str, Any]:
    """Return the health/1 row of open files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        used: int | None = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not looked at
    except OSError:  # elsewhere than on Linux, or there is none left to look with
        used = None
    short = used is not None and used * 100 > limit * DESCRIPTORS_WARN
    return {"name": "descriptors", "state": "warn" if short else "ok", "value": used, "limit": limit, "unit": "files"}


def memory() -> dict[str, Any]:
    """Return the health/1 row of resident memory."""
    try:
        with open("/proc/self/statm", "rb") as stream:  # noqa: PTH123 - no file at all
            resident: int | None = int(stream.read().split()[1]) * _PAGE
    except OSError:
        resident = None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"name": "memory", "value": resident, "most": most, "unit": "octets"}
