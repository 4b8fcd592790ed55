"""Settings tried before the site takes them, with the policies that netsvc has and with strangers'."""

import pytest

from netsvc.commands import Setting
from netsvc.discovery import protocols
from netsvc.policy.trial import fault_of, key_of, objection
from tests.fakes import FakeMaker, FakePolicy

MAKERS = protocols().policies
BAD, GOOD = {"filters": ("127.0.0.1:11332",)}, {"filters": ("tcp:127.0.0.1:11332", "unix:/run/x")}
ON = {"on": True}


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_every_policy_can_be_tried(name):
    needs = {"milter": "filters", "dnsbl": "lists", "command": "argv"}
    assert key_of(MAKERS[name], fault_of(MAKERS[name], ON)) == needs.get(name, "")


@pytest.mark.parametrize(
    ("name", "was", "said", "words"),
    [
        ("milter", {}, BAD, "filters: '127.0.0.1:11332' is no filter"),
        ("milter", {}, GOOD, ""),
        ("milter", {}, {"recipients": True}, ""),  # its filters come next
        ("milter", GOOD, GOOD | ON, ""),
        ("milter", {}, ON, "filters: there is none"),
        ("milter", GOOD | ON, BAD | ON, "filters: '127"),
        ("milter", GOOD | ON, ON, "filters: there is none"),
        ("milter", GOOD, {}, ""),
        ("milter", BAD | ON, BAD | {"on": False}, ""),
        ("milter", BAD | ON, BAD | ON | {"recipients": True}, ""),  # broken before, by something else
        ("dnsbl", {}, {"lists": ("zen..example",)}, "lists: 'zen..example'"),
        ("dnsbl", {}, {"lists": ("bl", "example", "org")}, "lists: 'bl'"),
        ("dnsbl", {}, {"lists": ("bl example org",)}, "lists: 'bl example org'"),
        ("dnsbl", {}, {"lists": ("zen.example.org.*2",), "on": True}, ""),
        ("command", {}, {"argv": ("judge",)}, "argv: judge is no program"),
        ("greylist", {}, {"window": "1s"}, "window: it is over before delay is"),
        ("greylist", {}, {"window": 5}, ""),  # told of by whoever reads it
    ],
)
def test_what_may_not_be_said(name, was, said, words):
    found = objection(MAKERS[name], said, was)
    assert found.startswith(words)
    assert bool(found) == bool(words)


class Picky(FakePolicy):
    wrong = ""

    def configure(self, values):
        if values["weight"] > 5:
            raise ValueError(self.wrong.format(values["weight"]))
        if values["weight"] == 4:
            raise AttributeError("the ground has no such thing")


def picky(wrong):
    policy = Picky()
    policy.wrong = wrong
    return FakeMaker(policy, settings=(Setting("weight", "int", 3), Setting("other", "int", 1)))


def test_strangers():
    maker = picky("too heavy")
    assert objection(maker, {"weight": 6}, {}) == "too heavy"
    assert objection(maker, {"weight": 7, "other": 2}, {"weight": 7}) == ""
    assert objection(picky("{} is too heavy"), {"weight": 8}, {"weight": 7}) == "8 is too heavy"
    assert objection(picky(""), {"weight": 6}, {}) == "ValueError"
    assert objection(maker, {"weight": 4}, {}) == ""
    assert objection(maker, {"weight": 6, "on": False}, {}) == ""
    assert objection(picky("weight: no"), {"weight": 6, "on": False}, {}) == "weight: no"
