"""What an envelope's wishes come to."""

import pytest

from netsvc.mail.envelope import MAX_HOLD, NO_WISHES, NOTIFY_SUCCESS, Envelope, SessionFacts, Wishes
from netsvc.mail.granting import deliver_by, divided, first_due, flags, released
from netsvc.mail.message import (
    FLAG_8BIT,
    FLAG_BINARY,
    FLAG_BY_RETURN,
    FLAG_BY_TRACE,
    FLAG_LATER,
    FLAG_TLS,
    FLAG_UTF8,
    Kind,
    LocalDelivery,
    Refusals,
)

NOW = 1_790_000_000_000
SESSION = SessionFacts("S1", "192.0.2.1", 25, "smtp", "mx1.example.org")


@pytest.mark.parametrize(
    ("body", "wishes", "value"),
    [
        ("7BIT", NO_WISHES, 0),
        ("8BITMIME", NO_WISHES, FLAG_8BIT),
        ("BINARYMIME", Wishes(utf8=True), FLAG_8BIT | FLAG_BINARY | FLAG_UTF8),
        ("7BIT", Wishes(requiretls=True, hold_for=1), FLAG_TLS | FLAG_LATER),
        ("7BIT", Wishes(by=9, by_return=True, by_trace=True), FLAG_BY_RETURN | FLAG_BY_TRACE),
        ("7BIT", Wishes(hold_until=NOW + 1, priority=3, envid="x"), FLAG_LATER),
    ],
)
def test_flags(body, wishes, value):
    assert flags(Envelope(SESSION, body=body, wishes=wishes)) == value


def test_times():
    assert (first_due(NO_WISHES, NOW), released(NO_WISHES, NOW), deliver_by(NO_WISHES, NOW)) == (NOW, NOW, 0)
    assert first_due(Wishes(hold_for=60), NOW) == released(Wishes(hold_for=60), NOW) == NOW + 60_000
    assert first_due(Wishes(hold_until=NOW + 5, priority=9), NOW) == NOW + 5
    assert first_due(Wishes(hold_until=NOW - 5), NOW) == NOW
    assert first_due(Wishes(priority=2), NOW) == NOW - 120_000
    assert first_due(Wishes(priority=-2), NOW) == NOW
    assert released(Wishes(hold_for=MAX_HOLD + 1), NOW) == NOW + MAX_HOLD * 1000
    assert deliver_by(Wishes(by=60), NOW) == NOW + 60_000
    assert deliver_by(Wishes(by=-60), NOW) == NOW - 60_000
    assert deliver_by(Wishes(by=0), 0) == 1


def test_who_waits():
    plain = LocalDelivery(1, "a@example.org", "example.org", 7, b"")
    asking = LocalDelivery(2, "b@example.org", "example.org", 8, b"", "rfc822;x@y", NOTIFY_SUCCESS)
    filed, later = divided([plain, asking], held=False, due_at=NOW)
    assert filed == [plain]
    (one,) = later
    assert (one.n, one.hop.kind, one.hop.route, one.due_at) == (2, Kind.MAILBOX, "mailbox 8", NOW)
    assert (one.orcpt, one.notify) == ("rfc822;x@y", NOTIFY_SUCCESS)
    filed, later = divided([plain, asking], held=True, due_at=NOW)
    assert (filed, [one.n for one in later]) == ([], [1, 2])


def test_refusals_begin_with_none():
    refusals = Refusals(frozenset({1}))
    assert (refusals.may, refusals.made) == ({1}, {})
