"""The spool's promises, on every engine."""

import pytest

from netsvc.mail.message import FLAG_REPORT, Kind, LocalDelivery, Result, State
from netsvc.mail.outcome import Fault, Outcome, Report
from netsvc.mail.reply import ReplyError
from netsvc.store.heads import close_heads

NASTY = (
    "' OR 1=1 --",
    '"; DROP TABLE delivery; --',
    "a%b_c",
    "\x00nul\x1b[2J",
    "\u202eevil",
    "lone \udc80",
    "{v}{ids}?",
)


@pytest.fixture
def house(any_house):
    """What is promised here is promised by every engine, and with a writer process too."""
    return any_house


def settle(house, leased, result, reports=(), **facts):
    facts.setdefault("due_at", house.spool.now() + 60_000)
    outcomes = [Outcome(row.id, result, **facts) for row in leased]
    return house.run(house.spool.settle(outcomes, list(reports)))


def test_mail_for_a_mailbox_is_in_it_and_in_history_at_once(house):
    box = house.mailbox()
    first = house.accept(b"one", [house.local(box)])
    house.accept(b"three", [house.local(box)])
    mails = house.run(house.store.mail.list("Bob@Example.net"))
    assert [(m["uid"], m["size"]) for m in mails] == [(1, 3 + 32), (2, 5 + 32)]
    assert mails[0]["id"] == first
    assert house.rows("SELECT outcome, message_id, rcpt FROM history ORDER BY id")[0] == (1, first, "bob@example.net")
    assert house.value("SELECT count(*) FROM message") == 0
    assert house.value("SELECT count(*) FROM delivery") == 0
    assert house.rows("SELECT refs, size FROM blob ORDER BY id") == [(1, 3), (1, 5)]
    assert house.rows("SELECT used_bytes, used_msgs, uidnext FROM mailbox") == [(72, 2, 3)]


def test_many_at_once_share_commits_and_get_their_own_uids(house):
    boxes = [house.mailbox(f"m{n}@example.net") for n in range(3)]
    before = house.engine.figures()["commits"]
    waiting = [house.accepting(b"%d" % n, [house.local(boxes[n % 3])]) for n in range(300)]
    ids = [house.run(d) for d in waiting]
    assert len(set(ids)) == 300
    for box in boxes:
        uids = house.rows("SELECT uid FROM mail WHERE mailbox_id = ? ORDER BY uid", (box,))
        assert uids == [(n,) for n in range(1, 101)]
    if house.url != "memory":
        assert house.engine.figures()["commits"] - before < 100


def test_one_body_for_all_recipients_of_a_message(house):
    boxes = [house.mailbox(f"m{n}@example.net") for n in range(3)]
    house.accept(b"x" * 10, [house.local(b, n + 1) for n, b in enumerate(boxes)], [house.away(4), house.away(5)])
    assert house.rows("SELECT refs FROM blob") == [(4,)]
    assert house.rows("SELECT pending, size FROM message") == [(2, 10)]
    assert house.counted()[0] == house.counted()[1]


def test_quota_of_the_only_recipient_refuses(house):
    box = house.mailbox(quota=100)
    house.accept(b"x" * 60, [house.local(box)])
    error = house.fails(house.accepting(b"x" * 60, [house.local(box)]), ReplyError)
    assert (error.reply.code, error.reply.status) == (452, "4.2.2")
    assert house.value("SELECT count(*) FROM blob") == 1
    assert house.value("SELECT count(*) FROM mail") == 1


def test_what_never_fits_is_refused_for_good_but_for_the_postmaster(house):
    box = house.mailbox(quota=100)
    error = house.fails(house.accepting(b"x" * 200, [house.local(box)]), ReplyError)
    assert (error.reply.code, error.reply.status) == (552, "5.2.2")
    error = house.fails(house.accepting(b"x" * 200, [house.local(box, rcpt="Postmaster@example.net")]), ReplyError)
    assert (error.reply.code, error.reply.status) == (452, "4.2.2")


def test_quota_of_messages(house):
    box = house.mailbox(msgs=1)
    house.accept(b"x", [house.local(box)])
    assert house.fails(house.accepting(b"x", [house.local(box)]), ReplyError).reply.code == 452


