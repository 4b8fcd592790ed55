"""The registry of live sessions."""

import sys

from zope.interface.verify import verifyObject

from netsvc.flightrecorder import lines_of
from netsvc.interfaces import ISessionEntry, ISessions
from netsvc.sessions import Sessions

SCHEMA = [
    "id",
    "kind",
    "peer",
    "user",
    "state",
    "since",
    "idle",
    "cmds",
    "msgs",
    "bytes",
    "tls",
    "helo",
    "domain",
    "node",
    "listener",
    "port",
    "in_state",
    "sender",
    "rcpts",
    "content",
    "ended",
    "why",
]


class Ticks:
    def __init__(self):
        self.ms = 1000

    def __call__(self):
        return self.ms


def test_keeps_its_promises():
    sessions = Sessions()
    assert verifyObject(ISessions, sessions)
    assert verifyObject(ISessionEntry, sessions.open("smtp-in", "192.0.2.1"))


def test_rows_have_the_fields_of_the_schema_oldest_first():
    now = Ticks()
    sessions = Sessions("mx1", now)
    first = sessions.open("smtp-in", "192.0.2.1", listener="smtp", state="greeting")
    now.ms = 2000
    second = sessions.open("console", "127.0.0.1", user="op")
    now.ms = 3500
    first.state = "data"
    first.commands, first.messages, first.octets = 4, 1, 999
    now.ms = 4000
    rows = sessions.rows()
    assert [list(row) for row in rows] == [SCHEMA, SCHEMA]
    assert [row["id"] for row in rows] == [first.id, second.id] == ["S1", "S2"]
    assert rows[0] == {
        "id": "S1",
        "kind": "smtp-in",
        "peer": "192.0.2.1",
        "user": "",
        "state": "data",
        "since": 1000,
        "idle": 500,
        "cmds": 4,
        "msgs": 1,
        "bytes": 999,
        "tls": "",
        "helo": "",
        "domain": "",
        "node": "mx1",
        "listener": "smtp",
        "port": 0,
        "in_state": 500,
        "sender": None,
        "rcpts": None,
        "content": None,
        "ended": None,
        "why": "",
    }
    assert rows[1]["idle"] == 2000
    assert rows[1]["user"] == "op"


def test_foreign_text_is_safe():
    sessions = Sessions()
    entry = sessions.open("smtp-in", "192.0.2.1")
    entry.helo = "evil\r\n\x1b[2J" + "x" * 1000
    (row,) = sessions.rows()
    assert row["helo"].startswith("evil\\x0d\\x0a\\x1b[2J")
    assert len(row["helo"]) == 255


def test_counts_without_a_search():
    sessions = Sessions()
    one = sessions.open("smtp-in", "192.0.2.1")
    sessions.open("smtp-in", "192.0.2.1")
    sessions.open("smtp-in", "192.0.2.2")
    sessions.open("console", "192.0.2.1")
    assert sessions.count() == 4
    assert sessions.count("smtp-in") == 3
    assert sessions.count("smtp-out") == 0
    assert sessions.count("smtp-in", "192.0.2.1") == 2
    assert sessions.count(peer="192.0.2.1") == 3
    assert len(sessions.entries()) == 4
    one.close()
    one.close()
    assert sessions.count("smtp-in", "192.0.2.1") == 1
    assert sessions.count() == 3


def test_closing_all_leaves_nothing_behind():
    sessions = Sessions()
    entries = [sessions.open("smtp-in", f"192.0.2.{n % 7}") for n in range(50)]
    for entry in entries:
        entry.kick = entry.close
        entry.close()
        entry.state = "closed"
        assert entry.kick is None
    assert sessions.count() == 0
    assert not sessions._by_peer
    assert not sessions._by_kind
    assert sessions.rows() == []


def test_an_entry_is_small_and_its_clock_is_ours():
    sessions = Sessions()
    entry = sessions.open("smtp-in", "192.0.2.1")
    assert not hasattr(entry, "__dict__")
    assert sys.getsizeof(entry) < 300
    assert sessions.rows()[0]["since"] > 1_600_000_000_000


