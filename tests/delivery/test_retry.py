"""The schedule: in bounds whatever the clock, the settings and chance say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.delivery.retry import (
    DEAD_FIRST,
    DEAD_MOST,
    FAILURES_TO_DEAD,
    dead_for,
    has_expired,
    is_worth_warning,
    jittered,
    next_due,
    wait_after,
)
from netsvc.mail.message import FLAG_REPORT, FLAG_WARNED
from netsvc.settings import DAY, HOUR, MINUTE, DeliverySettings
from tests.delivery.rows import NOW, row

SETTINGS = DeliverySettings()
CHANCE = st.floats(0, 1, exclude_max=True)


def middle():
    return 0.5


def test_the_schedule_is_the_site_s():
    assert [wait_after(n, SETTINGS) for n in range(1, 10)] == [
        5 * MINUTE,
        10 * MINUTE,
        20 * MINUTE,
        40 * MINUTE,
        80 * MINUTE,
        160 * MINUTE,
        4 * HOUR,
        4 * HOUR,
        4 * HOUR,
    ]
    assert wait_after(0, SETTINGS) == 5 * MINUTE
    assert wait_after(1, DeliverySettings(retry=())) == 5 * MINUTE
    assert wait_after(1, DeliverySettings(retry=(0,))) == 1000


@given(st.integers(0, 10 * DAY), CHANCE)
def test_jitter_is_a_tenth(wait, x):
    assert wait * 0.9 - 1 <= jittered(wait, lambda: x) <= max(wait * 1.1, 1)


@given(st.integers(0, 1000), CHANCE, st.integers(-40 * DAY, 40 * DAY))
def test_next_due_is_ahead_and_bounded(attempts, x, age):
    one = row(attempts=attempts, received_at=NOW - age, expires_at=NOW - age + 5 * DAY)
    due = next_due(NOW, one, SETTINGS, lambda: x)
    assert NOW < due <= NOW + 4.4 * HOUR


def test_the_last_attempt_is_made_as_the_message_expires():
    one = row(attempts=9, expires_at=NOW + HOUR)
    assert next_due(NOW, one, SETTINGS, middle) == NOW + HOUR
    assert next_due(NOW + HOUR, one, SETTINGS, middle) == NOW + 5 * HOUR


@pytest.mark.parametrize(
    ("attempts", "age", "over"),
    [(3, 5 * DAY, True), (9, 5 * DAY - 1, False), (2, 3650 * DAY, False), (3, -3650 * DAY, False)],
)
def test_expiry_needs_time_and_attempts(attempts, age, over):
    assert has_expired(NOW + age, row(attempts=attempts), SETTINGS) is over


def test_expiry_with_a_short_schedule():
    assert has_expired(NOW + 5 * DAY, row(attempts=1), DeliverySettings(retry=()))


def test_warning():
    late = NOW + 4 * HOUR
    assert is_worth_warning(late, row(), SETTINGS)
    assert not is_worth_warning(late - 1, row(), SETTINGS)
    assert not is_worth_warning(late, row(sender=""), SETTINGS)
    assert not is_worth_warning(late, row(flags=FLAG_WARNED), SETTINGS)
    assert not is_worth_warning(late, row(flags=FLAG_REPORT), SETTINGS)
    assert not is_worth_warning(late, row(), DeliverySettings(warn=0))


def test_a_destination_is_left_alone_longer_and_longer():
    waits = [dead_for(n, middle) for n in range(1, 12)]
    assert waits[: FAILURES_TO_DEAD - 1] == [0, 0]
    assert waits[2:7] == [DEAD_FIRST, 2 * DEAD_FIRST, 4 * DEAD_FIRST, 8 * DEAD_FIRST, DEAD_MOST]
    assert set(waits[7:]) == {DEAD_MOST}
    assert dead_for(10**9, middle) == DEAD_MOST
