"""One fake per promise, with a fault knob per step.  Plain objects, no reactor."""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from netsvc.interfaces import (
    IBodyWriter,
    IDirectory,
    IDoors,
    IEvents,
    IPolicy,
    IPolicyGround,
    IPolicyMaker,
    IRouting,
    ISessions,
    ISite,
    ISpool,
)
from netsvc.mail.ids import make_id
from netsvc.mail.message import Hop, Kind, MailboxRef, Resolution
from netsvc.networks import network_of
from netsvc.policy.gate import Gate
from netsvc.records import PASS
from netsvc.settings import SiteSettings


class FakeLogbook:
    """Keeps what was logged: ``records`` of (level, name, fields)."""

    def __init__(self):
        self.records = []

    def _keep(level):
        def log(self, name, /, **fields):
            self.records.append((level, name, fields))

        return log

    debug = _keep("debug")
    event = _keep("event")
    warn = _keep("warn")
    error = _keep("error")

    def failure(self, name, failure, /, **fields):
        self.records.append(("failure", name, {"failure": failure, **fields}))

    def named(self, name):
        return [fields for _, n, fields in self.records if n == name]


@implementer(IBodyWriter)
class FakeBody:
    def __init__(self, spool):
        self.spool = spool
        self.pieces = []
        self.aborted = 0
        self.size = 0

    def write(self, data):
        self.pieces.append(bytes(data))
        self.size += len(data)
        return self.spool.pressure

    def abort(self):
        self.aborted += 1

    def peek(self, offset, length):
        return succeed(self.content()[offset : offset + length])

    def content(self):
        return b"".join(self.pieces)


@implementer(ISpool)
class FakeSpool:
    """Knobs: ``pressure`` a Deferred that write returns, ``accept_error`` an exception, ``hold_accept`` never answers."""

    def __init__(self, now=1_790_000_000_000):
        self.clock = now
        self.sequence = 0
        self.pressure = None
        self.accept_error = None
        self.hold_accept = False
        self.bodies = []
        self.accepted = []
        self.waiting = []

    def now(self):
        return self.clock

    def lived(self, number):
        return self.clock

    def before(self, span):
        return self.clock - span

    def new_id(self):
        self.sequence += 1
        return make_id(self.clock, 1, self.sequence)

    def body(self):
        body = FakeBody(self)
        self.bodies.append(body)
        return body

    def accept(self, message, body, deliveries, local, refusals=None):
        if self.accept_error is not None:
            return fail(self.accept_error)
        self.accepted.append((message, body, list(deliveries), list(local)))
        if self.hold_accept:
            d = Deferred()
            self.waiting.append(d)
            return d
        return succeed(message.id)


@implementer(IDirectory)
class FakeDirectory:
    """``known``: {address key: Resolution}; ``local``: domains that are ours; ``rooms`` by mailbox id; ``error``."""

    def __init__(self, local=("example.org",), mailboxes=("alice@example.org", "bob@example.org")):
        self.local = set(local)
        self.known = {m: Resolution(True, (MailboxRef(i + 1, m),)) for i, m in enumerate(mailboxes)}
        self.rooms = {}
        self.error = None

    def resolve(self, address):
        if self.error is not None:
            return fail(self.error)
        return succeed(self.known.get(address.key) or Resolution(address.domain in self.local or not address.domain))

    def is_local(self, domain):
        return fail(self.error) if self.error is not None else succeed(domain in self.local)

    def room(self, box):
        return self.rooms.get(box.id)


@implementer(ISite)
class FakeSite:
    def __init__(self, **settings):
        self.current = SiteSettings(**settings)
        self.rev = 1
        self.watchers = []

    def watch(self, callback):
        self.watchers.append(callback)

    def become(self, **settings):
        self.current = SiteSettings(**settings)
        self.rev += 1
        for callback in self.watchers:
            callback(self.current)


@implementer(IRouting)
class FakeRouting:
    def route(self, domain, sender=""):
        return Hop(Kind.SMTP, domain, domain, "mx")

    judge = route

    def check(self, pattern, target, *, of_sender=False):
        if " " in pattern + target:
            raise ValueError(f"{target!r} is not a route: write mx")
        return pattern.lower(), "" if target == "mx" else target

    def explain(self, domain, sender=None):
        return [{"rule": "default", "pattern": "", "target": "mx", "matched": True}]


