"""What the store does by itself."""

import pytest

from netsvc.mail.message import State
from netsvc.store import upkeep
from netsvc.store.bodies import CHUNK
from netsvc.store.gaps import Gaps
from netsvc.store.safety import Safety
from netsvc.store.upkeep import Upkeep

DAY = 24 * 3_600_000


@pytest.fixture
def kept(house):
    """A store, its upkeep, and what was logged."""
    house.logged = []
    house.keep = Upkeep(
        house.engine,
        house.pump,
        lambda event, **fields: house.logged.append((event, fields)),
        Gaps(),
        Safety(house.engine.clock),
    )
    return house


def test_a_round_comes_every_minute(make_house):
    house = make_house("memory")
    keep = house.store.upkeep
    house.pump.advance(59)
    assert keep._round == 0
    house.pump.advance(2)
    assert keep._round == 1
    house.pump.pump([60] * 9)
    assert keep._round == 10


def test_dead_bodies_go_after_ten_minutes(kept):
    box = kept.mailbox()
    kept.accept(b"x", [kept.local(box)])
    kept.accept(b"kept", [kept.local(box)])
    kept.run(kept.store.mail.expunge("bob@example.net", [1]))
    kept.run(kept.keep.round())
    assert len(kept.bodies()) == 2
    kept.engine.clock.advance(11 * 60_000)
    kept.run(kept.keep.round())
    assert len(kept.bodies()) == 1
    assert kept.value("SELECT count(*) FROM blob") == 1
    assert kept.logged == []


def test_recycled_items_go_when_their_day_is_over(kept):
    number = kept.accept(deliveries=[kept.away(1), kept.away(2, "dan@example.com")])
    kept.execute("UPDATE delivery SET state = 5, purge_at = ? WHERE n = 1", (kept.spool.now() + DAY,))
    kept.run(kept.engine.write(lambda tx: __import__("netsvc.store.tally", fromlist=["x"]).rebuild_counters(tx, 1)))
    kept.run(kept.keep.round())
    assert kept.value("SELECT count(*) FROM delivery") == 2
    kept.engine.clock.advance(DAY + 1)
    kept.run(kept.keep.round())
    assert kept.rows("SELECT n, state FROM delivery") == [(2, State.INCOMING)]
    assert kept.rows("SELECT message_id, n, outcome, reply FROM history") == [(number, 1, 4, upkeep.DELETED_BY)]
    assert kept.rows("SELECT pending FROM message") == [(1,)]
    assert kept.counted()[0] == kept.counted()[1]


def test_late_heads_are_put_right(kept):
    kept.accept(deliveries=[kept.away()])
    kept.execute("UPDATE dest_head SET next_due = ?", (kept.spool.now() + DAY,))
    assert kept.run(kept.spool.due(5)) == []
    woken = []
    kept.spool.wake(lambda: woken.append(1))
    kept.run(kept.keep.round())
    assert len(kept.run(kept.spool.due(5))) == 1
    kept.execute("DELETE FROM dest_head")
    kept.run(kept.keep.round())
    assert len(kept.lease()) == 1
    assert len(woken) == 2


def test_old_history_goes(kept):
    box = kept.mailbox()
    kept.accept(local=[kept.local(box)])
    kept.engine.clock.advance(15 * DAY)
    kept.accept(local=[kept.local(box)])
    kept.keep._round = upkeep.HOUR_ROUNDS
    kept.run(kept.keep.round())
    assert kept.value("SELECT count(*) FROM history") == 1
    assert kept.value("SELECT count(*) FROM mail") == 2


def test_history_and_dialogues_are_kept_as_long_as_the_site_says(kept):
    from netsvc.mail.message import Result
    from netsvc.mail.outcome import Outcome

    def counts():
        return [kept.value(f"SELECT count(*) FROM {name}") for name in ("history", "attempt", "transcript")]

    kept.accept(deliveries=[kept.away()])
    kept.run(kept.spool.settle([Outcome(kept.lease()[0].id, Result.DELIVERED, transcript=b"t")], []))
    kept.keep.keeps = lambda: (30 * DAY, DAY)
    for days, left in ((2, [1, 1, 0]), (27, [1, 1, 0]), (2, [0, 0, 0])):
        kept.engine.clock.advance(days * DAY)
        kept.keep._round = upkeep.HOUR_ROUNDS
        kept.run(kept.keep.round())
        assert counts() == left


def test_the_rounds_obey_the_site(make_house):
    house = make_house("memory")
    settings = house.store.site.current.delivery
    assert house.store.upkeep.keeps() == (settings.history, settings.transcripts) == (14 * DAY, 14 * DAY)


def test_counters_of_nothing_are_pruned(kept):
    kept.execute("INSERT INTO c_dest (node_id, dest_id, state, n, bytes) VALUES (1, 5, 1, 0, 0), (1, 6, 1, 1, 5)")
    kept.execute("INSERT INTO c_reason (node_id, reason_id, state, n) VALUES (1, 5, 1, 0)")
    kept.run(kept.keep.round())
    assert kept.rows("SELECT dest_id FROM c_dest") == [(6,)]
    assert kept.value("SELECT count(*) FROM c_reason") == 0


def test_bodies_no_row_names_are_swept_when_they_are_old(kept, monkeypatch):
    monkeypatch.setattr(upkeep, "MANY", 2)
    box = kept.mailbox()
    for _ in range(3):
        kept.accept(b"x", [kept.local(box)])
    orphans = [kept.engine.new_id() for _ in range(3)]
    kept.run(kept.engine.write(lambda tx: tx.put_chunks([(n, 0, b"o" * CHUNK) for n in orphans])))
    assert kept.run(kept.keep.sweep()) == 0
    kept.engine.clock.advance(25 * 3_600_000)
    kept.keep._round = upkeep.SWEEP_AT - 1
    kept.run(kept.keep.round())
    left = kept.bodies()
    assert not set(left) & set(orphans)
    assert len(left) == 3
    assert ("store.swept", {"bodies": 3}) in kept.logged


def test_a_round_that_fails_is_told_and_the_next_goes_on(make_house):
    house = make_house("memory")
    logged = []
    keep = Upkeep(
        house.engine, house.pump, lambda event, **fields: logged.append(fields), Gaps(), Safety(house.engine.clock)
    )

    def fault(step):
        raise OSError("gone")

    house.engine.links.fault = fault
    house.run(keep.round())
    house.engine.links.fault = None
    house.run(keep.round())
    assert [f["what"] for f in logged] == ["upkeep"]


def test_a_log_that_grows_is_told_once(make_house, monkeypatch):
    house = make_house("sqlite")
    logged = []
    keep = Upkeep(
        house.engine, house.pump, lambda event, **fields: logged.append(fields), Gaps(), Safety(house.engine.clock)
    )
    monkeypatch.setattr("netsvc.store.sqlitefiles.WAL_ALARM", -1)
    house.run(keep.round())
    house.run(keep.round())
    assert [f["what"] for f in logged] == ["log"]


def test_the_logs_are_folded_in_when_nobody_waits(make_house):
    house = make_house("sqlite")
    box = house.mailbox()
    house.accept(b"x" * CHUNK, [house.local(box)])
    link = house.engine._batches[0].link
    house.engine.links.fault = None
    house.run(house.engine.write(lambda tx: None))
    while link.idle():
        pass
    wal = (house.folder / "body.db-wal").stat().st_size
    assert wal == 0
    link.idle()
