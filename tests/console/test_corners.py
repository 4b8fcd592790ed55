"""Corners of the console that no dialogue above reaches."""

import array

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from netsvc.commands import CommandError
from netsvc.console.machine import MachineOutlet, error_object
from netsvc.console.preview import preview_facts, preview_text, warnings
from netsvc.console.schemas import json_schema
from netsvc.console.tables import SCHEMA, TEXT
from netsvc.records import Selection, StoreUnavailableError
from tests.console.fakeservice import NOW, item


def run(coroutine):
    got = []
    Deferred.fromCoroutine(coroutine).addBoth(got.append)
    return got[0]


def test_a_machine_is_told_but_not_asked():
    out = []
    outlet = MachineOutlet(out.append)
    run(outlet.say("a\x1b\nb"))
    run(outlet.row(TEXT, {"line": "x"}))
    assert out == [{"notice": {"text": "a\\x1b\nb"}}, {"row": {"line": "x"}}]
    assert run(outlet.ask("who?", secret=True)) is None


def test_errors_as_objects():
    assert error_object(CommandError("E101", "x\x1b", 3, ["a\x07"])) == {
        "code": "E101",
        "msg": "x\\x1b",
        "col": 4,
        "suggest": ["a\\x07"],
    }


def test_previews_of_little():
    nothing = Selection(array.array("q"))
    assert preview_text("hold", nothing, {}, 0, "op", NOW) == "Hold 0 items, 0 octets."
    assert warnings("hold", nothing, 0, "op") == []
    assert preview_facts("hold", nothing, "T-1", 0, "op")["oldest"] is None
    held = Selection(array.array("q", [1]), 1, held_by={"op": 1})
    assert warnings("release", held, 9, "op") == []
    assert warnings("release", held, 9, "bo") == ["On hold by op 1."]


def test_a_column_without_help_has_a_schema_too():
    from netsvc.commands import Column, Table

    table = Table("x/1", (Column("a", "text"), Column("b", "duration", "how long")))
    assert json_schema(table)["properties"] == {
        "a": {"type": ["string", "null"]},
        "b": {"type": ["number", "null"], "description": "how long (seconds)"},
    }
    assert json_schema(SCHEMA)["required"] == ["schema"]


def test_rows_nobody_wants_are_not_made(desk):
    desk.service.queue.items = [item(1), item(2)]
    assert desk.type("show jobs | first 0") == ""
    desk.service.mail.boxes = {f"b{n}@example.org": [] for n in range(5)}
    assert desk.type("show mailboxes | first 1").count("\n") == 2


def test_a_change_that_the_store_cannot_make(desk):
    desk.login("root", "admin", enabled=True)
    desk.service.directory.error = StoreUnavailableError("disk is full")
    assert "% The store is not available: disk is full  [E502]" in desk.type("domain add x.example")
    desk.service.queue.totals = lambda: fail(StoreUnavailableError("gone"))
    desk.service.queue.items = [item(1), item(2)]
    assert "[E502]" in desk.type("hold all")


def test_an_audit_that_fails_twice_is_logged(desk, monkeypatch):
    kept = []
    monkeypatch.setattr("netsvc.console.session.Logbook.failure", lambda self, *a, **k: kept.append(k))
    desk.service.audit.error = OSError("disk")
    assert "E301" in desk.type("domain add x.example")
    desk.session.close()
    assert [k["what"] for k in kept] == ["audit of a failure", "audit of a logout"]


def test_store_faults_outside_calls_are_told(desk):
    desk.session.service.sessions.rows = lambda: (_ for _ in ()).throw(StoreUnavailableError("closed"))
    assert "closed  [E502]" in desk.type("who")


def test_the_own_part_of_a_long_trail(desk):
    for n in range(250):
        desk.service.audit.record("root" if n % 50 else "op", "", "", "hold", f"t{n}", "", 1, "ok")
    assert desk.type("show audit | count") == "5\n"
    assert "there are more" in desk.type("show audit limit 2")


def test_a_selection_without_a_form(desk):
    assert desk.machine("hold dry-run confirm T-1")[0]["err"]["code"] == "E103"


def test_jobs_without_times(desk):
    desk.service.queue.items = [item(1)]
    number = []
    desk.service.queue.wait = lambda n: succeed({**desk.service.queue.jobs_[0], "started": None, "done": 0})
    shown = desk.type(f"hold {desk.service.queue.items[0]['id']}")
    assert shown == "Job 17: matched 1, held 0.\n"
    assert number == []


@pytest.mark.parametrize("line", ["show queue detail limit 1", "show queue brief limit 1"])
def test_brief_and_detail(desk, line):
    desk.service.queue.items = [item(1)]
    assert desk.type(line)


def test_a_whole_queue_of_one(desk):
    desk.service.queue.items = [item(1)]
    assert "held 1" in desk.type("hold all")
    assert desk.screen.questions == []
    assert "TOTAL" in desk.type("show queue summary").split("\n")[0]
    assert desk.type("show queue summary").count("\n") == 3
