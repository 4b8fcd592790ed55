"""Jobs on frozen ids: what they do, what they skip, how they end, go on and are taken back."""

import random

import pytest
from twisted.logger import globalLogPublisher

from netsvc.criteria import And, Test
from netsvc.mail.ids import show_item
from netsvc.mail.message import Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.records import Selection, StoreError, StoreUnavailableError
from netsvc.store import bulkverbs, jobrows, jobs
from netsvc.store.jobs import _next_limit
from netsvc.store.queueadmin import QueueAdmin
from tests.store import filling

EVERY = Test("state", "in", ("incoming", "active", "deferred", "hold", "recycled"))


class Desk:
    """An operator before a store."""

    def __init__(self, house):
        self.house = house
        self.woken = 0
        self.open()

    def open(self):
        self.admin = QueueAdmin(self.house.engine, self.house.spool.open_body, self.wake, self.house.pump)

    def wake(self):
        self.woken += 1

    def run(self, deferred):
        return self.house.run(deferred)

    def select(self, where):
        return self.run(self.admin.select(where))

    def do(self, verb, where, **args):
        """Run a job to its end -> its row."""
        selection = where if isinstance(where, Selection) else self.select(where)
        return self.end(self.run(self.admin.start(verb, selection, args, "op")))

    def end(self, number):
        row = self.run(self.admin.wait(number))
        kept, true = self.house.counted()
        assert kept == true
        return row

    def undo(self, number):
        return self.end(self.run(self.admin.undo(number, "bo")))

    def items(self, where=None):
        return {row["id"]: row for row in self.run(self.admin.page(where, limit=1000)).rows}

    def states(self, where=EVERY):
        return {key: row["state"] for key, row in self.items(where).items()}

    def raw(self):
        return self.house.rows(
            "SELECT id, state, due_at, attempts, reason_id, mark, held_by, held_why, lease_node FROM delivery ORDER BY id"
        )


@pytest.fixture
def desk(house):
    return Desk(house)


def fill(house, n=3, **changes):
    """Accept ``n`` messages for two recipients each -> their ids."""
    return [
        house.accept(deliveries=[house.away(1), house.away(2, "dan@example.net", "[192.0.2.8]:25")], **changes)
        for _ in range(n)
    ]


def defer(house, due_in=600_000):
    """Lease all that is due and defer it."""
    leased = house.lease()
    at = house.spool.now() + due_in
    outcomes = [
        Outcome(one.id, Result.DEFERRED, Fault.REPLY, 450, "4.7.1", "greylisted, try later", due_at=at)
        for one in leased
    ]
    house.run(house.spool.settle(outcomes, []))
    return leased


DOMAIN = Test("domain", "=", "example.com")


def test_hold_release_and_undo_of_both(desk, house):
    fill(house)
    defer(house)
    before = desk.raw()
    held = desk.do("hold", DOMAIN, reason="INC-812 \x1b[2J")
    assert (held["verb"], held["state"], held["matched"], held["done"], held["skipped"]) == ("hold", "done", 3, 3, 0)
    assert held["reason"] == "INC-812 \\x1b[2J"
    assert held["filter"] == "domain=example.com"
    rows = desk.items(Test("state", "=", "hold"))
    assert {(r["domain"], r["held_by"], r["held_why"], r["next"]) for r in rows.values()} == {
        ("example.com", "op", "INC-812 \\x1b[2J", None)
    }
    undone = desk.undo(held["id"])
    assert (undone["verb"], undone["undo"], undone["done"]) == ("release", held["id"], 3)
    assert [row[:4] for row in desk.raw()] == [row[:4] for row in before]
    assert desk.run(desk.admin.job(held["id"]))["undone_by"] == undone["id"]
    held = desk.do("hold", DOMAIN, reason="again")
    woken = desk.woken
    released = desk.do("release", Test("held-why", "=", "again"))
    assert released["done"] == 3
    assert desk.woken > woken
    assert set(desk.states().values()) == {"deferred"}
    assert all(row["held_by"] is None for row in desk.items().values())
    assert len(house.run(house.spool.due(10))) == 1
    back = desk.undo(released["id"])
    assert back["done"] == 3
    assert {r["held_why"] for r in desk.items(Test("state", "=", "hold")).values()} == {"again"}


