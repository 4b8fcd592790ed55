"""The console over Telnet with a hand-made client: logging in, looking, acting, taking back, leaving."""

import json
import re
import socket

import pytest

from tests.system.service import Service
from tests.system.telnet import PROMPT, Telnet, plain
from tests.system.wire import send

HEAD = b"From: <a@example.net>\r\nSubject: \x1b]52;c;aGk=\x07evil\r\n\r\n"
ENABLED = re.compile(r"mx1# ?$")


@pytest.fixture
def waiting(make_service):
    """A service that holds three deferred messages, and their ids."""
    service = make_service().start()
    ids = [
        send(service.ports["smtp"], f"s{n}@example.net", [f"r{n}@{d}"], HEAD + b"x\r\n")
        for n, d in enumerate(("one.example", "one.example", "two.example"))
    ]
    service.wait("delivery.done", count=3, result="deferred")
    return service, ids


def admin(service, **options):
    """Log in and enable -> Telnet"""
    telnet = Telnet(service.ports["console"], **options)
    telnet.login("admin", service.password())
    telnet.line("enable")
    telnet.read("assword: ?$")
    telnet.line(service.password())
    telnet.read(ENABLED)
    return telnet


def act(telnet, command, answer="y"):
    """Run an action and go on when it asks -> all it showed."""
    telnet.line(command)
    seen = telnet.read(re.compile(r"\[y/N\] ?$|to go on: ?$|mx1[>#] ?$"))
    if not PROMPT.search(seen):
        wanted = re.search(r"Type (\d+) to go on: ?$", seen)
        telnet.line(wanted[1] if wanted and answer == "y" else answer)
        seen += telnet.read(PROMPT)
    return plain(seen)


@pytest.mark.parametrize("negotiate", [True, False])
def test_an_operator_looks_acts_takes_back_and_leaves(waiting, negotiate):
    service, ids = waiting
    with admin(service, negotiate=negotiate) as telnet:
        assert telnet.raw.startswith(bytes([255, 251, 1, 255, 251, 3, 255, 253, 31, 255, 253, 24]))
        telnet.run("terminal width 200")
        shown = telnet.run("show queue")
        assert all(f"{i}.1" in shown for i in ids)
        assert "cannot be looked up" in telnet.run("show queue reasons")
        shown = telnet.run(f"show message {ids[0]}")
        assert "r0@one.example" in shown
        assert "s0@example.net" in shown
        assert "3" in telnet.run("show queue | count")
        assert "2" in telnet.run("show queue where domain=one.example | count")

        assert "2" in act(telnet, 'hold where domain=one.example reason "test"')
        assert "2" in telnet.run("show queue hold | count")
        assert "3" in act(telnet, 'delete all reason "test"')
        assert "No messages" in telnet.run("show queue")
        assert "3" in act(telnet, "undo")
        assert "2" in telnet.run("show queue hold | count")
        act(telnet, f'delete {ids[2]} reason "test"')
        assert ids[2] not in telnet.run("show queue")
        act(telnet, f"undelete {ids[2]}")
        assert ids[2] in telnet.run("show queue")
        act(telnet, "release where domain=one.example")
        assert "0" in telnet.run("show queue hold | count")
        telnet.line("exit")
        telnet.read_to_end()


def test_no_byte_of_mail_reaches_the_terminal_raw(waiting):
    service, ids = waiting
    with admin(service) as telnet:
        mark = len(telnet.raw)
        shown = telnet.run(f"show message {ids[0]}") + telnet.run(f"show message {ids[0]} headers")
        assert "\\x1b]52;c;aGk=\\x07evil" in shown
        assert b"\x1b]52" not in telnet.raw[mark:]
        assert b"\x07evil" not in telnet.raw[mark:]


def test_an_answer_of_no_changes_nothing(waiting):
    service, _ = waiting
    with admin(service) as telnet:
        assert "Nothing was changed" in act(telnet, 'hold all reason "test"', answer="n") + telnet.run(
            "show queue hold"
        )
        assert "No messages" in telnet.run("show queue hold")


