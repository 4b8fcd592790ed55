"""Sessions: listed, summed up, shown one by one, ended."""

import pytest

from netsvc.console.grammar import Grammar
from netsvc.console.table import commands


class Peer:
    """A session of the registry that keeps what it was ended with; ``answer``: what its kick says."""

    def __init__(self, desk, peer="192.0.2.7", kind="smtp-in", answer=True, **facts):
        self.reasons = []
        self.answer = answer
        self.entry = desk.service.sessions.open(kind, peer, kick=self.kick, **facts)

    def kick(self, reason=""):
        self.reasons.append(reason)
        if self.answer:
            self.entry.close()
        return self.answer


@pytest.fixture
def peers(desk):
    first = Peer(desk, listener="smtp", port=4711, helo="c.example", state="rcpt")
    first.entry.octets, first.entry.messages, first.entry.commands = 5000, 3, 12
    first.entry.transaction = lambda: ("ann@example.net", ["bob@example.org", "eve@example.org"], 700)
    second = Peer(desk, listener="smtp", state="idle")
    second.entry.octets = 9000
    third = Peer(desk, "198.51.100.9", "smtp-out", domain="gmail.com", state="transaction")
    return [first, second, third]


def told(desk, name):
    return [r for r in desk.audited() if r[0] == name]


def test_sessions_are_sorted_and_limited(desk, peers):
    ids = [o["row"]["id"] for o in desk.machine("show sessions sort bytes") if "row" in o]
    assert ids == ["S2", "S1", "S3"]
    ids = [o["row"]["id"] for o in desk.machine("show sessions where kind=smtp-in sort helo") if "row" in o]
    assert ids == ["S1", "S2"]
    assert "1 of 3 shown." in desk.type("show sessions sort bytes limit 1")
    out = desk.machine("show sessions where rcpts>1 and sender=ann@* and listener=smtp and port=4711 and content<1k")
    assert out[0]["row"]["id"] == "S1"
    assert out[1]["end"]["total"] == 1
    assert desk.type("show sessions | count") == "3\n"


def test_sums(desk, peers):
    rows = [o["row"] for o in desk.machine("show sessions summary by peer") if "row" in o]
    assert [(r["key"], r["total"], r["bytes"], r["msgs"]) for r in rows] == [
        ("192.0.2.7", 2, 14000, 3),
        ("198.51.100.9", 1, 0, 0),
    ]
    rows = [o["row"] for o in desk.machine("show sessions summary by domain") if "row" in o]
    assert [(r["key"], r["total"]) for r in rows] == [("-", 2), ("gmail.com", 1)]
    assert "No sessions match" in desk.type("show sessions summary where kind=console by state")
    for n in range(30):
        Peer(desk, f"203.0.113.{n}")
    assert "and 12 more, with 12 sessions" in desk.type("show sessions summary")


def test_one_session_is_shown_with_all_its_facts(desk, peers):
    entry = peers[0].entry
    for n in range(15):
        entry.keep(b"NOOP %d" % n, b"250 2.0.0 Ok\r\n")
    out = desk.type("show session s1")
    for words in ("192.0.2.7", "4711", "c.example", "ann@example.net", "bob@example.org, eve@example.org", "700"):
        assert words in out
    assert "<< NOOP 14" in out
    assert "NOOP 9" not in out
    assert "The last 10 of 30 lines: show session S1 dialogue" in out
    row = desk.machine("show session S1")[0]["row"]
    assert row["recipients"] == ["bob@example.org", "eve@example.org"]
    assert row["dialogue"].count("\n") == 9
    whole = desk.type("show session S1 dialogue")
    assert whole.count("\n") == 30
    assert whole.startswith("14:05:12.000 << NOOP 0\n14:05:12.000 >> 250 2.0.0 Ok\n")
    first = desk.machine("show session S1 dialogue")[0]["row"]
    assert (first["direction"], first["text"], first["session"], first["ms"]) == ("in", "NOOP 0", "S1", 0)


def test_a_session_that_has_ended_is_remembered(desk, peers):
    peers[2].entry.keep_lines((("<", "220 hello"),))
    peers[2].entry.why = "lost"
    peers[2].entry.close()
    row = desk.machine("show session S3")[0]["row"]
    assert row["ended"] == "2026-11-23T14:05:12Z"
    assert row["why"] == "lost"
    assert row["dialogue"] == "14:05:12.000 << 220 hello\n14:05:12.000 -- the session has ended: lost"
    assert "S3" not in desk.type("show sessions")


def test_no_such_session(desk, peers, monkeypatch):
    assert "[E401]" in desk.type("show session S99")
    assert "[E202]" in desk.type("show session 99")
    assert "[E202]" in desk.type("show session Sx")
    assert "Nothing that was said is remembered" in desk.type("show session S2 dialogue")
    monkeypatch.setattr("netsvc.console.verbs.connections.MOST_LINES", 2)
    peers[0].entry.keep(b"a\r\nb\r\nc", b"")
    assert "The last 2 of 3 lines" in desk.type("show session S1 dialogue")


def test_one_session_is_ended_by_its_id_without_asking(desk, peers):
    out = desk.type('kick S1 reason "too many bad recipients\x1b"')
    assert out == "Ended 1 session.\n"
    assert peers[0].reasons == ["too many bad recipients\\x1b"]
    assert peers[1].reasons == []
    assert told(desk, "kick") == [
        ("kick", "S1", 'reason "too many bad recipients\\x1b"', 1, "begins"),
        ("kick", "S1", 'reason "too many bad recipients\\x1b"', 1, "ok, 0 later, 0 gone"),
    ]


