"""Throttles, on every engine."""

import pytest
from zope.interface.verify import verifyObject

from netsvc.interfaces import ICounters
from netsvc.store import counters as counters_module


@pytest.fixture
def counters(house):
    return house.store.counters


def fail(house, counters, key="192.0.2.1", realm=1, after=3):
    return house.run(counters.fail(realm, key, after, 60_000, 300_000))


def test_it_locks_after_so_many_failures(counters, house):
    assert verifyObject(ICounters, counters)
    assert fail(house, counters) == (1, 0)
    assert fail(house, counters) == (2, 0)
    assert house.run(counters.locked(1, "192.0.2.1")) == 0
    n, until = fail(house, counters)
    assert n == 3
    assert until > house.engine.now() + 290_000
    assert house.run(counters.locked(1, "192.0.2.1")) == until
    assert house.run(counters.locked(2, "192.0.2.1")) == 0
    assert fail(house, counters)[1] >= until
    house.run(counters.clear(1, "192.0.2.1"))
    assert house.run(counters.locked(1, "192.0.2.1")) == 0
    assert fail(house, counters) == (1, 0)


def test_a_single_failure_may_lock(counters, house):
    assert fail(house, counters, after=1)[1] > 0


def test_the_window_and_the_lock_end(counters, house):
    for _ in range(2):
        fail(house, counters)
    house.engine.clock.advance(61_000)
    assert fail(house, counters) == (1, 0)
    for _ in range(2):
        _, until = fail(house, counters)
    house.engine.clock.advance(61_000)
    assert fail(house, counters) == (1, until)  # a new window, and still locked
    house.engine.clock.advance(300_000)
    assert house.run(counters.locked(1, "192.0.2.1")) == 0
    assert fail(house, counters) == (1, 0)


def test_hostile_keys_are_keys(counters, house):
    for key in ("\0", "' OR 1=1 --", "x" * 5000, "\ud800", ""):
        assert fail(house, counters, key) == (1, 0)
        assert fail(house, counters, key) == (2, 0)
    assert max(len(row[0]) for row in house.rows("SELECT key FROM throttle")) <= 200


def test_old_rows_are_swept(counters, house, monkeypatch):
    monkeypatch.setattr(counters_module, "SWEEP", 3)
    fail(house, counters, "old")
    fail(house, counters, "older")
    house.engine.clock.advance(2 * counters_module.DAY)
    fail(house, counters, "new")
    assert house.rows("SELECT key FROM throttle") == [("new",)]