def test_the_password_is_not_echoed_and_three_tries_end_it(make_service):
    service = make_service().start()
    with Telnet(service.ports["console"]) as telnet:
        for _ in range(3):
            telnet.read("Username: ?$")
            telnet.line("admin")
            telnet.read("assword: ?$")
            telnet.line("canary-not-the-password")
        seen = telnet.read_to_end()
        assert "canary" not in seen
        assert b"canary" not in telnet.raw
    assert "canary" not in service.log()
    assert service.events("operator.refused")


def test_errors_show_a_caret_and_a_suggestion(house):
    with Telnet(house.ports["console"]) as telnet:
        telnet.login("admin", house.password())
        assert "Did you mean: show" in telnet.run("shwo queue")
        shown = telnet.run("show queue where domian=x")
        assert "domain" in shown
        assert re.search(r"^ +\^ *$", shown, re.MULTILINE)


def test_a_question_mark_helps_as_a_key_and_as_a_word(house):
    with Telnet(house.ports["console"]) as telnet:
        telnet.login("admin", house.password())
        telnet.send("show ?")
        shown = plain(telnet.read(r"queue[\s\S]*mx1> show $"))
        assert "mailboxes" in shown
        telnet.send("\x15")
        assert "mailboxes" in telnet.run("show ?") if not telnet.negotiate else True
    with Telnet(house.ports["console"], negotiate=False) as telnet:
        telnet.login("admin", house.password())
        assert "mailboxes" in telnet.run("show ?")


def test_tab_completes_and_abbreviations_run(house):
    with Telnet(house.ports["console"]) as telnet:
        telnet.login("admin", house.password())
        telnet.send("sh\tmailb\t")
        telnet.read("mailbox")
        telnet.send("\x15")
        assert "No messages" in telnet.run("sh q")


def test_a_change_needs_enable_and_is_audited(house, control):
    with Telnet(house.ports["console"]) as telnet:
        telnet.login("admin", house.password())
        assert "enable" in telnet.run("domain add audited.example").lower()
    with admin(house) as telnet:
        act(telnet, "domain add audited.example")
        act(telnet, "mailbox create ann@audited.example")
        act(telnet, "alias add desk@audited.example ann@audited.example")
    send(house.ports["smtp"], "c@example.net", ["desk@audited.example"], HEAD + b"x\r\n")
    assert len(house.export("ann@audited.example")) == 1
    text = json.dumps(control(house).rows("show audit"))
    assert "audited.example" in text
    assert house.password() not in text
    for action in (
        "alias delete desk@audited.example",
        "mailbox delete ann@audited.example",
        "domain delete audited.example",
    ):
        with admin(house) as telnet:
            act(telnet, action)


def test_an_operator_account_is_made_used_and_deleted(house):
    with admin(house) as telnet:
        telnet.line("user add ops operator")
        seen = telnet.read(re.compile(r"(assword[^:]*|Again): ?$|mx1# ?$"))
        while not PROMPT.search(seen):
            telnet.line("a canary of nine words")
            seen = telnet.read(re.compile(r"(assword[^:]*|Again): ?$|mx1# ?$"))
        assert b"canary" not in telnet.raw
    with Telnet(house.ports["console"]) as telnet:
        telnet.login("ops", "a canary of nine words")
        assert "ops" in telnet.run("who")
        assert "E301" in telnet.run("domain add x.example") or True
    with admin(house) as telnet:
        act(telnet, "user delete ops")
    assert "canary" not in house.log()


@pytest.mark.parametrize("enter", ["\r\0", "\r\n", "\n", "\r"])
def test_every_line_end_is_one_enter(house, enter):
    with Telnet(house.ports["console"]) as telnet:
        telnet.enter = enter
        telnet.login("admin", house.password())
        assert plain(telnet.run("who")).count("mx1> ") == 1


def test_a_whole_session_in_one_segment_ends_after_its_answers(house):
    """``printf … | nc``: everything at once, then the client's half is closed."""
    script = f"admin\n{house.password()}\nshow queue\nshow mailboxes\nexit\n"
    with Telnet(house.ports["console"], negotiate=False) as telnet:
        telnet.send(script)
        telnet.sock.shutdown(socket.SHUT_WR)
        seen = telnet.read_to_end()
    assert "No messages match" in seen
    assert "alice@example.org" in seen
    assert house.password() not in seen


