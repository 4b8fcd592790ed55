"""Throttles, on every engine."""

import pytest
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from netsvc.interfaces import ICounters
from netsvc.policy.windows import LAG_S, Ledger, Windows
from netsvc.store import counters as counters_module
from tests.fakes import FakeLogbook


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


def test_windows_are_added_up_and_begin_anew(counters, house):
    assert counters.shared is (house.engine.dialect == "postgresql")
    entries = [(42, "192.0.2.1", 3, 60_000), (43, "a b", 1, 60_000), (42, "192.0.2.1", 2, 60_000)]
    first = house.run(counters.add(entries))
    assert [used for used, _ in first] == [5, 1, 5]
    assert all(59_000 <= left <= 60_000 for _, left in first)
    assert house.run(counters.add([(42, "192.0.2.1", 0, 60_000)]))[0][0] == 5
    assert house.run(counters.add([])) == []
    house.run(counters.add([(42, "brief", 9, 0)]))
    assert house.run(counters.add([(42, "brief", 1, 60_000)]))[0][0] == 1
    found = house.run(counters.most(42, 10))
    assert [(key, used) for key, used, _ in found] == [("192.0.2.1", 5), ("brief", 1)]
    assert len(house.run(counters.most(42, 1))) == 1
    assert house.run(counters.clear(42, "192.0.2.1")) == 1
    assert house.run(counters.clear(42, "192.0.2.1")) == 0
    assert house.run(counters.add([(42, "192.0.2.1", 1, 60_000)]))[0][0] == 1


def test_windows_that_have_ended_are_swept(counters, house):
    house.run(counters.add([(44, "gone", 1, 0), (45, "there", 1, 60_000)]))
    counters._sweep_windows_at = 0
    house.run(counters.add([(45, "there", 1, 60_000)]))
    assert house.value("SELECT count(*) FROM throttle WHERE realm = 44") == 0
    assert house.value("SELECT count(*) FROM throttle WHERE realm = 45") == 1


def test_what_a_flood_left_is_swept_soon(counters, house, monkeypatch):
    monkeypatch.setattr(counters_module.windowrows, "SWEPT", 3)
    house.run(counters.add([(44, str(n), 1, 0) for n in range(3)]))
    counters._sweep_windows_at = 0
    house.run(counters.add([(45, "there", 1, 60_000)]))
    house.run(counters.add([(44, "gone too", 1, 0)]))
    house.run(counters.add([(45, "there", 1, 60_000)]))
    assert house.value("SELECT count(*) FROM throttle WHERE realm = 44") == 1
    house.engine.clock.advance(counters_module.windowrows.AGAIN_MS)
    house.run(counters.add([(45, "there", 1, 60_000)]))
    assert house.value("SELECT count(*) FROM throttle WHERE realm = 44") == 0


def test_two_nodes_limits_meet_in_the_counters(counters, house):
    class Shared:
        shared = True
        add, clear = counters.add, counters.clear

    clock = Clock()
    ledgers = [Ledger(Shared(), clock, FakeLogbook()), Ledger(Shared(), clock, FakeLogbook())]
    limits = [Windows("x", 41, 3600), Windows("x", 41, 3600)]
    for limit in limits:
        limit.most = 10

    def share():
        clock.advance(LAG_S)
        for ledger in ledgers:
            if ledger._sharing is not None:
                house.run(ledger._sharing)

    for ledger, limit, n in zip(ledgers, limits, (6, 4), strict=True):
        for _ in range(n):
            assert ledger.take([(limit, "192.0.2.7", 1)]) is None
    share()
    for ledger, limit in zip(ledgers, limits, strict=True):
        ledger.full(limit, "192.0.2.7", 99)  # asks again
    share()
    for ledger, limit in zip(ledgers, limits, strict=True):
        assert ledger.take([(limit, "192.0.2.7", 1)]) is not None
    assert house.run(ledgers[1].clear(limits[1], "192.0.2.7")) == 1
    share()
    assert ledgers[0].take([(limits[0], "192.0.2.7", 1)]) is None


def test_locks_are_listed_and_lifted_by_name(counters, house):
    named = ["192.0.2.7 a_%b", "* a_%b", " a_%b"]
    others = ["192.0.2.7 axxb", "192.0.2.7 x a_%b", "192.0.2.7 *", "a_%b"]
    for realm in (2, 3, 4):
        for key in (*named, *others):
            fail(house, counters, key, realm, after=1)
    fail(house, counters, "192.0.2.9 a_%b", 3)
    listed = house.run(counters.locks([3, 2]))
    assert sorted((realm, key) for realm, key, _ in listed) == sorted((r, k) for r in (2, 3) for k in named + others)
    assert all(until > house.engine.now() for _, _, until in listed)
    assert house.run(counters.clear_named([2, 3], "a_%b")) == (6, 7)
    assert {(realm, key) for realm, key, _ in house.run(counters.locks([2, 3]))} == {
        (r, k) for r in (2, 3) for k in others
    }
    assert house.run(counters.clear_named([2, 3], "a_%b")) == (0, 0)
    assert len(house.run(counters.locks([4]))) == 7
    house.engine.clock.advance(301_000)
    assert house.run(counters.locks([2, 3, 4])) == []
