"""How long the reactor was held up, measured on a clock of our own and once on threads."""

import threading

import pytest

from netsvc.vitals import watchdog as module
from netsvc.vitals.watchdog import RECENT_S, Watchdog
from tests.fakes import FakeLogbook


class Now:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Now()


@pytest.fixture
def logbook():
    return FakeLogbook()


@pytest.fixture
def dog(clock, logbook):
    def at_once(answer):
        answer()

    made = Watchdog(at_once, logbook, clock)
    made._window[0] = clock()
    return made


def test_short_ones_are_kept_and_not_told(dog, logbook):
    dog.ask()
    dog.note(0.02)
    dog.note(0.01)
    (row,) = dog.rows()
    assert (row["state"], row["value"], row["most"], row["count"], row["why"]) == ("ok", 20, 20, 0, "")
    assert logbook.records == []


def test_long_ones_are_told_once_a_minute(dog, logbook, clock):
    dog.note(0.3, "a.py:1 slow")
    dog.note(0.2)
    clock.now += RECENT_S
    dog.note(0.15, "b.py:2 slower")
    assert logbook.named("reactor.blocked") == [{"took_ms": 300, "count": 1}, {"took_ms": 150, "count": 2}]
    assert [each["where"] for each in logbook.named("reactor.stack")] == ["a.py:1 slow", "", "b.py:2 slower"]
    (row,) = dog.rows()
    assert (row["state"], row["value"], row["most"], row["count"]) == ("warn", 300, 300, 3)
    assert row["why"] == "last held up in b.py:2 slower"


def test_recent_is_a_minute_or_two(dog, clock):
    dog.note(0.3)
    clock.now += RECENT_S
    dog.note(0.01)
    assert dog.recent == 0.3
    clock.now += RECENT_S
    dog.note(0.02)
    assert dog.recent == 0.02
    dog.note(0.03)
    clock.now += 2 * RECENT_S
    dog.note(0.001)
    assert dog.recent == 0.001
    assert dog.most == 0.3


def test_on_threads_it_names_what_is_done(logbook, monkeypatch):
    monkeypatch.setattr(module, "EVERY_S", 0.001)
    monkeypatch.setattr(module, "LONG_S", 0.001)
    asked = threading.Semaphore(0)
    answers = []

    def call(answer):
        answers.append(answer)
        asked.release()

    dog = Watchdog(call, logbook)
    dog.start()
    seen = threading.Event()
    monkeypatch.setattr(dog, "note", lambda took, where: (noted.append((took, where)), seen.set()))
    noted = []

    def hold_everything_up():
        assert asked.acquire(timeout=10)
        while not stacks:  # until it has looked at this stack
            pass
        answers[0]()

    stacks = []
    stack = dog._stack
    monkeypatch.setattr(dog, "_stack", lambda: stacks.append(stack()) or stacks[-1])
    hold_everything_up()
    assert seen.wait(10)
    dog.stop()
    dog.stop()
    assert noted[0][0] > 0
    assert "hold_everything_up" in noted[0][1]


def test_the_end_does_not_wait_for_an_answer(logbook, monkeypatch):
    monkeypatch.setattr(module, "EVERY_S", 0.001)
    asked = threading.Event()
    dog = Watchdog(lambda _: asked.set(), logbook)
    dog.start()
    assert asked.wait(10)
    dog.stop()
    assert dog.most == 0


def test_a_thread_that_is_gone_has_no_stack(dog):
    dog._home = -1
    assert dog._stack() == ""
