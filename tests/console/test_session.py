"""Sessions: roles, enable, errors, cancelling, help, completion, what is audited and remembered."""

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface.verify import verifyObject

from netsvc.interfaces import IConsole, IConsoleSession
from netsvc.records import StoreError, StoreUnavailableError
from tests.console.conftest import Screen
from tests.console.fakeservice import item


def test_promises_are_kept(desk):
    assert verifyObject(IConsole, desk.console)
    assert verifyObject(IConsoleSession, desk.session)


def test_greeting(desk):
    desk.service.queue.items = [item(1), item(2, state="hold")]
    desk.service.sessions.list = [
        {"kind": "console", "user": "bo"},
        {"kind": "console", "user": "op"},
        {"kind": "smtp-in", "user": "x"},
    ]
    desk.session.operator.last_at = 1_795_369_200_000
    desk.session.operator.last_from = "127.0.0.1\x1b"
    desk.session.operator.fails = 1
    seen = []
    desk.session.greeting().addCallback(seen.append)
    assert seen[0].split("\n") == [
        "mx1  netsvc 1.0  up 12d00h  |  you: op (operator)  from telnet 127.0.0.1",
        "Last access 2026-11-22 17:40:00 from 127.0.0.1\\x1b, 1 failed attempt since.",
        "Queue 2: incoming 0, active 0, deferred 1, hold 1.  Oldest 2h31m.",
        "Also here: bo.",
        "Type ? for a list of commands, help for more.",
    ]
    assert not any(line.endswith((">", "#")) or "login" in line.lower() for line in seen[0].split("\n"))


def test_greeting_of_a_first_access_and_a_store_that_is_gone(desk):
    desk.session.operator.fails = 3
    desk.service.queue.error = StoreUnavailableError("gone")
    seen = []
    desk.session.greeting().addCallback(seen.append)
    assert "3 failed attempts so far." in seen[0]
    assert "The store does not answer." in seen[0]
    desk.service.queue.error = None
    desk.session.greeting().addCallback(seen.append)
    assert "The queue is empty." in seen[1]


def test_prompt_and_enable(desk):
    desk.login("root", "admin")
    assert desk.session.prompt == "mx1>"
    assert "E302" in desk.type("domain add x.example")
    assert desk.type("enable", "a long secret") == ""
    assert desk.screen.questions == [("Password: ", True)]
    assert desk.session.prompt == "mx1#"
    assert "added" in desk.type("domain add x.example")
    assert "already" in desk.type("enable")
    desk.clock.advance(599)
    assert "added" in desk.type("domain add y.example")
    desk.clock.advance(599)
    assert desk.session.prompt == "mx1#"
    desk.clock.advance(2)
    assert desk.session.prompt == "mx1>"
    assert "E302" in desk.type("domain add z.example")
    desk.type("enable", "a long secret")
    desk.type("disable")
    assert desk.session.prompt == "mx1>"
    assert "a long secret" not in str(desk.service.audit.rows)


def test_enable_with_a_wrong_password_takes_longer_each_time(desk):
    desk.login("root", "admin")
    assert "Access denied" in desk.type("enable", "wrong")
    for wait in (1, 2, 4, 8, 16, 16):
        desk.start("enable", "wrong")
        before = desk.screen.text
        desk.clock.advance(wait - 0.1)
        assert desk.screen.text == before
        desk.clock.advance(0.2)
        assert "Access denied" in desk.screen.text[len(before) :]
    assert ("enable", "root", "", 0, "refused") in desk.audited()
    desk.start("enable", None)
    desk.clock.advance(20)
    assert desk.session.prompt == "mx1>"


def test_a_cancelled_enable_is_no_wrong_password(desk):
    desk.login("root", "admin")
    assert "% Cancelled. Nothing was changed  [E503]" in desk.type("enable", None)
    assert not desk.session.enabled
    assert desk.session.enable_failures == 0
    assert desk.audited() == []


def test_enable_is_for_admins_and_for_those_who_can_be_asked(desk):
    assert "E301" in desk.type("enable")
    assert ("enable", "op", "", 0, "refused E301") in desk.audited()
    desk.login("root", "admin")
    assert desk.machine("enable")[0]["err"]["code"] == "E303"
    assert desk.machine('enable password "a long secret"')[-1]["end"]["status"] == "ok"
    assert desk.session.enabled
    assert "secret" not in str(desk.session.typed) + str(desk.service.audit.rows)


