"""Trace fields."""

import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.mail import trace
from netsvc.mail.address import NULL, Address
from netsvc.mail.envelope import Envelope, Recipient, SessionFacts, Wishes
from netsvc.mail.ids import show_id

ALICE = Recipient(Address("alice", "example.org"))
BOB = Recipient(Address("bob", "example.org"))
UTF8 = Wishes(utf8=True)


def facts(**changes):
    session = SessionFacts("S1", "192.0.2.1", 4711, "smtp", "mx1.example.org", helo="client.example", extended=True)
    for name, value in changes.items():
        setattr(session, name, value)
    return session


def test_one_recipient_is_named():
    field = trace.received(Envelope(facts(), recipients=(ALICE,)), 77, 1_790_000_000_000)
    assert field == (
        b"Received: from client.example ([192.0.2.1])\r\n"
        b"\tby mx1.example.org (netsvc) with ESMTP id " + show_id(77).encode() + b"\r\n"
        b"\tfor <alice@example.org>; Mon, 21 Sep 2026 14:13:20 +0000\r\n"
    )


def test_a_name_that_was_looked_up_stands_before_the_address():
    field = trace.received(Envelope(facts(rdns="mail.client.example\r\nX: (")), 77, 0)
    assert field.startswith(b"Received: from client.example (mail.client.example??X: ? [192.0.2.1])\r\n")


def test_two_recipients_are_not():
    field = trace.received(Envelope(facts(peer="2001:db8::1"), recipients=(ALICE, BOB)), 77, 0)
    assert b"for <" not in field
    assert b"([IPv6:2001:db8::1])" in field
    assert field.endswith(b"; Thu, 1 Jan 1970 00:00:00 +0000\r\n")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"extended": False}, "SMTP"),
        ({}, "ESMTP"),
        ({"tls": "TLSv1.3"}, "ESMTPS"),
        ({"user": "alice"}, "ESMTPA"),
        ({"tls": "TLSv1.3", "user": "alice"}, "ESMTPSA"),
        ({"service": "lmtp"}, "LMTP"),
    ],
)
def test_protocol_words(changes, word):
    assert trace.protocol(Envelope(facts(**changes))) == word


@given(st.text())
def test_helo_adds_no_line_and_no_comment(helo):
    field = trace.received(Envelope(facts(helo=helo), recipients=(ALICE,)), 1, 0)
    assert field.count(b"\r\n") == 3
    assert field.count(b"\n") == 3
    first = field.split(b"\r\n")[0]
    assert first.count(b"(") == 1
    assert len(first) < 998


def test_no_helo():
    assert trace.received(Envelope(facts(helo="")), 1, 0).startswith(b"Received: from unknown (")


def test_return_path():
    assert trace.return_path(NULL) == b"Return-Path: <>\r\n"
    assert trace.return_path(ALICE.address) == b"Return-Path: <alice@example.org>\r\n"


@given(st.integers(0, 4_000_000_000))
def test_dates_are_read_by_another(second):
    assert email.utils.parsedate_to_datetime(trace.date_time(second)).timestamp() == second


def test_addresses_beyond_ascii():
    """RFC 6531 3.7.3, 4.3."""
    envelope = Envelope(facts(tls="TLSv1.3"), recipients=(Recipient(Address("\u00fc", "example.org")),), wishes=UTF8)
    field = trace.received(envelope, 77, 0).decode()
    assert " with UTF8SMTPS id " in field
    assert "\tfor <\u00fc@example.org>; " in field
    assert " with UTF8LMTP id " in trace.received(Envelope(facts(service="lmtp"), wishes=UTF8), 77, 0).decode()
    assert trace.return_path(Address("\u00fc", "example.org")) == "Return-Path: <\u00fc@example.org>\r\n".encode()
