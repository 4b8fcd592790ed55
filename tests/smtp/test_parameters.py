"""ESMTP parameters: each value that means something, and each that does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.mail.envelope import (
    MAX_HOLD,
    NO_WISHES,
    NOTIFY_DELAY,
    NOTIFY_FAILURE,
    NOTIFY_NEVER,
    NOTIFY_SUCCESS,
    RET_FULL,
    RET_HDRS,
    Wishes,
)
from netsvc.mail.escape import escape
from netsvc.smtp import parameters
from netsvc.smtp.parameters import OF_MAIL, OF_RCPT, ParameterError


@pytest.mark.parametrize(
    ("params", "wishes"),
    [
        ({}, NO_WISHES),
        ({"SIZE": "1", "BODY": "7BIT"}, NO_WISHES),
        ({"SMTPUTF8": ""}, Wishes(utf8=True)),  # RFC 6531 3.4
        ({"RET": "FULL"}, Wishes(ret=RET_FULL)),  # RFC 3461 4.3
        ({"RET": "hdrs", "ENVID": "QQ314159+2B"}, Wishes(ret=RET_HDRS, envid="QQ314159+2B")),  # RFC 3461 4.4
        ({"REQUIRETLS": ""}, Wishes(requiretls=True)),  # RFC 8689 2
        ({"HOLDFOR": "60"}, Wishes(hold_for=60)),  # RFC 4865 5
        ({"HOLDUNTIL": "2030-01-31T12:00:00Z"}, Wishes(hold_until=1_896_091_200_000)),
        ({"HOLDUNTIL": "2030-01-31t14:00:00.5+02:00"}, Wishes(hold_until=1_896_091_200_000)),
        ({"HOLDUNTIL": "1960-01-01T00:00:00Z"}, Wishes(hold_until=1000)),
        ({"BY": "120;R"}, Wishes(by=120, by_return=True)),  # RFC 2852 4
        ({"BY": "-10;nt"}, Wishes(by=-10, by_trace=True)),
        ({"BY": "+0;N"}, Wishes(by=0)),
        ({"MT-PRIORITY": "-9"}, Wishes(priority=-9)),  # RFC 6710 4
        ({"MT-PRIORITY": "4"}, Wishes(priority=4)),
        ({"AUTH": "<>"}, NO_WISHES),  # RFC 4954 5
        ({"AUTH": "e+3Dmc2@example.com"}, NO_WISHES),
    ],
)
def test_wishes(params, wishes):
    assert parameters.wishes(params) == wishes


def test_no_wish_is_the_one_that_is_cheap_to_look_for():
    assert parameters.wishes({"SIZE": "1"}) is NO_WISHES


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"SMTPUTF8": "x"}, "has no value"),
        ({"REQUIRETLS": "x"}, "has no value"),
        ({"RET": "ALL"}, "RET is"),
        ({"AUTH": "<"}, "AUTH is"),
        ({"AUTH": "a+2"}, "AUTH is"),
        ({"AUTH": "nobody"}, "AUTH is"),
        ({"RET": ""}, "RET is"),
        ({"ENVID": ""}, "ENVID is"),
        ({"ENVID": "a+0D+0Ab"}, "ENVID is"),  # a line end within a field of the report: T9
        ({"ENVID": "a+0"}, "ENVID is"),
        ({"ENVID": "a+e4"}, "ENVID is"),
        ({"ENVID": "a+E4"}, "ENVID is"),
        ({"ENVID": "x" * 101}, "ENVID is"),
        ({"HOLDFOR": "0"}, "HOLDFOR is"),
        ({"HOLDFOR": "-1"}, "HOLDFOR is"),
        ({"HOLDFOR": "1" * 10}, "HOLDFOR is"),
        ({"HOLDUNTIL": "tomorrow"}, "HOLDUNTIL is"),
        ({"HOLDUNTIL": "2030-02-31T12:00:00Z"}, "HOLDUNTIL is"),
        ({"HOLDUNTIL": "0001-01-01T00:00:00+23:59"}, "HOLDUNTIL is"),
        ({"HOLDFOR": "1", "HOLDUNTIL": "2030-01-31T12:00:00Z"}, "do not go together"),
        ({"BY": "0;R"}, "positive"),
        ({"BY": "-5;R"}, "positive"),
        ({"BY": "5"}, "BY is"),
        ({"BY": "5;X"}, "BY is"),
        ({"BY": "1234567890;N"}, "BY is"),
        ({"MT-PRIORITY": "10"}, "from -9"),
        ({"MT-PRIORITY": "+1"}, "from -9"),
        ({"MT-PRIORITY": ""}, "from -9"),
    ],
)
def test_no_such_wish(params, why):
    with pytest.raises(ParameterError, match=why):
        parameters.wishes(params)


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        ("NEVER", NOTIFY_NEVER),
        ("success", NOTIFY_SUCCESS),
        ("SUCCESS,FAILURE,DELAY", NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY),
        ("DELAY,FAILURE", NOTIFY_FAILURE | NOTIFY_DELAY),
    ],
)
def test_notify(value, bits):
    """RFC 3461 4.1."""
    assert parameters.notify(value) == bits


@pytest.mark.parametrize("value", ["", "NEVER,SUCCESS", "ALWAYS", "SUCCESS,", "SUCCESS,SUCCESS", "SUCCESS FAILURE"])
def test_no_notify(value):
    with pytest.raises(ParameterError, match="NOTIFY is"):
        parameters.notify(value)


@pytest.mark.parametrize(
    "value",
    [
        "rfc822;ann@example.org",
        "rfc822;a+2Bb@example.org",
        "x-other;+20",
        "utf-8;\u00fc@example.org",
        "utf-8;\\x{FC}@b",
    ],
)
def test_original_recipient(value):
    """RFC 3461 4.2, RFC 6533 3."""
    assert parameters.original_recipient(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "rfc822",
        "rfc822;",
        ";a@b",
        "rfc 822;a@b",
        "rfc822;a+0Ab@c",
        "rfc822;a b",
        "rfc822;a+",
        "rfc822;\u00fc@b",
        "utf-8;\u202e@b",
        "utf-8;a b",
        "rfc822;" + "x" * 500,
    ],
)
def test_no_original_recipient(value):
    with pytest.raises(ParameterError, match="ORCPT is"):
        parameters.original_recipient(value)


@given(st.sampled_from(sorted(OF_MAIL - {"SIZE", "BODY"})), st.text(max_size=40))
def test_any_value_is_a_wish_or_an_error(name, value):
    try:
        wishes = parameters.wishes({name: value})
    except ParameterError:
        return
    assert wishes.envid == escape(wishes.envid)
    assert wishes.envid.isascii()
    assert -9 <= wishes.priority <= 9
    release = wishes.release(1_800_000_000_000)
    assert release is None or 0 <= release - 1_800_000_000_000 <= MAX_HOLD * 1000


@given(st.sampled_from(sorted(OF_RCPT)), st.text(max_size=40))
def test_any_value_of_a_recipient_is_taken_or_an_error(name, value):
    read = parameters.notify if name == "NOTIFY" else parameters.original_recipient
    try:
        taken = read(value)
    except ParameterError:
        return
    assert taken in range(1, 16) or (taken == value == escape(value))
