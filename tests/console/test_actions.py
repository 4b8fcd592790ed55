"""Acting on items: selections, previews, confirmations, jobs, undo."""

import pytest
from twisted.internet.defer import Deferred

from netsvc.records import StoreError
from tests.console.fakeservice import NOW, item, past


@pytest.fixture
def queue(desk):
    desk.service.queue.items = [item(n, rcpt="ann@gmail.com" if n % 3 else "bob@example.net") for n in range(30)]
    return desk.service.queue


def states(queue):
    out = {}
    for row in queue.items:
        out[row["state"]] = out.get(row["state"], 0) + 1
    return out


def test_one_item_by_id_is_not_asked_about(desk, queue):
    shown = desk.type(f"hold {queue.items[0]['id']} reason INC-1")
    assert shown == "Job 17: matched 1, held 1 in 1.9 s.\nUndo with: undo job 17\n"
    assert queue.started == [("hold", 1, {"reason": "INC-1", "spread_ms": 0}, "op")]
    assert desk.screen.questions == []
    assert desk.audited() == [
        ("hold", queue.items[0]["id"], 'reason "INC-1"', 1, "begins"),
        ("hold", "job 17", "", 1, "done, skipped 0"),
    ]


def test_a_beginning_of_an_id_serves_people_not_programs(desk, queue):
    queue.items = queue.items[:1]
    desk.type(f"hold {queue.items[0]['msg'][:12]}")
    assert states(queue) == {"hold": 1}
    out = desk.machine(f"release {queue.items[0]['msg'][:12]} expect 1")
    assert out[0]["err"]["code"] == "E402"
    assert states(queue) == {"hold": 1}


def test_several_are_asked_about(desk, queue):
    shown = desk.type("hold where domain=gmail.com", "y")
    assert shown.split("\n")[:4] == [
        "Hold 20 items, 960k, age 2h31m.",
        "  States: deferred 20",
        "  Domains: gmail.com 20",
        "  Senders: news@shop.example 20",
    ]
    assert desk.screen.questions == [("Go on? [y/N] ", False)]
    assert states(queue) == {"deferred": 10, "hold": 20}


@pytest.mark.parametrize("answer", ["n", "", "yess", None])
def test_anything_but_yes_is_no(desk, queue, answer):
    assert "% Cancelled. Nothing was changed  [E503]" in desk.type("hold all", answer)
    assert states(queue) == {"deferred": 30}


def test_many_are_typed(desk, queue, monkeypatch):
    monkeypatch.setattr("netsvc.console.verbs.actions.MANY", 10)
    assert "E503" in desk.type("hold all", "y")
    assert desk.screen.questions == [("Type 30 to go on: ", False)]
    assert "held 30" in desk.type("hold all", "30")


def test_the_set_that_was_looked_at_is_the_set_acted_on(desk, queue):
    assert 'Selection saved as "last" (20 items)' in desk.type("show queue where domain=gmail.com limit 2")
    queue.items.append(item(99))
    desk.type("hold last", "y")
    assert queue.started[0][:2] == ("hold", 20)
    assert desk.audited()[0][1] == "domain=gmail.com"
    desk.type("show queue hold limit 25")
    desk.type("release last", "y")
    assert queue.started[1][:2] == ("release", 20)
    desk.type("show queue where domain=nowhere.example")
    assert "E401" in desk.type("hold last") or "No messages" in desk.type("hold last")


def test_without_a_selection(desk, queue):
    assert "E401" in desk.type("hold last")
    assert "E103" in desk.type("hold")
    assert "E103" in desk.type("hold reason x")
    assert "No messages match" in desk.type("hold where domain=x.example")
    assert queue.started == []


def test_a_filter_that_lets_everything_through_is_refused(desk, queue):
    assert '% This selects every item (30). Say "all" if you mean it  [E305]' in desk.type("hold where size>0")
    assert desk.machine("hold where size>0 expect any")[0]["err"]["code"] == "E305"
    assert desk.machine("hold where size>0 expect 30")[-1]["end"]["status"] == "ok"
    queue.items = queue.items[:20]
    assert "released 20" in desk.type("release where size>0", "y")


