"""Looking at Deferreds that have fired (floor 2).

Most answers on the way of a message in are in a cache.  A turn through the
Deferred, or through a coroutine, would cost more than finding them: whoever
asks peeks first, and waits only where there is something to wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

T = TypeVar("T")


def at_once(asked: Deferred[Any], kind: type[T]) -> T | None:
    """Return the answer that ``asked`` has already, None when it has none of that ``kind`` yet.

    A Deferred that has failed, or that waits for another, has none.  Nothing is taken from it: who gets None
    goes on with it as if it had never been looked at.
    """
    if asked.called:
        answer = getattr(asked, "result", None)
        if isinstance(answer, kind):
            return answer
    return None
