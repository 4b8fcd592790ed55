"""Blocks and pauses on the console."""

import pytest

from netsvc.records import StoreError
from tests.console.fakeservice import NOW


class Listening:
    def __init__(self, name, guarded=True):
        self.name, self.guarded = name, guarded
        self.protocol, self.address, self.tls = "smtp", "127.0.0.1:25", "none"
        self.accepted, self.refused = 12, 3


@pytest.fixture(autouse=True)
def ports(desk):
    desk.service.doors.attach(Listening("smtp"))
    desk.service.doors.attach(Listening("console", guarded=False))


def rules(desk):
    return [(r.kind, r.key, r.reason, r.actor, r.until) for r in desk.service.door_rules.kept.values()]


def test_a_network_is_blocked_for_a_time(desk):
    out = desk.type('block peer 192.0.2.9/24 for 2h reason "spam run"')
    assert out == "192.0.2.0/24 is blocked for 2h00m.\n"
    assert rules(desk) == [("block", "192.0.2.0/24", "spam run", "op", NOW + 7_200_000)]
    assert ("block peer", "192.0.2.0/24", 'reason "spam run" for 2h00m', 1, "ok") in desk.audited()
    assert "spam run" in desk.type("show blocks")
    row = desk.machine("show blocks")[0]["row"]
    assert (row["network"], row["by"], row["until"]) == ("192.0.2.0/24", "op", "2026-11-23T16:05:12Z")


def test_an_address_is_blocked_for_good_and_let_in_again(desk):
    assert desk.type("block peer 2001:db8::7") == ("2001:db8::7 is blocked until you say: unblock peer 2001:db8::7.\n")
    assert desk.type("block peer ::ffff:198.51.100.7").startswith("198.51.100.7 is blocked")
    assert [key for _, key, *_ in rules(desk)] == ["2001:db8::7/128", "198.51.100.7/32"]
    assert "is not blocked any more" in desk.type("unblock peer 2001:db8::7")
    assert "[E401]" in desk.type("unblock peer 2001:db8::7")
    assert desk.machine("unblock peer 198.51.100.7")[0]["row"]["verb"] == "unblock peer"
    assert "Nobody is blocked" in desk.type("show blocks")


def test_a_part_of_a_block_cannot_be_let_in(desk):
    desk.type("block peer 192.0.2.0/24")
    out = desk.type("unblock peer 192.0.2.7")
    assert "192.0.2.7 is not blocked; it is in 192.0.2.0/24, which is" in out
    assert "unblock peer 192.0.2.0/24" in out


@pytest.mark.parametrize("network", ["127.0.0.1", "127.0.0.0/8", "::1", "0.0.0.0/0", "::/0", "::ffff:127.0.0.1"])
def test_this_host_is_blocked_only_by_force(desk, network):
    assert "[E405]" in desk.type(f"block peer {network}")
    assert rules(desk) == []
    assert "is blocked" in desk.type(f"block peer {network} force")
    assert "force" in desk.audited()[-1][2]


@pytest.mark.parametrize("line", ["block peer x", "block peer 192.0.2.300", "block peer 1.2.3.4 for 0s",
                                  "block peer 1.2.3.4 for 9999w", "unblock peer ''"])  # fmt: skip
def test_what_is_no_network_is_refused(desk, line):
    assert "[E202]" in desk.type(line)
    assert rules(desk) == []


def test_present_sessions_go_on_unless_kick_is_said(desk):
    kicked = []
    for peer in ("192.0.2.7", "192.0.2.8", "203.0.113.1"):
        desk.service.sessions.open("smtp-in", peer, kick=kicked.append)
    desk.service.sessions.open("console", "192.0.2.7", kick=kicked.append)
    desk.service.sessions.open("smtp-in", "local", kick=kicked.append)
    assert "2 sessions go on: kick where peer=192.0.2.0/24" in desk.type("block peer 192.0.2.0/24")
    assert kicked == []
    assert "2 sessions of it ended." in desk.type("block peer 192.0.2.0/24 kick reason spam")
    assert kicked == ["spam", "spam"]
    assert desk.audited()[-1][2] == 'reason "spam" kicked 2'


def test_a_listener_is_paused_and_resumed(desk):
    desk.service.sessions.open("smtp-in", "192.0.2.7", listener="smtp")
    out = desk.type('pause listener smtp for 30m reason "new disk"')
    assert out == "smtp is paused for 30m. 1 session goes on.\n"
    row = desk.machine("show listeners")[0]["row"]
    assert (row["name"], row["state"], row["by"], row["reason"]) == ("smtp", "paused", "op", "new disk")
    assert (row["sessions"], row["accepted"], row["refused"], row["until"]) == (1, 12, 3, "2026-11-23T14:35:12Z")
    assert "takes connections again" in desk.type("resume listener smtp")
    assert "[E405]" in desk.type("resume listener smtp")
    assert "until you say: resume listener smtp" in desk.type("pause listener smtp")
    assert [(r[0], r[1]) for r in desk.audited() if r[4] == "ok"] == [
        ("pause listener", "smtp"), ("resume listener", "smtp"), ("pause listener", "smtp"),
    ]  # fmt: skip


def test_operators_are_locked_out_only_by_force(desk):
    assert "[E405]" in desk.type("pause listener console")
    assert desk.service.doors.paused("console") is None
    desk.type("pause listener console for 1h force")
    assert desk.service.doors.paused("console")


def test_no_such_listener(desk):
    out = desk.type("pause listener pop3")
    assert 'No listener "pop3". There are: smtp, console' in out
    assert "[E401]" in out
    assert "[E401]" in desk.type("resume listener pop3")


def test_listeners_are_shown_to_viewers_who_change_nothing(desk):
    desk.login("vi", "viewer")
    assert desk.type("show listeners").count("\n") == 3
    for line in ("block peer 192.0.2.7", "unblock peer 192.0.2.7", "pause listener smtp", "resume listener smtp"):
        assert "[E301]" in desk.type(line)


def test_a_store_that_refuses_is_told(desk):
    desk.service.door_rules.error = StoreError("there are 10000 already")
    assert "there are 10000 already  [E405]" in desk.type("block peer 192.0.2.7")
    desk.service.door_rules.error = None
    assert "is blocked" in desk.type("block peer 192.0.2.8")