def test_the_transaction_under_way_is_shown():
    sessions = Sessions()
    entry = sessions.open("smtp-in", "192.0.2.1", port=4711)
    entry.transaction = lambda: None
    assert sessions.rows()[0]["rcpts"] is None
    assert entry.recipients() == []
    entry.transaction = lambda: ("ann\x1b@example.net", [f"r{n}@example.org" for n in range(150)], 4096)
    (row,) = sessions.rows()
    assert (row["sender"], row["rcpts"], row["content"], row["port"]) == ("ann\\x1b@example.net", 150, 4096, 4711)
    assert entry.recipients() == [f"r{n}@example.org" for n in range(100)]


def test_idle_counts_from_what_was_said_in_state_from_where_it_stands():
    now = Ticks()
    sessions = Sessions("mx1", now)
    entry = sessions.open("smtp-in", "192.0.2.1")
    entry.state = "helo"
    now.ms = 5000
    entry.keep(b"NOOP", b"250 2.0.0 Ok\r\n")
    now.ms = 6000
    (row,) = sessions.rows()
    assert (row["idle"], row["in_state"]) == (1000, 5000)


def test_sessions_are_found_also_for_a_while_after_their_end():
    now = Ticks()
    sessions = Sessions("mx1", now)
    entry = sessions.open("smtp-in", "192.0.2.1")
    other = sessions.open("console", "127.0.0.1")
    assert sessions.find("S1") is sessions.find("s1") is entry
    for wrong in ("S", "1", "S0", "S3", "S-1", "", "S" + "1" * 40, "S\u0663"):
        assert sessions.find(wrong) is None
    entry.keep(b"", b"220 mx1\r\n")
    now.ms = 9000
    entry.why = "quit"
    entry.close()
    other.close()
    entry.keep(b"late", b"")
    entry.keep_lines((("<", "late"),))
    assert sessions.find("S1") is entry
    assert sessions.find("S2") is None  # nothing is recorded of operators
    now.ms = 99000
    row = entry.row(now(), "mx1")
    assert (row["ended"], row["idle"], row["why"]) == (9000, 8000, "quit")
    texts = [line.text for item in sessions.recorder.items() for line in lines_of(item)]
    assert texts == ["220 mx1", "the session has ended: quit"]


def test_outgoing_lines_are_kept_as_they_are():
    sessions = Sessions()
    entry = sessions.open("smtp-out", "192.0.2.1")
    entry.keep_lines((("<", "220 hello"), (">", "EHLO mx1"), ("-", "it happened")))
    entry.close()
    lines = [(line.direction, line.text) for item in sessions.recorder.items() for line in lines_of(item)]
    assert lines == [
        ("in", "220 hello"),
        ("out", "EHLO mx1"),
        ("note", "it happened"),
        ("note", "the session has ended"),
    ]


def test_counts_by_network_and_crowds():
    sessions = Sessions()
    first = sessions.open("smtp-in", "192.0.2.1")
    sessions.open("smtp-in", "192.0.2.1")
    sessions.open("smtp-in", "192.0.2.200")
    sessions.open("smtp-in", "2001:db8::1")
    sessions.open("smtp-in", "2001:db8::ffff:1")
    sessions.open("console", "192.0.2.1")
    assert sessions.count_network("192.0.2.77") == 3
    assert sessions.count_network("2001:db8::2") == 2
    assert sessions.count_network("2001:db8:0:1::2") == 0
    assert sessions.crowds(1) == ([("192.0.2.1", 2)], [("192.0.2.0/24", 3)])
    first.move("198.51.100.9", 25)
    assert (sessions.count_network("192.0.2.1"), sessions.count_network("198.51.100.1")) == (2, 1)
    first.close()
    assert sessions.count_network("198.51.100.1") == 0