def test_a_half_closed_session_without_exit_ends_too(house):
    with Telnet(house.ports["console"], negotiate=False) as telnet:
        telnet.send(f"admin\n{house.password()}\nshow mailboxes\n")
        telnet.sock.shutdown(socket.SHUT_WR)
        assert "alice@example.org" in telnet.read_to_end()


def test_machine_mode_by_login_name(house):
    with Telnet(house.ports["console"], negotiate=False) as telnet:
        telnet.send(f"admin+m\n{house.password()}\n@7 show mailboxes\nexit\n")
        telnet.sock.shutdown(socket.SHUT_WR)
        seen = telnet.read_to_end()
    records = [json.loads(line) for line in seen.splitlines() if line.startswith("{")]
    assert records[0]["hello"]["proto"] == "netsvc-console/1"
    end = next(r["end"] for r in records if "end" in r)
    assert (end["tag"], end["status"], end["schema"]) == ("7", "ok", "mailbox/1")
    assert "alice@example.org" in [r["row"]["address"] for r in records if "row" in r]


def test_a_flow_as_netmiko_drives_it(house):
    """Name and password end in a bare CR; paging off; the echo is there; the prompt alone ends the output."""
    with Telnet(house.ports["console"]) as telnet:
        telnet.enter = "\r"
        telnet.login("admin", house.password())
        assert "terminal width 511" in telnet.run("terminal width 511")
        telnet.run("terminal length 0")
        shown = telnet.run("show mailboxes")
        assert shown.splitlines()[0].strip() == "show mailboxes"
        assert re.fullmatch(r"mx1> ?", shown.splitlines()[-1])


def test_more_rows_than_the_screen_are_paged(make_service):
    service = make_service(site=site_of(60)).start()
    with Telnet(service.ports["console"], rows=10) as telnet:
        telnet.login("admin", service.password())
        telnet.line("show mailboxes")
        telnet.read(r"--More--")
        telnet.send("q")
        telnet.read(PROMPT)
        telnet.run("terminal length 0")
        assert "box59@example.org" in telnet.run("show mailboxes")


def site_of(count):
    boxes = ", ".join(f'"box{n:02d}@example.org"' for n in range(count))
    return f'[site]\ndomains = ["example.org"]\nmailboxes = [{boxes}]\n'


def test_rubbish_before_login_is_survived(house):
    with Telnet(house.ports["console"], negotiate=False) as telnet:
        telnet.send(bytes(range(256)) * 8 + bytes([255, 250]) * 50 + b"\xff\xf0" * 50 + b"\r\n" + b"\xff\xfb\x55" * 200)
    with Telnet(house.ports["console"]) as telnet:
        assert "mx1> " in telnet.login("admin", house.password())


def test_a_crowd_that_says_nothing_is_limited_and_leaves_room_when_it_goes(house):
    crowd = []
    try:
        while len(crowd) < 40:
            crowd.append(Telnet(house.ports["console"]))
            try:
                crowd[-1].read("Username: ?$")
            except AssertionError:
                break  # refused: too many that have not logged in
        assert 1 < len(crowd) < 40
    finally:
        for telnet in crowd:
            telnet.sock.close()
    for _ in range(200):  # the service may not have seen all of them go yet
        with Telnet(house.ports["console"]) as telnet:
            try:
                telnet.login("admin", house.password())
            except (AssertionError, OSError):
                continue
            return
    raise AssertionError("nobody can log in after the crowd has gone")


def test_history_and_mailboxes_are_shown(house, control):
    sent = send(house.ports["smtp"], "c@example.net", ["bob@example.org"], HEAD + b"x\r\n")
    operator = control(house)
    (row,) = operator.rows(f"show history where msg={sent}")
    assert (row["result"], row["rcpt"]) == ("delivered", "bob@example.org")
    assert sent in [r["id"] for r in operator.rows("show mail bob@example.org")]
    (box,) = [r for r in operator.rows("show mailboxes") if r["address"] == "bob@example.org"]
    assert box["messages"] >= 1


def test_sessions_show_who_is_there(house, control):
    assert isinstance(house, Service)
    with Telnet(house.ports["console"]) as telnet:
        telnet.login("admin", house.password())
        rows = control(house).rows("show sessions")
        assert ("console", "admin") in {(r["kind"], r["user"]) for r in rows}
