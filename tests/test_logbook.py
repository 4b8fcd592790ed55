"""The logbook: levels, safety of foreign text, lines, followers, failures."""

import ast
import io
import json
import pathlib
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost, ReactorNotRunning
from twisted.logger import Logger as TwistedLogger
from twisted.logger import LogLevel, LogPublisher
from twisted.python.failure import Failure

from netsvc import logbook, loglines
from netsvc.logbook import EVENTS, LEVELS, Events, Logbook
from netsvc.mail.reply import NOT_TAKEN, ReplyError
from netsvc.records import StoreError

SOURCES = pathlib.Path(__file__).resolve().parents[1] / "netsvc"


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Broken(io.StringIO):
    def write(self, text):
        raise OSError(28, "no space left")


@pytest.fixture
def seen():
    return []


def records(seen):
    return [event["netsvc_record"] for event in seen]


def test_an_event_carries_its_fields_and_its_level(seen):
    Logbook(publisher=seen.append).event("service.started", hostname="mx1.example.org", took_ms=3)
    (event,) = seen
    assert event["log_level"] is LogLevel.info
    assert event["netsvc_record"]["event"] == "service.started"
    assert event["netsvc_record"]["took_ms"] == 3
    assert str(event["netsvc_text"]) == "service.started hostname=mx1.example.org took_ms=3"


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_below_the_level_is_not_logged(seen, level):
    book = Logbook(level, seen.append)
    assert book.level == level
    book.debug("a.a")
    book.event("b.b")
    book.warn("c.c")
    book.error("d.d")
    words = [record["level"] for record in records(seen)]
    assert words == [word for word in LEVELS if LEVELS[word] >= LEVELS[level]]
    assert book.enabled(level)


def test_the_level_can_be_changed(seen):
    book = Logbook("error", seen.append)
    book.event("a.a")
    book.level = "debug"
    book.debug("b.b")
    assert [record["event"] for record in records(seen)] == ["b.b"]


def test_foreign_text_is_safe_and_bounded(seen):
    book = Logbook(publisher=seen.append)
    book.event(
        "x.y", a="two\r\nlines \x1b[2J", b=b"\xff\n", c=["p\n", 3], d=object, e="x" * 5000, f=None, g=1.5, h=True
    )
    (record,) = records(seen)
    assert record["a"] == "two\\x0d\\x0alines \\x1b[2J"
    assert record["b"] == "\\xff\\x0a"
    assert record["c"] == "p\\x0a 3"
    assert "object" in record["d"]
    assert len(record["e"]) == loglines.LIMIT
    assert (record["f"], record["g"], record["h"]) == (None, 1.5, True)


def test_queue_ids_are_shown_as_people_see_them(seen):
    Logbook(publisher=seen.append).event("message.accepted", msg=1 << 60, rcpts=1 << 60, id=-1)
    (record,) = records(seen)
    assert record["msg"] == "1000000000000"
    assert record["rcpts"] == 1 << 60
    assert record["id"] == -1


def test_fields_cannot_take_the_place_of_the_event(seen):
    Logbook(publisher=seen.append).event("x.y", event="forged", time=0, level="z", **{f"f{i}": i for i in range(99)})
    (record,) = records(seen)
    assert record["event"] == "x.y"
    assert record["time"] > 0
    assert record["level"] == "info"
    assert len(record) == logbook.MAX_FIELDS


@given(st.dictionaries(st.text(max_size=8), st.text() | st.binary() | st.integers() | st.none(), max_size=6))
def test_whatever_is_logged_is_one_line(fields):
    stream, terminal = io.StringIO(), Terminal()
    book = Logbook(publisher=LogPublisher(loglines.observer(stream), loglines.observer(terminal)))
    book.event("x.y", **fields)
    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue())["event"] == "x.y"
    assert terminal.getvalue().count("\n") == 1
    assert "\x1b" not in terminal.getvalue()