def test_a_mailbox_that_is_gone_refuses(house):
    error = house.fails(house.accepting(b"x", [house.local(12345)]), ReplyError)
    assert (error.reply.code, error.reply.status) == (550, "5.1.1")
    assert house.value("SELECT count(*) FROM blob") == 0


def test_quota_of_one_of_many_makes_it_wait_and_later_it_arrives(house):
    full, fine = house.mailbox("full@example.net", quota=10), house.mailbox("fine@example.net")
    number = house.accept(
        b"x" * 60, [house.local(full, 1, "full@example.net"), house.local(fine, 2, "fine@example.net")]
    )
    assert house.rows("SELECT n, state, kind, reply FROM delivery") == [
        (1, State.DEFERRED, Kind.MAILBOX, "The mailbox is full")
    ]
    house.engine.clock.advance(16 * 60_000)
    leased = house.lease()
    assert [(row.kind, row.rcpt, row.attempts) for row in leased] == [(Kind.MAILBOX, "full@example.net", 1)]
    settle(house, leased, Result.DELIVERED)
    assert house.rows("SELECT state, attempts FROM delivery") == [(State.DEFERRED, 1)]  # still full
    house.execute("UPDATE mailbox SET quota_bytes = 0")
    house.engine.clock.advance(16 * 60_000)
    settle(house, house.lease(), Result.DELIVERED)
    assert house.value("SELECT count(*) FROM delivery") == 0
    mail = house.run(house.store.mail.list("full@example.net"))[0]
    assert mail["id"] == number
    content = house.read_all(house.run(house.store.mail.fetch("full@example.net", 1)))
    assert content == b"Return-Path: <ann@example.org>\r\nReceived: by mx\r\n" + b"x" * 60
    assert house.rows("SELECT refs FROM blob") == [(2,)]
    assert house.counted()[0] == house.counted()[1]


def test_mail_for_no_mailbox_waits_to_be_returned(house):
    """A recipient that went between RCPT and the end of data."""
    house.accept(b"x" * 60, [house.local(0)], [house.away(2, due_at=house.spool.now() + 10**9)])
    house.engine.clock.advance(16 * 60_000)
    settle(house, house.lease(), Result.DELIVERED)
    assert house.rows("SELECT state, reply FROM delivery WHERE n = 1") == [(3, "No such user here")]
    assert house.value("SELECT count(*) FROM history") == 0


def test_a_mailbox_that_went_while_mail_waited_is_left_to_the_next_attempt(house):
    full = house.mailbox("full@example.net", quota=10)
    house.accept(b"x" * 60, [house.local(full)], [house.away(2, due_at=house.spool.now() + 10**9)])
    house.execute("DELETE FROM mailbox")
    house.engine.clock.advance(16 * 60_000)
    told = settle(house, house.lease(), Result.DELIVERED)
    assert [(o.result, o.status) for o in told.changed] == [(Result.DEFERRED, "5.1.1")]
    assert house.rows("SELECT state, reply FROM delivery WHERE n = 1") == [(3, "No such user here")]
    assert house.value("SELECT count(*) FROM history") == 0


def test_lease_counts_before_the_attempt_and_settle_ends_it(house):
    number = house.accept(b"x" * 9, deliveries=[house.away(1), house.away(2, "dan@example.com")])
    leased = house.lease()
    assert [(row.n, row.attempts, row.crashes, row.message_id) for row in leased] == [
        (1, 1, 0, number),
        (2, 1, 0, number),
    ]
    assert house.rows("SELECT state, attempts, crashes FROM delivery") == [(2, 1, 1), (2, 1, 1)]
    assert house.lease() == []
    assert house.counted()[0] == house.counted()[1]
    told = settle(house, leased[:1], Result.DELIVERED, code=250, status="2.0.0", reply="ok", host="mx", transcript=b"t")
    assert told.acked == (leased[0].id,)
    assert house.rows("SELECT pending FROM message") == [(1,)]
    settle(house, leased[1:], Result.BOUNCED, fault=Fault.REPLY, code=550, status="5.1.1", reply="no dan@example.com")
    assert house.value("SELECT count(*) FROM message") == 0
    assert house.rows("SELECT outcome FROM history ORDER BY n") == [(1,), (2,)]
    assert house.rows("SELECT text FROM reason") == [("no <address>",)]
    assert house.rows("SELECT refs, dead_at > 0 FROM blob") in ([(0, 1)], [(0, True)])
    assert house.value("SELECT data FROM transcript") == b"t"
    assert house.counted()[0] == house.counted()[1] == ([], [])


