"""The user verbs' accounts, and the first operator."""

import stat
from pathlib import Path

import pytest
from zope.interface.verify import verifyObject

from netsvc.accounts import registry
from netsvc.accounts.chain import auth_chain
from netsvc.accounts.hashes import HasherBusyError
from netsvc.accounts.registry import Accounts, ensure_first_operator, make_password, write_secret
from netsvc.interfaces import IAccounts
from netsvc.records import FLAG_CONTENT, FLAG_LOCKED, AccountError


@pytest.fixture
def accounts(rows, hasher, counters):
    return Accounts(rows, hasher, auth_chain(["store"], rows, hasher, counters), counters)


def refusal(result, deferred):
    with pytest.raises(AccountError) as caught:
        result(deferred)
    return str(caught.value)


def test_it_keeps_its_promise(accounts):
    verifyObject(IAccounts, accounts)


def test_add_and_list(accounts, rows, result):
    result(accounts.add("ann", "secret-1", "operator,content"))
    result(accounts.add("mailer", "secret-2", "none"))
    assert rows.rows["ann"].flags == FLAG_CONTENT
    listed = result(accounts.users())
    assert [(r["name"], r["role"], r["content"], r["last_at"]) for r in listed] == [
        ("ann", "operator", True, None),
        ("mailer", "none", False, None),
    ]
    assert "hash" not in listed[0]
    assert "taken" in refusal(result, accounts.add("ann", "secret-1", "viewer"))


@pytest.mark.parametrize("name", ["", "Ann", "a b", "x" * 65, "ann+m", "a\x1b"])
def test_names_that_are_none(accounts, result, name):
    said = refusal(result, accounts.add(name, "secret-1", "viewer"))
    assert "no name" in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("password", "said"),
    [("qwertz", "too short"), ("x" * 513, "too long"), ("eight\x00char", "control"), ("eight\x9bchar", "control")],
)
def test_passwords_that_are_refused_and_never_shown(accounts, result, password, said):
    text = refusal(result, accounts.add("ann", password, "viewer"))
    assert said in text
    assert password not in text


def test_a_role_that_is_none(accounts, result):
    assert "king" in refusal(result, accounts.add("ann", "secret-1", "king"))


def test_a_busy_hasher_is_said(accounts, result, hasher):
    async def busy(*args):
        raise HasherBusyError("18")

    hasher.hash = busy
    assert "try again" in refusal(result, accounts.add("ann", "secret-1", "viewer"))


def test_passwords_change(accounts, add, result):
    add("ann", "secret-1")
    result(accounts.set_password("ann", "secret-2"))
    assert result(accounts.verify("ann", "secret-2"))
    assert not result(accounts.verify("ann", "secret-1"))
    assert "no account bob" in refusal(result, accounts.set_password("bob", "secret-2"))
    assert "no account" in refusal(result, accounts.set_password("\x1b", "secret-2"))


def test_roles_change_and_content_stays_unless_said(accounts, add, rows, result):
    add("ann", "secret-1")
    add("bob", "secret-1", role=1, flags=FLAG_CONTENT)
    result(accounts.set_role("bob", "operator"))
    assert (rows.rows["bob"].role, rows.rows["bob"].flags) == (2, FLAG_CONTENT)
    result(accounts.set_role("bob", "viewer,no-content"))
    assert (rows.rows["bob"].role, rows.rows["bob"].flags) == (1, 0)
    result(accounts.set_role("bob", "admin,content"))
    assert (rows.rows["bob"].role, rows.rows["bob"].flags) == (3, FLAG_CONTENT)


def test_the_last_admin_stays(accounts, add, rows, result):
    add("ann", "secret-1")
    add("loc", "secret-1", flags=FLAG_LOCKED)
    add("vic", "secret-1", role=1)
    assert "last admin" in refusal(result, accounts.delete("ann"))
    assert "last admin" in refusal(result, accounts.set_role("ann", "operator"))
    result(accounts.set_role("ann", "admin"))
    result(accounts.delete("vic"))
    add("bob", "secret-1")
    result(accounts.delete("ann"))
    assert "last admin" in refusal(result, accounts.delete("bob"))
    assert "no account" in refusal(result, accounts.delete("ann"))