def test_json_lines_have_a_time_with_milliseconds():
    stream = io.StringIO()
    Logbook(publisher=loglines.observer(stream)).event("x.y", name="é")
    line = json.loads(stream.getvalue())
    assert line["time"].endswith("Z")
    assert len(line["time"]) == len("2026-11-23T14:00:00.000Z")
    assert line["name"] == "é"


def test_text_lines_quote_what_would_be_read_wrongly():
    stream = Terminal()
    Logbook(publisher=loglines.observer(stream)).event("x.y", a="b c", d='e"f', g="", h=None, i=False, j="k=l")
    assert stream.getvalue().endswith(' info  x.y a="b c" d="e\\"f" g="" h=- i=no j="k=l"\n')


@pytest.mark.parametrize(
    "error", [ConnectionLost(), ReplyError(NOT_TAKEN, "disk"), StoreError("no"), OSError(28, "full"), TimeoutError()]
)
def test_peer_faults_have_no_traceback(seen, error):
    Logbook(publisher=seen.append).failure("smtp.fault", Failure(error), session="S1")
    (event,) = seen
    assert "log_failure" not in event
    assert event["netsvc_record"]["why"].startswith(type(error).__name__)
    assert event["netsvc_record"]["level"] == EVENTS["smtp.fault"][0]


def test_peer_faults_below_the_level_are_not_logged(seen):
    Logbook("error", seen.append).failure("smtp.fault", ConnectionLost())
    assert not seen


def failing():
    raise ZeroDivisionError("peer said\nthis")


def test_our_own_mistakes_have_a_traceback_in_the_log():
    stream, terminal = io.StringIO(), Terminal()
    book = Logbook(publisher=LogPublisher(loglines.observer(stream), loglines.observer(terminal)))
    try:
        failing()
    except ZeroDivisionError:
        book.failure("delivery.fault", what="test")
    record = json.loads(stream.getvalue())
    assert record["level"] == "error"
    assert record["why"] == "ZeroDivisionError: peer said\\x0athis"
    assert "Traceback" in record["traceback"]
    first, *rest = terminal.getvalue().rstrip("\n").split("\n")
    assert "delivery.fault" in first
    assert rest
    assert all(line.startswith("\t") for line in rest)


def test_a_long_traceback_is_cut():
    stream = io.StringIO()
    Logbook(publisher=loglines.observer(stream)).failure("x.y", Failure(ValueError("x" * 20000)))
    record = json.loads(stream.getvalue())
    assert len(record["traceback"]) <= loglines.TRACEBACK_LIMIT + 3
    assert record["traceback"].startswith("...")


def test_events_of_others_are_lines_too():
    stream = io.StringIO()
    publisher = LogPublisher(loglines.observer(stream))
    log = TwistedLogger("stranger", observer=publisher)
    log.info("hello {who}", who="you\nthere")
    log.failure("it broke", Failure(KeyError("k")))
    log.debug("not seen")
    TwistedLogger("twisted.internet", observer=publisher).info("starting factory")
    TwistedLogger("twisted.internet", observer=publisher).warn("beware")
    publisher({"log_level": LogLevel.critical, "log_namespace": "x", "failure": Failure(KeyError("k")), "why": "old"})
    log.failure("a second signal", Failure(ReactorNotRunning()))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["text"] for line in lines] == [
        "hello you\\x0athere",
        "it broke: KeyError: 'k'",
        "beware",
        "old: KeyError: 'k'",
    ]
    assert [line["level"] for line in lines] == ["info", "error", "warn", "error"]
    assert "traceback" in lines[1]


def test_a_full_disk_does_not_stop_anybody():
    Logbook(publisher=loglines.observer(Broken())).event("x.y")
    closed = io.StringIO()
    closed.close()
    assert not loglines.is_terminal(closed)
    assert not loglines.is_terminal(object())
    Logbook(publisher=loglines.observer(closed)).event("x.y")


def test_standard_output_is_the_usual_place(capsys):
    Logbook(publisher=loglines.observer()).event("x.y")
    assert json.loads(capsys.readouterr().out)["event"] == "x.y"


