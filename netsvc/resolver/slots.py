"""Who may have a socket for a question: so many at once, and some only for mail that goes out.

Whoever sends us mail decides how many names are looked up for it; that must not
keep the mail waiting that we have accepted already.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from netsvc.resolver.cache import Key


class Slots:
    """``common`` slots for everybody, ``reserved`` ones for what goes out alone.

    Who waits longest is served first, but for those that stand ``last``: they have what nobody else waits for.
    """

    def __init__(self, common: int, reserved: int) -> None:
        """Have all of them free."""
        self._common = common
        self._reserved = reserved
        self._waiting: OrderedDict[Key, Deferred[bool]] = OrderedDict()
        self._waiting_out: OrderedDict[Key, Deferred[bool]] = OrderedDict()
        self._last: OrderedDict[Key, Deferred[bool]] = OrderedDict()
        self._last_out: OrderedDict[Key, Deferred[bool]] = OrderedDict()

    async def acquire(self, key: Key, *, out: bool, last: bool = False) -> bool:
        """Wait for a slot -> what ``release`` is to be told: whether it is a reserved one."""
        if out and self._reserved:
            self._reserved -= 1
            return True
        if self._common and not (self._waiting or self._waiting_out):
            self._common -= 1
            return False
        mine, others = (self._last_out, self._last) if last else (self._waiting_out, self._waiting)
        queue = mine if out else others
        waiting: Deferred[bool] = Deferred(lambda _: self._forget(key))
        queue[key] = waiting
        return await waiting

    def _forget(self, key: Key) -> None:
        for queue in (self._waiting, self._waiting_out, self._last, self._last_out):
            queue.pop(key, None)

    def promote(self, key: Key) -> None:
        """Let ``key``, where it waits, be asked for mail that goes out."""
        for queue, following in ((self._waiting, self._waiting_out), (self._last, self._last_out)):
            waiting = queue.pop(key, None)
            if waiting is None:
                continue
            if self._reserved:
                self._reserved -= 1
                waiting.callback(True)
            else:
                following[key] = waiting

    def release(self, *, reserved: bool) -> None:
        """Give a slot back, to who waits."""
        if reserved:
            queue = self._waiting_out or self._last_out
        else:
            queue = self._waiting or self._waiting_out or self._last or self._last_out
        if queue:
            queue.popitem(last=False)[1].callback(reserved)
        elif reserved:
            self._reserved += 1
        else:
            self._common += 1
