"""What of a message a peer is offered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.delivery.offers import is_text, offered
from netsvc.mail.envelope import NO_WISHES, NOTIFY_NEVER, RET_HDRS, Wishes
from netsvc.mail.message import FLAG_8BIT, FLAG_BINARY, FLAG_BY_RETURN, FLAG_REPORT, FLAG_TLS, FLAG_UTF8, FLAG_WARNED
from tests.delivery.rows import NOW, row

TEXT = b"Subject: x\r\n\r\nText.\r\n"
UTF8 = "Subject: \u00fc\r\n\r\n".encode()


def offer(*rows, piece=TEXT, whole=True):
    return offered(rows, piece, whole=whole, now=NOW)


def test_nothing_special():
    plain = offer(row(), row(id=2, rcpt="eve@example.net"))
    assert plain.wishes is NO_WISHES
    assert (plain.asked, plain.eight_bit, plain.binary) == ((), False, False)
    assert plain.recipients == ("bob@example.net", "eve@example.net")
    assert plain.size == len(row().hdr) + row().size
    assert offer(row(flags=FLAG_WARNED | FLAG_REPORT)).wishes is NO_WISHES


def test_what_was_asked_for():
    wanted = offer(
        row(envid="x", ret=RET_HDRS, prio=3, by_at=NOW + 9_500, flags=FLAG_BY_RETURN | FLAG_TLS),
        row(id=2, orcpt="rfc822;x", notify=NOTIFY_NEVER),
    )
    assert wanted.wishes == Wishes(
        ret=RET_HDRS, envid="x", requiretls=True, by=9, by_return=True, by_trace=False, priority=3
    )
    assert wanted.asked == (("", 0), ("rfc822;x", NOTIFY_NEVER))


@pytest.mark.parametrize(
    ("flags", "piece", "whole", "eight_bit", "binary"),
    [
        (0, TEXT + b"\xff", True, True, False),  # declared or not
        (FLAG_8BIT, TEXT, True, False, False),
        (FLAG_8BIT, TEXT, False, True, False),
        (FLAG_8BIT | FLAG_BINARY, TEXT, True, False, False),
        (FLAG_8BIT | FLAG_BINARY, TEXT, False, True, True),
        (FLAG_8BIT | FLAG_BINARY, TEXT + b"\0", True, False, True),
    ],
)
def test_bodies(flags, piece, whole, eight_bit, binary):
    found = offer(row(flags=flags), piece=piece, whole=whole)
    assert (found.eight_bit, found.binary) == (eight_bit, binary)


@pytest.mark.parametrize(
    ("changes", "piece", "utf8"),
    [
        ({}, TEXT, False),
        ({"sender": "\u00fc@example.org"}, TEXT, True),
        ({"rcpt": "\u00fc@example.org"}, TEXT, True),
        ({"hdr": "Received: for <\u00fc@x>\r\n".encode()}, TEXT, True),
        ({}, UTF8, True),
        ({}, b"Subject: x\r\n\r\n\xff\r\n", False),
        ({}, b"Subject: x\r\n\xff", True),
    ],
)
def test_smtputf8_is_asked_for_where_it_is_needed(changes, piece, utf8):
    assert offer(row(flags=FLAG_UTF8, **changes), piece=piece).wishes.utf8 is utf8
    assert not offer(row(**changes), piece=piece).wishes.utf8


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"\0", b"x" * 997, b"x", b"\xff"])))
def test_text_is_what_data_can_carry(pieces):
    content = b"".join(pieces)
    lines = content.split(b"\r\n")
    plain = not any(c in line for line in lines for c in (b"\r", b"\n", b"\0"))
    assert is_text(content) == (plain and all(len(line) <= 998 for line in lines))