def test_reasons(desk, queue):
    assert "[E306]" in desk.type("delete all")
    desk.type('delete where domain=example.net reason "spam run"', "y")
    assert states(queue) == {"deferred": 20, "recycled": 10}
    assert "deleted 10" in desk.screen.text
    assert "No report is sent" in desk.screen.text


def test_undelete(desk, queue):
    desk.type("delete where domain=example.net reason x", "y")
    desk.type("undelete where domain=example.net", "y")
    assert states(queue) == {"deferred": 30}
    desk.type("delete where domain=example.net reason x", "y")
    desk.type("undelete all", "y")
    assert states(queue) == {"deferred": 30}
    desk.type("delete where domain=example.net reason x", "y")
    desk.type("undelete job 21", "y")
    assert states(queue) == {"deferred": 30}


def test_release_concerns_what_is_on_hold(desk, queue):
    for row in queue.items[:4]:
        row.update(state="hold", held_by="bo", held_why="INC-812")
    queue.items[0]["expires"] = NOW - 1
    shown = desk.type("release all spread 10m", "y")
    assert "Release 4 items, 192k, age 2h31m, spread over 10m." in shown
    assert "! On hold by bo 4." in shown
    assert "! 1 item past expiry" in shown
    assert queue.started == [("release", 4, {"reason": "", "spread_ms": 600_000}, "op")]
    assert desk.audited()[0][2] == "spread 600000 ms"


def test_retry_of_all_leaves_recycled_items_alone(desk, queue):
    queue.items[0]["state"] = "recycled"
    queue.items[1]["state"] = "active"
    shown = desk.type("retry all", "y")
    assert "1 item being delivered now" in shown
    assert "That is everything in the queue" in shown
    assert "put up for retry 28, skipped 1 (on hold, deleted, or tried meanwhile)" in shown


def test_what_stays_as_it_is_is_said(desk, queue):
    for row in queue.items[:4]:
        row.update(state="hold", held_by="op")
    assert "! 4 items on hold already: nothing changes." in desk.type("hold all dry-run")
    assert "! 4 items on hold already: release tries them." in desk.type("retry all dry-run")
    assert "on hold already" not in desk.type("delete all reason x dry-run")
    assert "skipped 4 (on hold already, or changed meanwhile)" in desk.type("hold all", "y")
    assert "skipped 1 (not on hold)" in desk.type(f"release {queue.items[0]['id']}") + desk.type(
        f"release {queue.items[0]['id']}"
    )


def test_ids_that_are_gone_are_named(desk, queue):
    here, gone = queue.items[0]["id"], queue.items[1]["id"]
    del queue.items[1]
    shown = desk.type(f"hold {here} {gone}")
    assert f"Not in the queue, so passed over: {gone}\n" in shown
    assert "matched 1, held 1" in shown
    assert "passed over" not in desk.type(f"release {here}")


def test_what_an_action_is_to_do_is_recorded_before_it_is_begun(desk, queue):
    def start(*_):
        assert [row[4] for row in desk.audited()] == ["begins"]
        raise StoreError("Busy: 2 bulk jobs already running (show jobs).")

    queue.start = start
    assert "[E501]" in desk.type(f"hold {queue.items[0]['id']}")
    assert [row[4] for row in desk.audited()] == ["begins", "error E501"]


def test_all_is_recorded_as_it_was_typed(desk, queue):
    select = queue.select

    def described(where):
        def add(chosen):
            chosen.described = "what the store makes of it"
            return chosen

        return select(where).addCallback(add)

    queue.select = described
    desk.type("hold all", "y")
    assert desk.audited()[0][1] == "all"


def test_a_spread_is_refused_before_anybody_is_asked(desk, queue):
    assert "% A spread is at most 1d." in desk.type("retry all spread 400d")
    assert desk.screen.questions == []


def test_what_was_taken_back_is_not_asked_about_again(desk, queue):
    desk.type("hold all", "y")
    desk.type("undo job 17", "y")
    asked = len(desk.screen.questions)
    assert "% Job 17 has been taken back already  [E405]" in desk.type("undo job 17")
    assert len(desk.screen.questions) == asked


