"""The Telnet door before scripted clients: C7 C13 C14 C15 C18 C19 C20 C21 C22 C24 and S4 S7 S8 S9 of the console's lists."""

import random
import re

import pytest
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from netsvc.console.telnet import TelnetFactory, TelnetListenerSettings
from netsvc.interfaces import ITerminal
from tests.console.fakehouse import DO_ECHO_SGA, REFUSAL, XTERM, Client, House

OPENING = bytes.fromhex("fffb01 fffb03 fffd1f fffd18")


def test_c7_opening_banner_and_prompt_are_one_write():
    client = Client()
    assert client.transport.writes == [
        OPENING + b"Authorised operators only. Activity is recorded.\r\nUsername: ",
    ]
    banner = client.heard().split("\r\n")[0].lower()
    assert "login" not in banner
    assert "username" not in banner


def test_c7_nothing_waits_for_the_clients_answers():
    client = Client()
    client.heard()
    assert client.say("op\r\n") == ""
    client.clock.advance(1)
    assert client.heard().endswith("Password: ")
    assert "you: op (operator)" in client.say("secret\r\n")


def test_a_capable_client_logs_in_and_works():
    client = Client()
    client.heard()
    assert client.say(DO_ECHO_SGA + XTERM) == ""
    assert client.say("op") == "op"
    assert client.say("\r\0") == "\r\nPassword: "
    assert client.say("secret") == ""
    assert client.say("\r\0") == "\r\nyou: op (operator)\r\nmx1> "
    assert client.say("show 2\r\0") == "show 2\r\nrow 0\r\nrow 1\r\nmx1> "
    verifyObject(ITerminal, client.door.terminal)
    assert client.session.source == "telnet 127.0.0.1"
    row = client.house.sessions.rows()[0]
    assert (row["kind"], row["user"], row["cmds"], row["peer"]) == ("console", "op", 1, "127.0.0.1")
    client.say("exit\r\0")
    assert client.transport.lost
    assert client.house.sessions.rows() == []
    assert client.session.closed


@pytest.mark.parametrize("end", [b"\r\n", b"\r\0", b"\n", b"\r"])
def test_c14_every_line_end_works_from_the_first_prompt_on(end):
    client = Client()
    client.heard()
    client.say(b"op" + end)
    client.clock.advance(1)
    client.say(b"secret" + end)
    client.say(b"show" + end + b"show" + end)
    assert client.session.lines == ["show", "show"]


def test_c18_a_whole_session_in_one_segment():
    client = Client()
    out = client.say("op\nsecret\nshow 1\nexit\n")
    assert "secret" not in out
    assert client.session.lines == ["show 1", "exit"]
    assert "row 0\r\n" in out
    assert client.transport.lost


@pytest.mark.parametrize("answers", [DO_ECHO_SGA + XTERM, DO_ECHO_SGA, REFUSAL, b""])
def test_c18_what_is_typed_ahead_while_the_password_is_checked_is_kept_and_never_shown_early(answers):
    client = Client()
    client.house.checker.hold = Deferred()
    client.say(answers)
    client.say("op\r")
    client.clock.advance(1)
    client.heard()
    out = client.say("secret\rsho")
    out += client.say("w 1\r")
    assert out.strip() == ""
    client.house.checker.hold.callback(None)
    out = client.heard()
    assert client.session.lines == ["show 1"]
    assert "secret" not in out
    assert ("show 1" in out) == bool(answers)  # who refuses and sends a bare CR is a program that looks for it


def test_c18_typed_ahead_of_the_password_prompt_is_not_echoed_into_it():
    client = Client()
    client.heard()
    out = client.say(DO_ECHO_SGA + XTERM + b"op\rsecret\rshow 1\r")
    assert out.startswith("op\r\nPassword: \r\nyou: op")
    assert "secret" not in out


def test_c18_commands_typed_while_one_runs_are_kept_in_order():
    client = Client()
    client.login()
    assert client.say("wait\rshow 1\rshow 2\r") == "wait\r\n"
    assert client.session.lines == ["wait"]
    client.door.terminal.running.cancel()
    assert client.session.lines == ["wait", "show 1", "show 2"]


