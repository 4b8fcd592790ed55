"""Mail that waits is moved when routes change: rows, counters and run queue, and nothing twice."""

from dataclasses import replace

import pytest
from zope.interface.verify import verifyObject

from netsvc.interfaces import IRerouting
from netsvc.mail.message import Hop, Kind, Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.settings import SiteSettings

OLD, NEW = "[192.0.2.9]:25", "[192.0.2.10]:25"
HOP = Hop(Kind.SMTP, NEW, "example.com", NEW)


def judge(domain, sender):
    """Mail for example.com, or of ann, goes to NEW; the rest stays at OLD."""
    key = NEW if domain == "example.com" or sender == "ann@example.org" else OLD
    return Hop(Kind.SMTP, key, domain, key)


def keys(house):
    """{recipient: (key, state, route)}"""
    sql = "SELECT d.rcpt, t.key, d.state, d.route FROM delivery d JOIN dest t ON t.id = d.dest_id"
    return {row[0]: tuple(row[1:]) for row in house.rows(sql)}


def deferred(house, rows, due_at):
    outcomes = [Outcome(row.id, Result.DEFERRED, Fault.REPLY, 451, "4.0.0", "later", due_at=due_at) for row in rows]
    return house.run(house.spool.settle(outcomes, ()))


@pytest.fixture
def rerouting(house):
    return house.store.rerouting


def test_what_waits_is_found_and_moved(house, rerouting):
    assert verifyObject(IRerouting, rerouting)
    now = house.spool.now()
    house.accept(deliveries=[house.away(rcpt="a@example.com")], sender="bo@example.org")
    deferred(house, house.lease(), now + 3_600_000)
    house.accept(deliveries=[house.away(rcpt="b@example.com", due_at=now + 9_000_000)], sender="bo@example.org")
    house.accept(deliveries=[house.away(rcpt="c@example.com", held_by="bo")], sender="bo@example.org")
    house.accept(deliveries=[house.away(rcpt="d@example.net")], sender="bo@example.org")
    house.accept(deliveries=[house.away(rcpt="e@example.net")])
    seen, after = [], 0
    while True:
        after, moves = house.run(rerouting.strays(after, 2, judge))
        seen += moves
        if not after:
            break
    assert house.run(rerouting.move(seen)) == 4
    assert keys(house) == {
        "a@example.com": (NEW, 3, NEW), "b@example.com": (NEW, 1, NEW), "c@example.com": (NEW, 4, NEW),
        "d@example.net": (OLD, 1, OLD), "e@example.net": (NEW, 1, NEW),
    }  # fmt: skip
    kept, true = house.counted()
    assert kept == true
    assert sorted(row.rcpt for row in house.lease()) == ["a@example.com", "d@example.net", "e@example.net"]
    assert house.run(rerouting.strays(0, 100, judge)) == (0, [])


def test_what_was_deleted_follows_for_it_may_come_back(house, rerouting):
    house.accept(deliveries=[house.away(rcpt="a@example.com", held_by="bo")])
    house.execute("UPDATE delivery SET state = 5, prev_state = 1, purge_at = 77")
    house.execute("UPDATE c_dest SET state = 5")
    after, moves = house.run(rerouting.strays(0, 10, judge))
    assert (after, len(moves)) == (0, 1)
    assert house.run(rerouting.move(moves)) == 1
    assert keys(house) == {"a@example.com": (NEW, 5, NEW)}
    assert house.rows("SELECT prev_state, purge_at FROM delivery") == [(1, 77)]
    assert house.counted()[0] == house.counted()[1]
    assert house.lease() == []


def test_what_is_being_tried_is_given_back_by_its_own_node_only(house, rerouting):
    house.accept(deliveries=[house.away(rcpt="a@example.com"), house.away(2, rcpt="b@example.com")])
    a, b = sorted(house.lease(), key=lambda row: row.rcpt)
    house.execute("UPDATE delivery SET lease_epoch = lease_epoch + 1 WHERE id = ?", (b.id,))
    assert house.run(rerouting.strays(0, 100, judge)) == (0, [])
    assert house.run(rerouting.move([(a.id, HOP), (b.id, HOP), (b.id + 1, HOP)])) == 1
    assert keys(house) == {"a@example.com": (NEW, 1, NEW), "b@example.com": (OLD, 2, OLD)}
    (again,) = house.lease()
    assert (again.rcpt, again.dest_key, again.attempts, again.crashes) == ("a@example.com", NEW, 1, 0)
    assert house.counted()[0] == house.counted()[1]


def test_mail_for_domains_of_ours_is_let_be(house, rerouting):
    house.run(house.store.site.seed(SiteSettings(domains=("example.com",))))
    hop = Hop(Kind.MAILDIR, "maildir:/m", "example.com", "maildir:/m/x")
    house.accept(deliveries=[house.away(rcpt="a@example.com"), house.away(2, rcpt="b@example.com", hop=hop)])
    full = house.mailbox("bob@example.com", quota=1)
    house.accept(local=[house.local(full, 1, "bob@example.com"), house.local(full, 2, "bob@example.com")])
    assert house.run(rerouting.strays(0, 100, judge)) == (0, [])


def test_the_same_destination_by_other_words_is_the_same(rerouting):
    maildir = Hop(Kind.MAILDIR, "maildir:/m", "example.com", "maildir:/m/{local}")
    assert rerouting.same(HOP, NEW, Kind.SMTP, "[192.0.2.10]")
    assert not rerouting.same(HOP, OLD, Kind.SMTP, NEW)
    assert rerouting.same(maildir, "maildir:/m", Kind.MAILDIR, "maildir:/m/{local}")
    assert not rerouting.same(maildir, "maildir:/m", Kind.MAILDIR, "maildir:/m/{domain}")
    assert not rerouting.same(maildir, "maildir:/m", Kind.SMTP, "maildir:/m/{local}")


def test_only_changes_of_routes_are_to_be_applied(house, rerouting):
    site = house.store.site
    house.run(site.seed(SiteSettings(domains=("example.org",), routes={"*": OLD})))
    assert house.run(rerouting.pending()) == 0
    house.run(site.change(lambda s: replace(s, relay_domains=("a.example",)), "ann", ""))
    assert house.run(rerouting.pending()) == 0
    house.run(site.change(lambda s: replace(s, routes={"*": NEW}), "ann", ""))
    assert house.run(rerouting.pending()) == 3
    house.run(rerouting.applied(2))
    assert house.run(rerouting.pending()) == 3
    house.run(rerouting.applied(3))
    assert house.run(rerouting.pending()) == 0
    house.run(site.change(lambda s: replace(s, sender_routes={"<>": NEW}), "ann", ""))
    assert house.run(rerouting.pending()) == 4