def test_the_control_sockets_operator_stands_enabled(desk):
    desk.login("root", "admin", enabled=True)
    assert desk.session.prompt == "mx1#"
    assert "stands enabled" in desk.type("disable")
    desk.clock.advance(10_000)
    assert "added" in desk.type("domain add x.example")


def test_roles(desk):
    desk.login("v", "viewer")
    shown = desk.type("hold all")
    assert "% Not permitted for role viewer. Needs: operator  [E301]" in shown
    assert desk.audited() == [("hold", "", "hold all", 0, "error E301")]
    assert "hold" not in [word for word, _ in desk.session.complete("").candidates]
    assert "hold" not in desk.session.help("")
    assert "domain add" not in desk.type("help")


def test_errors_show_a_caret_below_the_place(desk):
    assert desk.type("show queue where domian=gmail.com") == (
        "show queue where domian=gmail.com\n"
        "                 ^\n"
        '% No field "domian" on queue. Did you mean: domain  [E201]   help fields queue\n'
    )


def test_the_place_stays_on_the_screen(desk):
    desk.screen.width = 40
    lines = desk.type("show queue where " + "size>1 and " * 10 + "domian=x").split("\n")
    assert len(lines[1]) <= 40
    assert lines[0][len(lines[1]) - 1 :].startswith("d")
    desk.session.page_width = 0
    assert len(desk.type("show queue where " + "size>1 and " * 10 + "domian=x").split("\n")[1]) > 100


def test_hostile_lines_are_shown_safely(desk):
    shown = desk.type("show \x1b]0;x\x07\u202e\x00")
    assert "\x1b" not in shown
    assert "\\x1b" in shown


def test_a_store_that_fails(desk):
    for error, code in (
        (StoreUnavailableError("disk is full"), "E502"),
        (StoreError("It cannot be so."), "E405"),
        (StoreError("Busy: 2 bulk jobs already running (show jobs)."), "E501"),
        (ZeroDivisionError("a bug"), "E500"),
    ):
        desk.service.queue.error = error
        shown = desk.type("show queue")
        assert f"[{code}]" in shown
        assert "a bug" not in shown
        assert desk.machine("@1 show queue")[-1]["end"] == {
            "tag": "1",
            "status": "error",
            "rows": 0,
            "total": None,
            "ms": 0,
            "schema": "queue.item/1",
        }


@pytest.fixture(autouse=True)
def quiet_log(monkeypatch):
    """Keep faults out of trial's log observer, which fails tests that log failures."""
    kept = []
    monkeypatch.setattr("netsvc.console.session.Logbook.failure", lambda self, *a, **k: kept.append((a, k)))
    return kept


def test_a_fault_of_ours_is_logged(desk, quiet_log):
    desk.service.queue.error = ZeroDivisionError("a bug")
    desk.type("show queue")
    assert quiet_log == [(("console.fault",), {"session": "telnet 127.0.0.1", "what": "show queue"})]


def test_a_store_that_does_not_answer(desk):
    desk.service.queue.silent = True
    running = desk.start("show queue")
    desk.clock.advance(31)
    assert "did not answer in 30 s" in desk.screen.text
    assert running.called


def test_cancelling(desk):
    desk.service.queue.silent = True
    desk.start("show queue").cancel()
    assert desk.screen.text == "% Cancelled. Nothing was changed  [E503]\n"
    assert desk.session.end["status"] == "cancelled"
    assert desk.session.end["err"]["code"] == "E503"


def test_cancelling_a_change(desk):
    desk.login("root", "admin", enabled=True)
    desk.service.directory.silent = True
    desk.start("domain add y.example").cancel()
    assert "may have been made" in desk.screen.text


def test_closing_cancels_and_is_audited_once(desk):
    desk.service.queue.silent = True
    desk.start("show queue")
    desk.session.close()
    desk.session.close()
    assert "Cancelled" in desk.screen.text
    assert desk.audited() == [("logout", "op", "", 1, "ok")]


def test_an_audit_trail_that_fails(desk):
    desk.login("root", "admin", enabled=True)
    desk.service.audit.error = OSError("disk")
    assert "E502" in desk.type("domain add x.example")
    assert "E301" in desk.type("enable") or True
    desk.session.close()


def test_cancelled_while_the_audit_is_written(desk, monkeypatch):
    desk.login("root", "admin", enabled=True)
    monkeypatch.setattr(desk.service.audit, "record", lambda *a: Deferred())
    desk.start("domain add x.example").cancel()
    assert "Cancelled" in desk.screen.text


def test_question_mark_as_a_word(desk):
    assert "queue" in desk.type("show ?")
    assert "show" in desk.type("?")
    assert "show" in desk.type(" ? ")
    assert desk.session.typed == []