def test_c15_control_c_cancels_what_runs_and_forgets_what_was_typed_ahead():
    client = Client()
    client.login()
    client.say("wait\rshow 1\r")
    out = client.say(b"\x03")
    assert client.session.cancelled == 1
    assert out == "^C\r\nmx1> "
    assert client.session.lines == ["wait"]


def test_c15_interrupt_and_timing_mark_in_line_mode():
    client = Client()
    client.login(b"")
    client.say("wait\r\n")
    client.heard()
    client.door.dataReceived(b"\xff\xf4\xff\xfd\x06")
    assert client.raw() == b"mx1> \xff\xfb\x06"
    assert client.session.cancelled == 1


def test_c15_are_you_there_does_not_disturb_the_line_and_is_answered_once_a_second():
    client = Client()
    client.login()
    client.say("sho")
    assert client.say(b"\xff\xf6\xff\xf6\xff\xf6") == "\r\n[mx1.example.org: yes]\r\nmx1> sho"
    assert client.say("w\r").startswith("w\r\nrow 0")


def test_c15_abort_output_throws_the_rest_away():
    client = Client()
    client.login()
    out = client.say("show 100\r")
    assert out.endswith("--More--")
    out = client.say(b"\xff\xf5")
    assert "row" not in out
    assert out.endswith("mx1> ")
    assert client.say("show 1\r").count("row") == 1


def test_c15_control_d_on_an_empty_line_is_logout():
    client = Client()
    client.login()
    client.say(b"\x04")
    assert client.transport.lost
    client = Client()
    client.login(b"")
    client.say(b"\xff\xec")
    assert client.transport.lost


def test_c20_half_close_runs_what_is_queued_and_flushes_before_the_end():
    client = Client()
    client.login(b"")
    client.say("wait\nshow 1\nshow 2\nunfinished")
    client.door.readConnectionLost()
    assert not client.transport.lost
    client.door.terminal.running.cancel()
    assert client.session.lines == ["wait", "show 1", "show 2"]
    assert client.heard().count("row") == 3
    assert client.transport.lost


def test_c20_half_close_before_the_login_ends_the_connection():
    client = Client()
    client.say("op\nsecr")
    client.door.readConnectionLost()
    assert client.transport.lost
    client = Client()
    client.door.writeConnectionLost()
    assert client.transport.lost


def test_c21_each_line_of_output_ends_in_one_crlf():
    client = Client()
    client.login()
    client.raw()
    client.door.dataReceived(b"show 3\r")
    raw = client.raw()
    assert raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r") == 4


def test_c22_no_cursor_movement_unless_the_terminal_is_known_to_be_capable():
    for answers in (b"", REFUSAL, DO_ECHO_SGA, b"\xff\xfd\x01" + XTERM):
        client = Client()
        client.login(answers)
        out = client.say(b"shw\x1b[D\x01\x0c\x7fshow 40\r")
        assert "\x1b" not in out
    client = Client()
    client.login()
    assert "\x1b[K" in client.say(b"shw\x1b[Do")


def test_c22_the_drawing_changes_when_the_answers_come_late():
    client = Client()
    client.say("op\n")
    client.clock.advance(1)
    client.say("secret\n")
    assert client.say("sh") == ""
    assert client.say(DO_ECHO_SGA) == "sh"
    assert client.say("ow") == "ow"
    client.say(XTERM)
    assert client.say(b"\x1b[D!") == "\rmx1> sho!w\x1b[K\x1b[1D"


def test_c24_a_client_that_shows_what_is_typed_is_told_after_a_second():
    client = Client()
    client.heard()
    assert client.say("op\n") == ""
    client.clock.advance(0.99)
    assert client.heard() == ""
    client.clock.advance(0.02)
    assert client.heard() == "Note: your client will show what you type.\r\nPassword: "


def test_c24_a_client_that_refused_is_told_at_once_and_one_that_agreed_never():
    client = Client()
    client.heard()
    assert client.say(REFUSAL + b"op\n") == "Note: your client will show what you type.\r\nPassword: "
    client = Client()
    client.heard()
    client.say("op\n")
    assert client.say(DO_ECHO_SGA) == "Password: "
    assert "Note" not in client.transport.value().decode("latin-1")