def test_several_are_previewed_and_asked_about(desk, peers):
    out = desk.type("kick where peer=192.0.2.0/24", "n")
    assert "End 2 sessions." in out
    assert "Kinds: smtp-in 2" in out
    assert "Peers: 192.0.2.7 2" in out
    assert "! 1 with a transaction under way" in out
    assert "[E503]" in out
    assert peers[0].reasons == []
    assert desk.type("kick where peer=192.0.2.0/24", "y").endswith("Ended 2 sessions.\n")
    assert "No sessions match. Nothing was changed." in desk.type("kick where peer=192.0.2.0/24")


def test_many_are_counted_aloud(desk, peers, monkeypatch):
    monkeypatch.setattr("netsvc.console.verbs.connections.MANY", 2)
    for n in range(10):
        Peer(desk, f"203.0.113.{n}")
    out = desk.type("kick all", "12")
    assert "and 4 more" in out
    assert "[E503]" in out
    assert desk.type("kick all", "13").endswith("Ended 13 sessions.\n")


def test_what_waits_and_what_is_gone_is_told(desk, peers):
    peers[1].answer = False
    peers[2].entry.kick = None
    out = desk.type("kick all", "y")
    assert "Ended 1 session. 1 more as soon as the message being committed is answered. 1 had ended already." in out


def test_the_operators_own_session_stays_unless_named(desk, peers):
    own = Peer(desk, "local", "console", user="op")
    desk.session.id = own.entry.id
    assert desk.type("kick all", "y").endswith("Ended 3 sessions.\n")
    assert own.reasons == []
    desk.type(f"kick {own.entry.id}")
    assert own.reasons == [""]


def test_ids_must_be_there(desk, peers):
    peers[0].entry.keep(b"x", b"")
    peers[0].entry.close()
    assert "No such session S1. It has ended  [E401]" in desk.type("kick S1 S2")
    assert "No such session S77. There is none" in desk.type("kick S77")
    assert peers[1].reasons == []
    assert "[E103]" in desk.type("kick")


def test_programs_confirm_by_token_or_by_number(desk, peers):
    out = desk.machine("kick where kind=smtp-in")
    assert out[0]["err"]["code"] == "E303"
    token = out[0]["err"]["suggest"][0]
    rows = desk.machine(f"kick {token}")
    assert [(o["row"]["id"], o["row"]["result"]) for o in rows if "row" in o] == [("S1", "ended"), ("S2", "ended")]
    assert desk.machine("kick all expect 2")[0]["err"]["code"] == "E304"
    [preview, _] = desk.machine("kick all dry-run")
    assert preview["preview"]["count"] == 1
    assert preview["preview"]["peers"] == [["198.51.100.9", 1]]
    assert desk.machine("kick all dry-run expect 3")[0]["err"]["code"] == "E304"
    assert desk.machine(f"kick confirm {preview['preview']['token']}")[0]["row"]["result"] == "ended"
    assert desk.machine("kick all dry-run")[0]["preview"]["token"] is None
    assert desk.machine("kick all expect any")[0]["end"]["rows"] == 0
    assert desk.machine("kick S3 expect any")[0]["err"]["code"] == "E401"


def test_a_dry_run_changes_nothing(desk, peers):
    assert desk.type("kick all dry-run").endswith("Nothing was changed.\n")
    assert [p.reasons for p in peers] == [[], [], []]


def test_viewers_end_nothing(desk, peers):
    desk.login("vi", "viewer")
    assert "[E301]" in desk.type("kick S1")
    assert peers[0].reasons == []


def test_help_and_tab_know_sessions(desk):
    assert "a session, S12" in desk.session.help("kick ")
    assert "sessions, S12" in desk.type("help kick")
    assert desk.session.complete("show sessions sort by").insert == "tes "
    options, _ = Grammar(commands()).options("kick S1 ", 0, lambda command: True)
    assert any(option.help == "a session, S12" for option in options)
    assert "[E104]" in desk.type("kick 12")
    assert "[E104]" in desk.type('kick "S12"')


def test_many_sessions_are_looked_at_in_slices(desk, peers, monkeypatch):
    monkeypatch.setattr("netsvc.console.verbs.connections.SLICE", 4)
    for n in range(9):
        Peer(desk, f"203.0.113.{n}")
    done = []
    desk.start("show sessions where kind=smtp-in | count").addBoth(done.append)
    assert not done
    for _ in range(9):
        desk.clock.advance(0)
    assert done == [None]
    assert desk.screen.text.endswith("11\n")


def test_many_sessions_are_ended_in_slices(desk, peers, monkeypatch):
    monkeypatch.setattr("netsvc.console.verbs.connections.ENDED_AT_ONCE", 2)
    done = []
    desk.start("kick all", "y").addBoth(done.append)
    assert not done
    desk.clock.advance(0)
    assert done == [None]
    assert [p.reasons for p in peers] == [[""], [""], [""]]


def test_ids_are_needed(desk, peers):
    assert "[E103]" in desk.type('kick reason "why"')
    assert desk.machine("kick where peer=203.0.113.1 expect 5")[0]["err"]["code"] == "E304"