def test_one_transcript_for_the_recipients_of_one_transaction(house):
    house.accept(deliveries=[house.away(n, f"u{n}@example.com") for n in range(1, 5)])
    settle(house, house.lease(), Result.DELIVERED, transcript=b"the dialogue")
    assert house.value("SELECT count(*) FROM transcript") == 1
    assert house.value("SELECT count(DISTINCT transcript_id) FROM attempt") == 1


def test_deferred_comes_back_when_it_is_due(house):
    house.accept(deliveries=[house.away()])
    at = house.spool.now() + 60_000
    outcome = {"fault": Fault.CONNECT_REFUSED, "reply": "connection refused", "host": "[192.0.2.9]", "due_at": at}
    settle(house, house.lease(), Result.DEFERRED, warned=True, **outcome)
    assert house.rows("SELECT state, due_at, attempts, crashes, lease_node FROM delivery") == [(3, at, 1, 0, 0)]
    assert house.rows("SELECT klass, text FROM reason") == [(int(Fault.CONNECT_REFUSED), "conn refused")]
    assert house.value("SELECT flags FROM message") == 1
    assert house.run(house.spool.due(10)) == []
    assert house.run(house.spool.next_due()) == at
    house.engine.clock.advance(60_001)
    assert [row.attempts for row in house.lease()] == [2]
    assert house.counted()[0] == house.counted()[1]


def test_what_this_process_has_leased_is_told(house):
    house.accept(deliveries=[house.away(), house.away(2, rcpt="b@example.net")])
    rows = house.lease()
    ids = sorted(row.id for row in rows)
    later = house.spool.now() + 1000
    assert sorted(house.run(house.spool.held(later))) == ids
    assert house.run(house.spool.held(later - 60_000)) == []
    house.execute("UPDATE delivery SET lease_epoch = lease_epoch - 1 WHERE id = ?", (ids[0],))
    assert house.run(house.spool.held(later)) == ids[1:]
    house.run(house.spool.settle([Outcome(ids[1], Result.RELEASED)], ()))
    assert house.run(house.spool.held(later)) == []
    assert [row.id for row in house.lease()] == ids[1:]


def test_released_is_as_if_never_tried(house):
    house.accept(deliveries=[house.away()])
    leased = house.lease()
    settle(house, leased, Result.RELEASED, due_at=0)
    assert house.rows("SELECT state, attempts, crashes FROM delivery") == [(1, 0, 0)]
    assert house.value("SELECT count(*) FROM attempt") == 0
    assert len(house.lease()) == 1


@pytest.mark.parametrize(("mark", "state"), [(1, State.HOLD), (2, State.RECYCLED)])
def test_what_was_asked_for_while_active_is_done_when_it_settles(house, mark, state):
    house.accept(deliveries=[house.away()])
    leased = house.lease()
    house.execute("UPDATE delivery SET mark = ?", (mark,))
    settle(house, leased, Result.DEFERRED, fault=Fault.LOST, reply="gone")
    ((found, prev, mark, purge),) = house.rows("SELECT state, prev_state, mark, purge_at FROM delivery")
    assert (found, prev, mark, purge > 0) == (state, State.DEFERRED, 0, state == State.RECYCLED)
    house.engine.clock.advance(10**8)
    assert house.lease() == []
    assert house.counted()[0] == house.counted()[1]


def test_a_lease_that_has_gone_is_settled_late_unless_taken_again(house):
    house.accept(deliveries=[house.away(n, f"u{n}@example.com") for n in (1, 2, 3)])
    freed, taken, ours = house.lease()
    free = "UPDATE delivery SET state = 1, lease_node = 0, lease_epoch = 0 WHERE id = ?"
    house.execute(free, (freed.id,))
    house.execute("UPDATE delivery SET lease_node = 9 WHERE id = ?", (taken.id,))
    told = settle(house, [freed, taken, ours], Result.DELIVERED)
    assert (told.acked, told.late, told.lost) == ((ours.id,), (freed.id,), (taken.id,))
    assert settle(house, [freed], Result.DELIVERED).lost == (freed.id,)
    assert house.value("SELECT count(*) FROM history") == 2
    assert house.rows("SELECT pending FROM message") == [(1,)]