def test_delete_recycles_and_undelete_brings_back(desk, house):
    ids = fill(house, 2)
    house.execute("UPDATE delivery SET state = state")  # nothing: all incoming
    desk.do("hold", [(ids[0], 1)], reason="first")
    deleted = desk.do("delete", [(ids[0], None), (ids[1], 2)], reason="spam")
    assert deleted["done"] == 3
    assert desk.states(None) == {show_item(ids[1], 1): "incoming"}
    assert desk.run(desk.admin.totals())["incoming"][0] == 1
    purge = house.value("SELECT min(purge_at) FROM delivery WHERE state = 5")
    assert purge > house.spool.now() + 23 * 3_600_000
    back = desk.do("undelete", Test("state", "=", "recycled"))
    assert back["done"] == 3
    assert desk.states()[show_item(ids[0], 1)] == "hold"
    assert desk.items()[show_item(ids[0], 1)]["held_why"] == "first"
    assert house.value("SELECT count(*) FROM delivery WHERE purge_at <> 0") == 0
    again = desk.undo(back["id"])
    assert again["done"] == 3
    assert desk.states(None) == {show_item(ids[1], 1): "incoming"}
    first = desk.undo(deleted["id"])
    assert first["done"] == 3
    assert desk.states()[show_item(ids[0], 1)] == "hold"


def test_what_is_tried_now_gets_a_mark_that_settling_honours(desk, house):
    ids = fill(house, 1)
    leased = house.lease()
    assert len(leased) == 2
    desk.do("hold", [(ids[0], 1)], reason="stop")
    deleted = desk.do("delete", [(ids[0], 2)], reason="stop")
    assert set(desk.states().values()) == {"active"}
    row = desk.items()[show_item(ids[0], 1)]
    assert (row["held_by"], row["when_settled"]) == ("op", "hold")
    at = house.spool.now() + 1000
    house.run(house.spool.settle([Outcome(one.id, Result.DEFERRED, Fault.LOST, due_at=at) for one in leased], []))
    assert desk.states() == {show_item(ids[0], 1): "hold", show_item(ids[0], 2): "recycled"}
    assert desk.undo(deleted["id"])["done"] == 1
    assert desk.states()[show_item(ids[0], 2)] == "deferred"
    assert desk.do("release", Test("state", "=", "hold"))["done"] == 1


def test_marks_are_taken_back_while_the_attempt_lasts(desk, house):
    ids = fill(house, 1)
    house.lease()
    held = desk.do("hold", [(ids[0], 1)], reason="x")
    deleted = desk.do("delete", [(ids[0], 2)], reason="x")
    assert desk.undo(held["id"])["done"] == 1
    assert desk.undo(deleted["id"])["done"] == 1
    assert [row[5] for row in desk.raw()] == [0, 0]
    desk.do("hold", [(ids[0], 1)], reason="x")
    desk.do("delete", [(ids[0], 2)], reason="x")
    assert desk.do("delete", [(ids[0], 2)], reason="x")["skipped"] == 1
    assert desk.do("hold", [(ids[0], None)], reason="x")["skipped"] == 2
    released = desk.do("release", [(ids[0], 1)])
    assert desk.do("undelete", [(ids[0], 2)])["done"] == 1
    assert [row[5] for row in desk.raw()] == [0, 0]
    assert desk.undo(released["id"])["done"] == 1
    assert [row[5] for row in desk.raw()] == [1, 0]
    assert desk.do("retry", [(ids[0], None)])["skipped"] == 2