def test_c24_a_program_that_sends_its_password_at_once_is_not_kept_waiting():
    client = Client()
    client.heard()
    client.say("op\n")
    assert "you: op" in client.say("secret\n")
    assert "Note" not in client.transport.value().decode("latin-1")


@pytest.mark.parametrize("answers", [DO_ECHO_SGA + XTERM, DO_ECHO_SGA, REFUSAL, b""])
def test_c24_the_password_is_never_sent_back(answers):
    client = Client()
    client.login(answers, password="wrong-canary")
    client.clock.advance(1)
    assert "Access denied." in client.heard()
    client.say("op\r")
    client.clock.advance(1)
    client.say("wrong-canary\x7f\x15secret\r")
    client.say(b"\x1b[A\x10\x19\r")
    everything = client.transport.value().decode("utf-8", "replace")
    assert "canary" not in everything
    assert "canary" not in repr(client.house.logbook.records) + repr(client.house.mailbox_service.audit.rows)


def test_s7_three_tries_one_two_four_seconds_and_the_same_words():
    client = Client()
    client.say(DO_ECHO_SGA)
    for name, delay in (("op", 1), ("nobody", 2), ("op", 4)):
        client.say(f"{name}\r")
        client.heard()
        assert client.say("wrong\r") == "\r\n"
        client.clock.advance(delay - 0.01)
        assert client.heard() == ""
        client.clock.advance(0.02)
        assert client.heard().startswith("Access denied.\r\n")
    assert client.transport.lost
    assert client.house.mailbox_service.audit.rows == [
        (name, "", "telnet 127.0.0.1", "login", name, "", 0, "denied") for name in ("op", "nobody", "op")
    ]


def test_a_login_is_audited_with_its_role_and_its_source():
    client = Client()
    client.login()
    assert client.house.mailbox_service.audit.rows == [
        ("op", "operator", "telnet 127.0.0.1", "login", "op", "", 1, "ok")
    ]
    assert client.house.checker.seen[0].source == "127.0.0.1"


def test_an_audit_trail_that_fails_keeps_nobody_out():
    client = Client()
    client.house.mailbox_service.audit.error = OSError("full")
    assert "you: op" in client.login()
    assert client.house.logbook.named("console.fault")


def test_c19_long_names_and_passwords_are_wrong_ones():
    client = Client()
    client.say(DO_ECHO_SGA)
    for name, password in (("x" * 5000, "y"), ("op", "secret" + "x" * 600)):
        client.say(f"{name}\r{password}\r")
        client.clock.advance(5)
        assert "Access denied." in client.heard()


def test_c19_a_line_too_long_is_an_error_and_the_session_goes_on():
    client = Client()
    client.login(b"")
    assert "longer than 4096" in client.say("show " + "x" * 5000 + "\r\n")
    assert "row 0" in client.say("show 1\r\n")


def test_c19_before_the_login_not_more_than_8_kib_are_read():
    client = Client()
    client.house.checker.hold = Deferred()
    client.say("op\nsecret\n" + "show 1\n" * 2000)
    assert client.transport.producerState == "paused"
    client.house.checker.hold.callback(None)
    assert 0 < len(client.session.lines) < 200  # then others have their turn
    client.clock.advance(0)
    assert client.transport.producerState == "producing"
    assert len(client.session.lines) == 2000


@pytest.mark.parametrize("keys", [b"?", b"\t", b"\r", b"\x03", b"\x1b[A", b"help\r"])
def test_thousands_of_keys_at_once_are_taken_in_many_turns(keys):
    """What asks for help or ends a line costs far more than the octet that it is."""
    client = Client()
    client.login(DO_ECHO_SGA + XTERM)
    took = []
    later = client.clock.callLater
    client.clock.callLater = lambda delay, act, *args: took.append(act) or later(delay, act, *args)
    client.door.dataReceived(keys * 10_000)
    assert took.count(client.door.terminal._next_turn) == 1
    assert client.door.terminal.ahead
    client.clock.advance(0)
    assert not client.door.terminal.ahead
    assert took.count(client.door.terminal._next_turn) > 90