def test_followers_hear_until_they_leave(seen):
    book = Logbook("error", seen.append)
    heard, all_heard = [], []
    stop = Events(book).follow(heard.append)
    stop_all = book.follow(all_heard.append, "debug")
    book.event("a.a", x="\n")
    book.debug("b.b")
    assert [record["event"] for record in heard] == ["a.a"]
    assert heard[0]["x"] == "\\x0a"
    assert [record["event"] for record in all_heard] == ["a.a", "b.b"]
    assert not seen
    stop()
    stop()
    stop_all()
    book.event("c.c")
    assert len(heard) == 1
    assert not book.enabled("info")


def test_a_follower_that_fails_is_let_go(seen):
    book = Logbook(publisher=seen.append)

    def fail(record):
        raise RuntimeError("oops")

    book.follow(fail)
    book.event("a.a")
    book.event("b.b")
    assert [record["event"] for record in records(seen)] == ["a.a", "console.fault", "b.b"]


def test_what_other_threads_log_reaches_followers_in_the_reactors():
    book = Logbook(publisher=lambda event: None)
    handed, heard = [], []
    book.from_thread = lambda call, *args: handed.append((call, args))
    book.follow(heard.append)
    thread = threading.Thread(target=book.event, args=("a.a",))
    thread.start()
    thread.join()
    assert not heard
    ((call, args),) = handed
    call(*args)
    assert [record["event"] for record in heard] == ["a.a"]
    book.event("b.b")
    assert len(heard) == 2


def logged_names():
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"event", "debug", "warn", "warning", "error", "failure", "log", "_log"}
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and isinstance(node.args[0].value, str)
                and re.fullmatch(r"[a-z_]+\.[a-z_]+", node.args[0].value)
            ):
                named = {keyword.arg for keyword in node.keywords if keyword.arg}
                yield path.relative_to(SOURCES), node.args[0].value, named, node.func.attr


def test_every_event_that_is_logged_is_in_the_table_with_its_fields():
    wrong = []
    for path, name, fields, how in logged_names():
        if name not in EVENTS:
            wrong.append(f"{path}: {name} {sorted(fields)} is not in EVENTS")
        elif unknown := fields - set(EVENTS[name][1]):
            wrong.append(f"{path}: {name} has no fields {sorted(unknown)}")
        elif how == "failure" and "why" not in EVENTS[name][1]:
            wrong.append(f"{path}: {name} is logged with a failure and has no why")
    assert not wrong, "\n".join(wrong)


def test_every_event_of_the_table_is_logged_by_somebody():
    sources = "".join(path.read_text() for path in SOURCES.rglob("*.py") if path.name != "events.py")
    assert not [name for name in EVENTS if f'"{name}"' not in sources]


class Stream(io.StringIO):
    """Counts how often it was flushed."""

    flushes = 0

    def flush(self):
        self.flushes += 1


def test_lines_of_one_turn_are_written_together():
    stream, calls = Stream(), []
    writer = loglines.observer(stream)
    book = Logbook(publisher=writer)
    book.event("x.before")
    assert stream.flushes == 1
    writer.gather(lambda delay, write: calls.append((delay, write)))
    book.event("x.a")
    book.event("x.b")
    assert [delay for delay, _ in calls] == [0]
    assert stream.flushes == 1
    calls[0][1]()
    assert stream.flushes == 2
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["x.before", "x.a", "x.b"]
    calls[0][1]()
    assert stream.flushes == 2


def test_warnings_other_threads_and_the_end_do_not_wait():
    stream = Stream()
    writer = loglines.observer(stream)
    book = Logbook(publisher=writer)
    writer.gather(lambda delay, write: None)
    book.event("x.a")
    book.warn("x.b")
    assert stream.getvalue().count("\n") == 2
    thread = threading.Thread(target=book.event, args=("x.c",))
    thread.start()
    thread.join()
    assert stream.getvalue().count("\n") == 3
    book.event("x.d")
    writer.gather(None)
    assert stream.getvalue().count("\n") == 4
    book.event("x.e")
    assert stream.getvalue().count("\n") == 5
