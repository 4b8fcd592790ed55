"""Counts, pages, selections and destinations, on every engine."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from netsvc.criteria import Glob, Not, Test, matches
from netsvc.interfaces import IDestinations, IQueueAdmin
from netsvc.mail.ids import parse_id, show_id, show_item
from netsvc.mail.message import Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.records import StoreError
from netsvc.settings import DestinationSettings
from netsvc.store import narrow, pages, search, summary
from netsvc.store.queueadmin import QueueAdmin
from netsvc.store.queuerows import history_row
from tests.store import filling

MINUTE = 60_000
ALL = Test("state", "in", ("incoming", "active", "deferred", "hold", "recycled"))
ITEM_KEYS = [
    "id",
    "msg",
    "n",
    "state",
    "domain",
    "rcpt",
    "sender",
    "user",
    "peer",
    "listener",
    "size",
    "rcpts",
    "subject",
    "msgid",
    "age",
    "queued",
    "next",
    "last",
    "attempts",
    "expires",
    "code",
    "status",
    "reason",
    "error",
    "route",
    "host",
    "tag",
    "held_by",
    "held_why",
    "node",
]
SUMMARY_KEYS = ["key", "total", "bytes", "incoming", "active", "deferred", "hold", "ages", "oldest", "status"]
REASON_KEYS = ["reason", "code", "status", "count", "share", "sample", "first", "last", "domains"]
HISTORY_KEYS = [
    "id",
    "msg",
    "n",
    "result",
    "done",
    "queued",
    "delay",
    "sender",
    "rcpt",
    "domain",
    "size",
    "msgid",
    "subject",
    "user",
    "peer",
    "listener",
    "host",
    "tls",
    "code",
    "status",
    "reply",
    "attempts",
]
ATTEMPT_KEYS = [
    "msg",
    "n",
    "at",
    "node",
    "host",
    "addr",
    "tls",
    "ms",
    "outcome",
    "code",
    "status",
    "reply",
    "reason",
    "transcript",
]
MESSAGE_KEYS = [
    "id",
    "sender",
    "rcpts",
    "size",
    "queued",
    "expires",
    "listener",
    "peer",
    "helo",
    "tls",
    "user",
    "msgid",
    "subject",
    "items",
]
DEST_KEYS = [
    "key",
    "domain",
    "state",
    "connections",
    "limit",
    "rate",
    "deferred",
    "oldest",
    "last_error",
    "until",
    "reason",
    "by",
]
JOB_KEYS = ["id", "verb", "actor", "reason", "state", "matched", "done", "skipped", "started", "ended", "undo"]


@pytest.fixture
def admin(house):
    house.woken = []
    return QueueAdmin(house.engine, house.spool.open_body, lambda: house.woken.append(1), house.pump)


@pytest.fixture
def full(house, admin):
    house.run(house.engine.write(lambda tx: filling.fill(tx, random.Random(5), 30, house.spool.now())))
    return admin


def everything(house, admin):
    return house.run(admin.page(ALL, limit=1000)).rows


def test_promises(admin, house):
    assert verifyObject(IQueueAdmin, admin)


def test_an_empty_queue(admin, house):
    assert house.run(admin.totals()) == dict.fromkeys(("incoming", "active", "deferred", "hold"), (0, 0))
    for by in ("state", "destination", "reason"):
        assert house.run(admin.counts(by)) == []
    assert house.run(admin.reasons()) == []
    assert house.run(admin.destinations()) == []
    assert house.run(admin.page(None)).rows == []
    assert house.run(admin.show(5)) is None
    assert house.run(admin.content(5)) is None
    chosen = house.run(admin.select(Test("size", ">", 1)))
    assert (chosen.count, list(chosen.ids), chosen.samples) == (0, [], [])


def test_rows_have_the_fields_of_the_contract(full, house):
    row = everything(house, full)[0]
    assert list(row)[: len(ITEM_KEYS)] == ITEM_KEYS
    assert list(house.run(full.counts("domain"))[0])[: len(SUMMARY_KEYS)] == SUMMARY_KEYS
    assert list(house.run(full.reasons())[0]) == REASON_KEYS
    assert list(house.run(full.history(None)).rows[0])[: len(HISTORY_KEYS)] == HISTORY_KEYS
    assert list(house.run(full.destinations())[0])[: len(DEST_KEYS)] == DEST_KEYS
    view = house.run(full.show(parse_id(row["msg"])))
    assert list(view.message)[: len(MESSAGE_KEYS)] == MESSAGE_KEYS
    number = house.run(full.start("hold", house.run(full.select([(parse_id(row["msg"]), 1)])), {}, "op"))
    assert list(house.run(full.wait(number)))[: len(JOB_KEYS)] == JOB_KEYS


@pytest.mark.parametrize("by", list(summary._KEYS))
@pytest.mark.parametrize(
    "where", [None, Test("size", ">=", 0), Test("peer", "!=", Glob("10.*")), Test("rcpt", "=", Glob("a*"))]
)
def test_counts_are_those_of_the_rows(full, house, by, where):
    now = house.spool.now()
    rows = [
        r
        for r in everything(house, full)
        if r["state"] != "recycled" and (where is None or matches(where, "queue", r, now))
    ]
    column = {"destination": "domain", "sender-domain": "sender_domain"}.get(by, by)
    wanted = Counter(r[column] or "" for r in rows)
    counted = house.run(full.counts(by, where))
    assert {r["key"]: r["total"] for r in counted} == wanted
    assert [r["total"] for r in counted] == sorted(wanted.values(), reverse=True)
    for line in counted:
        mine = [r for r in rows if (r[column] or "") == line["key"]]
        assert line["bytes"] == sum(r["size"] for r in mine)
        assert line["oldest"] == min(r["queued"] for r in mine)
        for state in ("incoming", "active", "deferred", "hold"):
            assert line[state] == sum(r["state"] == state for r in mine)
        ends = (0, *summary.AGES, 10**15)
        ages = [sum(low <= r["age"] < high for r in mine) for low, high in pairwise(ends)]
        assert line["ages"] == ages
        assert (line["status"] is None) == (by != "destination")


def test_totals_are_those_of_the_rows(full, house):
    totals = house.run(full.totals())
    rows = [r for r in everything(house, full) if r["state"] != "recycled"]
    assert {k: v[0] for k, v in totals.items() if v[0]} == Counter(r["state"] for r in rows)
    assert sum(v[1] for v in totals.values()) == sum(r["size"] for r in rows)


@pytest.mark.parametrize(
    "where", [None, Test("size", ">=", 0), Test("sender", "=", Glob("news@*")), Test("rcpt", "~", "x")]
)
def test_reasons_are_those_of_the_rows(full, house, where):
    if where is not None and where.op == "~":
        where = Not(Test("subject", "=", Glob("*ü*")))
    now = house.spool.now()
    rows = [r for r in everything(house, full) if r["reason"] and r["state"] != "recycled"]
    rows = [r for r in rows if where is None or matches(where, "queue", r, now)]
    wanted = Counter((r["code"], r["reason"]) for r in rows)
    found = house.run(full.reasons(where))
    assert {(r["code"], r["reason"]): r["count"] for r in found} == wanted
    assert sum(r["share"] for r in found) == pytest.approx(1, abs=0.001)
    for line in found:
        assert line["domains"] == len(
            {r["domain"] for r in rows if (r["code"], r["reason"]) == (line["code"], line["reason"])}
        )


def test_the_queue_cannot_be_counted_by_anything(admin, house):
    assert "cannot be counted" in str(house.fails(admin.counts("colour"), StoreError))
    assert "no order" in str(house.fails(admin.page(None, order="rcpt"), StoreError))


def walk(house, page, where, order, limit=7):
    out, after = [], None
    while True:
        part = house.run(page(where, after=after, limit=limit, order=order))
        out += part.rows
        after = part.next
        if after is None:
            return out


@pytest.mark.parametrize("small", [False, True])
def test_pages_walk_through_everything_in_order(full, house, monkeypatch, small):
    rows = [r for r in everything(house, full) if r["state"] != "recycled"]
    if small:
        monkeypatch.setattr(narrow, "FEW", 3)
        monkeypatch.setattr(search, "FEW", 10)
        monkeypatch.setattr(search, "WINDOW", 4)
    ids = [r["id"] for r in rows]
    assert [r["id"] for r in walk(house, full.page, None, "id")] == ids
    assert [r["id"] for r in walk(house, full.page, None, "-id")] == ids[::-1]
    sized = [r["id"] for r in sorted(rows, key=lambda r: r["size"])]
    assert [r["id"] for r in walk(house, full.page, None, "size")] == sized
    assert [r["size"] for r in walk(house, full.page, Not(Test("subject", "=", Glob("*ü*"))), "-size")] == sorted(
        (r["size"] for r in rows if r["subject"] != "Übung"), reverse=True
    )
    assert len(walk(house, full.history, None, "size")) == house.value("SELECT count(*) FROM history")


def test_a_page_says_how_far_it_looked(full, house, monkeypatch):
    monkeypatch.setattr(search, "FEW", 10)
    monkeypatch.setattr(search, "WINDOW", 5)
    monkeypatch.setattr(narrow, "FEW", -1)
    page = house.run(full.page(Test("subject", "=", "no such subject")))
    assert (page.rows, page.scanned) == ([], 10)
    assert page.next is not None


def test_history_from_the_newest_stops_where_it_is_old(house, admin, monkeypatch):
    monkeypatch.setattr(search, "WINDOW", 5)
    house.run(house.engine.write(lambda tx: filling.fill(tx, random.Random(5), 60, house.spool.now())))
    now = house.spool.now()
    for where in (Test("done", ">", now - 10 * MINUTE), Test("age", "<", 10 * MINUTE)):
        page = house.run(admin.history(where, limit=500))
        assert page.next is None
        assert page.scanned < house.value("SELECT count(*) FROM history")
        assert len(page.rows) == house.value("SELECT count(*) FROM history WHERE at > ?", (now - 10 * MINUTE,))


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_filters_mean_the_same_on_every_engine(full, house, data):
    now = house.spool.now()
    rows = everything(house, full)
    ids = [parse_id(r["msg"]) for r in rows[:4]]
    known = [f for f in filling.OBJECTS["queue"] if f.name not in {"age", "due"}]
    expr = data.draw(filling.exprs("queue", now, ids, known))
    wanted = [r["id"] for r in rows if matches(expr, "queue", r, now)]
    found = [r["id"] for r in house.run(full.page(expr, limit=1000)).rows]
    named = {r["id"] for r in rows if r["state"] != "recycled"}
    assert found in (wanted, [i for i in wanted if i in named])
    chosen = house.run(full.select(expr))
    assert chosen.count == len(found)
    past = house.run(full.history(None, limit=1000)).rows
    known = [f for f in filling.OBJECTS["history"] if f.name not in {"age", "due"}]
    expr = data.draw(filling.exprs("history", now, ids, known))
    found = [r["id"] for r in house.run(full.history(expr, limit=1000)).rows]
    assert found == [r["id"] for r in past if matches(expr, "history", r, now)]


def test_a_selection_shows_what_it_holds(full, house):
    now = house.spool.now()
    rows = everything(house, full)
    chosen = house.run(full.select(ALL))
    assert chosen.count == len(rows)
    assert len(chosen.was) == len(chosen.ids) == len(set(chosen.ids))
    assert chosen.bytes == sum(r["size"] for r in rows)
    assert chosen.states == dict(Counter(r["state"] for r in rows))
    assert chosen.active == chosen.states["active"]
    assert chosen.oldest == min(r["queued"] for r in rows)
    assert chosen.newest == max(r["queued"] for r in rows)
    assert chosen.expired == sum(r["expires"] <= now for r in rows)
    assert chosen.held_by == Counter(r["held_by"] for r in rows if r["held_by"])
    domains = Counter(r["domain"] for r in rows)
    assert [n for _, n in chosen.domains] == sorted(domains.values(), reverse=True)[:3]
    assert [r["id"] for r in chosen.samples] == [r["id"] for r in rows[:5]]
    assert chosen.described == "state in (incoming, active, deferred, hold, recycled)".replace(" in ", "in")
    message = rows[0]["msg"]
    named = house.run(full.select([(parse_id(message), None), (parse_id(message), 1)]))
    assert named.count == sum(r["msg"] == message for r in rows)


def test_a_selection_in_slices_is_the_same(full, house, monkeypatch):
    from netsvc.store import selection

    chosen = house.run(full.select(ALL))
    monkeypatch.setattr(selection, "SLICE", 3)
    again = house.run(full.select(ALL))
    assert (again.ids, again.was, again.bytes) == (chosen.ids, chosen.was, chosen.bytes)
    beyond = Not(Test("subject", "=", Glob("*ü*")))
    assert house.run(full.select(beyond)).count == len(house.run(full.page(beyond, limit=1000)).rows)
    monkeypatch.setattr(selection, "MOST", 10)
    assert "more than 10 items" in str(house.fails(full.select(ALL), StoreError))


def test_everything_about_a_message(house, admin):
    box = house.mailbox()
    number = house.accept(
        body=b"Subject: x\r\n\r\nhello\r\n",
        local=[house.local(box, n=1)],
        deliveries=[house.away(2), house.away(3, "dan@example.com")],
        subject="Hi\x1b[2J",
    )
    leased = sorted(house.lease(), key=lambda one: one.n)
    talk = b"> EHLO mx\n< 450 later \xff\n"
    outcomes = [
        Outcome(leased[0].id, Result.DELIVERED, code=250, reply="ok", host="mx.example.com", transcript=talk),
        Outcome(
            leased[1].id,
            Result.DEFERRED,
            Fault.REPLY,
            450,
            "4.7.1",
            "later",
            due_at=house.spool.now() + 1,
            transcript=talk,
        ),
    ]
    house.run(house.spool.settle(outcomes, []))
    view = house.run(admin.show(number))
    assert view.message["id"] == show_id(number)
    assert view.message["subject"] == "Hi\\x1b[2J"
    assert view.message["items"] == view.items
    assert [(r["id"], r["state"], r["status"]) for r in view.items] == [(show_item(number, 3), "deferred", "4.7.1")]
    assert [(r["n"], r["result"]) for r in view.history] == [(1, "delivered"), (2, "delivered")]
    assert list(view.attempts[0])[: len(ATTEMPT_KEYS)] == ATTEMPT_KEYS
    assert {(r["n"], r["outcome"], r["code"], r["node"]) for r in view.attempts} == {
        (2, "delivered", 250, "node1"),
        (3, "deferred", 450, "node1"),
    }
    assert view.attempts[0]["transcript"] == "> EHLO mx\n< 450 later \\xff"
    text = show_id(number)
    assert house.run(admin.find_message(text[:9])) == [number]
    for none in ("zzzzz", "U", "", "0" * 14, "00000"):
        assert house.run(admin.find_message(none)) == []
    hdr, reader = house.run(admin.content(number))
    assert hdr == b"Received: by mx\r\n"
    assert house.read_all(reader) == b"Subject: x\r\n\r\nhello\r\n"
    defer = house.lease()
    house.run(
        house.spool.settle([Outcome(one.id, Result.BOUNCED, Fault.REPLY, 550, "5.1.1", "no") for one in defer], [])
    )
    view = house.run(admin.show(number))
    assert view.message is None
    assert [r["result"] for r in view.history] == ["delivered", "delivered", "bounced"]
    assert house.run(admin.find_message(text)) == [number]
    hdr, reader = house.run(admin.content(number))
    assert hdr.startswith(b"Return-Path: ")
    assert house.read_all(reader) == b"Subject: x\r\n\r\nhello\r\n"


def test_destinations_and_their_policy(house, admin):
    house.accept(deliveries=[house.away(1), house.away(2, "dan@example.net", "example.net")])
    rows = {r["key"]: r for r in house.run(admin.destinations())}
    assert {r["state"] for r in rows.values()} == {"ok"}
    leased = house.lease()
    house.run(
        house.spool.settle(
            [
                Outcome(o.id, Result.DEFERRED, Fault.REPLY, 450, "4.7.1", "later\x07", due_at=house.spool.now())
                for o in leased
            ],
            [],
        )
    )
    until = house.spool.now() + 60_000
    rev = house.run(
        admin.set_destination(
            "example.net",
            0,
            paused=1,
            pause_note="storm\x1b",
            pause_by="op",
            pause_until=until,
            connections=3,
            rate_count=9,
            rate_ms=60_000,
            until_at=until,
            limited_by="op",
        )
    )
    assert rev == 1
    assert house.woken
    row = {r["key"]: r for r in house.run(admin.destinations())}["example.net"]
    assert (row["state"], row["until"], row["reason"], row["by"]) == ("suspended", until, "storm\\x1b", "op")
    assert (row["limit"], row["rate"], row["messages"]) == (3, (9, 60_000), None)
    assert (row["limited_by"], row["limited_until"], row["failures"]) == ("op", until, 0)
    assert (row["deferred"], row["incoming"], row["last_error"], row["rev"]) == (1, 0, "later\\x07", 1)
    assert house.run(admin.destinations("example.net")) == [row]
    assert house.run(admin.destinations("nobody.example")) == []
    assert row["oldest"] is not None
    by_key = {r["key"]: r["status"] for r in house.run(admin.counts("destination"))}
    assert by_key == {"example.net": "suspended", "[192.0.2.9]:25": "ok"}
    assert house.run(house.spool.due(10)) != []
    assert "somebody else" in str(house.fails(admin.set_destination("example.net", 0, paused=0), StoreError))
    assert house.run(admin.set_destination("example.net", 1, paused=0)) == 2
    house.execute("UPDATE dest SET dead_until = ?", (until,))
    assert {r["state"] for r in house.run(admin.destinations())} == {"backoff"}


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({}, "Nothing"),
        ({"colour": 1}, "no colour"),
        ({"connections": -1}, "between"),
        ({"paused": 2}, "between"),
        ({"dead_until": 0}, "no dead_until"),
    ],
)
def test_policies_that_are_none(make_house, policy, why):
    house = make_house("memory")
    admin = QueueAdmin(house.engine, house.spool.open_body, list, house.pump)
    house.accept(deliveries=[house.away(1)])
    assert why in str(house.fails(admin.set_destination("[192.0.2.9]:25", 0, **policy), StoreError))
    assert "no destination" in str(house.fails(admin.set_destination("x", 1, paused=1), StoreError))


def test_an_unknown_outcome_is_shown():
    row = [0] * 22
    row[3] = 99
    for text in (6, 7, 8):
        row[text] = "x"
    assert history_row(tuple(row), 0)["result"] == "unknown"


def test_page_limits_are_kept(make_house):
    house = make_house("memory")
    admin = QueueAdmin(house.engine, house.spool.open_body, list, house.pump)
    house.accept(deliveries=[house.away(1), house.away(2)])
    assert len(house.run(admin.page(None, limit=0)).rows) == 1
    assert len(house.run(admin.page(None, limit=pages.MAX_PAGE * 9)).rows) == 2


def test_an_index_that_yields_more_than_a_page(full, house, monkeypatch):
    monkeypatch.setattr(search, "CHUNK", 4)
    for where in (
        Test("domain", "=", "EXAMPLE.com"),
        Test("code", "=", 421),
        Test("rcpt", "=", Glob("?nn@*")),
        Test("user", "=", Glob("AL*")),
    ):
        whole = [r["id"] for r in house.run(full.page(where, limit=1000)).rows]
        assert whole
        assert [r["id"] for r in walk(house, full.page, where, "id", 3)] == whole
        assert [r["id"] for r in walk(house, full.page, where, "-id", 3)] == whole[::-1]
        assert sum(r["total"] for r in house.run(full.counts("state", where))) == len(whole)


def test_many_patterns_and_quoted_names_are_searched_without_an_index(full, house):
    many = Test("rcpt", "in", tuple(Glob(f"abcd{n}*") for n in range(20)))
    assert house.run(full.page(many)).rows == []
    quoted = house.run(full.page(Test("sender", "=", '"A@B"@C.test'), limit=1000)).rows
    assert {r["sender"] for r in quoted} == {'"a@b"@c.test'}


def test_counts_are_read_in_strides(full, house, monkeypatch):
    whole = {by: house.run(full.counts(by)) for by in ("domain", "peer", "reason")}
    reasons = house.run(full.reasons())
    monkeypatch.setattr(summary, "STRIDE", 7)
    for by, rows in whole.items():
        assert house.run(full.counts(by)) == rows
    assert house.run(full.reasons()) == reasons


def test_hostile_filters_run_on_every_engine(full, house):
    rng = random.Random(9)
    for n in range(400):
        expr = filling.random_expr(rng, "queue")
        house.run(full.page(expr, limit=3))
        house.run(full.history(filling.random_expr(rng, "history"), limit=3))
        if n % 10 == 0:
            house.run(full.select(expr))
            house.run(full.counts(rng.choice(list(summary._KEYS)), expr))
            house.run(full.reasons(expr))
    assert house.value("SELECT count(*) FROM message") == 30


@pytest.mark.parametrize("field", ["domain", "rcpt", "sender", "sender-domain", "user", "reason", "peer", "subject"])
def test_a_nul_is_in_no_row(full, house, field):
    for value in ("a\0b", Glob("a\0*")):
        assert house.run(full.page(Test(field, "=", value))).rows == []
        assert house.run(full.page(Test(field, "in", (value,)))).rows == []


def test_a_destination_is_closed_before_its_first_mail_and_opened_again(house):
    admin = QueueAdmin(house.engine, house.spool.open_body, list, house.pump)
    assert house.run(admin.set_destination("late.example", 0, paused=1, pause_note="not yet")) == 1
    house.accept(deliveries=[house.away(key="late.example"), house.away(key="other.example", n=2)])
    assert [row.key for row in house.run(house.spool.due(9))] == ["other.example"]
    assert [r["incoming"] for r in house.run(admin.destinations("late.example"))] == [1]
    assert house.run(admin.set_destination("late.example", 1, paused=0)) == 2
    assert sorted(row.key for row in house.run(house.spool.due(9))) == ["late.example", "other.example"]


def test_a_backoff_is_forgotten(house):
    admin = QueueAdmin(house.engine, house.spool.open_body, list, house.pump)
    house.accept(deliveries=[house.away(key="down.example")])
    ((dest, *_),) = house.run(house.spool.due(9))
    failure = Outcome(0, Result.DEFERRED, Fault.CONNECT_TIMEOUT, reply="timed out")
    house.run(house.spool.destination_failed(dest, house.spool.now() + 10**7, failure))
    house.run(house.spool.destination_rests(dest, house.spool.now() + 10**6))
    assert house.run(house.spool.due(9)) == []
    (row,) = house.run(admin.destinations())
    assert (row["state"], row["failures"], row["rests_until"] is None) == ("backoff", 1, False)
    house.run(admin.set_destination("down.example", 0, backoff=0))
    (row,) = house.run(admin.destinations())
    assert (row["state"], row["failures"], row["rests_until"]) == ("ok", 0, None)
    assert [due.key for due in house.run(house.spool.due(9))] == ["down.example"]


def test_limits_are_told_to_delivery_until_they_end(house):
    admin = QueueAdmin(house.engine, house.spool.open_body, list, house.pump)
    seen = []
    steering = admin.steering
    assert verifyObject(IDestinations, steering)
    steering.watch(lambda: seen.append(dict(steering.limits)))
    soon = house.spool.now() + 10**6
    house.run(admin.set_destination("slow.example", 0, connections=2, messages=7, until_at=soon))
    house.run(admin.set_destination("odd.example", 0, rate_count=10, rate_ms=60_000))
    assert steering.limits == {
        "slow.example": (DestinationSettings(2, 7), soon),
        "odd.example": (DestinationSettings(rate=(10, 60_000)), 0),
    }
    assert steering.nodes == (steering.node,) == (house.engine.node_id,)
    house.execute("UPDATE dest_limit SET until_at = 1 WHERE until_at <> 0")
    house.run(admin.set_destination("odd.example", 1, connections=0, rate_count=0, messages=0))
    assert steering.limits == {} == seen[-1]
    assert house.rows("SELECT count(*) FROM dest_limit") == [(1,)]
    assert {r["limit"] for r in house.run(admin.destinations())} == {None}
    house.run(admin.set_destination("slow.example", 1, rate_count=5, rate_ms=1000, until_at=0, limited_by="op"))
    assert steering.limits == {"slow.example": (DestinationSettings(rate=(5, 1000)), 0)}  # what had ended stays ended
    steering.start()
    steering.stop()