def test_c19_a_client_that_does_not_read_pauses_the_command_and_is_dropped_after_a_minute():
    client = Client()
    client.login(b"")
    client.transport.producer.pauseProducing()
    assert client.say("show 1000\n").count("row") == 1
    client.clock.advance(30)
    client.transport.producer.resumeProducing()
    assert client.heard().count("row") == 999
    client.transport.producer.pauseProducing()
    client.clock.advance(59)
    assert not client.transport.lost
    client.clock.advance(2)
    assert client.transport.lost


def test_t28_a_flood_of_negotiations_ends_the_connection():
    client = Client()
    client.say(b"\xff\xf1" * 64)
    assert not client.transport.lost
    client.say(b"\xff\xf1")
    assert client.transport.lost
    client = Client()
    for _ in range(16):
        client.clock.advance(1.5)
        client.say(b"\xff\xf1" * 62)
    assert not client.transport.lost
    client.clock.advance(1.5)
    client.say(b"\xff\xf1" * 62)
    assert client.transport.lost


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02\0\x01", b"GET / HTTP/1.1\r\n", b"SSH-2.0-x\r\n", b"EHLO x\r\n"])
def test_s8_what_is_no_telnet_client_is_dropped(first):
    client = Client()
    client.say(first)
    assert client.transport.lost
    assert client.house.checker.seen == []


def test_s8_a_login_has_a_minute():
    client = Client()
    client.clock.advance(59)
    assert not client.transport.lost
    client.clock.advance(2)
    assert "Too late." in client.heard()
    assert client.transport.lost


def test_s8_blank_names_are_asked_again_but_not_for_ever():
    client = Client()
    client.say("\r" * 9)
    assert not client.transport.lost
    client.say("\r")
    assert client.transport.lost


def test_s8_half_open_connections_are_few_and_loopback_keeps_a_reserve():
    house = House()
    factory = TelnetFactory(house, {"listener": "console", "allow_cleartext_from": ("192.0.2.0/24", "198.51.100.0/24")})
    there = [Client(house, factory, "192.0.2.1") for _ in range(4)]
    assert Client(house, factory, "192.0.2.1").door is None
    others = [Client(house, factory, f"198.51.100.{i}") for i in range(28)]
    assert all(c.door is not None for c in there + others)
    assert Client(house, factory, "198.51.100.99").door is None
    assert Client(house, factory).door is not None
    assert "too many" in house.logbook.named("operator.refused")[0]["why"]
    there[0].transport.loseConnection()
    assert Client(house, factory, "192.0.2.1").door is None
    others[0].transport.loseConnection()
    assert Client(house, factory, "192.0.2.1").door is not None


def test_s8_sessions_are_counted_by_user_and_in_all():
    house = House()
    factory = TelnetFactory(house, TelnetListenerSettings(sessions=3, sessions_a_user=2, reserved_for_loopback=1))
    for name, password in (("op", "secret"), ("op", "secret"), ("bo", "secret2")):
        assert "mx1>" in Client(house, factory).login(name=name, password=password)
    fourth = Client(house, factory)
    assert "Too many sessions." in fourth.login()
    assert fourth.transport.lost
    assert Client(house, factory).login(name="bo", password="secret2").endswith("mx1> ")
    assert Client(house, factory).door is None


def test_s4_who_is_not_allowed_hears_nothing():
    for peer, allowed in (("192.0.2.1", False), ("203.0.113.9", True)):
        client = Client(peer=peer, allow_cleartext_from=("203.0.113.0/24",))
        assert (client.door is not None) is allowed
        if allowed:
            assert client.heard().startswith("WARNING: this connection is not encrypted.")
        else:
            assert client.transport.value() == b""


def test_mapped_loopback_is_loopback():
    assert Client(peer="::ffff:127.0.0.1").door is not None
    assert Client(peer="::ffff:192.0.2.1").door is None
    assert Client(peer="unix").door is not None


