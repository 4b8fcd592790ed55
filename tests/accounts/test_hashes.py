"""Hashes, and that they are made away from the reactor, few at a time."""

import argon2
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, execute
from twisted.trial.unittest import TestCase

from netsvc.accounts.hashes import AT_ONCE, WAITING, Hasher, HasherBusyError, in_threads, is_argon2id


def test_a_password_is_found_right_and_another_wrong(hasher, result):
    stored = result(hasher.hash("correct horse"))
    assert stored.startswith("$argon2id$")
    assert result(hasher.verify(stored, "correct horse"))
    assert not result(hasher.verify(stored, "correct horsf"))


def test_nobodys_password_is_wrong_even_when_it_is_the_dummys(hasher, result):
    assert not result(hasher.verify(None, "x"))
    assert not result(hasher.verify(None, "nobody's password"))
    assert not result(hasher.verify("$argon2id$rubbish", "nobody's password"))
    assert not result(hasher.verify("", "nobody's password"))


def test_the_same_characters_typed_differently_are_the_same_password(hasher, result):
    assert result(hasher.verify(result(hasher.hash("caf\u00e9")), "cafe\u0301"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "$argon2id$v=19$m=8",
        argon2.PasswordHasher(type=argon2.Type.I, time_cost=1, memory_cost=8, parallelism=1).hash("x", salt=b"s" * 16),
        "$argon2id$v=19$m=99999999,t=1,p=1$c29tZXNhbHQ$c29tZWhhc2g",
        "$argon2id$v=19$m=x,t=1,p=1$c29tZXNhbHQ$c29tZWhhc2g",
    ],
)
def test_what_is_no_argon2id_hash(text):
    assert not is_argon2id(text)


def test_the_parameters_are_not_cheap():
    facts = argon2.extract_parameters(Hasher(execute)._argon2.hash("x"))
    assert (facts.time_cost, facts.memory_cost, facts.type) == (3, 19456, argon2.Type.ID)


def test_two_at_a_time_sixteen_wait_and_the_next_is_refused(result):
    running = []

    def run(function, *args):
        running.append(Deferred())
        return running[-1]

    hasher = Hasher(run)
    waiting = [ensureDeferred(hasher.hash("x")) for _ in range(AT_ONCE + WAITING)]
    assert len(running) == AT_ONCE
    with pytest.raises(HasherBusyError):
        result(hasher.hash("x"))
    while running:
        running.pop().callback("hash")
    assert [result(d) for d in waiting] == ["hash"] * (AT_ONCE + WAITING)
    again = ensureDeferred(hasher.hash("x"))
    running.pop().callback("hash")
    assert result(again) == "hash"


class Threads(TestCase):
    """On a real thread pool."""

    def test_work_is_done_in_another_thread(self):
        import threading

        here = threading.get_ident()
        done = in_threads(reactor)(threading.get_ident)
        return done.addCallback(lambda there: self.assertNotEqual(here, there))
