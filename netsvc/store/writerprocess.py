"""The writer process: takes small accepted messages into queue.db, leases and settles, with an interpreter of its own.

A reactor thread that is busy and a writer thread that steps through statements
hand the interpreter's lock to and fro; measured at 20 clients that was half of
the time.  So what another process can do, small bodies and their rows as plain
values, is done here: the same unit of work (accept.py), the same batches, one
fsync.  The service's writer thread waits for each answer, so there is one
writer at a time as before; large bodies and all else stay there.  Leasing and
settling are done here too (errands.py).

It trusts its parent, and ends when the pipe does: what is being committed then
is kept or not kept, and nobody was told either.  Run as
``python -c ... FD FOLDER`` by writerpipe.py; no Twisted is imported.
"""

from __future__ import annotations

import fcntl
import io
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from netsvc.mail.message import LocalDelivery, Message
from netsvc.store.accept import Accepting, Content, Incoming
from netsvc.store.batches import Batches, Unit
from netsvc.store.dests import Dests
from netsvc.store.errands import Errand, Errands
from netsvc.store.reasons import Reasons
from netsvc.store.sqlite import SqliteLink, connect_file
from netsvc.store.tx import ACCEPT, SETTLE, CommitFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCK = "writer.lock"
"""Held as long as a writer process lives: the next one, of the next service, waits for it."""
READ = 1 << 20


class Order(NamedTuple):
    """What a batch needs: the clock (ms since 1970), the node, fresh ids enough, messages and errands (``flat``)."""

    now: int
    node_id: int
    ids: Sequence[int]
    items: Sequence[Any]
    epoch: int = 0


class OrderReader(pickle.Unpickler):
    """Reads what our own parent wrote, and no class but ours: a second wall, should octets ever get out of step."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return one of our own classes.  Raises UnpicklingError for anything else."""
        if module_name.startswith("netsvc."):
            found = super().find_class(module_name, global_name)
            if isinstance(found, type):
                return found
        raise pickle.UnpicklingError(f"{module_name}.{global_name} has no place in an order")


class Stock:
    """What an order brought: its clock, its node, its ids."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._now = 0
        self.node_id = self.epoch = 0
        self._ids: list[int] = []

    def fill(self, orders: Sequence[Order]) -> None:
        """Take what ``orders`` brought, the last one's time."""
        last = orders[-1]
        self._now, self.node_id, self.epoch = last.now, last.node_id, last.epoch
        self._ids = [number for order in orders for number in order.ids][::-1]

    def now(self) -> int:
        """Return the service's time."""
        return self._now

    def new_ids(self, n: int) -> list[int]:
        """Return ``n`` fresh ids, rising."""
        if n > len(self._ids):
            raise CommitFailedError("the order brought too few ids")
        return [self._ids.pop() for _ in range(n)]


def flat(item: Incoming | Errand) -> tuple[Any, ...]:
    """Return a message with a small body as tuples all through: a pickle of named things takes ten times as long.

    An errand begins with its name, so that they are told apart.
    """
    if isinstance(item, Errand):
        return item.name, item.args
    content = item.content
    local = [tuple(entry) for entry in item.local]
    return tuple(item.message), content.size, content.pieces, list(item.deliveries), local, item.must


def whole(row: tuple[Any, ...]) -> Incoming:
    """Return what ``flat`` was given."""
    message, size, pieces, deliveries, local, must = row
    return Incoming(
        Message(*message), Content(size, pieces), deliveries, [LocalDelivery(*each) for each in local], must
    )


def octets(item: Incoming | Errand) -> int:
    """Return the octets of its body."""
    return 0 if isinstance(item, Errand) else item.content.size


def need(items: Sequence[Incoming | Errand]) -> int:
    """Return how many fresh ids ``items`` can use up: deliveries, destinations, and all of it again one by one."""
    return 2 * (1 + sum(_need(item) for item in items))


def _need(item: Incoming | Errand) -> int:
    return item.ids if isinstance(item, Errand) else 2 * len(item.deliveries) + 2 * len(item.local)


class Writer:
    """Takes orders and answers them."""

    def __init__(self, folder: Path) -> None:
        """Write into ``folder``'s queue.db."""
        self._stock = stock = Stock()
        dests, reasons = Dests(stock.new_ids), Reasons()
        accepting = Accepting(lambda: stock.node_id, stock.new_ids, dests, reasons)
        self._work = accepting.run
        self._errands = Errands(lambda: (stock.node_id, stock.epoch), stock.new_ids, reasons, accepting)
        self._link = SqliteLink(lambda: connect_file(folder, writing=True), writing=True)
        self._batches = Batches(self._link, stock)
        self._batches.undone = [dests.forget, reasons.forget]

    def answer(self, data: Sequence[bytes]) -> bytes:
        """Carry out pickled orders in one batch; return a list of results, one an item, pickled."""
        orders: list[Order] = [OrderReader(io.BytesIO(each)).load() for each in data]
        self._stock.fill(orders)
        units = [self._unit(row, n) for n, row in enumerate(row for order in orders for row in order.items)]
        results: list[Any] = [None] * len(units)
        for n, result in self._batches.run(units):
            results[n] = result
        try:
            return pickle.dumps(results, pickle.HIGHEST_PROTOCOL)
        except Exception:  # noqa: BLE001  an exception that cannot travel is told in words
            return pickle.dumps([RuntimeError(repr(r)) if isinstance(r, Exception) else r for r in results])

    def _unit(self, row: tuple[Any, ...], n: int) -> Unit:
        if isinstance(row[0], str):
            return Unit(self._errands.work(*row), SETTLE, waiter=n)
        return Unit(self._work, ACCEPT, whole(row), gathered=True, waiter=n)

    def close(self) -> None:
        """Let go of the files."""
        self._link.close()


class Frames:
    """Strings of a known length, four octets of it before each, read from a descriptor."""

    def __init__(self, fd: int) -> None:
        """Read from ``fd``."""
        self._fd = fd
        self._held = bytearray()

    def wait(self) -> list[bytes]:
        """Return all that have come, waiting for the first.  Raises EOFError at the end."""
        out: list[bytes] = []
        while not out:
            data = os.read(self._fd, READ)
            if not data:
                raise EOFError
            held = self._held
            held += data
            at = 0
            while len(held) - at >= 4:
                end = at + 4 + int.from_bytes(held[at : at + 4])
                if end > len(held):
                    break
                out.append(bytes(held[at + 4 : end]))
                at = end
            del held[:at]
        return out


def send(fd: int, data: bytes) -> None:
    """Send ``data`` as such a string."""
    rest = memoryview(len(data).to_bytes(4) + data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def serve(fd: int, folder: Path) -> None:
    """Answer orders until the pipe ends."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    writer = Writer(folder)
    frames = Frames(fd)
    try:
        while True:
            send(fd, writer.answer(frames.wait()))
    except (EOFError, OSError):  # the service has gone
        return
    finally:
        writer.close()
        os.close(lock)


def main() -> None:
    """Serve as the arguments say: the pipe's descriptor, the store's folder."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the service ends in order, and ends us
    os.umask(0o077)
    serve(int(sys.argv[1]), Path(sys.argv[2]))