def test_what_changed_since_the_selection_is_skipped(desk, house):
    ids = fill(house, 4)
    selection = desk.select(DOMAIN)
    assert selection.count == 4
    desk.do("delete", [(ids[0], 1)], reason="other")
    desk.do("hold", [(ids[1], 1)], reason="other")
    leased = [one for one in house.lease() if one.message_id == ids[2] and one.n == 1]
    house.run(house.spool.settle([Outcome(leased[0].id, Result.DELIVERED, code=250, reply="ok")], []))
    row = desk.do("hold", selection, reason="late")
    assert (row["matched"], row["done"], row["skipped"]) == (4, 1, 3)
    assert house.rows("SELECT held_why FROM delivery WHERE mark = 1") == [("late",)]
    frozen = desk.select(Test("state", "=", "hold"))
    desk.do("release", frozen)
    row = desk.do("delete", frozen, reason="was on hold")
    assert (row["done"], row["skipped"]) == (0, 1)


def test_retry_is_due_now_and_its_undo_as_before(desk, house):
    fill(house, 5)
    defer(house)
    assert house.run(house.spool.due(10)) == []
    before = desk.raw()
    house.execute("UPDATE dest SET dead_until = ?", (house.spool.now() + 3_600_000,))
    row = desk.do("retry", DOMAIN, clear_backoff=False)
    assert row["done"] == 5
    assert house.run(house.spool.due(10)) == []
    undone = desk.undo(row["id"])
    assert (undone["verb"], undone["done"]) == ("retry", 5)
    assert desk.raw() == before
    row = desk.do("retry", DOMAIN)
    assert len(house.run(house.spool.due(10))) == 1
    assert len(defer(house)) == 5
    assert desk.undo(row["id"])["skipped"] == 5
    assert {r["attempts"] for r in desk.items(DOMAIN).values()} == {2}


def test_spread_is_even(desk, house, monkeypatch):
    monkeypatch.setattr(jobs, "FIRST", 2)
    monkeypatch.setattr(jobs, "MOST", 2)
    monkeypatch.setattr(jobs, "LEAST", 2)
    fill(house, 5)
    row = desk.do("retry", DOMAIN, spread_ms=5000)
    due = house.rows("SELECT due_at FROM delivery WHERE domain = ? ORDER BY id", ("example.com",))
    assert [d[0] - row["started"] for d in due] == [0, 1000, 2000, 3000, 4000]


def test_large_selections_are_frozen_and_done_in_slices(desk, house, monkeypatch):
    for name in ("FREEZE", "FIRST", "MOST", "LEAST"):
        monkeypatch.setattr(jobs, name, 7)
    house.run(house.engine.write(lambda tx: filling.fill(tx, random.Random(3), 40, house.spool.now())))
    selection = desk.select(Test("state", "in", ("incoming", "deferred")))
    row = desk.do("hold", selection, reason="all")
    assert row["done"] == selection.count > 20
    assert desk.select(Test("state", "in", ("incoming", "deferred"))).count == 0
    assert desk.undo(row["id"])["done"] == row["done"]
    assert list(desk.select(Test("state", "in", ("incoming", "deferred"))).ids) == list(selection.ids)


def test_unknown_and_doubled_ids_do_no_harm(desk, house):
    ids = fill(house, 1)
    selection = desk.select([(ids[0], 1), (ids[0], 1), (5, None)])
    assert selection.count == 1
    selection.ids.append(12345)
    selection.was.append(1)
    row = desk.do("hold", selection, reason="x")
    assert (row["matched"], row["done"], row["skipped"]) == (2, 1, 1)
    row = desk.do("hold", Selection(selection.ids), reason="x")
    assert (row["done"], row["skipped"]) == (0, 2)