def test_settings_are_checked():
    with pytest.raises(ValueError, match="allow_cleartext_from"):
        TelnetListenerSettings.read({"allow_cleartext_from": ("10.0.0.1/8x",)})
    with pytest.raises(ValueError, match="has host bits"):
        TelnetFactory(House(), {"allow_cleartext_from": ["10.0.0.1/8"]})


def test_s9_an_idle_session_is_warned_and_ended():
    client = Client()
    client.login()
    client.clock.advance(539)
    assert client.heard() == ""
    client.clock.advance(2)
    assert "ends in a minute" in client.heard()
    client.clock.advance(30)
    client.say("x")
    client.clock.advance(535)
    client.heard()
    client.clock.advance(10)
    assert "ends in a minute" in client.heard()
    client.clock.advance(60)
    assert "goodbye" in client.heard()
    assert client.transport.lost
    assert client.session.closed


def test_s9_a_running_command_is_no_idleness():
    client = Client()
    client.login()
    client.say("wait\r")
    for _ in range(30):
        client.clock.advance(60)
    assert not client.transport.lost
    client.say(b"\x03")
    client.clock.advance(300)
    assert not client.transport.lost


def test_questions_are_asked_on_the_terminal():
    client = Client()
    client.login()
    assert client.say("ask Go on [y/N]\r").endswith("Go on [y/N] ")
    assert client.say("y\r") == "y\r\nanswer 1\r\nmx1> "
    client.say("secret Password:\r")
    assert client.say("hush\r") == "\r\nanswer 2\r\nmx1> "
    client.say("ask Again\r")
    client.say(b"\x03")
    client.say("ask Again\r")
    client.say(b"\x04")
    assert client.session.answers == ["y", "hush", None, None]
    assert client.say(b"\x1b[A\x1b[A\x1b[A") == "ask Go on [y/N]"


def test_a_question_is_answered_by_the_next_line_of_a_pipe():
    client = Client()
    client.say("op\nsecret\nask Go on?\ny\nask Go on?\n")
    client.door.readConnectionLost()
    assert client.session.answers == ["y", None]
    assert client.transport.lost


def test_a_question_ends_with_the_connection():
    client = Client()
    client.login()
    client.say("ask Go on\r")
    client.transport.loseConnection()
    assert client.session.answers in ([], [None])
    assert client.session.closed


def test_history_leaves_secrets_out():
    client = Client()
    client.login()
    client.say("show 1\ruser add x password hush\r")
    assert "show 1" in client.say(b"\x1b[A")
    assert "hush" not in client.say(b"\x1b[A\x1b[B")


def test_tab_and_help():
    client = Client()
    client.login()
    assert client.say("ho\t") == "hold "
    client.say(b"\x15sh\t")
    assert client.say(b"\t").replace("\r\n", "|") == "|show   show things|shout  shout things|mx1> sh"
    assert "help for 'sh'" in client.say("?")
    assert client.say(b"\x15zz\t") == "\rmx1> zz\x1b[K\a"
    line = Client()
    line.login(b"")
    assert "help for 'show '" in line.say("show ?\r\n")


def test_the_pager():
    client = Client()
    client.login()
    out = client.say("show 100\r")
    assert out.count("row") == 23
    assert out.endswith("row 22\r\n--More--")
    out = client.say(" ")
    assert out.startswith("\r\x1b[Krow 23")
    assert out.count("row") == 23
    assert client.say("\r").count("row") == 1
    assert client.say("x\t").count("row") == 0
    assert client.say(" q").endswith("mx1> ")
    assert client.say("show 2\r").endswith("row 0\r\nrow 1\r\nmx1> ")
    out = client.say("show 30\r")
    assert "--More--" in out
    assert client.say("  show 1\r").endswith("mx1> ")


@pytest.mark.parametrize("key", [b"\x03", b"\x04", b"Q"])
def test_the_pager_is_left(key):
    client = Client()
    client.login()
    client.say("show 100\r")
    assert client.say(key).endswith("mx1> ")