@implementer(IDoors)
class FakeDoors:
    """``rules``: {peer or listener name: DoorRule}; ``attached``: the listeners shown."""

    def __init__(self):
        self.rules = {}
        self.attached = []

    def blocked(self, peer):
        return self.rules.get(peer)

    paused = blocked

    def attach(self, listener):
        self.attached.append(listener)

    def blocks(self):
        return []

    listeners = blocks


@implementer(IPolicy)
class FakePolicy:
    """Says ``verdict`` at ``stages``; keeps what it was asked."""

    def __init__(self, verdict=PASS, stages=("mail", "rcpt"), name="fake"):
        self.name = name
        self.verdict = verdict
        self.stages = tuple(stages)
        self.asked = []
        self.values = []

    def configure(self, values):
        self.values.append(dict(values))

    def check(self, stage, session, envelope):
        """A verdict is answered at once, an exception fails, a Deferred is handed on, a callable is called."""
        self.asked.append((stage, session, envelope))
        if callable(self.verdict):
            return self.verdict()
        if isinstance(self.verdict, Deferred):
            return self.verdict
        return fail(self.verdict) if isinstance(self.verdict, Exception) else succeed(self.verdict)


@implementer(IPolicyMaker)
class FakeMaker:
    """Makes ``policy``."""

    def __init__(self, policy, order=500, usual=True, settings=(), deadline=5000, help="does as it is told"):  # noqa: A002 - the promise's name
        self.name = policy.name
        self.stages = tuple(policy.stages)
        self.policy = policy
        self.order, self.usual, self.settings, self.deadline, self.help = order, usual, settings, deadline, help

    def make(self, ground):
        if isinstance(self.policy, Exception):
            raise self.policy
        return self.policy


@implementer(IPolicyGround)
class FakeGround:
    hostname = "mx1.example.org"

    def __init__(self, site=None, clock=None, logbook=None, **more):
        self.site = site or FakeSite()
        self.clock = clock or Clock()
        self.logbook = logbook or FakeLogbook()
        self.resolver = self.counters = self.directory = self.sessions = None
        for name, value in more.items():
            setattr(self, name, value)


def gate(*policies, **ground):
    """-> the real gate with ``policies`` (or makers), on a FakeGround of ``ground``."""
    makers = [p if IPolicyMaker.providedBy(p) else FakeMaker(p) for p in policies]
    return Gate(makers, FakeGround(**ground))


class FakeSession:
    def __init__(self, registry, kind, peer, facts):
        self.registry, self.kind, self.peer = registry, kind, peer
        self.id = f"S{len(registry.entries) + 1}"
        self.state = "connect"
        self.user = self.helo = self.tls = self.domain = ""
        self.commands = self.messages = self.octets = 0
        self.kick = self.transaction = None
        self.lines = ()
        for name, value in facts.items():
            setattr(self, name, value)

    def close(self):
        if self in self.registry.entries:
            self.registry.entries.remove(self)

    def keep_lines(self, lines):
        self.lines += lines


@implementer(ISessions)
class FakeSessions:
    def __init__(self):
        self.entries = []

    def open(self, kind, peer, **facts):
        entry = FakeSession(self, kind, peer, facts)
        self.entries.append(entry)
        return entry

    def rows(self):
        return [{"id": e.id, "kind": e.kind, "peer": e.peer, "state": e.state} for e in self.entries]

    def count(self, kind=None, peer=None):
        return sum((kind in (None, e.kind)) and (peer in (None, e.peer)) for e in self.entries)

    def count_network(self, peer):
        return sum(e.kind == "smtp-in" and network_of(e.peer) == network_of(peer) for e in self.entries)

    def crowds(self, limit):
        peers = Counter(e.peer for e in self.entries if e.kind == "smtp-in")
        return peers.most_common(limit), Counter(network_of(peer) for peer in peers.elements()).most_common(limit)


@implementer(IEvents)
class FakeEvents:
    def follow(self, callback):
        return lambda: None
