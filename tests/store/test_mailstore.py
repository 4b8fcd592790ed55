"""The mailboxes' contents."""

import pytest

from netsvc.criteria import Glob, Test


@pytest.fixture
def filled(house):
    box = house.mailbox("bob@example.net", quota=10_000)
    house.mailbox("empty@example.org")
    for n in range(1, 6):
        house.accept(b"body %d" % n, [house.local(box)], subject=f"No {n}")
    return house


def test_lists_in_uid_order_page_by_page(filled):
    mail = filled.store.mail
    first = filled.run(mail.list("bob@example.net", 0, 2))
    rest = filled.run(mail.list("BOB@example.net", first[-1]["uid"]))
    assert [m["subject"] for m in first + rest] == [f"No {n}" for n in range(1, 6)]
    assert set(first[0]) == {"uid", "id", "msgid", "sender", "subject", "size", "time", "flags", "folder"}
    assert first[0]["flags"] == []  # mail/1: a list of words
    filled.fails(mail.list("nobody@example.net"), LookupError)


def test_mailboxes(filled):
    rows = filled.run(filled.store.mail.mailboxes())
    assert [r["address"] for r in rows] == ["bob@example.net", "empty@example.org"]
    assert rows[1] == {
        "address": "empty@example.org", "driver": "db", "messages": 0, "bytes": 0, "quota": 0, "quota_messages": 0,
        "use": None, "last_access": None, "state": "ok",
    }  # fmt: skip
    assert (rows[0]["messages"], rows[0]["bytes"], rows[0]["quota"]) == (5, 5 * (6 + 32), 10_000)
    assert filled.run(filled.store.mail.mailbox("Empty@example.org")) == rows[1]
    assert filled.run(filled.store.mail.mailbox("nobody@example.org")) is None


def test_mailboxes_by_filter(filled):
    def addresses(test):
        return [r["address"] for r in filled.run(filled.store.mail.mailboxes(test))]

    assert addresses(Test("messages", ">", 1)) == ["bob@example.net"]
    assert addresses(Test("address", "=", Glob("*@example.org"))) == ["empty@example.org"]
    assert addresses(Test("address", "=", Glob("*Ü*"))) == []
    assert addresses(Test("state", "=", "ok")) == ["bob@example.net", "empty@example.org"]


def test_how_much_of_a_quota_is_used(filled):
    for n, (octets, messages) in enumerate(((0, 0), (100, 0), (0, 2), (1000, 2), (100, 4), (50, 1))):
        box = filled.mailbox(f"q{n}@example.org", octets, messages)
        filled.execute("UPDATE mailbox SET used_bytes = 50, used_msgs = 1 WHERE id = ?", (box,))

    def used(where=None):
        rows = filled.run(filled.store.mail.mailboxes(where))
        return {row["address"][:2]: row["use"] for row in rows if row["address"].startswith("q")}

    assert used() == {"q0": None, "q1": 50, "q2": 50, "q3": 50, "q4": 50, "q5": 100}
    filled.execute("UPDATE mailbox SET used_bytes = 99 WHERE address LIKE 'q%'")
    assert used() == {"q0": None, "q1": 99, "q2": 50, "q3": 50, "q4": 99, "q5": 198}
    assert used(Test("use", ">", 90)) == {"q1": 99, "q4": 99, "q5": 198}
    assert used(Test("use", "<=", 90)) == {"q2": 50, "q3": 50}
    assert used(Test("quota-messages", "=", 4)) == {"q4": 99}


def test_fetch(filled):
    read = filled.read_all(filled.run(filled.store.mail.fetch("bob@example.net", 3)))
    assert read == b"Return-Path: <ann@example.org>\r\nbody 3"
    assert filled.run(filled.store.mail.fetch("bob@example.net", 99)) is None
    assert filled.run(filled.store.mail.fetch("nobody@example.net", 1)) is None


def test_reading_is_noted(filled):
    filled.run(filled.store.mail.list("bob@example.net"))
    filled.run(filled.store.mail.fetch("bob@example.net", 1))
    filled.run(filled.engine.write(lambda tx: None, 2))
    assert filled.run(filled.store.mail.mailbox("bob@example.net"))["last_access"] > 0


def test_quota(filled):
    assert filled.run(filled.store.mail.quota("bob@example.net")) == (5 * 38, 10_000, 5, 0)
    assert filled.run(filled.store.mail.quota("nobody@example.net")) is None


def test_expunge(filled):
    mail = filled.store.mail
    assert filled.run(mail.expunge("bob@example.net", [2, 4, 4, 99])) == 2
    assert filled.run(mail.expunge("bob@example.net", [2])) == 0
    assert filled.run(mail.expunge("bob@example.net", [])) == 0
    assert filled.run(mail.expunge("nobody@example.net", [1])) == 0
    assert [m["uid"] for m in filled.run(mail.list("bob@example.net"))] == [1, 3, 5]
    assert filled.run(mail.quota("bob@example.net"))[::2] == (3 * 38, 3)
    assert filled.value("SELECT count(*) FROM blob WHERE refs = 0 AND dead_at IS NOT NULL") == 2


def test_a_uid_is_never_given_twice(filled):
    filled.run(filled.store.mail.expunge("bob@example.net", [5]))
    box = filled.value("SELECT id FROM mailbox WHERE address = 'bob@example.net'")
    filled.accept(b"new", [filled.local(box)])
    assert filled.run(filled.store.mail.list("bob@example.net"))[-1]["uid"] == 6
