"""Watching what is said: as it happens and backwards, within limits, on slow terminals and fast ones."""

from collections import deque

import pytest
from twisted.internet.defer import Deferred

from netsvc.console.stream import A_SECOND, WAITING, Stream, count_lines, take_stop
from netsvc.telnet.keys import Key
from tests.console.fakeservice import NOW


@pytest.fixture
def entry(desk):
    return desk.service.sessions.open("smtp-in", "192.0.2.7", helo="c.example")


@pytest.fixture
def other(desk):
    return desk.service.sessions.open("smtp-out", "198.51.100.9", domain="gmail.com")


def begin(desk, line):
    """Type a line that goes on -> (its Deferred, what it came to)."""
    done = []
    running = desk.start(line)
    running.addBoth(done.append)
    return running, done


def test_lines_are_shown_as_they_come_until_ctrl_c(desk, entry, other):
    running, done = begin(desk, "trace session where peer=192.0.2.0/24")
    assert "Tracing for 5m or 2000 lines. Ctrl-C ends it." in desk.screen.text
    entry.keep(b"MAIL FROM:<a@b>\r\nRCPT TO:<\x1b[2J>", b"250 ok\r\n", 700)
    other.keep_lines((("<", "220 hello"),))
    assert desk.screen.text.endswith(
        "14:05:12.000 S1 -- content of 700 octets\n"
        "14:05:12.000 S1 << MAIL FROM:<a@b>\n"
        "14:05:12.000 S1 << RCPT TO:<\\x1b[2J>\n"
        "14:05:12.000 S1 >> 250 ok\n"
    )
    assert desk.session.streaming
    running.cancel()
    assert done == [None]
    assert "4 lines of 1 session.\n" in desk.screen.text
    assert not desk.session.streaming
    assert desk.service.sessions.recorder.followers == 0
    assert not desk.clock.getDelayedCalls()
    assert desk.audited() == [("trace session", "peer=192.0.2.0/24", "", 0, "ok")]


def test_it_ends_with_its_time(desk, entry):
    _, done = begin(desk, "trace session S1 for 30s")
    entry.keep(b"NOOP", b"")
    desk.clock.advance(29)
    assert not done
    desk.clock.advance(1)
    assert done == [None]
    assert "1 line of 1 session." in desk.screen.text


def test_it_ends_with_its_lines(desk, entry):
    _, done = begin(desk, "trace session all limit 3")
    entry.keep(b"a\r\nb", b"")
    entry.keep(b"c\r\nd", b"")
    assert done == [None]
    assert "S1 << c" in desk.screen.text
    assert "S1 << d" not in desk.screen.text


def test_who_matched_once_stays(desk, entry):
    begin(desk, "trace session where helo=c.example")
    entry.keep(b"a", b"")
    entry.helo = "other.example"
    entry.keep(b"b", b"")
    entry.close()
    assert "<< b" in desk.screen.text
    assert "-- the session has ended" in desk.screen.text


def test_pages_are_off_while_it_runs(desk, entry):
    desk.screen.pages = True
    running, _ = begin(desk, "trace session S1")
    assert desk.screen.pages is False
    running.cancel()
    assert desk.screen.pages is True
    desk.screen.pages = False
    running, _ = begin(desk, "trace session S1")
    running.cancel()
    assert desk.screen.pages is False


def test_a_slow_terminal_loses_lines_and_nobody_waits_for_it(desk, entry):
    running, done = begin(desk, "trace session S1 limit 100000")
    desk.screen.pressure = Deferred()
    for _ in range(20):
        for _ in range(100):
            entry.keep(b"NOOP", b"250 ok\r\n")
        desk.clock.advance(1)
    waiting, desk.screen.pressure = desk.screen.pressure, None
    waiting.callback(None)
    assert desk.screen.text.count("NOOP") == WAITING + 1
    running.cancel()
    assert done == [None]
    assert f"{2 * (2000 - WAITING - 1)} lines came too fast and were left out." in desk.screen.text


def test_too_much_in_a_second_is_left_out(desk, entry):
    running, _ = begin(desk, "trace session S1")
    for _ in range(A_SECOND + 50):
        entry.keep(b"NOOP", b"")
    assert desk.screen.text.count("NOOP") == A_SECOND
    desk.clock.advance(1)
    entry.keep(b"NOOP", b"")
    assert desk.screen.text.count("NOOP") == A_SECOND + 1
    running.cancel()
    assert "50 lines came too fast" in desk.screen.text


def test_only_so_many_sessions(desk, monkeypatch):
    monkeypatch.setattr("netsvc.console.verbs.trace.MOST_SESSIONS", 2)
    entries = [desk.service.sessions.open("smtp-in", "192.0.2.7") for _ in range(4)]
    running, _ = begin(desk, "trace session where peer=192.0.2.7")
    for each in (*entries, *entries):
        each.keep(b"NOOP", b"")
    running.cancel()
    assert "4 lines of 2 sessions. 2 more sessions matched: 2 are traced at most." in desk.screen.text


def test_only_so_many_traces(desk, monkeypatch):
    monkeypatch.setattr("netsvc.console.verbs.trace.MOST_TRACES", 1)
    running, _ = begin(desk, "trace session all")
    assert "[E501]" in desk.type("trace session all")
    running.cancel()


