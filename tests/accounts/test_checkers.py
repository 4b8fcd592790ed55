"""Checkers of the store and in a row."""

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import Anonymous, IAnonymous, IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import succeed
from zope.interface import implementer

from netsvc.accounts.checkers import BusyLogin, FirstOf, StoreChecker
from netsvc.accounts.hashes import HasherBusyError
from netsvc.interfaces import ILoginSource
from netsvc.records import FLAG_LOCKED


@implementer(ILoginSource)
class Sourced(UsernamePassword):
    source = "192.0.2.7"


def test_a_right_password_gives_who_it_was_before_this_login(rows, hasher, add, result):
    add("ann", "secret-1", role=2, last_at=7, fails=3)
    found = result(StoreChecker(rows, hasher).requestAvatarId(Sourced(b"Ann", b"secret-1")))
    assert (found.name, found.role, found.last_at, found.fails) == ("ann", "operator", 7, 3)
    assert rows.seen_calls == [("ann", "192.0.2.7", True)]


@pytest.mark.parametrize(
    ("name", "password"),
    [(b"ann", b"wrong"), (b"bob", b"secret-1"), (b"loc", b"secret-2"), (b"\xff\xfe", b"x"), (b"", b"")],
)
def test_everything_wrong_is_one_and_the_same_and_costs_one_check(rows, hasher, add, result, name, password):
    add("ann", "secret-1")
    add("loc", "secret-2", flags=FLAG_LOCKED)
    checks = []
    run = hasher.run
    hasher.run = lambda *a: checks.append(a) or run(*a)
    with pytest.raises(UnauthorizedLogin) as caught:
        result(StoreChecker(rows, hasher).requestAvatarId(Sourced(name, password)))
    assert str(caught.value) == "wrong name or password"
    assert len(checks) == 1
    assert all(not ok for _, _, ok in rows.seen_calls)


def test_credentials_without_a_source_leave_no_trace(rows, hasher, add, result):
    add("ann", "secret-1")
    result(StoreChecker(rows, hasher).requestAvatarId(UsernamePassword(b"ann", b"secret-1")))
    assert rows.seen_calls == []


def busy(*args):
    raise HasherBusyError("18")


def test_a_busy_hasher_is_no_failed_login(rows, hasher, result):
    hasher._queue = busy
    with pytest.raises(BusyLogin):
        result(StoreChecker(rows, hasher).requestAvatarId(Sourced(b"ann", b"x")))
    with pytest.raises(BusyLogin):
        result(FirstOf([StoreChecker(rows, hasher)]).requestAvatarId(Sourced(b"ann", b"x")))


def test_the_first_that_knows_it_wins(rows, hasher, add, result):
    add("ann", "secret-1")
    other = InMemoryUsernamePasswordDatabaseDontUse(bob=b"builder")

    class Nameless:
        credentialInterfaces = (IAnonymous,)

        def requestAvatarId(self, credentials):
            return succeed("nobody")

    chain = FirstOf([StoreChecker(rows, hasher), other, Nameless()])
    assert set(chain.credentialInterfaces) > {IUsernamePassword, IAnonymous}
    assert result(chain.requestAvatarId(UsernamePassword(b"ann", b"secret-1"))).name == "ann"
    assert result(chain.requestAvatarId(UsernamePassword(b"bob", b"builder"))) == b"bob"
    assert result(chain.requestAvatarId(Anonymous())) == "nobody"
    with pytest.raises(UnauthorizedLogin):
        result(chain.requestAvatarId(UsernamePassword(b"bob", b"x")))


def test_who_has_no_role_has_no_access_to_the_console(rows, hasher, add, result):
    add("ann", "secret-1", role=0)
    result(StoreChecker(rows, hasher).requestAvatarId(Sourced(b"ann", b"secret-1")))
    assert rows.seen_calls == [("ann", "192.0.2.7", False)]
