"""Blocks and pauses as they are asked for at every connection."""

from twisted.internet.defer import fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.doors import LOOK_S, Barrier, Doors
from netsvc.interfaces import IDoors
from netsvc.records import DoorRule, StoreError
from netsvc.sessions import Sessions
from tests.fakes import FakeLogbook

HOUR = 3_600_000


class Rules:
    shared = False
    error = None

    def __init__(self):
        self.ms = 1_000_000
        self.kept = {}

    def now(self):
        return self.ms

    def load(self):
        return fail(self.error) if self.error else succeed(sorted(self.kept.values(), key=lambda rule: rule.at))

    def put(self, rule):
        if self.error is None:
            self.kept[rule.kind, rule.key] = rule
        return self.load()

    def drop(self, kind, key):
        self.kept.pop((kind, key), None)
        return self.load()


class Listening:
    def __init__(self, name, guarded=True):
        self.name, self.guarded = name, guarded
        self.protocol, self.address, self.tls = "smtp", "127.0.0.1:25", "none"
        self.accepted, self.refused = 12, 3


def block(key, until=0):
    return DoorRule("block", key, "spam", "op", 1, until)


def test_networks_of_every_size_are_found():
    barrier = Barrier([block("192.0.2.0/24"), block("198.51.100.7/32"), block("2001:db8::/32"), block("10.0.0.0/8")])
    assert barrier
    for peer, network in [
        ("192.0.2.255", "192.0.2.0/24"),
        ("::ffff:192.0.2.1", "192.0.2.0/24"),
        ("198.51.100.7", "198.51.100.7/32"),
        ("2001:db8:ffff::1", "2001:db8::/32"),
        ("10.255.0.1", "10.0.0.0/8"),
    ]:
        assert barrier.find(peer, 0).key == network
    for peer in ("192.0.3.0", "198.51.100.8", "2001:db9::1", "local", "", "fe80::1%eth0", "11.0.0.0"):
        assert barrier.find(peer, 0) is None
    assert not Barrier()
    assert Barrier([block("0.0.0.0/0"), block("::/0")]).find("203.0.113.9", 0).key == "0.0.0.0/0"


class DoorsTests(SynchronousTestCase):
    def setUp(self):
        self.rules, self.log, self.clock = Rules(), FakeLogbook(), Clock()
        self.sessions = Sessions("mx1", self.rules.now)
        self.doors = Doors(self.rules, self.sessions, "mx1", self.log, self.clock)

    def test_blocks_have_an_effect_until_they_end(self):
        assert verifyObject(IDoors, self.doors)
        self.successResultOf(self.doors.load())
        assert self.doors.blocked("192.0.2.7") is None
        self.successResultOf(self.doors.block("192.0.2.0/24", "spam run", "op", self.rules.ms + HOUR))
        self.successResultOf(self.doors.block("198.51.100.7/32", "", "bo", 0))
        assert self.doors.blocked("192.0.2.7").reason == "spam run"
        assert self.doors.blocked("192.0.3.7") is None
        assert [(r["network"], r["by"], r["until"]) for r in self.doors.blocks()] == [
            ("192.0.2.0/24", "op", 1_000_000 + HOUR),
            ("198.51.100.7/32", "bo", None),
        ]
        self.rules.ms += HOUR
        assert self.doors.blocked("192.0.2.7") is None
        assert len(self.doors.blocks()) == 1
        assert self.successResultOf(self.doors.unblock("198.51.100.7/32")) is True
        assert self.successResultOf(self.doors.unblock("198.51.100.7/32")) is False
        assert self.doors.blocked("198.51.100.7") is None
        assert [f["network"] for f in self.log.named("peer.unblocked")] == ["198.51.100.7/32"]

    def test_pauses_are_this_nodes_and_survive_a_restart(self):
        self.rules.kept["pause", "mx2/smtp"] = DoorRule("pause", "mx2/smtp", "", "op", 1)
        self.successResultOf(self.doors.load())
        assert self.doors.paused("smtp") is None
        self.successResultOf(self.doors.pause("smtp", "new disk", "op", 0))
        self.doors = Doors(self.rules, self.sessions, "mx1", self.log, self.clock)
        self.successResultOf(self.doors.load())
        assert self.doors.paused("smtp").reason == "new disk"
        assert len(self.log.named("listener.paused")) == 2
        assert self.successResultOf(self.doors.resume("smtp")) is True
        assert self.doors.paused("smtp") is None
        assert self.successResultOf(self.doors.resume("smtp")) is False
        assert list(self.rules.kept) == [("pause", "mx2/smtp")]

    def test_listeners_are_listed_with_what_they_do(self):
        self.doors.attach(Listening("smtp"))
        self.doors.attach(Listening("console", guarded=False))
        self.sessions.open("smtp-in", "192.0.2.7", listener="smtp")
        self.successResultOf(self.doors.pause("smtp", "new\x1bdisk", "op", self.rules.ms + HOUR))
        first, second = self.doors.listeners()
        assert (first["state"], first["by"], first["until"], first["sessions"]) == ("paused", "op", 4_600_000, 1)
        assert first["reason"] == "new\\x1bdisk"
        assert (second["state"], second["by"], second["guarded"], second["sessions"]) == ("serving", None, False, 0)
        self.rules.ms += HOUR
        assert self.doors.listeners()[0]["state"] == "serving"

    def test_other_nodes_changes_are_seen(self):
        self.rules.shared = True
        self.doors.start()
        self.doors.start()
        self.rules.kept["block", "192.0.2.7/32"] = block("192.0.2.7/32")
        self.clock.advance(LOOK_S)
        assert self.doors.blocked("192.0.2.7")
        self.rules.error = StoreError("gone")
        self.clock.advance(LOOK_S)
        assert self.doors.blocked("192.0.2.7")
        self.failureResultOf(self.doors.block("192.0.2.8/32", "", "op", 0), StoreError)
        self.doors.stop()
        self.doors.stop()
        assert not self.clock.getDelayedCalls()

    def test_alone_nothing_is_looked_for(self):
        self.doors.start()
        assert not self.clock.getDelayedCalls()
