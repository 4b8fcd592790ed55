"""Late mail behind destinations that are left alone."""

from netsvc.mail.message import FLAG_REPORT, FLAG_WARNED, Result
from netsvc.mail.outcome import Outcome
from netsvc.store import lateness


def test_what_is_late_and_untold_is_leased_once_and_given_back(house, monkeypatch):
    first = house.accept(deliveries=[house.away(1, key="a.example"), house.away(2, "d@example.com", key="a.example")])
    house.accept(deliveries=[house.away(key="b.example")])
    house.accept(deliveries=[house.away(key="a.example")], flags=FLAG_WARNED)
    house.accept(deliveries=[house.away(key="a.example")], flags=FLAG_REPORT, sender="")
    second = house.accept(deliveries=[house.away(key="a.example")])
    now = house.spool.now()
    look = house.spool.unwarned
    assert house.run(look(0, now + 1000, 9))[0] == []
    house.execute("UPDATE dest SET dead_until = ? WHERE key = 'a.example'", (now + 10**7,))
    assert house.run(look(0, now - 10**6, 9)) == ([], 0)
    rows, after = house.run(look(0, now + 1000, 2))
    assert [(row.message_id, row.n, row.dest_key) for row in rows] == [(first, 1, "a.example"), (first, 2, "a.example")]
    assert after == first
    before = house.rows("SELECT id, due_at FROM delivery ORDER BY id")
    house.run(house.spool.settle([Outcome(row.id, Result.RELEASED, warned=True) for row in rows], []))
    assert house.rows("SELECT id, due_at FROM delivery ORDER BY id") == before
    assert house.rows("SELECT DISTINCT state, attempts, crashes FROM delivery") == [(1, 0, 0)]
    assert house.value("SELECT flags FROM message WHERE id = ?", (first,)) == FLAG_WARNED
    rows, after = house.run(look(0, now + 1000, 9))
    assert [row.message_id for row in rows] == [second]
    assert after == second
    assert house.run(look(after, now + 1000, 9)) == ([], after)
    assert house.counted()[0] == house.counted()[1]


def test_windows_are_short_and_an_unsafe_node_takes_nothing(house, monkeypatch):
    monkeypatch.setattr(lateness, "WINDOW", 2)
    numbers = [house.accept(deliveries=[house.away()]) for _ in range(3)]
    now = house.spool.now()
    assert house.run(house.spool.unwarned(0, now + 1000, 9)) == ([], numbers[1])
    assert house.run(house.spool.unwarned(numbers[1], now + 1000, 9)) == ([], numbers[2])
    house.execute("UPDATE dest SET dead_until = ?", (now + 10**7,))
    house.spool.safe = lambda: False
    assert house.run(house.spool.unwarned(0, now + 1000, 9)) == ([], 0)
    house.spool.safe = lambda: True
    house.execute("UPDATE node SET state = 3")
    assert house.run(house.spool.unwarned(0, now + 1000, 9)) == ([], numbers[1])
