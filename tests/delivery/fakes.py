"""A spool with knobs, and a network made of nothing: what delivery tests stand on."""

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, ITCPTransport
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.delivery.ground import Ground
from netsvc.interfaces import IBodyReader, ISpool
from netsvc.mail.ids import make_id
from netsvc.mail.message import DueDestination
from netsvc.mail.outcome import Settled
from tests.delivery.rows import NOW
from tests.fakes import FakeDirectory, FakeLogbook, FakeRouting, FakeSessions, FakeSite

CONTENT = b"Subject: hi\r\n\r\n.text\r\n"


@implementer(IBodyReader)
class FakeReader:
    def __init__(self, pieces, error=None):
        self.pieces = list(pieces)
        self.size = sum(map(len, pieces))
        self.error = error
        self.closed = 0

    def read(self):
        if self.error is not None and len(self.pieces) <= 1:
            return fail(self.error)
        return succeed(self.pieces.pop(0) if self.pieces else b"")

    def close(self):
        self.closed += 1


@implementer(ISpool)
class FakeQueue:
    """Rows waiting to be leased, and what was settled.

    Knobs: ``bodies`` {blob id: pieces}, ``body_error``, ``read_error``, ``settle_errors`` (popped one a call),
    ``hold_settle`` keeps answers in ``unsettled``.
    """

    def __init__(self, rows=()):
        self.clock = NOW
        self.waiting = list(rows)
        self.leases = []
        self.outcomes = []
        self.reports = []
        self.settles = []
        self.late = []
        self.failed = []
        self.dead = {}
        self.fine = []
        self.readers = []
        self.bodies = {1: [CONTENT]}
        self.body_error = self.read_error = self.overdue_error = None
        self.settle_errors = []
        self.hold_settle = False
        self.unsettled = []
        self.lost = ()
        self.streaks = {}
        self.rests = []
        self.wakes = []
        self.sequence = 100
        self.held_ids = []

    def now(self):
        return self.clock

    def lived(self, number):
        return self.clock

    def before(self, span):
        return self.clock - span

    def new_id(self):
        self.sequence += 1
        return make_id(self.clock, 1, self.sequence)

    def due(self, limit):
        found = [
            dest for dest in dict.fromkeys(r.dest_id for r in self.waiting) if self.dead.get(dest, 0) <= self.clock
        ]
        keys = {r.dest_id: r.dest_key for r in reversed(self.waiting)}
        return succeed(
            [DueDestination(dest, self.clock, keys[dest], self.streaks.get(dest, 0)) for dest in found][:limit]
        )

    def destination_rests(self, dest_id, until):
        self.rests.append((dest_id, until))
        self.dead[dest_id] = until
        return succeed(None)

    def lease(self, wants):
        self.leases.append(list(wants))
        out = []
        for dest, n in wants:
            out += [r for r in self.waiting if r.dest_id == dest][:n]
        taken = {r.id for r in out}
        self.waiting = [r for r in self.waiting if r.id not in taken]
        return succeed(out)

    def overdue(self, accepted_before, limit):
        if self.overdue_error is not None:
            return fail(self.overdue_error)
        out = [
            r
            for r in self.waiting
            if self.dead.get(r.dest_id, 0) > self.clock >= r.expires_at and r.received_at < accepted_before
        ][:limit]
        taken = {r.id for r in out}
        self.waiting = [r for r in self.waiting if r.id not in taken]
        return succeed(out)

    def held(self, before):
        return succeed(list(self.held_ids))

    def unwarned(self, after, accepted_before, limit):
        if after or not self.late:
            return succeed(([], after))
        rows, self.late = self.late[:limit], []
        return succeed((rows, 1))

    def settle(self, outcomes, reports):
        if self.settle_errors:
            return fail(self.settle_errors.pop(0))
        self.settles.append(len(outcomes))
        self.outcomes += outcomes
        self.reports += reports
        answer = Settled(tuple(o.delivery_id for o in outcomes), (), self.lost)
        if self.hold_settle:
            d = Deferred()
            self.unsettled.append((d, answer))
            return d
        return succeed(answer)

    def destination_failed(self, dest_id, until, outcome):
        self.failed.append((dest_id, until, outcome))
        self.dead[dest_id] = until
        self.streaks[dest_id] = self.streaks.get(dest_id, 0) + 1
        return succeed(len(self.failed))

    def destination_ok(self, dest_id):
        self.fine.append(dest_id)
        self.streaks.pop(dest_id, None)
        return succeed(None)

    def open_body(self, blob_id):
        if self.body_error is not None:
            return fail(self.body_error)
        reader = FakeReader(self.bodies[blob_id], self.read_error)
        self.readers.append(reader)
        return succeed(reader)

    def wake(self, callback):
        self.wakes.append(callback)


