"""Mail that comes back to an address it was sent on from."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.mail.address import parse_address
from netsvc.mail.envelope import Envelope, Recipient, SessionFacts
from netsvc.mail.loops import CUT, MAX_LOOKED_AT, MAX_PASSES, cut, passes
from netsvc.mail.message import MailboxRef, Resolution
from netsvc.mail.reply import ReplyError
from netsvc.mail.trace import received

HOST = "mx1.example.org"
ON = Resolution(True, (), ("x@away.example",))
HERE = Resolution(True, (MailboxRef(1, "alice@example.org"),))


def field(*rcpts, host=HOST):
    """The Received field that a netsvc writes for these recipients."""
    session = SessionFacts("S1", "192.0.2.1", 4711, "smtp", host, helo="client.example", extended=True)
    return received(Envelope(session, recipients=recipients(*rcpts)), 1 << 62, 1_790_000_000_000)


def recipients(*texts):
    return tuple(Recipient(parse_address(text)) for text in texts)


def test_our_fields_are_told_from_others():
    header = (
        field("Info@Example.org")
        + b"Received: from a by b with SMTP;\r\n\tMon, 23 Nov 2026 14:05:12 +0000\r\n"
        + field("info@example.org", "bob@example.org")
        + field("info@example.org", host="mx2.example.org")
        + b"Subject: by mx1.example.org (netsvc) with ESMTP id X\r\n\tfor <a@example.org>; \r\n"
    )
    assert passes(header, HOST) == ["info@example.org", ""]
    assert passes(header, "MX2.example.org") == ["info@example.org"]
    assert passes(b"", HOST) == []
    assert passes(b"X: by mx1.example.org (netsvc) with ESMTP", HOST) == []
    assert passes(b"Received: by mx1.example.org (netsvc) with ESMTP\r\n\tfor <a@b", HOST) == [""]


def test_a_recipient_that_was_named_is_cut():
    header = field("info@example.org")
    some = recipients("Info@example.org", "bob@example.org")
    assert cut(header, HOST, some, [ON, HERE]) == [CUT, HERE]
    assert cut(header, HOST, some, [HERE, ON]) == [HERE, ON]
    assert cut(b"", HOST, some, [ON, HERE]) == [ON, HERE]
    assert cut(header, HOST, (), []) == []


def test_nothing_left_is_a_loop():
    with pytest.raises(ReplyError) as caught:
        cut(field("info@example.org"), HOST, recipients("info@example.org"), [ON])
    assert (caught.value.reply.code, caught.value.reply.status) == (554, "5.4.6")


def test_several_recipients_are_ended_by_the_number_of_passes():
    both = ("info@example.org", "team@example.org")
    some = recipients(*both)
    assert cut(field(*both) * (MAX_PASSES - 1), HOST, some, [ON, ON]) == [ON, ON]
    with pytest.raises(ReplyError):
        cut(field(*both) * MAX_PASSES, HOST, some, [ON, ON])
    assert cut(field(*both) * MAX_PASSES, HOST, some, [ON, HERE]) == [CUT, HERE]


def test_what_is_looked_at_is_bounded():
    header = field("info@example.org") * 5000
    began = time.process_time()
    assert len(passes(header, HOST)) == MAX_LOOKED_AT
    assert passes(b"Received: x\r\n" + b"X: by mx1.example.org (netsvc) with \r\n" * 20_000, HOST) == []
    assert time.process_time() - began < 1


@given(st.binary(max_size=300))
def test_any_header_is_read(header):
    passes(header, HOST)
    passes(header + b"\nReceived: x\n\tby mx1.example.org (netsvc) with " + header, HOST)
