"""Why mail ended, counted; what an operator is to look at."""

from netsvc.criteria import Test
from netsvc.mail.message import Result
from netsvc.mail.outcome import Fault, Outcome
from netsvc.store import past
from netsvc.store.safety import Safety


def ended(house, n, result, reply="", code=0, fault=Fault.REPLY, sender="ann@example.org"):
    for _ in range(n):
        house.accept(deliveries=[house.away()], sender=sender)
    rows = house.lease()
    out = [Outcome(row.id, result, fault if code else Fault.NONE, code, reply=reply) for row in rows]
    house.run(house.spool.settle(out, []))


def test_reasons_of_what_ended(house, monkeypatch):
    monkeypatch.setattr(past, "FEW", 2)
    ended(house, 3, Result.BOUNCED, "no such user 4711x", 550)
    ended(house, 2, Result.BOUNCED, "mailbox full", 552, sender="bob@example.org")
    ended(house, 4, Result.DELIVERED)
    look = house.store.queue.past_reasons
    found = [(row["reason"], row["count"], row["code"], row["domains"]) for row in house.run(look())]
    assert [(count, code, domains) for _, count, code, domains in found] == [(3, 550, 1), (2, 552, 1)]
    assert found[1][0] == "mailbox full"
    assert [row["count"] for row in house.run(look(Test("sender", "=", "bob@example.org")))] == [2]
    assert house.run(look(Test("result", "=", "delivered"))) == []
    page = house.run(house.store.queue.history(Test("reason", "=", "mailbox full")))
    assert [row["reason"] for row in page.rows] == ["mailbox full"] * 2


def test_what_is_to_be_looked_at(house):
    safety = Safety(house.engine.clock)
    house.run(house.engine.read(safety.look))
    assert [(row["name"], row["state"]) for row in safety.rows()] == [("poison", "ok"), ("clock", "ok")]
    house.accept(deliveries=[house.away(held_by="netsvc", held_why="x"), house.away(2, held_by="op", held_why="y")])
    house.run(house.engine.read(safety.look))
    house.engine.clock.jump = -7_200_000
    poison, clock = safety.rows()
    assert (poison["state"], poison["value"]) == ("warn", 1)
    assert "held-by=netsvc" in poison["why"]
    assert (clock["state"], clock["value"]) == ("warn", -7_200_000)
    house.engine.clock.jump = 0
