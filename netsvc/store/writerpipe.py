"""The service's side of the writer process: orders out, results in, and what to do when it dies.

All of it is the reactor's: an order is written to the pipe at the end of a
turn, its answer is read like any other input, so no thread of ours has to get
the interpreter's lock between a message and its 250.
"""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.protocols.basic import Int32StringReceiver

from netsvc.store.lanes import fire
from netsvc.store.turns import Turns
from netsvc.store.tx import CommitFailedError
from netsvc.store.writerprocess import Order, flat, need, octets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.tcp import Connection
    from twisted.python.failure import Failure

    from netsvc.store.batches import Unit

START = (
    "import sys; sys.path.insert(0, sys.argv.pop()); import netsvc; del sys.path[0]; "
    "from netsvc.store.writerprocess import main; main()"
)
"""The child imports the very netsvc its parent is, wherever that was found."""
PAUSE_S = 5.0
"""Seconds after a death before another process is started; until then the writer's thread does all."""
END_S = 10.0
ANSWER_S = 20.0
"""A process that answers nothing for so many seconds, twice at most, is ended."""
BATCH = 128
"""Messages that one order may hold."""
OCTETS = 1 << 20
"""Octets of messages with the process, about; then the rest waits."""


class Pipe(Int32StringReceiver):
    """The connection to the process: strings of a known length, as multiprocessing.Connection has them."""

    MAX_LENGTH = 64 << 20

    def __init__(self, owner: WriterPipe) -> None:
        """Tell ``owner`` what comes."""
        self._owner = owner
        self._behind = False  # something may still be with the transport

    def send(self, string: bytes, *, alone: bool) -> None:
        """Send an order now, not when the reactor comes round to it: the process begins while we go on.

        ``alone``: all orders before have been answered, so nothing of them is on its way.  Else what the transport
        still has of them goes first: octets of messages read as an order would be a stranger's orders.
        """
        data = len(string).to_bytes(4) + string
        transport = cast("Connection", self.transport)
        if alone:
            self._behind = False
        sent = 0 if self._behind else transport.writeSomeData(data)
        if sent != len(data):
            self._behind = True
            transport.write(data[sent:] if isinstance(sent, int) else data)  # type: ignore[no-untyped-call] # Twisted's has no types

    def stringReceived(self, string: bytes) -> None:
        """Take an answer."""
        self._owner.answered(string)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override] # Twisted's default is a Failure
        """Tell that the process has gone."""
        del reason
        self._owner.lost(self)


class Owner(Protocol):
    """What the engine does for it, in the reactor's thread."""

    def noted(self, octets: int) -> None:
        """Take note that small bodies of so many octets were committed; called during the process's turn."""
        ...

    def elsewhere(self, units: list[Unit]) -> None:
        """Do what could not be handed over."""
        ...

    def died(self, pid: int) -> None:
        """Tell of a death."""
        ...


