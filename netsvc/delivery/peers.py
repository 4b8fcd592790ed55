"""Connections to one destination, and the messages that wait for one (SMTP.md *fairness*).

A ``Peer`` hands waiting jobs to connections, idle ones first; it opens as many
as its window allows.  When a few connections in a row could not be opened, what
waits is given back untried: the scheduler leaves the destination alone then.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from netsvc.delivery.faults import released
from netsvc.delivery.retry import FAILURES_TO_DEAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.delivery.connection import Connection
    from netsvc.delivery.targets import Target
    from netsvc.mail.message import Hop, Leased
    from netsvc.mail.outcome import Outcome

FIRST_WINDOW = 5
MOST_MESSAGES = 100
"""Messages on one connection, unless something else is said."""


class Window:
    """How many connections at once: begins at 5, grows by 1/N a success, shrinks by one a failure, at least 1."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._size = float(FIRST_WINDOW)

    @property
    def size(self) -> int:
        """The whole connections allowed now."""
        return max(min(int(self._size), self._limit()), 1)

    def success(self) -> None:
        """Grow: a message went through."""
        self._size = min(self._size + 1 / self._size, float(max(self._limit(), 1)))

    def restart(self) -> None:
        """Begin with one connection: the peer was dead."""
        self._size = 1.0

    def failure(self, open_now: int) -> None:
        """Shrink: a connection could not be opened while ``open_now`` were open."""
        self._size = max(min(self._size - 1, float(open_now or self._size)), 1.0)


@dataclass(eq=False, slots=True)
class Job:
    """One message for some recipients at one destination; ``done`` fires with one outcome a recipient."""

    hop: Hop
    rows: list[Leased]
    observer: Callable[[str, str], None] | None
    done: Deferred[list[Outcome]] = field(default_factory=Deferred)
    again: bool = False

    def end(self, outcomes: list[Outcome]) -> None:
        """Fire ``done``."""
        self.done.callback(outcomes)


class Peer:
    """One destination: its waiting jobs and its connections."""

    def __init__(self, target: Target, limit: Callable[[], int], connect: Callable[[Peer, Job], Connection]) -> None:
        self.target = target
        self.window = Window(limit)
        self.jobs: deque[Job] = deque()
        self.connections: set[Connection] = set()
        self.open: set[Connection] = set()
        self.idle: list[Connection] = []
        self.failures = 0
        self.most_messages: Callable[[], int] = lambda: MOST_MESSAGES
        self._connect = connect
        self.stopping = False

    def submit(self, job: Job) -> None:
        """Carry ``job`` as soon as a connection is free."""
        if self.stopping:
            job.end(released(job.rows))
        elif self.idle:
            self.idle.pop().resume(job)
        else:
            self.jobs.append(job)
            self.balance()

    def again(self, job: Job) -> None:
        """Carry ``job`` on a fresh connection: a kept one turned out to be closed."""
        job.again = True
        self.jobs.appendleft(job)
        self.balance()

    def next_job(self) -> Job | None:
        """Return the job that waits longest, None when none waits."""
        return self.jobs.popleft() if self.jobs else None

    def balance(self) -> None:
        """Open connections for what waits, as many as the window allows."""
        while self.jobs and len(self.connections) < self.window.size:
            connection = self._connect(self, self.jobs.popleft())
            self.connections.add(connection)
            connection.start()

    def opened(self, connection: Connection) -> None:
        """Note that a connection was opened and greeted."""
        self.open.add(connection)
        self.failures = 0

    def carried(self) -> None:
        """Note that a message went through."""
        self.window.success()
        if self.jobs:
            self.balance()

    def broke(self) -> None:
        """Note that a connection ended within a message, or the peer closed it: it may have too many."""
        self.window.failure(len(self.open))

    def failed(self, job: Job) -> bool:
        """Note that a connection for ``job`` could not be opened; True when the job waits for one of those open now.

        A peer that takes no more connections is not down.  One that takes none is, after a few failures: what waits
        is given back.
        """
        self.window.failure(len(self.open))
        if self.idle:
            self.idle.pop().resume(job)
            return True
        if self.open:
            self.jobs.appendleft(job)
            return True
        self.failures += 1
        if self.failures >= FAILURES_TO_DEAD:
            self.window.restart()
            self.give_back()
        return False

    def left(self, connection: Connection) -> None:
        """Note that a connection takes no more jobs."""
        self.connections.discard(connection)
        self.open.discard(connection)
        self.balance()

    def take_waiting(self) -> list[Job]:
        """Return everything that waits; it waits no more."""
        waiting, self.jobs = self.jobs, deque()
        return list(waiting)

    def give_back(self) -> None:
        """Release everything that waits."""
        for job in self.take_waiting():
            job.end(released(job.rows))

    @property
    def unused(self) -> bool:
        """Whether nothing waits, nothing runs and nothing needs to be remembered."""
        return not self.jobs and not self.connections