def settle(desk, line):
    """Type a line that looks back: it takes some turns of the reactor."""
    before = len(desk.screen.text)
    _, done = begin(desk, line)
    for _ in range(50):
        desk.clock.advance(0)
    assert done == [None]
    return desk.screen.text[before:]


def test_backwards_also_for_sessions_that_have_ended(desk, entry, other):
    entry.keep(b"EHLO c.example", b"250 mx1\r\n")
    other.keep_lines((("<", "220 hello"),))
    entry.why = "quit"
    entry.close()
    out = settle(desk, "trace session where peer=192.0.2.7 last 5m")
    assert out.splitlines()[:3] == [
        "14:05:12.000 S1 << EHLO c.example",
        "14:05:12.000 S1 >> 250 mx1",
        "14:05:12.000 S1 -- the session has ended: quit",
    ]
    assert "220 hello" not in out
    assert "What was said before 14:05:12 is forgotten." in out
    assert "220 hello" in settle(desk, "trace session S2 last 5m")
    assert settle(desk, "trace session all last 5m limit 1").splitlines()[0].endswith("has ended: quit")


def test_what_is_too_old_is_not_shown(desk, entry):
    entry.keep(b"old", b"")
    desk.clock.advance(600)
    desk.service.sessions.later = 600_000
    entry.keep(b"new", b"")
    out = settle(desk, "trace session S1 last 5m")
    assert "old" not in out
    assert "new" in out
    assert "forgotten" not in out
    desk.clock.advance(600)
    assert "Nothing of them is remembered" in settle(desk, "trace session S1 last 5m")


def test_backwards_and_then_on(desk, entry):
    entry.keep(b"before", b"")
    running, done = begin(desk, "trace session S1 last 5m for 1m limit 100")
    for _ in range(5):
        desk.clock.advance(0)
    entry.keep(b"after", b"")
    assert (
        desk.screen.text.index("before")
        < desk.screen.text.index("Tracing for 1m or 99")
        < desk.screen.text.index("after")
    )
    running.cancel()
    assert done == [None]


def test_programs_get_rows_and_say_stop(desk, entry):
    out, done = [], []
    running = desk.session.execute_machine("@7 trace session S1", out.append)
    running.addBoth(done.append)
    assert "A line stop ends it" in out[0]["notice"]["text"]
    entry.keep(b"NOOP", b"250 ok\r\n")
    rows = [o["row"] for o in out if "row" in o]
    assert [(r["direction"], r["text"]) for r in rows] == [("in", "NOOP"), ("out", "250 ok")]
    assert rows[0]["kind"] == "smtp-in"
    running.cancel()
    assert done == [None]
    assert out[-1]["end"] == {"tag": "7", "status": "ok", "rows": 2, "total": None, "ms": 0, "schema": "trace/1"}


def test_pipes_work_on_lines(desk, entry):
    _, done = begin(desk, "trace session S1 | match MAIL | first 1")
    entry.keep(b"NOOP", b"250 ok\r\n")
    entry.keep(b"MAIL FROM:<>", b"250 ok\r\n")
    entry.keep(b"MAIL FROM:<a@b>", b"250 ok\r\n")
    assert "MAIL FROM:<>" in desk.screen.text
    assert "NOOP" not in desk.screen.text
    assert done == [None]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("trace session", "E103"),
        ("trace session S99", "E401"),
        ("trace session all for 2h", "E202"),
        ("trace session all limit 100001", "E202"),
        ("trace session where nonsense=1", "E201"),
    ],
)
def test_refusals(desk, line, code):
    assert f"[{code}]" in desk.type(line)


def test_viewers_do_not_trace(desk, entry):
    desk.login("vi", "viewer")
    assert "[E301]" in desk.type("trace session all")


# -- the parts ------------------------------------------------------------------------------------


def test_lines_are_counted_without_making_them():
    assert count_lines((0, None, b"a\r\nb", b"250 x\r\n", 5, 0)) == 4
    assert count_lines((0, None, b"", b"", 0, 0)) == 0
    assert count_lines((0, None, (("<", "a"), ("-", "b")), None, 0, 0)) == 2


def test_nothing_is_taken_after_the_end(desk, entry):
    stream = Stream(desk.clock, lambda _: True, 10)
    stream.end()
    stream.take((NOW, entry, b"x", b"", 0, 0))
    assert not stream.ready


def test_stop_is_a_line_of_its_own():
    for typed, taken in (("stop", 5), (" STOP ", 7), ("stopp", 0), ("show stop", 0)):
        keys = deque([*typed, Key.ENTER, "x"])
        assert take_stop(keys) == taken
        assert len(keys) == (1 if taken else len(typed) + 2)
    assert take_stop(deque("stop")) == 0
    assert take_stop(deque([Key.ENTER])) == 0


def test_ends_are_tidy(desk, entry):
    stream = Stream(desk.clock, lambda _: True, 1)
    reading = Deferred.fromCoroutine(stream.read())
    reading.addErrback(lambda _: None)
    reading.cancel()
    stream.take((NOW, entry, b"x\r\ny", b"", 0, 0))
    stream.take((NOW, entry, b"z", b"", 0, 0))  # beyond the last line: the end
    assert stream.over
    assert desk.service.sessions.recorder.followers == 0


def test_a_filter_that_matches_nobody(desk, entry):
    running, _ = begin(desk, "trace session where peer=203.0.113.1")
    entry.keep(b"NOOP", b"")
    running.cancel()
    assert "0 lines of 0 sessions." in desk.screen.text
