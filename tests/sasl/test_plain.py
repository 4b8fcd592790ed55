"""PLAIN (RFC 4616) and LOGIN."""

import pytest

from netsvc.sasl.plain import Login, Plain
from netsvc.sasl.steps import MAX_NAME, MAX_PASSWORD, Challenge, MalformedError, PasswordGiven, RefusedError


def test_plain_rfc_4616_4():
    assert Plain().receive(b"\0tim\0tanstaaftanstaaf") == PasswordGiven("tim", "tanstaaftanstaaf")
    assert Plain().receive(b"tim\0tim\0x") == PasswordGiven("tim", "x")


def test_plain_asks_where_nothing_came():
    assert Plain().receive(None) == Challenge(b"")


@pytest.mark.parametrize("response", [b"", b"tim", b"\0tim", b"a\0b\0c\0d", b"\0tim\0\xff", b"\xc0\x80tim\0x"])
def test_plain_malformed(response):
    with pytest.raises(MalformedError):
        Plain().receive(response)


@pytest.mark.parametrize(
    "response",
    [
        b"Ursel\0Kurt\0xipj3plmq",  # nobody acts as somebody else
        b"\0\0x",
        b"\0tim\0",
        b"\0a\x07b\0x",
        b"\0tim\0a\x07",
        b"\0" + b"n" * (MAX_NAME + 1) + b"\0x",
        b"\0tim\0" + b"p" * (MAX_PASSWORD + 1),
    ],
)
def test_plain_that_leads_nowhere(response):
    with pytest.raises(RefusedError):
        Plain().receive(response)


def test_names_are_prepared_and_passwords_kept():
    step = Plain().receive("\0I\u00adX\0\u2168".encode())
    assert step == PasswordGiven("IX", "\u2168")
    assert "\u2168" not in repr(step)


def test_login():
    login = Login()
    assert login.receive(None) == Challenge(b"Username:")
    assert login.receive(b"tim") == Challenge(b"Password:")
    assert login.receive(b"secret") == PasswordGiven("tim", "secret")


def test_login_with_the_name_at_once():
    login = Login()
    assert login.receive(b"tim") == Challenge(b"Password:")
    assert login.receive(b"secret") == PasswordGiven("tim", "secret")


@pytest.mark.parametrize(("name", "password"), [(b"t\0m", b"x"), (b"tim", b"x\0"), (b"tim", b"\xff")])
def test_login_malformed(name, password):
    login = Login()
    login.receive(name)
    with pytest.raises(MalformedError):
        login.receive(password)


def test_login_name_that_is_not_utf8():
    with pytest.raises(MalformedError):
        Login().receive(b"\xff")