def test_the_pager_keeps_out_of_the_way_of_scripts():
    client = Client()
    client.login()
    assert client.say("show 100\rshow 1\r").count("row") == 101
    client.session.page_length = 0
    assert client.say("show 100\r").count("row") == 100
    client.session.page_length = 11
    assert client.say("show 100\r").count("row") == 10
    client.say("q")
    line = Client()
    line.login(b"")
    assert line.say("show 100\r\n").count("row") == 100


def test_the_pager_shows_the_rest_when_the_client_closes_its_side():
    client = Client()
    client.login()
    client.say("show 100\r")
    client.door.readConnectionLost()
    assert client.heard().count("row") == 77
    assert client.transport.lost


def test_a_paged_output_ends_with_the_connection():
    client = Client()
    client.login()
    client.say("show 100\r")
    client.transport.loseConnection()
    assert client.session.closed


def test_plain_terminals_take_more_away_with_backspaces():
    client = Client()
    client.login(DO_ECHO_SGA)
    client.say("show 100\r")
    assert client.say(" ").startswith("\b \b" * 8 + "row 23")


def test_window_sizes_are_obeyed_live():
    client = Client()
    client.login()
    client.say(b"\xff\xfa\x1f\0\x28\0\x0a\xff\xf0")
    assert (client.door.terminal.width, client.door.terminal.height) == (40, 10)
    assert client.say("show 100\r").count("row") == 9


def test_progress_is_shown_where_it_can_be_taken_away():
    client = Client()
    client.login()
    assert client.say("progress\r") == "progress\r\n\r1 of 2\x1b[K\r\x1b[Kdone\r\nmx1> "
    line = Client()
    line.login(b"")
    assert line.say("progress\r\n") == "done\r\nmx1> "


def test_a_sentence_without_an_end_does_not_swallow_the_prompt():
    client = Client()
    client.login()
    assert client.say("nonsense\r").endswith("% Unknown 'nonsense'\r\nmx1> ")


def test_machine_mode_by_the_name():
    client = Client()
    client.heard()
    client.say(DO_ECHO_SGA + XTERM)
    client.say("op+m\rsecret\r")
    out = client.say("@1 show ?\rexit\r")
    lines = client.transport.value().split(b"\n")
    assert b'{"hello":{"proto":"netsvc-console/1","user":"op"}}' in lines
    assert (
        out
        == '{"row":{"line":"@1 show ?"}}\n{"end":{"status":"ok","rows":1}}\n{"row":{"line":"exit"}}\n{"end":{"status":"ok","rows":1}}\n'
    )
    assert client.transport.lost
    assert client.house.checker.seen[0].username == b"op"


def test_machine_mode_by_a_command_and_its_limits():
    client = Client()
    client.login()
    out = client.say("program\r")
    assert out.endswith('{"hello":{"proto":"netsvc-console/1","user":"op"}}\n')
    out = client.say("\r" + "x" * 70_000 + "\r")
    assert '"code":"E104"' in out
    assert out.count('"end"') == 1
    client.say("wait\r")
    client.say(b"\x03")
    assert client.session.cancelled == 1
    assert client.say(b"\x03show\r").count('"end"') == 1
    client.say(b"\xff\xfe\x01\xff\xfd\x01")
    assert client.say("x") == ""
    client.door.readConnectionLost()
    assert client.transport.lost


def test_machine_mode_waits_for_a_client_that_reads():
    client = Client()
    client.login(name="op+m")
    client.transport.producer.pauseProducing()
    client.say("show\r")
    client.transport.producer.resumeProducing()
    assert client.session.lines == ["show"]


def test_a_fault_in_a_session_is_logged_and_ends_it():
    client = Client()
    client.login()
    client.say("fault\r")
    assert client.transport.lost
    assert client.house.logbook.named("console.fault")


def test_an_operator_can_be_kicked():
    client = Client()
    client.login()
    client.house.sessions.entries()[0].kick("maintenance")
    assert "ended by an operator. maintenance" in client.heard()
    assert client.transport.lost
    assert client.session.closed


def test_the_service_stops():
    client = Client()
    client.login()
    waiting = Client(client.house, client.factory)
    gone = []
    client.factory.stop().addCallback(gone.append)
    assert "The service is stopping." in client.heard()
    assert client.transport.lost
    assert waiting.transport.lost
    assert gone
    assert Client(client.house, client.factory).door is None
    assert client.clock.getDelayedCalls() == []