@implementer(ITCPTransport, IConsumer)
class FakeTransport:
    """The near end of a connection: keeps what was written, tells what was done with it."""

    def __init__(self, host):
        self.host = host
        self.written = b""
        self.protocol = None
        self.closed = ""
        self.producer = None
        self.full = False

    def getPeer(self):
        return IPv4Address("TCP", self.host, 25)

    def setTcpNoDelay(self, enabled):
        self.no_delay = enabled

    def setTcpKeepAlive(self, enabled):
        self.keep_alive = enabled

    def write(self, data):
        if not self.closed:
            self.written += data
            if self.producer is not None and self.full:
                self.producer.pauseProducing()

    def registerProducer(self, producer, streaming):
        assert streaming
        self.producer = producer

    def unregisterProducer(self):
        self.producer = None

    def loseConnection(self):
        self.end("lost")

    def abortConnection(self):
        self.end("aborted")

    def end(self, how):
        if not self.closed:
            self.closed = how
            if self.producer is not None:
                self.producer.stopProducing()
            self.protocol.connectionLost(Failure(ConnectionDone()))


class FarEnd:
    """The peer's side of a connection."""

    def __init__(self, reactor, protocol, host):
        self.reactor = reactor
        self.transport = FakeTransport(host)
        self.transport.protocol = self.protocol = protocol
        protocol.makeConnection(self.transport)

    @property
    def wire(self):
        """What an endpoint wrapped."""
        return self.protocol._wrappedProtocol

    def heard(self):
        """What was said since the last look."""
        data, self.transport.written = self.transport.written, b""
        return data

    def say(self, *lines):
        for line in lines:
            self.protocol.dataReceived(line)
        return self.heard()

    def greet(self, *extensions):
        self.say(b"220 peer.example\r\n")
        lines = [b"peer.example", *(extensions or (b"PIPELINING", b"8BITMIME"))]
        last = len(lines) - 1
        return self.say(b"".join(b"250%s%s\r\n" % (b" " if i == last else b"-", t) for i, t in enumerate(lines)))

    def take(self, recipients=1, content=b"250 2.0.0 queued\r\n"):
        """Accept one pipelined transaction; return what the content was."""
        self.say(b"250 ok\r\n" + b"250 ok\r\n" * recipients)
        sent = self.say(b"354 go\r\n")
        self.after = self.say(content)
        return sent

    def drop(self):
        self.transport.end("dropped")


class Network(MemoryReactorClock):
    """A reactor whose connections are accepted, or not, by the test."""

    def __init__(self):
        super().__init__()
        self.taken = 0

    def pending(self):
        return len(self.tcpClients) - self.taken

    def accept(self):
        """Accept the oldest connection attempt."""
        host, _, factory, _, _ = self.tcpClients[self.taken]
        self.taken += 1
        return FarEnd(self, factory.buildProtocol(None), host)

    def refuse(self, error):
        host, port, factory, timeout, _ = self.tcpClients[self.taken]
        self.taken += 1
        factory.clientConnectionFailed(None, Failure(error))
        return host, port, timeout


def ground(spool=None, reactor=None, **changes):
    reactor = Network() if reactor is None else reactor
    facts = {
        "spool": FakeQueue() if spool is None else spool,
        "directory": FakeDirectory(),
        "site": FakeSite(),
        "sessions": FakeSessions(),
        "logbook": FakeLogbook(),
        "reactor": reactor,
        "hostname": "mx1.example.org",
        "routing": FakeRouting(),
        "now": reactor.seconds,
        "chance": lambda: 0.5,
    }
    return Ground(**(facts | changes))
