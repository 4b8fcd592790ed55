"""Turns: a thread and the reactor, one at a time, and neither for ever."""

import threading

from netsvc.store.turns import Turns


class Calls(list):
    def __call__(self, call):
        self.append(call)


def test_the_reactor_gets_what_is_free():
    turns = Turns(Calls(), lambda: None)
    assert turns.claim()
    turns.release()
    assert turns.claim()


def test_a_refused_claim_is_granted_when_the_thread_is_done():
    calls, granted = Calls(), []
    turns = Turns(calls, lambda: granted.append(turns.claim()))
    with turns:
        assert not turns.claim()
        assert not calls
    (call,) = calls
    call()
    assert granted == [True]
    entered = threading.Event()

    def thread():
        with turns:
            entered.set()

    waiting = threading.Thread(target=thread)
    waiting.start()
    assert not entered.wait(0.05)  # the turn is the reactor's
    turns.release()
    waiting.join(5)
    assert entered.is_set()


def test_the_reactor_lets_a_waiting_thread_have_its_turn():
    calls = Calls()
    turns = Turns(calls, lambda: None)
    assert turns.claim()
    inside, leave = threading.Event(), threading.Event()

    def thread():
        with turns:
            inside.set()
            leave.wait(5)

    waiting = threading.Thread(target=thread)
    waiting.start()
    while not turns.thread_waits:
        pass
    turns.release()
    assert inside.wait(5)
    assert not turns.claim()
    leave.set()
    waiting.join(5)
    assert len(calls) == 1
    assert turns.claim()  # what the thread left to us


def test_a_claim_the_thread_did_not_see_is_told_of():
    """The thread ends its turn between a claim's first look and its wish."""
    calls = Calls()
    turns = Turns(calls, lambda: None)

    class Late:
        """A lock whose release lets the reactor ask once more."""

        def __init__(self, lock):
            self._lock = lock

        def acquire(self, blocking=True):
            return self._lock.acquire(blocking)

        def release(self):
            turns._wanted = True
            self._lock.release()

    turns._lock = Late(turns._lock)
    with turns:
        pass
    assert len(calls) == 1
    assert turns.claim()
