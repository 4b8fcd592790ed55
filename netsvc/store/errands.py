"""Units of work the writer process can do besides accepting: leasing and settling, known to both sides by name.

In the service's own thread each of their statements waits for an interpreter that the reactor keeps busy, and the
writer's turn is held meanwhile.  In the process they share the batch, and the fsync, of the mail that is accepted.

What travels are plain tuples: pickling dataclasses and enumerations takes many times as long.  No Twisted here.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from netsvc.mail.message import Kind, Leased, Result
from netsvc.mail.outcome import Fault, Outcome, Settled
from netsvc.store import leases
from netsvc.store.settle import Settling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from netsvc.store.accept import Accepting
    from netsvc.store.reasons import Reasons
    from netsvc.store.tx import Tx

LEASE = "lease"
SETTLE = "settle"

_of_outcome = attrgetter(*(field.name for field in fields(Outcome)))
_of_leased = attrgetter(*(field.name for field in fields(Leased)))
_KIND = [field.name for field in fields(Leased)].index("kind")


class Errand(NamedTuple):
    """What to do and with what; ``ids``: how many fresh ids it can use up."""

    name: str
    args: tuple[Any, ...]
    ids: int = 0


def lease_errand(wants: Sequence[tuple[int, int]], at: int) -> Errand:
    """Return the errand of leasing ``wants`` as of ``at`` (ms), the ``lease_at`` of its rows."""
    return Errand(LEASE, (at, list(wants)))


def settle_errand(outcomes: Iterable[Outcome]) -> Errand:
    """Return the errand of settling ``outcomes``, without reports."""
    flat = [(number, int(result), int(fault), *rest) for number, result, fault, *rest in map(_of_outcome, outcomes)]
    return Errand(SETTLE, (flat,), 8 * len(flat) + 64)


def _outcomes(flat: Iterable[tuple[Any, ...]]) -> list[Outcome]:
    return [Outcome(number, Result(result), Fault(fault), *rest) for number, result, fault, *rest in flat]


def leased(answer: list[Any]) -> list[Leased]:
    """Return what LEASE answered, from wherever it was done."""
    if not answer or isinstance(answer[0], Leased):
        return answer
    return [_leased(list(row)) for row in answer]


def _leased(row: list[Any]) -> Leased:
    row[_KIND] = Kind(row[_KIND])
    return Leased(*row)


def settled(answer: Settled | tuple[Any, ...]) -> Settled:
    """Return what SETTLE answered, from wherever it was done."""
    if isinstance(answer, Settled):
        return answer
    acked, late, lost, changed = answer
    return Settled(acked, late, lost, tuple(_outcomes(changed)))


class Errands:
    """The process's side."""

    def __init__(
        self,
        node: Callable[[], tuple[int, int]],
        new_ids: Callable[[int], list[int]],
        reasons: Reasons,
        accepting: Accepting,
    ) -> None:
        """``node()`` is the service's (id, epoch)."""
        self._node = node
        self._settling = Settling(node, new_ids, reasons, accepting)

    def work(self, name: str, args: tuple[Any, ...]) -> Callable[[Tx], Any]:
        """Return the unit of work of an errand."""
        if name == LEASE:
            return lambda tx: self._lease(tx, *args)
        return lambda tx: self._settle(tx, *args)

    def _lease(self, tx: Tx, at: int, wants: list[tuple[int, int]]) -> list[tuple[Any, ...]]:
        out = []
        for row in leases.lease(tx, self._node(), wants, at):
            flat = list(_of_leased(row))
            flat[_KIND] = int(row.kind)
            out.append(tuple(flat))
        return out

    def _settle(self, tx: Tx, flat: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        done = self._settling.run(tx, _outcomes(flat), [])
        changed = settle_errand(done.changed).args[0]
        return done.acked, done.late, done.lost, changed