def test_a_client_that_leaves_in_the_middle_of_anything_leaves_nothing_behind():
    house = House()
    factory = TelnetFactory(house, {})
    for said in ("", "op\n", "op\nwrong\n", "op\nsecret\n", "op\nsecret\nwait\n", b"op\nsecret\n\x1b"):
        client = Client(house, factory)
        client.say(said)
        client.transport.loseConnection()
        house.clock.advance(100)
        house.clock.advance(100)
    assert house.clock.getDelayedCalls() == []
    assert house.sessions.rows() == []
    assert not [r for r in house.logbook.records if r[0] == "failure"]


def test_what_was_typed_ahead_is_not_begun_when_the_client_is_gone():
    client = Client()
    client.login()
    client.say("wait\rdelete all\r")
    client.transport.loseConnection()
    assert client.session.lines == ["wait"]
    assert client.session.cancelled == 1


def test_a_client_that_never_reads_the_end_is_cut_off():
    client = Client()
    client.login()
    client.transport.loseConnection = lambda: None
    client.say("exit\r")
    assert not client.transport.lost
    client.clock.advance(61)
    assert client.transport.lost


def test_netmiko_finds_its_prompts():
    client = Client()
    out = client.heard()
    assert re.search(r"(user:|username|login|user name)", out, re.IGNORECASE)
    assert client.say(b"\xff\xfd\x01\xff\xfd\x03\xff\xfb\x1f\xff\xfa\x1f\x01\xf4\0\x32\xff\xf0\xff\xfc\x18") == ""
    assert "assword" in client.say("op\r")
    out = client.say("secret\r")
    assert re.search(r"[>#]\s*$", out)
    assert client.say("terminal width 511\r").startswith("terminal width 511\r\n")


def test_a_program_that_refuses_all_options_and_sends_bare_cr_finds_its_commands_echoed():
    client = Client()
    client.heard()
    client.say(b"\xff\xfe\x01\xff\xfe\x03\xff\xfc\x1f\xff\xfc\x18")
    out = client.say("op\r")
    assert "assword" in out
    assert "Note" not in out
    out = client.say("secret\r")
    assert "secret" not in out
    assert re.search(r"[>#]\s*$", out)
    assert client.say("terminal width 511\r\n").startswith("terminal width 511\r\n")


@pytest.mark.parametrize("seed", range(4))
def test_fuzz_no_input_breaks_a_session(seed):
    rng = random.Random(seed)
    pieces = [
        b"\xff",
        b"\xfa",
        b"\xf0",
        b"\xfb",
        b"\xfd",
        b"\x01",
        b"\x18",
        b"\x1f",
        b"\r",
        b"\n",
        b"\0",
        b"\x03",
        b"\x1b[A",
    ]
    pieces += [
        b"show 3",
        b"show 100",
        b"wait\r",
        b"ask q\r",
        b"secret q\r",
        b" ",
        b"q",
        b"\t",
        b"?",
        b"\xc3\xa9",
        b"\x7f",
        b"\x04",
    ]
    house = House()
    factory = TelnetFactory(house, {})
    for _ in range(120):
        client = Client(house, factory)
        if rng.random() < 0.8:
            client.login(rng.choice([b"", REFUSAL, DO_ECHO_SGA, DO_ECHO_SGA + XTERM]))
        for _ in range(rng.randrange(40)):
            data = b"".join(rng.choices(pieces, k=rng.randrange(1, 8))) if rng.random() < 0.8 else rng.randbytes(9)
            if client.transport.lost:
                break
            client.door.dataReceived(data)
            client.clock.advance(rng.random())
        if not client.transport.lost:
            rng.choice(
                [client.door.readConnectionLost, client.transport.loseConnection, client.transport.abortConnection]
            )()
        if not client.transport.lost:
            client.transport.loseConnection()
        house.clock.advance(100)
        house.clock.advance(100)
    assert house.sessions.rows() == []
    assert house.clock.getDelayedCalls() == []
    assert [r for r in house.logbook.records if r[0] == "failure"] == []