def test_an_account_that_goes_in_between_is_told(accounts, add, rows, result):
    add("ann", "secret-1", role=1)
    rows.update = lambda name, **columns: rows.delete("nobody")
    rows.delete = lambda name, gone=rows.delete: gone("nobody")
    for change in (
        accounts.set_password("ann", "secret-2"),
        accounts.set_role("ann", "viewer"),
        accounts.delete("ann"),
    ):
        assert "no account ann" in refusal(result, change)


def test_verify_goes_through_the_chain(accounts, add, result, hasher):
    add("ann", "secret-1")
    assert result(accounts.verify("ann", "secret-1"))
    assert not result(accounts.verify("ann", "x"))
    assert not result(accounts.verify("bob", "secret-1"))

    async def busy(*args):
        raise HasherBusyError("18")

    hasher.verify = busy
    assert not result(accounts.verify("ann", "secret-1"))


def test_verify_takes_a_strangers_checker(rows, hasher, counters, result):
    class Stranger:
        async def requestAvatarId(self, credentials):
            return "ann"

    accounts = Accounts(rows, hasher, Stranger(), counters)
    assert result(accounts.verify("ann", "x"))
    assert not result(accounts.verify("bob", "x"))


def test_the_first_operator(rows, hasher, counters, result, tmp_path):
    path, password = result(ensure_first_operator(rows, hasher, str(tmp_path)))
    assert path == str(tmp_path / "initial-password")
    assert (tmp_path / "initial-password").read_text() == password + "\n"
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["initial-password"]
    accounts = Accounts(rows, hasher, auth_chain([], rows, hasher, counters), counters)
    assert result(accounts.verify("admin", password))
    assert result(accounts.users())[0]["role"] == "admin"
    assert rows.rows["admin"].flags == FLAG_CONTENT
    assert result(ensure_first_operator(rows, hasher, str(tmp_path))) is None


def test_an_account_admin_that_only_sends_mail_becomes_the_operator(rows, hasher, add, result, tmp_path):
    add("admin", "secret-1", role=0)
    result(ensure_first_operator(rows, hasher, str(tmp_path)))
    assert rows.rows["admin"].role == 3


def test_without_a_place_for_the_password_there_is_no_operator(rows, hasher, result, tmp_path):
    with pytest.raises(OSError, match="No such file"):
        result(ensure_first_operator(rows, hasher, str(tmp_path / "nowhere")))
    assert rows.rows == {}


def test_a_secret_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "initial-password"
    path.write_text("old")

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registry.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_secret(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["initial-password"]
    assert path.read_text() == "old"


def test_passwords_made_are_long_and_different():
    made = {make_password() for _ in range(50)}
    assert len(made) == 50
    assert {len(p) for p in made} == {23}


def test_locks_are_shown_and_lifted(accounts, counters, result):
    for realm, key in ((2, "192.0.2.0/24 ann"), (2, "192.0.2.0/24 *"), (3, "192.0.2.7 ann"), (3, "* ann")):
        counters.fail(realm, key, 1, 60_000, 5)
    counters.fail(3, "192.0.2.8 ann", 10, 60_000, 5)
    counters.fail(3, "192.0.2.7 joann", 1, 60_000, 5)
    counters.fail(3, "192.0.2.7 mad ann", 1, 60_000, 5)
    counters.fail(1, "192.0.2.7 ann", 1, 60_000, 5)
    shown = [tuple(row.values()) for row in result(accounts.locks())]
    stay = [
        ("console", "", "192.0.2.0/24", 5),
        ("mail", "joann", "192.0.2.7", 5),
        ("mail", "mad ann", "192.0.2.7", 5),
    ]
    lifted = [("console", "ann", "192.0.2.0/24", 5), ("mail", "ann", "", 5), ("mail", "ann", "192.0.2.7", 5)]
    assert sorted(shown) == sorted(stay + lifted)
    assert result(accounts.unlock("ann")) == (3, 4)
    assert [tuple(row.values()) for row in result(accounts.locks())] == stay
    assert result(accounts.unlock("ann")) == (0, 0)
    assert counters.locked_until[1, "192.0.2.7 ann"]
