"""Locking out who guesses, by network first."""

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.accounts.checkers import BusyLogin, StoreChecker
from netsvc.accounts.throttle import NAME_LIMIT, NETWORK_LIMIT, PAIR_LIMIT, REALM, ThrottledChecker, counted, network_of
from netsvc.interfaces import ILoginSource


@implementer(ILoginSource)
class Sourced(UsernamePassword):
    def __init__(self, name, password, source):
        super().__init__(name, password)
        self.source = source


@pytest.fixture
def gate(rows, hasher, counters, add):
    add("ann", "secret-1")
    add("bob", "secret-2")
    return ThrottledChecker(StoreChecker(rows, hasher), counters, hasher)


@pytest.fixture
def login(gate, result):
    def attempt(name, password, source):
        try:
            return result(gate.requestAvatarId(Sourced(name.encode(), password.encode(), source))).name
        except UnauthorizedLogin as error:
            return str(error)

    return attempt


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ("192.0.2.77", ("192.0.2.0/24", False)),
        ("127.0.0.1", ("127.0.0.0/24", True)),
        ("::1", ("::/64", True)),
        ("2001:db8::1:2:3", ("2001:db8::/64", False)),
        ("fe80::1%eth0", ("fe80::/64", False)),
        ("::ffff:192.0.2.1", ("192.0.2.0/24", False)),
        ("", ("", False)),
        ("somewhere", ("somewhere", False)),
    ],
)
def test_networks(source, network):
    assert network_of(source) == network


def test_loopback_is_counted_by_name_alone():
    assert counted("ann", "127.0.0.1") == [("127.0.0.0/24 ann", PAIR_LIMIT)]
    assert len(counted("ann", "192.0.2.1")) == 3


def test_ten_failures_lock_the_name_from_that_network_only(login):
    for i in range(PAIR_LIMIT):
        assert login("ann", "wrong", f"192.0.2.{i}") == "wrong name or password"
    assert login("ann", "secret-1", "192.0.2.200") == "locked"
    assert login("ann", "secret-1", "127.0.0.1") == "ann"
    assert login("ann", "secret-1", "198.51.100.1") == "ann"
    assert login("bob", "secret-2", "192.0.2.200") == "bob"


def test_blanks_about_a_name_make_no_other_name(login):
    for i in range(PAIR_LIMIT):
        assert login(" " * i + "Ann" + "\t" * (i % 2), "wrong", "192.0.2.1") == "wrong name or password"
    assert login("ann", "secret-1", "192.0.2.1") == "locked"
    assert login("ann ", "secret-1", "192.0.2.1") == "locked"


def test_guesses_sent_together_are_judged_one_by_one(counters, hasher):
    asked = []

    class Slow:
        credentialInterfaces = ()

        def requestAvatarId(self, credentials):
            asked.append(Deferred())
            return asked[-1]

    gate = ThrottledChecker(Slow(), counters, hasher)
    told = []
    for _ in range(3 * PAIR_LIMIT):
        gate.requestAvatarId(Sourced(b"ann", b"x", "192.0.2.1")).addErrback(lambda why: told.append(str(why.value)))
    for n in range(PAIR_LIMIT):
        assert len(asked) == n + 1
        asked[n].errback(UnauthorizedLogin("wrong"))
    assert len(asked) == PAIR_LIMIT
    assert sorted(told) == ["locked"] * 2 * PAIR_LIMIT + ["wrong"] * PAIR_LIMIT
    assert not gate._under_way


def test_a_success_forgets_the_failures(login, counters):
    for _ in range(PAIR_LIMIT - 1):
        login("ann", "wrong", "192.0.2.1")
    assert login("ANN", "secret-1", "192.0.2.1") == "ann"
    login("ann", "wrong", "192.0.2.1")
    assert login("ann", "secret-1", "192.0.2.1") == "ann"


def test_many_names_from_one_network_lock_the_network(login):
    for i in range(NETWORK_LIMIT):
        login(f"guess{i}", "wrong", "192.0.2.1")
    assert login("bob", "secret-2", "192.0.2.1") == "locked"
    assert login("bob", "secret-2", "127.0.0.1") == "bob"


def test_one_name_from_many_networks_is_locked_but_not_on_loopback(login):
    for i in range(NAME_LIMIT):
        login("ann", "wrong", f"10.0.{i}.1")
    assert login("ann", "secret-1", "203.0.113.1") == "locked"
    assert login("ann", "secret-1", "::1") == "ann"


def test_a_locked_login_costs_a_check_too(login, counters, hasher):
    counters.locked_until[REALM, "192.0.2.0/24 ann"] = 1
    checks = []
    run = hasher.run
    hasher.run = lambda *a: checks.append(a) or run(*a)
    assert login("ann", "secret-1", "192.0.2.1") == "locked"
    assert len(checks) == 1


def test_credentials_without_a_source_are_counted_by_name(gate, result, counters):
    for _ in range(PAIR_LIMIT):
        with pytest.raises(UnauthorizedLogin):
            result(gate.requestAvatarId(UsernamePassword("ann", "wrong")))
    assert (REALM, " ann") in counters.locked_until


def test_being_busy_is_not_counted(gate, result, counters):
    class Busy:
        credentialInterfaces = ()

        def requestAvatarId(self, credentials):
            raise BusyLogin("18")

    gate._checker = Busy()
    with pytest.raises(BusyLogin):
        result(gate.requestAvatarId(Sourced(b"ann", b"x", "192.0.2.1")))
    assert counters.counts == {}


def test_hostile_names_are_made_safe_and_short(gate, result, counters):
    with pytest.raises(UnauthorizedLogin):
        result(gate.requestAvatarId(Sourced(b"\x1b[2J\xff" + b"x" * 500, b"x", "127.0.0.1")))
    ((_, key),) = counters.counts
    assert "\x1b" not in key
    assert len(key) < 100
