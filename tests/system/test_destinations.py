"""Destinations of a real service: suspended and resumed, limited, dead and alive again; one is in no other's way."""

import time

import pytest

from tests.system.service import NODE, SITE, Service
from tests.system.wire import Control, Sink, send

HEAD = b"From: <alice@example.org>\r\nSubject: fair\r\n\r\nhello\r\n"


class World:
    """One service with four next hops: a good one, one that greylists, one nobody listens on, one with a rate."""

    def __init__(self, folder):
        self.good, self.grey, self.slow = Sink(), Sink({"bob": "451 4.7.1 Greylisted, try again"}), Sink()
        closed = Sink()
        self.dead_port = closed.port
        closed.close()
        self.dead = f"[127.0.0.1]:{self.dead_port}"
        more = f"""
[site.routes]
"good.example" = "[127.0.0.1]:{self.good.port}"
"grey.example" = "[127.0.0.1]:{self.grey.port}"
"slow.example" = "[127.0.0.1]:{self.slow.port}"
"dead.example" = "{self.dead}"
[site.delivery]
retry = ["1h"]
retry_classes = {{ greylist = ["1s"], connect = ["1s"] }}
[site.destinations."[127.0.0.1]:{self.slow.port}"]
connections = 1
messages = 2
rate = "4/1h"
"""
        self.service = Service(folder, node=NODE, site=SITE + more)

    def send(self, domain, who="bob"):
        return send(self.service.ports["smtp"], "alice@example.org", [f"{who}@{domain}"], HEAD)

    def close(self):
        try:
            self.service.close()
        finally:
            for sink in (self.good, self.grey, self.slow):
                sink.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("fair"))
    try:
        world.service.start()
        yield world
    finally:
        world.close()


@pytest.fixture
def operator(world):
    with Control(world.service.control) as control:
        yield control


def row(operator, key):
    return operator.rows(f"show destination {key}")[0]


def test_a_suspended_destination_waits_until_it_is_resumed(world, operator):
    key = f"[127.0.0.1]:{world.good.port}"
    operator.do(f'suspend destination {key} for 1h reason "INC-812"')
    sent = world.send("good.example")
    other = world.send("grey.example", "ann")
    world.service.wait("delivery.done", msg=other, result="delivered")
    assert [r["state"] for r in operator.rows(f"show queue where id={sent}")] == ["incoming"]
    there = row(operator, key)
    assert (there["state"], there["reason"], there["incoming"]) == ("suspended", "INC-812", 1)
    assert [r["key"] for r in operator.rows("show destinations where state=suspended")] == [key]
    operator.do(f"resume destination {key}")
    world.service.wait("delivery.done", msg=sent, result="delivered")
    assert "INC-812" in next(
        each["args"] for each in operator.rows("show audit limit 9") if each["verb"] == "suspend destination"
    )


def test_a_kind_of_failure_has_its_own_schedule(world, operator):
    sent = world.send("grey.example")
    world.service.wait("delivery.done", msg=sent, result="deferred")
    world.grey.plan.clear()
    world.service.wait("delivery.done", msg=sent, result="delivered")


def test_a_rate_is_kept_and_lifted(world, operator):
    key = f"[127.0.0.1]:{world.slow.port}"
    sent = [world.send("slow.example") for _ in range(3)]
    world.service.wait("delivery.done", msg=sent[0], result="delivered")
    there = row(operator, key)
    assert (there["limit"], there["messages"], there["rate"]) == (1, 2, round(4 / 60, 3))
    time.sleep(0.6)  # two looks for due mail
    assert row(operator, key)["rests_until"] is not None
    assert len(world.slow.messages) == 1
    operator.do(f"limit destination {key} rate 1000/1s for 1h")
    for one in sent[1:]:
        world.service.wait("delivery.done", msg=one, result="delivered")
    assert world.slow.connections == 2  # two messages on each
    assert row(operator, key)["limited_by"]
    operator.do(f"no limit destination {key}")
    assert row(operator, key)["limited_by"] is None


def test_a_dead_destination_is_left_alone_and_found_alive_again(world, operator):
    sent = [world.send("dead.example", f"bob{n}") for n in range(12)]
    world.service.wait("delivery.destination_down", destination=world.dead)
    good = world.send("good.example")
    world.service.wait("delivery.done", msg=good, result="delivered")
    there = row(operator, world.dead)
    assert (there["state"], there["failures"]) == ("backoff", 1)
    alive = Sink(port=world.dead_port)
    try:
        operator.do(f"clear destination {world.dead} backoff")
        operator.do('retry where domain=dead.example reason "alive" expect any')
        for one in sent:
            world.service.wait("delivery.done", msg=one, result="delivered")
        there = row(operator, world.dead)
        assert (there["state"], there["failures"], there["deferred"]) == ("ok", 0, 0)
    finally:
        alive.close()
    assert world.service.tracebacks() == []