def test_a_delivered_item_on_hold_meanwhile_is_not_delivered_again(house):
    house.accept(deliveries=[house.away()])
    leased = house.lease()
    house.execute("UPDATE delivery SET state = 4, lease_node = 0")
    assert settle(house, leased, Result.DEFERRED).lost == (leased[0].id,)
    assert settle(house, leased, Result.DELIVERED).late == (leased[0].id,)


def report(house, about, box=None, size=20):
    message = house.message(size, sender="", sender_domain="", flags=FLAG_REPORT)
    local = (LocalDelivery(1, "ann@example.org", "example.org", box, b""),) if box else ()
    deliveries = () if box else (house.away(1, "ann@example.org"),)
    return Report(message, b"r" * size, deliveries, local, tuple(about))


def test_reports_are_accepted_with_their_cause(house):
    box = house.mailbox("ann@example.org")
    house.accept(deliveries=[house.away()])
    leased = house.lease()
    woken = []
    house.spool.wake(lambda: woken.append(1))
    settle(house, leased, Result.BOUNCED, [report(house, [leased[0].id], box)], fault=Fault.REPLY, code=550)
    assert house.value("SELECT count(*) FROM mail") == 1
    assert woken
    assert house.read_all(house.run(house.store.mail.fetch("ann@example.org", 1))) == b"r" * 20


def test_a_report_about_what_was_lost_is_not_stored(house):
    house.accept(deliveries=[house.away()])
    leased = house.lease()
    house.execute("UPDATE delivery SET lease_epoch = 99")
    settle(house, leased, Result.BOUNCED, [report(house, [leased[0].id])])
    assert house.value("SELECT count(*) FROM message") == 1


def test_a_report_for_a_full_mailbox_waits(house):
    box = house.mailbox("ann@example.org", quota=1)
    house.accept(deliveries=[house.away()])
    leased = house.lease()
    settle(house, leased, Result.BOUNCED, [report(house, [leased[0].id], box)])
    assert house.rows("SELECT rcpt, kind, state FROM delivery") == [("ann@example.org", 1, 3)]


def test_held_at_acceptance(house):
    house.accept(deliveries=[house.away(held_by="op", held_why="look")])
    assert house.rows("SELECT state, held_by, held_why FROM delivery") == [(4, "op", "look")]
    assert house.run(house.spool.due(9)) == []
    assert house.run(house.spool.next_due()) is None


def test_destinations_that_must_not_be_tried(house):
    house.accept(deliveries=[house.away()])
    ((dest, *_),) = house.run(house.spool.due(9))
    house.execute("UPDATE dest SET paused = 1")
    assert house.run(house.spool.due(9)) == []
    assert house.run(house.spool.lease([(dest, 5)])) == []
    assert house.run(house.spool.next_due()) is None
    now = house.spool.now()
    house.execute("UPDATE dest SET pause_until = ?", (now + 10**6,))
    assert house.run(house.spool.next_due()) == now + 10**6
    house.execute("UPDATE dest SET paused = 0")
    failure = Outcome(0, Result.DEFERRED, Fault.CONNECT_TIMEOUT, reply="timed out")
    assert house.run(house.spool.destination_failed(dest, now + 10**7, failure)) == 1
    assert house.run(house.spool.destination_failed(dest, now + 10**7, failure)) == 2
    assert house.run(house.spool.lease([(dest, 5)])) == []
    assert house.run(house.spool.next_due()) == now + 10**7
    house.run(house.spool.destination_ok(dest))
    assert len(house.run(house.spool.lease([(dest, 5), (dest + 1, 5), (dest, 0)]))) == 1
    house.run(house.spool.destination_ok(dest))


