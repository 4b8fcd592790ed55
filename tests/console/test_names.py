"""Names looked up and the greylist, as operators see them."""

import pytest
from twisted.internet.defer import succeed
from zope.interface.verify import verifyObject

from netsvc.interfaces import IResolver
from netsvc.resolver.cache import Answer
from netsvc.resolver.names import Server
from netsvc.resolver.resolver import Resolver
from tests.console.fakeservice import NOW
from tests.zones import FakeResolver


class Counters:
    def __init__(self):
        self.kept = [
            {"state": "waiting", "network": "192.0.2.0/24", "sender": "", "rcpt": "bob@example.org", "first": NOW - 60_000,
             "until": NOW + 3_600_000, "passes": 0},
            {"state": "client", "network": "198.51.100.0/24", "sender": None, "rcpt": None, "first": NOW - 120_000,
             "until": NOW + 3_600_000, "passes": 5},
        ]  # fmt: skip

    def greylisted(self, text=""):
        return succeed([row for row in self.kept if text in row["network"]])

    def clear_greylist(self, text=""):
        before = len(self.kept)
        self.kept = [row for row in self.kept if text not in row["network"]]
        return succeed(before - len(self.kept))


@pytest.fixture
def resolver(desk):
    desk.service.resolver = made = Resolver((Server("192.0.2.53"),), desk.clock)
    until = desk.clock.seconds() + 60
    made.cache.put((b"example.org", "mx"), Answer(((10, "mx.example.org"),), until), desk.clock.seconds())
    made.cache.put((b"bad.example", "txt"), Answer((), until, absent="no such name"), desk.clock.seconds())
    return made


def test_the_fake_keeps_the_promise():
    assert verifyObject(IResolver, FakeResolver())


def test_the_resolver(desk, resolver):
    assert "192.0.2.53:53" in desk.type("show dns")
    (row,) = [line["row"] for line in desk.machine("show dns") if "row" in line]
    assert (row["servers"], row["entries"], row["lookups"]) == (["192.0.2.53:53"], 2, 0)


def test_what_it_remembers(desk, resolver):
    shown = desk.type("show dns cache")
    assert "example.org" in shown
    assert "10 mx.example.org" in shown
    assert "no such name" in shown
    assert "bad.example" not in desk.type("show dns cache EXAMPLE.org")
    assert desk.type("show dns cache other.example") == "Nothing is remembered of other.example.\n"
    assert "1 answer forgotten, on this node." in desk.type("dns flush example.org")
    assert "1 answer forgotten" in desk.type("dns flush all")
    assert desk.type("show dns cache") == "Nothing is remembered.\n"
    assert "0 answers" in desk.type("dns flush all")


def test_the_greylist(desk):
    desk.service.counters = Counters()
    shown = desk.type("show greylist")
    assert "<>" in shown
    assert "198.51.100.0/24" in shown
    assert "bob@example.org" not in desk.type("show greylist 198.51.100")
    assert "1 entry forgotten, on all nodes." in desk.type("greylist clear 192.0.2.0/24")
    assert "E103" in desk.type('greylist clear " "')
    assert "1 entry forgotten" in desk.type("greylist clear all")
    assert desk.type("show greylist") == "Nothing is greylisted.\n"
    assert desk.type("show greylist x") == "Nothing of it is greylisted.\n"
    assert "0 entries" in desk.type("greylist clear all")