def test_refusals(desk, house):
    ids = fill(house, 1)
    chosen = desk.select([(ids[0], None)])
    start = desk.admin.start
    assert "no job 'flush'" in str(house.fails(start("flush", chosen, {}, "op"), StoreError))
    assert "spread" in str(house.fails(start("retry", chosen, {"spread_ms": -1}, "op"), StoreError))
    for call in (desk.admin.undo(9, "op"), desk.admin.wait(9), desk.admin.cancel(9)):
        assert str(house.fails(call, StoreError)) == "There is no job 9"
    assert desk.run(desk.admin.job(9)) is None
    nothing = desk.do("release", chosen)
    assert "changed nothing" in str(house.fails(desk.admin.undo(nothing["id"], "op"), StoreError))
    row = desk.do("hold", chosen, reason="x")
    undone = desk.undo(row["id"])
    assert "already" in str(house.fails(desk.admin.undo(row["id"], "op"), StoreError))
    assert "anew" in str(house.fails(desk.admin.undo(undone["id"], "op"), StoreError))
    assert desk.run(desk.admin.cancel(row["id"])) is False
    assert [j["id"] for j in desk.run(desk.admin.jobs())] == [3, 2, 1]


def stop_after(monkeypatch, n, then):
    """Call ``then(tx, number)`` within the step after ``n`` steps."""
    real = jobrows.step
    seen = []

    def step(tx, number, node, limit):
        seen.append(number)
        if len(seen) > n:
            then(tx, number)
        return real(tx, number, node, limit)

    monkeypatch.setattr(jobrows, "step", step)
    for name in ("FIRST", "MOST", "LEAST"):
        monkeypatch.setattr(jobs, name, 2)


def test_a_cancelled_job_stops_and_can_be_taken_back(desk, house, monkeypatch):
    fill(house, 5)
    stop_after(monkeypatch, 1, jobrows.cancel)
    row = desk.do("hold", DOMAIN, reason="x")
    assert (row["state"], row["done"], row["matched"]) == ("cancelled", 2, 5)
    assert row["ended"] is not None
    monkeypatch.undo()
    assert desk.undo(row["id"])["done"] == 2
    assert set(desk.states().values()) == {"incoming"}


def test_two_jobs_at_once_and_no_more(desk, house):
    ids = fill(house, 1)
    node = (house.engine.node_id, house.engine.epoch)
    plan = jobrows.make_plan("hold", {}, "bo", "x", 0)
    for _ in range(2):
        house.run(house.engine.write(lambda tx: jobrows.create(tx, node, plan)))
    chosen = desk.select([(ids[0], None)])
    error = house.fails(desk.admin.start("hold", chosen, {}, "op"), StoreError)
    assert str(error) == "Busy: 2 bulk jobs already running (show jobs)."
    assert "still running" in str(house.fails(desk.admin.undo(1, "op"), StoreError))
    house.execute("UPDATE bulk SET lease_epoch = -1 WHERE id = 1")  # that one's process is gone
    assert desk.do("hold", chosen)["done"] == 2


def test_a_job_goes_on_after_a_restart(lasting, monkeypatch):
    house, desk = lasting, Desk(lasting)
    fill(house, 5)

    def power_off(tx, number):
        raise StoreUnavailableError("power")

    stop_after(monkeypatch, 1, power_off)
    monkeypatch.setattr(jobs, "TRIES", 0)
    number = desk.run(desk.admin.start("hold", desk.select(DOMAIN), {"reason": "x"}, "op"))
    house.fails(desk.admin.wait(number), StoreUnavailableError)
    desk.house.run(
        house.engine.write(lambda tx: jobrows.create(tx, (9, 9), jobrows.make_plan("hold", {}, "bo", "x", 0)))
    )
    monkeypatch.undo()
    house.again()
    desk.open()
    assert desk.run(desk.admin.resume_jobs()) == [number]
    row = desk.end(number)
    assert (row["state"], row["done"], row["skipped"]) == ("done", 5, 0)
    assert desk.run(desk.admin.job(number + 1))["state"] == "cancelled"
    assert desk.run(desk.admin.resume_jobs()) == []