def test_empty_lines_and_comments(desk):
    assert desk.type("") == ""
    assert desk.type("# show queue") == ""
    assert desk.machine("") == []
    assert desk.machine("! x") == []
    assert [list(thing) for thing in desk.machine("@b # x")] == [["end"]]


def test_history_hides_secrets(desk):
    desk.type("show version")
    desk.type("user add bo role viewer password canary-word")
    desk.type("   ")
    assert desk.type("history") == (
        "   1  show version\n   2  user add bo role viewer password <hidden>\n   3  history\n"
    )
    assert desk.session.is_secret("user add bo role viewer password canary-word")
    assert not desk.session.is_secret("show version")
    assert "canary" not in str(desk.service.audit.rows)


def test_machine_mode_has_exactly_one_end(desk):
    desk.service.queue.items = [item(1), item(2)]
    out = desk.machine("@7 show queue limit 1")
    assert [next(iter(thing)) for thing in out] == ["row", "end"]
    assert out[-1]["end"] == {
        "tag": "7",
        "status": "ok",
        "rows": 1,
        "total": 2,
        "ms": 0,
        "schema": "queue.item/1",
    }
    for line in ("shwo", "@x show queue where age>", "@ bad", 'show "', "show queue | first x", "x" * 70_000):
        out = desk.machine(line)
        assert [next(iter(thing)) for thing in out] == ["err", "end"]
        assert out[-1]["end"]["status"] == "error"
    assert desk.machine("@x show queue where age>")[0]["err"]["col"] == 25
    assert desk.machine("@x show queue where age>")[1]["end"]["tag"] == "x"


def test_machine_mode_waits_for_whoever_reads(desk):
    desk.service.queue.items = [item(n) for n in range(5)]
    pressure, out = [], []

    def write(thing):
        out.append(thing)
        pressure.append(Deferred())
        return pressure[-1]

    done = desk.session.execute_machine("show queue", write)
    while not done.called:
        assert len(out) == len(pressure)
        pressure[-1].callback(None)
    assert len(out) == 6


def test_people_are_waited_for_too(desk):
    desk.service.queue.items = [item(n) for n in range(300)]
    desk.screen.pressure = pressure = Deferred()
    done = desk.start("show queue limit 300")
    assert desk.screen.text.count("\n") == 101
    desk.screen.pressure = None
    pressure.callback(None)
    assert done.called
    assert desk.screen.text.count("\n") == 301


def test_run_gathers(desk, monkeypatch):
    desk.service.queue.items = [item(1)]
    got = []
    desk.session.run("show queue").addCallback(got.append)
    assert (len(got[0].rows), got[0].schema, got[0].end["status"], got[0].error) == (1, "queue.item/1", "ok", None)
    desk.session.run("shwo").addCallback(got.append)
    assert got[1].error["code"] == "E101"
    desk.session.run("").addCallback(got.append)
    assert got[2].rows == ()
    monkeypatch.setattr("netsvc.console.session.MAX_RESULT", 0)
    desk.session.run("show queue").addCallback(got.append)
    assert got[3].error["code"] == "E206"


def test_hello(desk):
    assert desk.session.hello() == {
        "proto": "netsvc-console/1",
        "node": "mx1.example.org",
        "version": "1.0",
        "user": "op",
        "role": "operator",
    }


def test_this_session(desk):
    assert "role     operator" in desk.type("whoami")
    desk.type("terminal length 0")
    desk.type("terminal width 511")
    assert (desk.session.page_length, desk.session.page_width) == (0, 511)
    assert "E202" in desk.type("terminal width 5")
    assert "511" in desk.type("show terminal")
    desk.type("terminal style list")
    desk.service.queue.items = [item(1)]
    assert "state     deferred" in desk.type("show queue")
    assert "STATE" in desk.type("show queue | table")
    desk.type("terminal machine")
    assert desk.session.machine
    assert not desk.session.ended
    desk.type("quit")
    assert desk.session.ended


def test_narrow_screens_and_foreign_terminals(desk):
    desk.screen = Screen(width=40, interactive=False)
    desk.service.queue.items = [item(1, subject="x")]
    assert all(len(line) <= 40 for line in desk.type("show queue").split("\n"))


def test_deferreds_of_the_service_may_fail_late(desk):
    desk.service.queue.page = lambda *a: fail(StoreUnavailableError(""))
    assert "E502" in desk.type("show queue")
    desk.service.queue.page = lambda *a: succeed(None)
    assert "E500" in desk.type("show queue")
