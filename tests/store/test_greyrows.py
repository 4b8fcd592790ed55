"""Greylisting in the store, on every engine."""

import pytest

from netsvc.store import greyrows

TRIPLET = ("192.0.2.0/24", "carol@example.net", "bob@example.org")
DELAY, TIMES = 300_000, (1_000_000, 10_000_000, 2)


@pytest.fixture
def counters(house):
    return house.store.counters


def meet(house, triplet=TRIPLET, delay=DELAY, times=TIMES):
    return house.run(house.store.counters.greylist(triplet, delay, times))


def test_who_comes_again_in_time_is_let_through(house):
    assert meet(house) == (300_000, "new")
    house.engine.clock.advance(100_000)
    wait, why = meet(house)
    assert why == "early"
    assert 195_000 < wait <= 200_000
    house.engine.clock.advance(200_000)
    assert meet(house) == (0, "passed")
    assert meet(house) == (0, "known")
    house.engine.clock.advance(8_000_000)
    assert meet(house) == (0, "known")  # this one writes that it came
    house.engine.clock.advance(8_000_000)
    assert meet(house) == (0, "known")
    house.engine.clock.advance(10_000_000)
    assert meet(house) == (300_000, "new")


def test_who_comes_too_late_begins_anew(house):
    meet(house)
    house.engine.clock.advance(1_000_000)
    assert meet(house) == (300_000, "new")


def test_a_network_becomes_known(house):
    others = [(TRIPLET[0], f"c{n}@example.net", TRIPLET[2]) for n in range(3)]
    for triplet in others:
        meet(house, triplet)
    house.engine.clock.advance(300_000)
    assert [meet(house, triplet)[1] for triplet in others[:2]] == ["passed", "passed"]
    assert meet(house, others[2])[1] == "known"
    assert meet(house) == (0, "known")
    house.engine.clock.advance(6_000_000)
    assert meet(house) == (0, "client")
    assert meet(house, ("198.51.100.0/24", *TRIPLET[1:]))[1] == "new"
    assert meet(house, TRIPLET, times=(1_000_000, 10_000_000, 0))[1] == "new"


def test_hostile_parts_are_told_apart(house):
    for sender in ("", "a\tb@x", "\0", "\ud800", "%", "' OR 1=1 --", "x" * 5000):
        triplet = ("192.0.2.0/24", sender, "bob@example.org")
        assert meet(house, triplet)[1] == "new"
        assert meet(house, triplet)[1] == "early"
    assert meet(house, ("192.0.2.0/24", "a", "b@x\tbob@example.org"))[1] == "new"


def test_what_is_kept_can_be_seen_and_forgotten(house, counters):
    meet(house)
    meet(house, ("198.51.100.0/24", "", "al_ce@example.org"))
    house.engine.clock.advance(300_000)
    meet(house)
    rows = house.run(counters.greylisted())
    assert {(row["state"], row["network"], row["sender"], row["rcpt"], row["passes"]) for row in rows} == {
        ("passed", *TRIPLET, 1),
        ("client", TRIPLET[0], None, None, 1),
        ("waiting", "198.51.100.0/24", "", "al_ce@example.org", 0),
    }
    assert len(house.run(counters.greylisted("CAROL"))) == 1
    assert len(house.run(counters.greylisted("al_ce"))) == 1
    assert house.run(counters.greylisted("al%ce")) == []
    assert house.run(counters.clear_greylist("192.0.2.0/24")) == 2
    assert house.run(counters.clear_greylist("_")) == 1
    assert house.run(counters.clear_greylist()) == 0


def test_what_has_had_its_time_is_deleted(house):
    for n in range(5):
        meet(house, (TRIPLET[0], f"c{n}@example.net", TRIPLET[2]))
    house.run(house.store.counters.fail(1, "guess", 3, 1000, 1000))
    house.engine.clock.advance(1_000_001 + greyrows.SWEEP_MS)
    meet(house)
    assert sorted(row[0] for row in house.rows("SELECT realm FROM throttle")) == [1, 20]


def test_what_a_flood_left_is_deleted_soon(house, monkeypatch):
    monkeypatch.setattr(greyrows, "SWEPT", 3)
    for n in range(3):
        meet(house, (TRIPLET[0], f"c{n}@example.net", TRIPLET[2]))
    house.engine.clock.advance(900_000)
    house.store.counters._sweep_at = 0
    meet(house, (TRIPLET[0], "later@example.net", TRIPLET[2]))
    house.engine.clock.advance(100_001)
    house.store.counters._sweep_at = 0
    meet(house)  # deletes three of the four, and looks again in a second
    house.engine.clock.advance(900_000)
    meet(house, (TRIPLET[0], "last@example.net", TRIPLET[2]))
    kept = " ".join(row[0] for row in house.rows("SELECT key FROM throttle"))
    assert "c0@" not in kept
    assert "later@" not in kept
    assert "last@" in kept