def test_what_expired_at_a_dead_destination_is_leased_as_overdue(house):
    first = house.accept(deliveries=[house.away(key="a.example"), house.away(key="a.example", n=2)])
    house.accept(deliveries=[house.away(key="b.example")])
    now = house.spool.now()
    house.execute("UPDATE message SET expires_at = ?", (now - 1,))
    look = house.spool.overdue
    assert house.run(look(now + 10, 9)) == []
    house.execute("UPDATE dest SET dead_until = ? WHERE key = 'a.example'", (now + 10**7,))
    assert house.run(look(now - 10**6, 9)) == []
    found = house.run(look(now + 10**3, 9))
    assert [(row.message_id, row.n, row.dest_key) for row in found] == [
        (first, 1, "a.example"),
        (first, 2, "a.example"),
    ]
    assert house.run(look(now + 10**3, 9)) == []
    house.run(house.spool.settle([Outcome(row.id, Result.EXPIRED, Fault.EXPIRED) for row in found], []))
    assert house.rows("SELECT count(*) FROM history WHERE outcome = 3") == [(2,)]
    house.spool.safe = lambda: False
    assert house.run(look(now + 10**3, 9)) == []


def test_a_blocked_head_does_not_stop_others_and_oldest_is_first(house):
    now = house.spool.now()
    for n, key in enumerate(("a.example", "b.example", "c.example")):
        house.accept(deliveries=[house.away(key=key, due_at=now - 1000 * n)])
    found = house.run(house.spool.due(2))
    assert [at for _, at, *_ in found] == [now - 2000, now - 1000]
    assert len(house.run(house.spool.lease([(found[0][0], 10)]))) == 1
    assert [at for _, at, *_ in house.run(house.spool.due(9))] == [now - 1000, now]


def test_lease_takes_at_most_what_is_wanted_oldest_first(house):
    now = house.spool.now()
    for n in range(5):
        house.accept(deliveries=[house.away(due_at=now - n)])
    ((dest, *_),) = house.run(house.spool.due(9))
    first = house.run(house.spool.lease([(dest, 2)]))
    assert sorted(house.rows("SELECT due_at FROM delivery WHERE state = 2")) == [(now - 4,), (now - 3,)]
    assert len(first) == 2
    assert len(house.run(house.spool.lease([(dest, 10)]))) == 3


@pytest.mark.parametrize("text", NASTY)
def test_words_of_strangers_stay_words(house, text):
    box = house.mailbox()
    house.accept(
        local=[LocalDelivery(1, text, text, box, b"")],
        deliveries=[house.away(2, rcpt=text, orcpt=text)],
        sender=text, sender_domain=text, subject=text, msgid=text, helo=text, auth=text,
    )  # fmt: skip
    leased = house.lease()
    settle(house, leased, Result.DEFERRED, fault=Fault.REPLY, code=450, reply=text, host=text, status=text)
    house.engine.clock.advance(10**6)
    settle(house, house.lease(), Result.BOUNCED, fault=Fault.REPLY, code=550, reply=text, host=text)
    assert house.value("SELECT count(*) FROM history") == 2
    shown = house.rows("SELECT sender, subject FROM mail")[0]
    assert all("\x00" not in s and "\x1b" not in s and s.isprintable() for s in shown)
    assert house.counted()[0] == house.counted()[1]


def test_an_address_full_of_sql_finds_nothing(house):
    house.mailbox()
    assert house.run(house.store.mail.mailbox("' OR 1=1 --")) is None
    assert house.fails(house.store.mail.list("' OR 1=1 --"), LookupError)


def test_everything_is_there_after_a_restart(lasting):
    box = lasting.mailbox()
    lasting.accept(b"kept", [lasting.local(box)])
    number = lasting.accept(b"queued", deliveries=[lasting.away()])
    lasting.again()
    assert lasting.read_all(lasting.run(lasting.store.mail.fetch("bob@example.net", 1))).endswith(b"kept")
    (leased,) = lasting.lease()
    assert (leased.message_id, leased.hdr) == (number, b"Received: by mx\r\n")
    assert lasting.read_all(lasting.run(lasting.spool.open_body(leased.blob_id))) == b"queued"
    assert lasting.spool.new_id() > number


def test_leases_of_a_process_that_ended_are_due_at_once(lasting):
    lasting.accept(deliveries=[lasting.away()])
    for crash in (1, 2, 3):
        (leased,) = lasting.lease()
        assert (leased.attempts, leased.crashes) == (crash, crash - 1)
        lasting.again()
    assert lasting.lease() == []
    ((state, by, why, crashes),) = lasting.rows("SELECT state, held_by, held_why, crashes FROM delivery")
    assert (state, by, why, crashes) == (4, "netsvc", "three attempts ended the process", 0)
    assert lasting.counted()[0] == lasting.counted()[1]


