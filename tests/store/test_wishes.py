"""What envelopes asked for, in the store, on every engine: kept and leased; refusals of one recipient; late mail; reports."""

import pytest

from netsvc.mail import granting
from netsvc.mail.envelope import NOTIFY_NEVER, NOTIFY_SUCCESS, RET_HDRS
from netsvc.mail.message import FLAG_BY_RETURN, FLAG_UTF8, LocalDelivery, Refusals, Result, State
from netsvc.mail.outcome import Fault, Outcome, Report
from netsvc.mail.reply import MAILBOX_FULL, MAILBOX_FULL_NOW, UNKNOWN_USER, ReplyError


@pytest.fixture
def house(any_house):
    """What is promised here is promised by every engine, and with a writer process too."""
    return any_house


def test_what_was_asked_for_is_leased(house):
    wishes = {"flags": FLAG_UTF8, "envid": "QQ+2B", "ret": RET_HDRS, "prio": -3, "by_at": 17}
    house.accept(deliveries=[house.away(orcpt="rfc822;x+2By@z", notify=NOTIFY_NEVER)], **wishes)
    (row,) = house.lease()
    assert (row.flags, row.envid, row.ret, row.prio, row.by_at) == (FLAG_UTF8, "QQ+2B", RET_HDRS, -3, 17)
    assert (row.orcpt, row.notify) == ("rfc822;x+2By@z", NOTIFY_NEVER)


def test_addresses_beyond_ascii_are_kept_as_they_are(house):
    house.accept(deliveries=[house.away(rcpt="b\u00fc@example.com")], sender="\u7528@example.org")
    (row,) = house.lease()
    assert (row.rcpt, row.sender) == ("b\u00fc@example.com", "\u7528@example.org")


def test_a_report_is_wanted_of_mail_that_waits_for_room(house):
    full = house.mailbox(quota=10)
    box = house.mailbox("ann@example.net")
    wish = {"orcpt": "rfc822;x@y", "notify": NOTIFY_NEVER}
    house.accept(local=[house.local(box), house.local(full, 2)._replace(**wish)])
    assert house.rows("SELECT orcpt, notify, state FROM delivery") == [("rfc822;x@y", NOTIFY_NEVER, State.DEFERRED)]


def accept(house, local, may, deliveries=(), size=100):
    refusals = Refusals(frozenset(may))
    message = house.message(size, rcpts=len(local) + len(deliveries))
    done = house.spool.accept(message, b"x" * size, list(deliveries), list(local), refusals)
    return done, refusals


def test_a_full_mailbox_is_refused_alone(house):
    """RFC 2033 4.2: the others keep theirs."""
    box, small = house.mailbox("a@example.net"), house.mailbox("b@example.net", quota=10)
    one = house.mailbox("c@example.net", msgs=1)
    house.accept(local=[house.local(one)])
    local = [house.local(small, 1), house.local(box, 2), house.local(one, 3), house.local(99, 4)]
    done, refusals = accept(house, local, {1, 2, 3, 4})
    number = house.run(done)
    assert refusals.made == {1: MAILBOX_FULL, 3: MAILBOX_FULL_NOW, 4: UNKNOWN_USER}
    assert house.rows("SELECT message_id FROM mail WHERE mailbox_id = ?", (box,)) == [(number,)]
    assert house.value("SELECT count(*) FROM delivery") == 0


def test_who_may_not_be_refused_waits(house):
    small, tiny = house.mailbox("b@example.net", quota=10), house.mailbox("c@example.net", quota=10)
    done, refusals = accept(house, [house.local(small, 1), house.local(tiny, 2)], {1})
    number = house.run(done)
    assert refusals.made.keys() == {1}
    assert house.rows("SELECT message_id, n FROM delivery") == [(number, 2)]
    assert house.rows("SELECT rcpts, pending FROM message") == [(1, 1)]


def test_everybody_refused_keeps_nothing(house):
    small, tiny = house.mailbox("b@example.net", quota=10), house.mailbox("c@example.net", quota=10)
    done, refusals = accept(house, [house.local(small, 1), house.local(tiny, 2)], {1, 2})
    assert house.fails(done, ReplyError).reply == MAILBOX_FULL
    assert refusals.made == {1: MAILBOX_FULL, 2: MAILBOX_FULL}
    assert house.value("SELECT count(*) FROM message") == house.value("SELECT count(*) FROM blob") == 0


def test_large_content_too(house):
    small, box = house.mailbox("b@example.net", quota=10), house.mailbox("a@example.net")
    writer = house.spool.body()
    for _ in range(40):
        pressure = writer.write(b"x" * 20_000)
        if pressure is not None:
            house.run(pressure)
    refusals = Refusals(frozenset({1, 2}))
    message = house.message(writer.size)
    local = [house.local(small, 1), house.local(box, 2)]
    house.run(house.spool.accept(message, writer, [], local, refusals))
    assert refusals.made == {1: MAILBOX_FULL}


def test_mail_to_be_returned_by_now_is_leased_as_overdue(house):
    """RFC 2852: however young it is, where its destination is left alone."""
    now = house.spool.now()
    away = house.away(key="a.example")
    late = house.accept(deliveries=[away], by_at=now - 1, flags=FLAG_BY_RETURN)
    house.accept(deliveries=[away], by_at=now + 10**9, flags=FLAG_BY_RETURN)
    house.accept(deliveries=[away], by_at=now - 1)  # mode N: only reported
    house.execute("UPDATE dest SET dead_until = ?", (now + 10**7,))
    look = house.spool.overdue
    assert [row.message_id for row in house.run(look(now - 10**6, 9))] == [late]
    assert house.run(look(now - 10**6, 9)) == []


def test_what_is_expired_twice_is_leased_once(house):
    now = house.spool.now()
    number = house.accept(deliveries=[house.away(key="a.example")], by_at=now - 1, flags=FLAG_BY_RETURN)
    house.execute("UPDATE message SET expires_at = ?", (now - 1,))
    house.execute("UPDATE dest SET dead_until = ?", (now + 10**7,))
    assert [row.message_id for row in house.run(house.spool.overdue(now + 1000, 9))] == [number]


def reported(house, row):
    message = house.message(3, sender="", sender_domain="")
    box = house.value("SELECT id FROM mailbox WHERE address = 'ann@example.org'")
    local = (LocalDelivery(1, "ann@example.org", "example.org", box, b""),)
    return Report(message, b"dsn", (), local, about=(row.id,))


@pytest.mark.parametrize("room", [True, False])
def test_delivery_and_its_report_are_one_unit_of_work(house, room):
    """NOTIFY=SUCCESS: what finds no room when it is settled is no success, and its report is dropped."""
    house.mailbox("ann@example.org")
    box = house.mailbox(quota=0 if room else 10)
    entry = house.local(box)._replace(notify=NOTIFY_SUCCESS)
    filed, later = granting.divided([entry], held=False, due_at=house.spool.now())
    assert filed == []
    house.accept(deliveries=later)
    (row,) = house.lease()
    outcome = Outcome(row.id, Result.DELIVERED, Fault.NONE, due_at=house.spool.now())
    settled = house.run(house.spool.settle([outcome], [reported(house, row)]))
    assert bool(settled.changed) != room
    assert house.value("SELECT count(*) FROM mail WHERE mailbox_id = ?", (box,)) == room
    assert house.value("SELECT count(*) FROM mail") == 2 * room