def test_a_store_that_does_not_answer_is_asked_again(make_house, monkeypatch):
    house = make_house("memory")
    desk = Desk(house)
    fill(house, 1)
    faults = [1, 1]

    def fault(tx, number):
        if faults:
            faults.pop()
            raise StoreUnavailableError("away")

    stop_after(monkeypatch, 0, fault)
    number = desk.run(desk.admin.start("hold", desk.select(DOMAIN), {}, "op"))
    ended = desk.admin.wait(number)
    for _ in range(3):
        house.pump.advance(jobs.AGAIN_S)
    assert desk.run(ended)["done"] == 1


def test_a_broken_job_is_logged_and_cancelled(make_house, monkeypatch):
    house = make_house("memory")
    desk = Desk(house)
    fill(house, 1)
    logged = []
    globalLogPublisher.addObserver(logged.append)

    def bug(tx, number):
        raise ValueError(number)

    stop_after(monkeypatch, 0, bug)
    try:
        number = desk.run(desk.admin.start("hold", desk.select(DOMAIN), {}, "op"))
    finally:
        globalLogPublisher.removeObserver(logged.append)
    assert [event["log_failure"].type for event in logged] == [ValueError]
    assert desk.run(desk.admin.wait(number))["state"] == "cancelled"


def test_another_nodes_job_is_polled(make_house, monkeypatch):
    house = make_house("memory")
    desk = Desk(house)
    number = house.run(
        house.engine.write(lambda tx: jobrows.create(tx, (7, 7), jobrows.make_plan("hold", {}, "b", "x", 0)))
    )
    ended = desk.admin.wait(number)
    house.pump.advance(jobs.POLL_S)
    assert desk.run(desk.admin.cancel(number)) is True
    house.pump.advance(jobs.POLL_S)
    assert desk.run(ended)["state"] == "cancelled"


def test_a_freeze_that_fails_leaves_no_job_running(make_house, monkeypatch):
    house = make_house("memory")
    desk = Desk(house)
    fill(house, 1)

    def full(*a):
        raise StoreError("full")

    chosen = desk.select(DOMAIN)
    monkeypatch.setattr(jobrows, "freeze", full)
    house.fails(desk.admin.start("hold", chosen, {}, "op"), StoreError)
    assert [row["state"] for row in desk.run(desk.admin.jobs())] == ["cancelled"]


def test_slices_fit_their_time():
    fast, slow, even = (jobrows.Progress(over=False, seconds=s) for s in (0.001, 1.0, 0.010))
    assert _next_limit(500, fast) == 1000
    assert _next_limit(1500, fast) == jobs.MOST
    assert _next_limit(500, slow) == 250
    assert _next_limit(60, slow) == jobs.LEAST
    assert _next_limit(500, even) == 500
    assert _next_limit(500, jobrows.Progress(over=False)) == 500


def test_every_verb_has_its_contrary():
    assert set(bulkverbs.INVERSE) == set(bulkverbs.VERBS) == set(bulkverbs._UNDO) == set(bulkverbs._DO)


@pytest.mark.parametrize("seed", range(3))
def test_counters_stay_exact_whatever_is_ordered(desk, house, seed):
    rng = random.Random(seed)
    house.run(house.engine.write(lambda tx: filling.fill(tx, random.Random(seed), 15, house.spool.now())))
    ended = []
    for _ in range(12):
        if ended and rng.random() < 0.3:
            row = ended.pop(rng.randrange(len(ended)))
            if row["done"] and not row["undo"]:
                desk.undo(row["id"])
            continue
        where = And((Test("size", ">=", rng.choice((0, 500))), Test("state", "in", tuple(rng.sample(STATES, 3)))))
        ended.append(desk.do(rng.choice(bulkverbs.VERBS), where, reason="r"))
    assert house.rows("SELECT count(*) FROM delivery WHERE state = 2 AND lease_node = 0") == [(0,)]


STATES = ("incoming", "active", "deferred", "hold", "recycled")
