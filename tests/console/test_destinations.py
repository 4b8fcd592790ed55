"""Destinations on the console: shown, left alone, limited."""

from dataclasses import replace

import pytest

from netsvc.delivery.routing import Router
from netsvc.settings import DestinationSettings
from tests.console.fakeservice import NOW, destination
from tests.fakes import FakeSite

HOUR = 3_600_000


@pytest.fixture(autouse=True)
def dests(desk):
    desk.service.queue.dests = [
        destination("gmail.com", state="backoff", failures=2, until=NOW + HOUR, deferred=200, last_error="timed out"),
        destination("example.org", incoming=3),
        destination("[192.0.2.10]:25", failures=1, rests_until=NOW + 60_000),
    ]
    site = desk.service.site
    said = {"example.org": DestinationSettings(connections=7, rate=(100, HOUR), tls="verify", credential="relay")}
    site.current = replace(site.current, destinations=said)
    return desk.service.queue.dests


def said(desk):
    return desk.service.queue.policies


def test_all_or_some_are_listed(desk):
    rows = [line["row"] for line in desk.machine("show destinations")[:-1]]
    assert [(r["key"], r["limit"], r["messages"], r["rate"]) for r in rows] == [
        ("gmail.com", 20, 100, None),
        ("example.org", 7, 100, 1.667),
        ("[192.0.2.10]:25", 20, 100, None),
    ]
    out = desk.type("show destinations where deferred>100 and state=backoff")
    assert "gmail.com" in out
    assert "example.org" not in out
    assert "No destination matches" in desk.type("show destinations where state=suspended")
    assert "[E201]" in desk.type("show destinations where domian=x")


def test_one_is_shown_with_what_is_allowed_and_who_said_so(desk, dests):
    out = desk.type("show destination example.org")
    assert "state        ok\n" in out
    assert "connections  0 open, 7 allowed (site.destinations)" in out
    assert "messages     100 (site.delivery)" in out
    assert "rate         100/1h (site.destinations)" in out
    assert "tls          verify" in out
    assert "credential   relay" in out
    out = desk.type("show destination gmail.com")
    assert "state        backoff for another 1h00m: left alone 2 times in a row" in out
    assert "last error   timed out" in out
    assert "one message is tried" in desk.type("show destination [192.0.2.10]:25")
    dests[2]["failures"] = 0
    assert "at rest for another 1m" in desk.type("show destination [192.0.2.10]:25")
    assert desk.machine("show destination example.org")[0]["row"]["rate_limit"] == "100/1h"


def test_one_that_is_not_known(desk):
    out = desk.type("show destination gmial.com")
    assert "No destination gmial.com is known" in out
    assert "gmail.com" in out
    assert "[E202]" in desk.type('show destination "a b"')
    assert "[E202]" in desk.type("show destination .example.org")


def test_suspend_for_a_time_and_resume(desk):
    assert "[E103]" in desk.type("suspend destination gmail.com")
    out = desk.type('suspend destination GMAIL.com for 2h reason "INC-812"')
    assert out == "gmail.com is suspended for 2h00m.\n"
    policy = {"paused": 1, "pause_note": "INC-812", "pause_by": "op", "pause_until": NOW + 2 * HOUR}
    assert said(desk) == [("gmail.com", policy)]
    assert ("suspend destination", "gmail.com", 'reason "INC-812" for 2h00m', 1, "ok") in desk.audited()
    assert "suspended by op for another 2h00m: INC-812" in desk.type("show destination gmail.com")
    assert "gmail.com is tried again" in desk.type("resume destination gmail.com")
    assert "[E405]" in desk.type("resume destination gmail.com")
    assert "[E202]" in desk.type("suspend destination gmail.com for 1000d reason x")


def test_suspend_what_nobody_has_sent_to(desk):
    out = desk.type("suspend destination new.example reason later")
    assert "No mail has gone there yet." in out
    assert "resume destination new.example" in out