class WriterPipe:
    """One writer process and the messages that wait for it."""

    def __init__(
        self, folder: Path, node: Callable[[], tuple[int, int]], new_ids: Callable[[int], Sequence[int]]
    ) -> None:
        """Have mail written into ``folder`` for ``node()`` (id, epoch) by a process, with ids from ``new_ids``."""
        self._folder = folder
        self._node = node
        self._new_ids = new_ids
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._pipe: Pipe | None = None
        self._waiting: deque[Unit] = deque()
        self._asked: deque[Unit] = deque()
        self._octets = 0
        self._closing: Deferred[None] | None = None
        self.deaths = 0
        self.batches = 0
        self._seen = -1
        self._look: Any = None

    def open(self) -> None:
        """Start the process; raises OSError.  In a storage thread."""
        ours, theirs = socket.socketpair()
        with theirs:
            root = str(Path(__file__).resolve().parents[2])
            argv = [sys.executable, "-c", START, str(theirs.fileno()), str(self._folder), root]
            try:
                self._process = subprocess.Popen(argv, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)  # noqa: S603  our own interpreter
            except BaseException:
                ours.close()
                raise
        self._socket = ours

    def attach(self, reactor: Any, now: Callable[[], int], owner: Owner) -> Turns:
        """Begin, in the reactor's thread; return the turns the writer's thread has to keep."""
        self._reactor, self._now, self._owner = reactor, now, owner
        self._turns = Turns(reactor.callFromThread, self._go)
        self._connect()
        return self._turns

    def _connect(self) -> None:
        ours, self._socket = self._socket, None
        if ours is None:
            return
        with ours:  # the reactor has a descriptor of its own
            ours.setblocking(False)
            pipe = Pipe(self)
            self._reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: pipe))
        self._pipe = pipe

    @property
    def up(self) -> bool:
        """Whether messages are taken."""
        return self._pipe is not None

    def put(self, units: Sequence[Unit]) -> None:
        """Have ``units`` (plain ones) written."""
        if self._pipe is None:  # it has ended since they were taken for it
            self._owner.elsewhere(list(units))
            return
        self._waiting.extend(units)
        self._go()

    def _go(self) -> None:
        """Give the process its next order, when it is its turn and it has not too many.

        It may have several: it takes all that have come as one batch, and need not wait for us in between.
        """
        turns = self._turns
        if not self._asked:
            if not turns.claim():
                return
        elif turns.thread_waits or self._octets > OCTETS:
            return
        waiting, pipe = self._waiting, self._pipe
        if pipe is not None and waiting:
            units = [waiting.popleft() for _ in range(min(len(waiting), BATCH))]
            try:
                data = self._order(units)
            except Exception as error:  # noqa: BLE001  a mistake of ours is theirs alone, and must not keep the turn
                self._end_turn()
                fire([(unit.waiter, error) for unit in units])
                return
            alone = not self._asked
            self._asked.extend(units)
            pipe.send(data, alone=alone)
            if self._look is None:
                self._look = self._reactor.callLater(ANSWER_S, self._look_after)
        else:
            self._end_turn()

    def _end_turn(self) -> None:
        if not self._asked:
            self._turns.release()

    def _order(self, units: Sequence[Unit]) -> bytes:
        items = [unit.item for unit in units]
        node_id, epoch = self._node()
        order = Order(self._now(), node_id, self._new_ids(need(items)), [flat(item) for item in items], epoch)
        data = pickle.dumps(order, pickle.HIGHEST_PROTOCOL)
        self._octets += sum(map(octets, items))
        return data

    def _look_after(self) -> None:
        """End a process that has answered nothing for long: it hangs, and everybody with it."""
        self._look = None
        if not self._asked:
            return
        if self.batches == self._seen and self._process is not None:
            self._process.kill()
            return
        self._seen = self.batches
        self._look = self._reactor.callLater(ANSWER_S, self._look_after)

    def answered(self, data: bytes) -> None:
        """Tell those whose messages the process has dealt with, the oldest ones."""
        try:
            results: list[Any] = pickle.loads(data)  # noqa: S301  our own child
        except Exception:  # noqa: BLE001  an answer nobody understands is none: as if it had died
            if self._process is not None:
                self._process.kill()
            return
        self.batches += 1
        asked = [self._asked.popleft() for _ in results]
        taken = sum(octets(unit.item) for unit in asked)
        self._octets -= taken
        self._owner.noted(taken)
        if not self._asked:
            self._turns.release()
        if self._waiting:
            self._go()  # before the replies are written: it works while we do
        fire([(unit.waiter, result) for unit, result in zip(asked, results, strict=True)])
        self._end_if_done()

    def lost(self, pipe: Pipe) -> None:
        """Fail what was asked, hand on what was not, and start another process after a while."""
        if pipe is not self._pipe:
            return
        self._pipe = None
        asked, self._asked, self._octets = list(self._asked), deque(), 0
        waiting, self._waiting = list(self._waiting), deque()
        if asked:
            self._turns.release()
        if waiting:
            self._owner.elsewhere(waiting)
        why = CommitFailedError("the writer process ended before it answered")
        fire([(unit.waiter, why) for unit in asked])
        if self._closing is None:
            self.deaths += 1
            self._owner.died(self._process.pid if self._process else 0)
            self._reactor.callLater(PAUSE_S, self._again)
        self._end_if_done()

    def _again(self) -> None:
        if self._closing is None:
            threading.Thread(target=self._restart, name="netsvc-writer", daemon=True).start()

    def _restart(self) -> None:
        try:
            self.reap()
            self.open()
        except OSError:
            self._reactor.callFromThread(self._reactor.callLater, PAUSE_S, self._again)
        else:
            self._reactor.callFromThread(self._connect)

    def finish(self) -> Deferred[None]:
        """End, in the reactor's thread -> Deferred[None], fired when all that waited has been told."""
        self._closing = Deferred()
        self._end_if_done()
        return self._closing

    def _end_if_done(self) -> None:
        closing = self._closing
        if closing is None or self._asked or self._waiting or closing.called:
            return
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._pipe is not None and self._pipe.transport is not None:
            self._pipe.transport.loseConnection()
        closing.callback(None)

    def reap(self) -> None:
        """Wait for the process to end, in a storage thread; it ends when its pipe has."""
        process, self._process = self._process, None
        if self._socket is not None:
            self._socket.close()
        if process is None:
            return
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def figures(self) -> dict[str, int]:
        """Return what an operator asks for: its pid (0: none), how often one died, batches written."""
        process = self._process
        return {"pid": process.pid if process else 0, "deaths": self.deaths, "batches": self.batches}