def test_a_storm_of_kills_holds_no_innocent_mail(lasting):
    """Whatever ends the process is counted against all that was leased; the last time each is tried alone."""
    for n in range(1, 6):
        lasting.accept(deliveries=[lasting.away(1, f"u{n}@example.com"), lasting.away(2, f"v{n}@example.com")])
    for _ in range(2):
        assert len(lasting.lease()) == 10
        lasting.again()
    first = lasting.lease()
    assert [row.rcpt for row in first] == ["u1@example.com", "v1@example.com"]
    lasting.accept(deliveries=[lasting.away(1, "new@example.com")])
    assert [row.rcpt for row in lasting.lease()] == ["new@example.com"]
    assert lasting.lease() == []
    settle(lasting, first, Result.DELIVERED)
    second = lasting.lease()
    assert [row.rcpt for row in second] == ["u2@example.com", "v2@example.com"]
    lasting.again()
    assert lasting.rows("SELECT rcpt FROM delivery WHERE state = 4 ORDER BY n") == [
        ("u2@example.com",),
        ("v2@example.com",),
    ]
    for n in (3, 4, 5):
        rows = lasting.lease()
        assert {f"u{n}@example.com", f"v{n}@example.com"} <= {row.rcpt for row in rows}
        settle(lasting, rows, Result.DELIVERED)
    assert lasting.value("SELECT count(*) FROM delivery WHERE state <> 4") == 0
    assert lasting.counted()[0] == lasting.counted()[1]


def test_only_one_destination_has_a_suspect_at_a_time(lasting):
    lasting.accept(deliveries=[lasting.away(1), lasting.away(2, "dan@example.org", "[192.0.2.10]:25")])
    for _ in range(2):
        assert len(lasting.lease()) == 2
        lasting.again()
    assert len(lasting.lease()) == 1
    assert lasting.lease() == []


def test_settling_forgets_the_crashes_before(lasting):
    lasting.accept(deliveries=[lasting.away()])
    lasting.lease()
    lasting.again()
    settle(lasting, lasting.lease(), Result.DEFERRED, fault=Fault.LOST, due_at=lasting.spool.now())
    for _ in range(2):
        assert len(lasting.lease()) == 1
        lasting.again()
    assert lasting.value("SELECT state FROM delivery") == 3


def test_marks_are_honoured_by_recovery_too(lasting):
    lasting.accept(deliveries=[lasting.away()])
    lasting.lease()
    lasting.execute("UPDATE delivery SET mark = 1")
    lasting.again()
    assert lasting.rows("SELECT state, prev_state FROM delivery") == [(4, 1)]


def test_closed_destinations_are_not_walked(house):
    """Thousands that are dead or suspended, all with work due, cost a look nothing: the index has them later."""
    later = {"sqlite": "max", "postgresql": "greatest"}[house.engine.dialect]
    now = house.spool.now()
    house.accept(deliveries=[house.away(key="alive.example")])
    rows = ", ".join(f"({n}, 'd{n}.example', 'd{n}.example', {now + 10**7})" for n in range(1, 3001))
    house.execute(f"INSERT INTO dest (id, key, domain, dead_until) VALUES {rows}")
    house.execute("INSERT INTO dest_head (dest_id, next_due) SELECT id, 1 FROM dest WHERE id <= 3000")
    house.run(house.engine.write(lambda tx: close_heads(tx, list(range(1, 3001)))))
    assert [due.key for due in house.run(house.spool.due(9))] == ["alive.example"]
    passed = house.rows(f"SELECT count(*) FROM dest_head WHERE {later}(next_due, open_at) <= ?", (now + 1000,))
    assert passed == [(1,)]
    if house.engine.dialect == "sqlite":
        plan = house.rows(
            "EXPLAIN QUERY PLAN SELECT h.dest_id FROM dest_head h WHERE max(h.next_due, h.open_at) <= 5"
            " ORDER BY max(h.next_due, h.open_at) LIMIT 9"
        )
        assert ["dest_head_ready" in line[3] for line in plan] == [True]
