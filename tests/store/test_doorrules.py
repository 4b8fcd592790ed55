"""Blocked networks and paused listeners, on every engine."""

import pytest
from zope.interface.verify import verifyObject

from netsvc.interfaces import IDoorRules
from netsvc.records import DoorRule, StoreError
from netsvc.store import doorrules


@pytest.fixture
def rules(house):
    return house.store.door_rules


def rule(house, key="192.0.2.0/24", kind="block", lasts=0, **more):
    at = house.engine.now()
    return DoorRule(kind, key, **{"reason": "spam", "actor": "op", **more}, at=at, until=at + lasts if lasts else 0)


def test_rules_are_kept_replaced_and_dropped(rules, house):
    assert verifyObject(IDoorRules, rules)
    first = rule(house)
    assert house.run(rules.put(first)) == [first]
    house.engine.clock.advance(10)
    pause = rule(house, "mx1.example.org/smtp", "pause", lasts=60_000)
    assert house.run(rules.put(pause)) == [first, pause]
    house.engine.clock.advance(10)
    again = rule(house, reason="still", actor="bo")
    assert house.run(rules.put(again)) == [pause, again]
    assert house.run(rules.load()) == [pause, again]
    assert house.run(rules.drop("block", "mx1.example.org/smtp")) == [pause, again]
    assert house.run(rules.drop("block", "192.0.2.0/24")) == [pause]


def test_what_has_run_out_is_gone(rules, house):
    house.run(rules.put(rule(house, lasts=60_000)))
    house.engine.clock.advance(60_001)
    assert house.run(rules.load()) == []
    assert len(house.rows("SELECT key FROM door_rule")) == 1
    house.run(rules.drop("block", "none"))
    assert house.rows("SELECT key FROM door_rule") == []


def test_there_is_an_end_to_them(rules, house, monkeypatch):
    monkeypatch.setattr(doorrules, "MOST", 1)
    first = rule(house)
    house.run(rules.put(first))
    with pytest.raises(StoreError, match="there are 1 already"):
        house.run(rules.put(rule(house, "198.51.100.7/32")))
    assert house.run(rules.load()) == [first]
    assert house.run(rules.put(first)) == [first]


def test_hostile_reasons_are_text(rules, house):
    [kept] = house.run(rules.put(rule(house, reason="\0\x1b[2J' OR 1=1 --" + "x" * 5000, actor="\ud800")))
    assert "\x1b" not in kept.reason
    assert len(kept.reason) <= 500
    assert kept.actor.isascii()
