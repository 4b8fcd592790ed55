"""Fakes that the accounts' tests share: rows, counters, and a hasher that works at once and cheaply."""

from dataclasses import replace

import argon2
import pytest
from twisted.internet.defer import Deferred, execute, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.accounts.hashes import Hasher
from netsvc.interfaces import IAccountRows, ICounters
from netsvc.records import AccountRow, StoreError


@implementer(IAccountRows)
class FakeRows:
    """Account rows in a dict; ``seen_calls`` tells what was recorded."""

    def __init__(self):
        self.rows = {}
        self.seen_calls = []

    def get(self, name):
        return succeed(self.rows.get(name))

    def all(self):
        return succeed(sorted(self.rows.values(), key=lambda r: r.name))

    def create(self, row):
        return execute(self._create, row)

    def _create(self, row):
        if row.name in self.rows:
            raise StoreError(f"the name {row.name} is taken")
        self.rows[row.name] = row

    def update(self, name, **columns):
        if name not in self.rows:
            return succeed(False)
        self.rows[name] = replace(self.rows[name], **columns)
        return succeed(True)

    def delete(self, name):
        return succeed(self.rows.pop(name, None) is not None)

    def seen(self, name, source, ok):
        self.seen_calls.append((name, source, ok))
        return succeed(None)


@implementer(ICounters)
class FakeCounters:
    """Counters without a clock: a lock stands until the test lifts it."""

    def __init__(self):
        self.counts = {}
        self.locked_until = {}

    def fail(self, realm, key, lock_after, window_ms, lock_ms):
        count = self.counts[realm, key] = self.counts.get((realm, key), 0) + 1
        if count >= lock_after:
            self.locked_until[realm, key] = lock_ms
        return succeed((count, self.locked_until.get((realm, key), 0)))

    def locked(self, realm, key):
        return succeed(self.locked_until.get((realm, key), 0))

    def clear(self, realm, key):
        self.counts.pop((realm, key), None)
        self.locked_until.pop((realm, key), None)
        return succeed(None)

    def locks(self, realms):
        return succeed([(r, key, until) for (r, key), until in sorted(self.locked_until.items()) if r in realms])

    def clear_named(self, realms, name):
        keys = [(r, key) for r, key in self.counts if r in realms and key.partition(" ")[2] == name]
        locked = sum(key in self.locked_until for key in keys)
        for key in keys:
            self.clear(*key)
        return succeed((locked, len(keys)))


def result(deferred):
    """What a Deferred that has fired came to; raises what it failed with."""
    if not isinstance(deferred, Deferred):
        deferred = Deferred.fromCoroutine(deferred)
    out = []
    deferred.addBoth(out.append)
    assert out, "the Deferred has not fired"
    if isinstance(out[0], Failure):
        out[0].raiseException()
    return out[0]


@pytest.fixture(name="result")
def _result():
    return result


@pytest.fixture
def rows():
    return FakeRows()


@pytest.fixture
def counters():
    return FakeCounters()


@pytest.fixture
def hasher():
    return Hasher(execute, argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def add(rows, hasher):
    """Puts an account into the rows."""

    def put(name, password, role=3, flags=0, **columns):
        rows.rows[name] = AccountRow(name, result(hasher.hash(password)), role=role, flags=flags, **columns)

    return put