def test_dry_run_always_wins(desk, queue):
    shown = desk.type("retry where domain=gmail.com dry-run spread 10m expect 20")
    assert shown.endswith("Nothing was changed.\n")
    assert queue.started == []
    token = desk.machine("hold all dry-run")[0]["preview"]["token"]
    out = desk.machine(f"hold all dry-run confirm {token}")
    assert "preview" in out[0]
    assert queue.started == []
    assert desk.machine("hold where domain=x.example dry-run")[0] == {"preview": {"count": 0, "token": None}}
    assert desk.machine("hold all dry-run expect 7")[0]["err"]["code"] == "E304"


def test_machine_mode_confirms_by_token(desk, queue):
    preview = desk.machine('hold where domain=gmail.com reason "INC-1" dry-run')[0]["preview"]
    assert (preview["count"], preview["bytes"], preview["states"]) == (20, 983_040, {"deferred": 20})
    assert preview["oldest"] == "2026-11-23T11:34:12Z"
    queue.items.append(item(99))
    other = desk.console.open(desk.session.operator, "socket")
    out = []
    other.execute_machine(f"hold confirm {preview['token']}", out.append)
    assert out[-1]["end"]["status"] == "ok"
    assert (out[0]["row"]["verb"], out[0]["row"]["done"]) == ("hold", 20)
    assert queue.started == [("hold", 20, {"reason": "INC-1", "spread_ms": 0}, "op")]
    assert desk.machine(f"hold confirm {preview['token']}")[0]["err"]["code"] == "E303"


def test_machine_mode_needs_a_confirmation(desk, queue):
    err = desk.machine("hold all")[0]["err"]
    assert err["code"] == "E303"
    assert err["suggest"][1] == "expect 30"
    assert states(queue) == {"deferred": 30}
    desk.machine(f"hold {err['suggest'][0]}")
    assert states(queue) == {"hold": 30}
    assert desk.machine("hold where domain=gmail.com expect 7")[0]["err"] == {
        "code": "E304",
        "msg": "Expected 7 items, found 20. Nothing was changed",
        "col": None,
        "suggest": [],
    }
    assert desk.machine("hold all expect some")[0]["err"]["code"] == "E202"
    assert desk.machine(f"release {queue.items[0]['id']}")[-1]["end"]["status"] == "ok"
    assert desk.machine(f"hold where id={queue.items[0]['id']}")[0]["err"]["code"] == "E303"
    assert desk.machine("release all expect any")[-1]["end"]["status"] == "ok"
    assert desk.machine("release all expect 0")[-1]["end"]["status"] == "ok"
    assert desk.machine("release all expect 3")[0]["err"]["code"] == "E304"


def test_where_nobody_answers_a_confirmation_is_needed(desk, queue):
    desk.screen.interactive = False
    assert "[E303]" in desk.type("hold all")
    assert "held 30" in desk.type("hold all expect 30")
    assert "[E303]" in desk.type("undo")


def test_ids_that_are_not_there(desk, queue):
    queue.past = [past(7)]
    gone = queue.past[0]["msg"]
    shown = desk.type(f"hold {gone}")
    assert f"% No such message {gone}. It was delivered 2026-11-23 13:05:14  [E401]" in shown
    assert f"show history where id={gone}" in shown
    assert "No such message 0AAAAAAAAAAAA.3  [E401]" in desk.type("hold 0AAAAAAAAAAAA.3")
    assert "E202" in desk.type("hold 0!!")
    assert "E202" in desk.type("hold 0AAAAAAAAAAAAA")
    assert "E402" in desk.type("hold 0AA")
    assert "E401" in desk.type("hold 00000")
    shown = desk.type(f"hold {queue.items[0]['msg'][:5]}")
    assert "6 matches or more. Use at least: " + queue.items[0]["msg"] in shown
    queue.items = queue.items[:2]
    assert "2 matches" in desk.type(f"hold {queue.items[0]['msg'][:5]}")


def test_a_job_tells_how_far_it_is_and_outlives_the_wait(desk, queue):
    queue.hold_jobs = True
    running = desk.start("hold all", "y")
    desk.clock.advance(2)
    assert desk.screen.passing == ["Job 17: 0 of 30"]
    running.cancel()
    assert "Job 17 goes on. To stop it: cancel job 17  [E504]" in desk.screen.text
    assert desk.session.end["status"] == "partial"
    assert "cancelled: 30 of 30" in desk.type("cancel job 17")
    assert "E405" in desk.type("cancel job 17")
    assert "E401" in desk.type("cancel job 99")
    desk.clock.advance(10)
    assert len(desk.screen.passing) == 1


