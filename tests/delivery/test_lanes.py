"""Lanes: probes, rates, and slow destinations that take nobody's place."""

import pytest

from netsvc.delivery import lanes as lanes_module
from netsvc.delivery.allowances import Allowances
from netsvc.delivery.lanes import FEW, MOST_LEASED, MOST_SLOW, SLOW_MS, Lane, Lanes
from netsvc.delivery.retry import FAILURES_TO_DEAD
from netsvc.mail.message import DueDestination
from netsvc.settings import DestinationSettings
from tests.delivery.fakes import FakeSite
from tests.delivery.test_allowances import Steering

NOW = 10**12


def make(steering=None, **said):
    site = FakeSite(destinations=said)
    return Lanes(Allowances(site, steering, lambda: NOW, lambda: 0.0))


def due(number, key="", streak=0):
    return DueDestination(number, NOW, key or f"d{number}.example", streak)


def test_a_dead_destination_is_probed_by_one():
    lane = Lane(1)
    for _ in range(FAILURES_TO_DEAD):
        lane.failed(True)
    assert lane.room(NOW) == 1
    lane.leased(1, NOW)
    assert lane.room(NOW) == 0
    assert lane.left(1, NOW)
    assert lane.room(NOW) == 1


def test_the_store_says_what_other_nodes_and_operators_know():
    lane = Lane(1)
    lane.hear(2)
    assert (lane.streak, lane.room(NOW)) == (FAILURES_TO_DEAD + 1, 1)
    lane.hear(2)
    assert lane.streak == FAILURES_TO_DEAD + 1
    lane.hear(0)
    assert (lane.streak, lane.room(NOW)) == (0, FEW)
    lane.streak, lane.dead_until = FAILURES_TO_DEAD, NOW + 1
    lane.hear(0)
    assert lane.streak == FAILURES_TO_DEAD  # the store is only being told


def test_only_the_first_owner_probes():
    rooms = []
    for node in (1, 2):
        found = make(Steering(node, (1, 2))).open([due(1, streak=1)], NOW)
        rooms.append(sum(room for _, room in found))
    assert sorted(rooms) == [0, 1]


def test_who_has_no_part_leases_nothing():
    said = {"one.example": DestinationSettings(connections=1)}
    rooms = [len(make(Steering(node, (1, 2, 3)), **said).open([due(1, "one.example")], NOW)) for node in (1, 2, 3)]
    assert sorted(rooms) == [0, 0, 1]


def test_a_rate_bounds_what_is_leased_and_long_rests_are_told():
    lanes = make(**{"d1.example": DestinationSettings(rate=(2, 60_000))})
    [(lane, room)] = lanes.open([due(1), due(1)][:1], NOW)
    assert room == 1
    lanes.leased(1, NOW)
    lane.began(1, NOW)
    lanes.left(1, 1, NOW)
    assert lanes.open([due(1)], NOW) == []
    assert lanes.full == 1
    assert list(lanes.resting) == [1]
    assert NOW + 25_000 < lanes.resting[1] <= NOW + 60_000
    assert not lane.idle(NOW)
    assert lane.idle(NOW + 10**6)
    lane.obey(None, NOW)
    assert lane.room(NOW) == FEW


def test_slow_destinations_take_nobodys_place():
    lanes = make()
    held = 0
    for number in range(1, MOST_LEASED // FEW + 1):
        [(lane, room)] = lanes.open([due(number)], NOW)
        for _ in range(room):
            lanes.leased(lane.dest_id, NOW)
            held += 1
    assert lanes.space(held, NOW) == 0
    later = NOW + SLOW_MS + 1
    assert lanes.space(held, later) == MOST_LEASED
    assert lanes.space(held + MOST_LEASED, later) == 0


def test_when_slow_ones_hold_much_each_has_one():
    lanes = make()
    for number in range(1, 1001):
        for _ in range(3):
            lanes.leased(number, NOW)
    later = NOW + SLOW_MS + 1
    lanes.space(3000, later)
    lanes.get(1).slow = True
    assert lanes.open([due(1)], later) == []
    new, slow = lanes.get(2001), lanes.get(2002)
    slow.slow = True
    found = {lane.dest_id: room for lane, room in lanes.open([due(2001), due(2002)], later)}
    assert found == {2001: FEW, 2002: 1}
    assert new.out == slow.out == 0
    for number in range(1, 1001):
        lanes.leased(number, NOW)
    lanes.space(MOST_SLOW, later + 1000)
    assert [lane.dest_id for lane, _ in lanes.open([due(2001), due(2002)], later)] == [2001]


def test_a_quick_one_is_not_slow_any_more():
    lanes = make()
    lanes.leased(1, NOW)
    assert lanes.left(1, 1, NOW + SLOW_MS + 1) is False
    assert lanes.get(1).slow
    lanes.leased(1, NOW)
    lanes.left(1, 1, NOW + 1)
    assert not lanes.get(1).slow


def test_lanes_with_nothing_to_remember_are_forgotten(monkeypatch):
    monkeypatch.setattr(lanes_module, "MOST_LANES", 3)
    lanes = make()
    lanes._tidy_above = 3
    for number in range(6):
        lanes.get(number).streak = number % 2
    lanes.tidy(NOW)
    assert sorted(lanes.lanes) == [1, 3, 5]
    lanes.get(7)
    lanes.tidy(NOW)
    assert 7 in lanes.lanes  # not looked at again before there are twice as many


@pytest.mark.parametrize("space", [0, 1, 7, 100])
def test_what_there_is_space_for_is_shared(space):
    lanes = make()
    wants = lanes.wants([(Lane(n), 5) for n in range(4)], space)
    assert sum(n for _, n in wants) == min(space, 20)
    assert all(n > 0 for _, n in wants)


def test_who_rests_is_told_once_and_woken_when_more_is_allowed():
    lanes = Lanes(None)
    lanes.resting = {1: NOW + 25_000, 2: NOW + 5_000}
    assert sorted(lanes.rests(NOW)) == [(1, NOW + 25_000), (2, NOW + 5_000)]
    assert lanes.rests(NOW) == []
    lanes.resting = {3: NOW + 60_000}
    lanes.rests(NOW + 10_000)  # the second has ended meanwhile
    lanes.reopen()
    assert sorted(lanes.rests(NOW + 10_000)) == [(1, 0), (3, 0)]
    lanes.reopen()
    assert lanes.rests(NOW + 10_000) == []
