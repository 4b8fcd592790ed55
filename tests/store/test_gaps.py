"""Clocks that jump between two lives of the service, and times when it does not live."""

import pytest

from netsvc.mail.ids import make_id
from netsvc.mail.message import FLAG_LATER, Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.store import ticks
from netsvc.store.gaps import LEAST_MS, Gaps
from netsvc.store.safety import Safety
from netsvc.store.upkeep import KEEP_MS, Upkeep

HOUR = 3_600_000
DAY = 24 * HOUR
YEAR = 365 * DAY
EXPIRE = 5 * DAY


@pytest.fixture
def restart(lasting, monkeypatch):
    """Close the store, set the clock by so much, open it -> the store's new time."""
    real = ticks.wall
    total = 0

    def again(ms):
        nonlocal total
        total += ms
        monkeypatch.setattr(ticks, "wall", lambda by=total: real() + by)
        if "postgres" in lasting.url:
            from netsvc.store.postgres import PgLinks

            plain = getattr(again, "plain", None) or PgLinks.clock
            again.plain = plain
            monkeypatch.setattr(PgLinks, "clock", lambda links, by=total: plain(links) + by)
        lasting.again()
        return lasting.spool.now()

    return again


def later(house, wait=4 * HOUR, **changes):
    """Accept one message and defer it -> its id."""
    number = house.accept(deliveries=[house.away(**changes)])
    (row,) = house.lease()
    outcome = Outcome(row.id, Result.DEFERRED, Fault.REPLY, 450, reply="not now", due_at=house.spool.now() + wait)
    house.run(house.spool.settle([outcome], []))
    return number


def close_to(found, wanted):
    return abs(found - wanted) < 60_000


def test_a_short_stop_is_no_gap(lasting, restart):
    number = later(lasting)
    now = restart(LEAST_MS - 60_000)
    assert lasting.rows("SELECT * FROM clock_gap") == []
    assert lasting.spool.lived(number) - now < 100
    assert lasting.spool.before(EXPIRE) == pytest.approx(now - EXPIRE, abs=100)
    assert lasting.spool.gaps.found == 0


@pytest.mark.parametrize("jump", [HOUR, 10 * YEAR, -HOUR, -10 * YEAR])
def test_what_the_clock_jumped_does_not_make_mail_older_or_younger(lasting, restart, jump):
    accepted = lasting.spool.now()
    old = later(lasting)
    now = restart(jump)
    new = lasting.accept(deliveries=[lasting.away()])
    assert close_to(now, accepted + jump)
    assert close_to(lasting.spool.gaps.found, jump)
    assert close_to(lasting.spool.lived(old), accepted)
    assert close_to(lasting.spool.lived(new), now)
    assert new > old
    restart(0)
    assert lasting.spool.gaps.found == 0
    assert close_to(lasting.spool.lived(old), accepted)
    restart(-jump)
    assert close_to(lasting.spool.lived(old), accepted)
    assert close_to(lasting.spool.lived(new), now)


@pytest.mark.parametrize("jump", [HOUR, 10 * YEAR, -HOUR, -10 * YEAR])
def test_what_waits_is_tried_in_time(lasting, restart, jump):
    later(lasting, wait=4 * HOUR)
    now = restart(jump)
    assert now <= lasting.run(lasting.spool.next_due()) + max(jump, 0)
    assert lasting.run(lasting.spool.next_due()) <= now + 4 * HOUR
    if jump < 0:
        assert close_to(lasting.run(lasting.spool.next_due()), now + 4 * HOUR)
    lasting.engine.clock.advance(4 * HOUR + 60_000)
    assert len(lasting.lease()) == 1


def test_mail_held_by_its_sender_until_a_time_keeps_it(lasting, restart):
    until = lasting.spool.now() + 20 * DAY
    lasting.accept(deliveries=[lasting.away(due_at=until)], flags=FLAG_LATER)
    restart(0)
    assert lasting.run(lasting.spool.next_due()) == until
    restart(-2 * HOUR)
    assert lasting.run(lasting.spool.next_due()) == until