def test_a_job_told_to_a_program(desk, queue):
    queue.hold_jobs = True
    out = []
    desk.session.execute_machine("hold all expect any", out.append)
    desk.clock.advance(2)
    assert out == [{"progress": {"job": 17, "done": 0, "of": 30}}]
    queue.finish(17, "cancelled")
    assert out[-2]["row"]["state"] == "cancelled"
    assert out[-1]["end"]["status"] == "partial"
    queue.hold_jobs = True
    desk.session.execute_machine("release all expect any", out.append)
    queue.error = ValueError()
    desk.clock.advance(2)
    queue.error = None
    queue.finish(18)
    assert out[-1]["end"]["status"] == "ok"
    queue.hold_jobs = False
    desk.machine("hold all expect any")
    queue.hold_jobs = True
    running = desk.start("release all", "y")
    queue.finish(20, "cancelled")
    assert running.called
    assert "It was cancelled." in desk.screen.text
    assert desk.machine("cancel job 18")[0]["err"]["code"] == "E405"


def test_cancelling_told_to_a_program(desk, queue):
    queue.hold_jobs = True
    desk.start("hold all", "y")
    out = desk.machine("cancel job 17")
    assert out[0]["row"]["state"] == "cancelled"


def test_undo(desk, queue):
    assert "nothing of yours to undo" in desk.type("undo")
    desk.type("hold where domain=gmail.com", "y")
    desk.type("delete where domain=example.net reason x", "y")
    assert "[E503]" in desk.type("undo", "n")
    assert desk.screen.questions[-1] == ("Undo job 18 (delete, 10 items)? [y/N] ", False)
    shown = desk.type("undo", "y")
    assert "Job 19: matched 10, taken back 10" in shown
    assert "Undo with" not in shown
    assert states(queue) == {"deferred": 10, "hold": 20}
    desk.type("undo", "y")
    assert states(queue) == {"deferred": 30}
    assert "nothing of yours" in desk.type("undo")
    assert "was itself an undo" in desk.type("undo job 19")
    assert "E401" in desk.type("undo job 99")
    queue.jobs_[0].update(verb="sweep", undo=None)
    assert "cannot be taken back" in desk.type("undo job 20")


def test_undo_told_to_a_program(desk, queue):
    desk.machine("hold all expect any")
    assert desk.machine("undo")[0]["err"]["code"] == "E303"
    assert desk.machine("undo expect 7")[0]["err"]["code"] == "E304"
    assert desk.machine("undo job 17")[-1]["end"]["status"] == "ok"
    desk.machine("hold all expect any")
    assert desk.machine("undo expect 30")[-1]["end"]["status"] == "ok"
    assert states(queue) == {"deferred": 30}


def test_jobs_are_shown(desk, queue):
    assert "There were no jobs" in desk.type("show jobs")
    desk.type('hold all reason "INC\x1b"', "y")
    assert "INC\\x1b" in desk.type("show jobs")
    assert "matched  30" in desk.type("show job 17")
    assert desk.machine("show job 17")[0]["row"]["ended"] == "2026-11-23T14:05:13Z"
    assert "E401" in desk.type("show job 99")


def test_a_question_cancelled_by_its_terminal(desk, queue):
    running = desk.start("hold all")
    running.cancel()
    assert "Nothing was changed" in desk.screen.text
    assert states(queue) == {"deferred": 30}


def test_cancelled_while_the_job_begins(desk, queue):
    queue.start = lambda *a: Deferred()
    desk.start(f"hold {queue.items[0]['id']}").cancel()
    assert "may have been made" in desk.screen.text


def test_a_range_of_ages_and_reports_in_the_preview(desk, queue):
    queue.items[0].update(queued=NOW - 60_000, sender="")
    shown = desk.type("hold where domain=example.net dry-run")
    assert "age 1m-2h31m" in shown
    assert "<> 1" in shown
