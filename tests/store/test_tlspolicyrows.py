"""Policies of domains, kept on every engine."""

import pytest
from zope.interface.verify import verifyObject

from netsvc.interfaces import ITlsPolicyRows
from netsvc.store.tlspolicyrows import OVER_MS

DAY = 86_400_000


@pytest.fixture
def kept(house):
    return house.store.tls_policies


def row(house, domain="example.org", **more):
    now = house.engine.now()
    facts = {"id": "a1", "mode": "enforce", "max_age": DAY, "hosts": ["mx1.example.org", "*.example.net"]}
    times = {"fetched": now, "until": now + DAY, "used": now, "tried": 0, "why": ""}
    return {"domain": domain, **facts, **times, **more}


def test_rows_are_kept_replaced_and_forgotten(kept, house):
    assert verifyObject(ITlsPolicyRows, kept)
    assert house.run(kept.get("example.org")) is None
    first, other = row(house), row(house, "a.example", mode="none", hosts=[])
    house.run(kept.put(first))
    house.run(kept.put(other))
    assert house.run(kept.get("example.org")) == first
    assert house.run(kept.rows()) == [other, first]
    assert house.run(kept.rows("a.example")) == [other]
    again = row(house, id="a2", hosts=["mx2.example.org"])
    house.run(kept.put(again))
    assert house.run(kept.get("example.org")) == again
    assert house.run(kept.forget("none.example")) == 0
    assert house.run(kept.forget("example.org")) == 1
    assert house.run(kept.rows()) == [other]
    assert house.run(kept.forget()) == 1
    assert house.run(kept.rows()) == []


def test_what_happened_to_one_is_noted(kept, house):
    house.run(kept.put(row(house)))
    house.run(kept.failed("example.org", 7, "\x1b[2Jtimed out"))
    house.run(kept.used("example.org", 9))
    found = house.run(kept.get("example.org"))
    assert (found["tried"], found["used"]) == (7, 9)
    assert "\x1b" not in found["why"]
    house.run(kept.failed("none.example", 7, "x"))
    assert len(house.run(kept.rows())) == 1


def test_those_to_be_renewed(kept, house):
    now = house.engine.now()
    for name, fetched, used, tried in (("old", 1, now, 0), ("older", 0, now, 0), ("new", now, now, 0)):
        house.run(kept.put(row(house, name, fetched=fetched, used=used, tried=tried)))
    house.run(kept.put(row(house, "unused", fetched=0, used=1)))
    house.run(kept.put(row(house, "tried", fetched=0, tried=now)))
    assert [found["domain"] for found in house.run(kept.stale(now, 2, 10))] == ["older", "old"]
    assert [found["domain"] for found in house.run(kept.stale(now, 2, 1))] == ["older"]


def test_what_ran_out_long_ago_is_removed(kept, house):
    house.run(kept.put(row(house)))
    house.engine.clock.advance(DAY + OVER_MS)
    house.run(kept.put(row(house, "b.example")))
    assert [found["domain"] for found in house.run(kept.rows())] == ["b.example"]