@pytest.mark.parametrize("jump", [DAY, 10 * YEAR, -10 * YEAR])
def test_nothing_at_a_dead_destination_expires_for_a_jump(lasting, restart, jump):
    later(lasting)
    now = restart(jump)
    lasting.execute("UPDATE dest SET dead_until = ?", (now + YEAR,))
    look = lasting.spool.overdue
    assert lasting.run(look(lasting.spool.before(EXPIRE), 9)) == []
    lasting.engine.clock.advance(EXPIRE + HOUR)
    if jump > 0:  # after a step back it is tried when its destination is
        assert len(lasting.run(look(lasting.spool.before(EXPIRE), 9))) == 1


def test_a_backoff_that_a_wrong_clock_set_ends(lasting, restart):
    later(lasting)
    lasting.execute("UPDATE dest SET dead_until = ?, fail_streak = 3", (lasting.spool.now() + HOUR,))
    now = restart(-10 * YEAR)
    lasting.engine.clock.advance(5 * HOUR)
    assert [at for _, at, *_ in lasting.run(lasting.spool.due(9))] == [pytest.approx(now + 4 * HOUR, abs=60_000)]


@pytest.mark.parametrize("jump", [10 * YEAR, -10 * YEAR])
def test_history_and_recycled_items_stay_as_long_as_ever(lasting, restart, jump):
    lasting.accept(deliveries=[lasting.away()])
    (row,) = lasting.lease()
    lasting.run(lasting.spool.settle([Outcome(row.id, Result.DELIVERED, transcript=b"t")], []))
    lasting.accept(deliveries=[lasting.away()])
    lasting.execute("UPDATE delivery SET state = 5, prev_state = 1, purge_at = ?", (lasting.spool.now() + DAY,))
    restart(jump)
    keep = Upkeep(lasting.engine, lasting.pump, lambda *_, **__: None, lasting.spool.gaps, lasting.store.safety)
    lasting.run(keep.round())
    assert lasting.value("SELECT count(*) FROM history") == 1
    assert lasting.value("SELECT count(*) FROM transcript") == 1
    assert lasting.value("SELECT count(*) FROM delivery") == 1
    lasting.engine.clock.advance(DAY + HOUR)
    lasting.run(keep.round())
    assert lasting.value("SELECT count(*) FROM delivery") == 0


def test_the_time_before_which_something_has_lived_so_long():
    gaps = Gaps()
    assert gaps.before(DAY, 100 * DAY) == 99 * DAY
    gaps._rows = ((make_id(90 * DAY + 50 * YEAR, 0, 0), 90 * DAY, 60 * DAY),)
    assert gaps.before(DAY, 91 * DAY) == 90 * DAY
    assert gaps.before(2 * DAY, 91 * DAY) == 29 * DAY
    gaps._rows = ((make_id(50 * YEAR + 90 * DAY, 0, 0), 90 * DAY, -10 * DAY),)
    assert gaps.before(2 * DAY, 91 * DAY) == 99 * DAY
    assert gaps.before(KEEP_MS, 91 * DAY) == 87 * DAY


def test_a_clock_set_while_the_service_runs_is_told_once(lasting):
    logged = []
    keep = Upkeep(
        lasting.engine,
        lasting.pump,
        lambda event, **fields: logged.append((event, fields)),
        Gaps(),
        Safety(lasting.engine.clock),
    )
    lasting.engine.clock.jump = 10 * YEAR
    keep._look_at_clock()
    keep._look_at_clock()
    assert logged == [("store.clock_jump", {"ms": 10 * YEAR})]
    lasting.engine.clock.jump = 0
    keep._look_at_clock()
    lasting.engine.clock.jump = -2 * HOUR
    keep._look_at_clock()
    assert [event for event, _ in logged] == ["store.clock_jump"] * 2
