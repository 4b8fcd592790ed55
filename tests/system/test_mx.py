"""Mail to domains whose hosts the DNS names: MX of several preferences on loopback, and what cannot be reached.

All hosts are on 127.0.0.x with one port; the name server is a process of its own.
"""

import pytest

from tests.system.service import NODE, SITE, Service
from tests.system.wire import Control, Sink, send
from tests.zones import ZoneProcess

HEAD = b"From: <alice@example.org>\r\nSubject: to the world\r\n\r\nhello\r\n"
ZONES = {
    # The first host is down, the second takes no session, the third works.
    "third.example": {"MX": [[10, "down.third.example"], [20, "busy.third.example"], [30, "fine.third.example"]]},
    "down.third.example": {"A": ["127.0.0.2"]},
    "busy.third.example": {"A": ["127.0.0.3"]},
    "fine.third.example": {"CNAME": ["mail.elsewhere.example"]},
    "mail.elsewhere.example": {"A": ["127.0.0.4"]},
    "plain.example": {"A": ["127.0.0.4"]},
    "both.example": {"MX": [[5, "six.both.example"]]},
    "six.both.example": {"AAAA": ["::1"], "A": ["127.0.0.2"]},
    "null.example": {"MX": [[0, "."]], "A": ["127.0.0.4"]},
    "broken.example": "SERVFAIL",
    "ours.example": {"MX": [[10, "mx1.example.org"], [20, "fine.third.example"]], "A": ["127.0.0.4"]},
    "backup.example": {"MX": [[5, "down.third.example"], [10, "mx1.example.org"], [20, "fine.third.example"]]},
    "inside.example": {"MX": [[5, "private.inside.example"]]},
    "private.inside.example": {"A": ["10.0.0.1"], "AAAA": ["fd00::1"]},
    "lost.example": {"MX": [[5, "nowhere.lost.example"]]},
}


class World:
    """A service, its name server and the sinks."""

    def __init__(self, folder):
        self.zone = ZoneProcess(ZONES)
        self.fine = Sink(host="127.0.0.4")
        self.port = self.fine.port
        self.busy = Sink(host="127.0.0.3", port=self.port, banner="421 4.3.2 too busy today")
        self.six = Sink(host="::1", port=self.port)
        more = f"""
[site.routes]
"named.example" = "[fine.third.example]:{self.port}"
"sent-on.example" = "mx:third.example"
[site.delivery]
dns = ["{self.zone.at}"]
mx_port = {self.port}
mx_allow_networks = ["127.0.0.0/8", "::1/128"]
"""
        self.service = Service(folder, node=NODE, site=SITE + more)

    def send(self, domain):
        return send(self.service.ports["smtp"], "alice@example.org", [f"bob@{domain}"], HEAD)

    def outcome(self, domain, result):
        """Send a message -> how its first attempt was logged."""
        return self.service.wait("delivery.done", msg=self.send(domain), result=result)

    def address(self, domain):
        """Send a message that is delivered -> the host's name and address."""
        done = self.outcome(domain, "delivered")
        with Control(self.service.control) as operator:
            (row,) = operator.rows(f"show message {done['msg']} attempts")
        assert row["host"] == done["host"]
        return row["host"], row["addr"]

    def close(self):
        try:
            self.service.close()
        finally:
            for sink in (self.fine, self.busy, self.six, self.zone):
                sink.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    try:
        world.service.start()
        yield world
    finally:
        world.close()


def test_hosts_are_tried_by_preference_until_one_takes_it(world):
    assert world.address("third.example") == ("fine.third.example", "127.0.0.4")
    assert world.busy.connections == 1
    with Control(world.service.control) as operator:
        (row,) = operator.rows("show history where domain=third.example")
        assert (row["result"], row["host"]) == ("delivered", "fine.third.example")


@pytest.mark.parametrize("domain", ["plain.example", "named.example", "[127.0.0.4]"])
def test_addresses_without_mx(world, domain):
    assert world.address(domain)[1] == "127.0.0.4"


def test_mx_of_another_domain(world):
    assert world.outcome("sent-on.example", "delivered")["host"] == "fine.third.example"


def test_ipv6_first(world):
    assert world.address("both.example") == ("six.both.example", "::1")
    assert world.six.messages


@pytest.mark.parametrize(
    ("domain", "status", "words"),
    [
        ("null.example", "5.1.10", "takes no mail"),
        ("gone.example", "5.1.2", "takes no mail: it has no mail host and no address"),
        ("ours.example", "5.4.6", "comes back to us"),
        ("inside.example", "5.1.2", "not an address of the public Internet"),
        ("lost.example", "5.1.2", "nowhere.lost.example: has no address"),
    ],
)
def test_what_can_never_be_reached_is_returned(world, domain, status, words):
    done = world.outcome(domain, "bounced")
    assert done["status"] == status
    assert words in done["reply"]


def test_what_cannot_be_looked_up_waits(world):
    done = world.outcome("broken.example", "deferred")
    assert done["status"] == "4.4.3"


def test_hosts_at_our_own_preference_and_behind_are_left_out(world):
    before = len(world.fine.messages)
    done = world.outcome("backup.example", "deferred")
    assert done["host"] == "down.third.example"
    assert len(world.fine.messages) == before


def test_each_domain_is_a_destination_of_its_own(world):
    world.outcome("plain.example", "delivered")
    with Control(world.service.control) as operator:
        keys = {row["key"] for row in operator.rows("show destinations")}
    assert "plain.example" in keys