def test_a_domain_whose_mail_goes_elsewhere_is_told(desk):
    desk.service.site = FakeSite(routes={"routed.example": "[192.0.2.9]:25"})
    desk.service.routing = Router(desk.service.site)
    assert "Mail for routed.example goes to [192.0.2.9]:25." in desk.type("suspend destination routed.example reason x")
    assert "goes to" not in desk.type("suspend destination other.example reason x")
    assert "goes to" not in desk.type("limit destination [192.0.2.8]:25 rate 90/90s")
    assert "RATE" in desk.type("show destinations")
    assert "90/90s" in desk.type("show destination [192.0.2.8]:25")


def test_suspend_many(desk):
    assert "[E103]" in desk.type("suspend destination reason x")
    assert "[E304]" in desk.type("suspend destination where deferred>=0 reason x expect 2")
    assert said(desk) == []
    assert "3 destinations are suspended" in desk.type("suspend destination where deferred>=0 reason x expect 3")
    assert "[E401]" in desk.type("suspend destination where deferred>999 reason x expect any")
    assert "3 destinations are tried again" in desk.type("resume destination where state=suspended expect 3")


def test_somebody_was_faster(desk):
    asked = desk.service.queue.destinations
    old = asked("gmail.com").result
    desk.service.queue.dests[0]["rev"] = 5
    desk.service.queue.destinations = lambda key=None: desk.service.queue.answer(old)
    assert "somebody else" in desk.type("suspend destination gmail.com reason x")


def test_what_was_changed_before_it_failed_is_in_the_trail(desk):
    queue = desk.service.queue
    rows = queue.destinations().result
    queue.dests[2]["rev"] = 5
    queue.destinations = lambda key=None: queue.answer([dict(row) for row in rows])
    out = desk.type('suspend destination where deferred>=0 reason "INC-9" expect 3')
    assert "somebody else" in out
    assert "2 destinations of 3 changed before this: gmail.com, example.org" in out
    assert [key for key, _ in said(desk)] == ["gmail.com", "example.org"]
    assert ("suspend destination", "gmail.com, example.org", 'reason "INC-9"', 2, "partly") in desk.audited()


def test_limits_of_one_destination_end_together(desk):
    desk.type("limit destination gmail.com connections 2 messages 5")
    out = desk.type("limit destination gmail.com rate 5/m for 1h")
    assert "Its limit of connections and messages ends then, too." in out
    desk.type("limit destination example.org rate 5/m for 1h")
    out = desk.type("limit destination example.org connections 2")
    assert "Its limit of rate holds until it is taken back, too." in out
    assert "Its limit" not in desk.type("limit destination example.org rate 6/m")


def test_limits(desk):
    out = desk.type("limit destination gmail.com connections 2 messages 5 rate 100/1h for 1d")
    assert (
        out == "gmail.com: connections 2, messages 5, rate 100/1h at most for 1d, on all nodes.\n" or "at most" in out
    )
    policy = {"connections": 2, "messages": 5, "rate_count": 100, "rate_ms": HOUR, "limited_by": "op"}
    assert said(desk) == [("gmail.com", policy | {"until_at": NOW + 24 * HOUR})]
    assert "0 open, 2 allowed (by op for another 1d" in desk.type("show destination gmail.com")
    assert "[E103]" in desk.type("limit destination gmail.com")
    assert "[E202]" in desk.type("limit destination gmail.com rate many")
    assert "[E202]" in desk.type("limit destination gmail.com connections 0")
    assert "what the site's settings allow" in desk.type("no limit destination gmail.com")
    assert "[E405]" in desk.type("no limit destination gmail.com")


def test_a_backoff_is_forgotten(desk):
    assert "The failures of gmail.com are forgotten." in desk.type("clear destination gmail.com backoff")
    assert said(desk) == [("gmail.com", {"backoff": 0})]
    assert desk.machine("clear destination gmail.com backoff")[0]["row"]["target"] == "gmail.com"


def test_its_sessions_are_ended_when_asked(desk):
    desk.service.sessions.list = [{"id": "S1", "kind": "smtp-out", "domain": "gmail.com"}]
    assert "1 session on this node" in desk.type("suspend destination gmail.com reason x")
