"""Names and roles as they are typed."""

import pytest

from netsvc.accounts.identity import account_operator, is_name, name_of, password_of, read_roles
from netsvc.records import FLAG_CONTENT, AccountRow


@pytest.mark.parametrize(
    ("given", "name"), [(b"Op ", "op"), ("a.b-c_1", "a.b-c_1"), (b"\xff", ""), ("a b", ""), ("x" * 65, ""), ("", "")]
)
def test_names(given, name):
    assert name_of(given) == name
    assert is_name(name) is bool(name)


def test_passwords_are_text():
    assert password_of("é") == password_of("é".encode()) == "é"
    assert password_of(b"\xff") == "\udcff"


@pytest.mark.parametrize(
    ("text", "meant"),
    [("viewer", ("viewer", None)), (" Admin , content", ("admin", True)), ("operator,no-content", ("operator", False))],
)
def test_roles(text, meant):
    assert read_roles(text) == meant


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "''"), ("root", "root"), ("viewer,admin", "two roles"), ("content", "missing"), ("none", "none")],
)
def test_wrong_roles_are_named(text, word):
    with pytest.raises(ValueError, match=word):
        read_roles(text)


def test_an_account_becomes_an_operator():
    row = AccountRow("ann", "", role=2, flags=FLAG_CONTENT, last_at=5, last_from="::1", fails=2)
    operator = account_operator(row)
    assert (operator.name, operator.role, operator.content, operator.enabled) == ("ann", "operator", True, False)
    assert (operator.last_at, operator.last_from, operator.fails) == (5, "::1", 2)


def test_a_role_nobody_knows_is_none():
    assert account_operator(AccountRow("ann", "", role=9)).role == "none"
