"""Units of work: groups, failures, priorities, readers, the clock and ids."""

import errno
import sqlite3
import threading

import pytest
from twisted.internet.defer import Deferred

from netsvc.mail.ids import id_time
from netsvc.mail.reply import ReplyError
from netsvc.records import StoreError, StoreUnavailableError
from netsvc.store.batches import Unit
from netsvc.store.engine import ACCEPT, BULK, SETTLE, Engine
from netsvc.store.lanes import BATCH, fire
from netsvc.store.ticks import HOUR, Clock, Ids
from netsvc.store.tx import CommitFailedError, table


def sqlite_error(code):
    error = sqlite3.OperationalError("made to fail")
    error.sqlite_errorcode = code
    return error


def add(name):
    return lambda tx: tx.execute("INSERT INTO domain (name, kind) VALUES (?, 1)", (name,))


def names(house):
    return [row[0] for row in house.rows("SELECT name FROM domain ORDER BY name")]


class Gate:
    """Holds a store's writer, so that what is put meanwhile forms one batch."""

    def __init__(self, house):
        self._event = threading.Event()
        self._entered = threading.Event()
        self.lanes = house.engine.links.lanes
        self.held = [house.engine.write(self._wait, priority) for priority in (ACCEPT, SETTLE)[: self.lanes]]
        self._pump = house.pump
        house.pump.turn()
        if house.url != "memory":
            assert self._entered.wait(5)

    def _wait(self, tx):
        self._entered.set()
        self._event.wait(10)

    def open(self):
        self._pump.turn()
        self._event.set()


@pytest.fixture
def gated(lasting):
    gate = Gate(lasting)
    yield lasting, gate
    gate.open()


def test_what_waits_is_committed_as_one(gated):
    house, gate = gated
    before = house.engine.figures()["commits"]
    waiting = [house.engine.write(add(f"d{n:03}")) for n in range(BATCH)]
    gate.open()
    for deferred in waiting:
        assert house.run(deferred) == 1
    assert house.engine.figures()["commits"] - before <= 1 + gate.lanes
    assert len(names(house)) == BATCH


def test_no_batch_is_larger_than_it_may_be(gated):
    house, gate = gated
    before = house.engine.figures()["commits"]
    waiting = [house.engine.write(add(f"d{n:03}")) for n in range(BATCH + 1)]
    gate.open()
    for deferred in waiting:
        house.run(deferred)
    assert house.engine.figures()["commits"] - before >= 2 + gate.lanes


def test_settling_comes_before_accepting_and_bulk_last(make_house):
    house = make_house("sqlite")
    gate = Gate(house)
    order = []
    for priority in (BULK, BULK, ACCEPT, SETTLE):
        house.engine.write(lambda tx, p=priority: order.append(p), priority)
    gate.open()
    house.run(house.engine.write(lambda tx: None, BULK))
    assert order == [SETTLE, ACCEPT, BULK, BULK]


def test_a_unit_that_raises_leaves_its_neighbours_alone(gated):
    house, gate = gated

    def bad(tx):
        add("bad")(tx)
        raise StoreError("no")

    good = [house.engine.write(add("a"))]
    failing = [house.engine.write(bad), house.engine.write(lambda tx: tx.execute("INSERT INTO nowhere VALUES (1)"))]
    good.append(house.engine.write(add("b")))
    double = house.engine.write(add("a"))
    gate.open()
    assert [house.run(d) for d in good] == [1, 1]
    assert str(house.fails(failing[0], StoreError)) == "no"
    house.fails(failing[1], Exception)
    house.fails(double, Exception)
    assert names(house) == ["a", "b"]


def test_gathered_items_fail_one_by_one(gated):
    house, gate = gated
    calls = []

    def work(tx, items):
        calls.append(len(items))
        for item in items:
            add(item)(tx)
        return [ValueError(item) if item.startswith("x") else item for item in items]

    waiting = [house.engine.gather(work, item) for item in ("a", "b", "x")]
    again = house.engine.gather(work, "a")
    gate.open()
    assert [house.run(d) for d in waiting[:2]] == ["a", "b"]
    assert house.fails(waiting[2], ValueError).args == ("x",)
    house.fails(again, Exception)
    assert calls == [4, 1, 1, 1, 1]


def test_a_unit_alone_that_raises(house):
    assert house.fails(house.engine.write(lambda tx: 1 / 0), ZeroDivisionError)
    assert house.run(house.engine.write(add("a"))) == 1
    house.fails(house.engine.write(add("a")), Exception)
    assert names(house) == ["a"]


@pytest.mark.parametrize("step", ["begin", "body", "commit"])
@pytest.mark.parametrize(("code", "reply"), [(sqlite3.SQLITE_FULL, 452), (sqlite3.SQLITE_IOERR, 451)])
@pytest.mark.parametrize("url", ["memory", "sqlite"])
def test_a_failed_commit_is_never_called_good(make_house, url, step, code, reply):
    house = make_house(url)
    box = house.mailbox()

    def fault(at):
        if at == step:
            raise sqlite_error(code)

    house.engine.links.fault = fault
    waiting = [house.accepting(b"lost", [house.local(box)]) for _ in range(3)]
    for deferred in waiting:
        assert house.fails(deferred, ReplyError).reply.code == reply
    other = house.fails(house.engine.write(add("a")), CommitFailedError)
    assert other.full is (code == sqlite3.SQLITE_FULL)
    house.engine.links.fault = None
    assert house.run(house.store.mail.list("bob@example.net")) == []
    house.accept(b"kept", [house.local(box)])
    assert [m["uid"] for m in house.run(house.store.mail.list("bob@example.net"))] == [1]
    assert house.engine.figures()["failed_commits"] >= 2
    if url == "sqlite":
        house.again()
        assert house.value("SELECT count(*) FROM mail") == 1
        assert names(house) == []


def test_a_lost_disk_is_told_in_the_cause_only(make_house):
    house = make_house("sqlite")
    box = house.mailbox()

    def fault(at):
        raise OSError(errno.EIO, "Input/output error")

    house.engine.links.fault = fault
    error = house.fails(house.accepting(b"lost", [house.local(box)]), ReplyError)
    house.engine.links.fault = None
    assert error.reply.code == 451
    assert "Input/output" in error.cause
    assert "Input/output" not in error.reply.text


def test_a_busy_database_is_tried_again(make_house):
    house = make_house("memory")
    left = [sqlite_error(sqlite3.SQLITE_BUSY)] * 2

    def fault(at):
        if left:
            raise left.pop()

    house.engine.links.fault = fault
    assert house.run(house.engine.write(add("a"))) == 1


def test_what_is_remembered_is_forgotten_when_a_unit_is_undone(house):
    message, body = house.message(1), b"x"

    def undone(tx):
        house.spool._accepting.run(tx, [item])
        raise StoreError("undone")

    from netsvc.store.accept import Content, Incoming

    item = Incoming(message, Content(1, [body]), [house.away()], [])
    house.fails(house.engine.write(undone), StoreError)
    house.accept(deliveries=[house.away()])
    assert len(house.lease()) == 1


def test_reading_cannot_write(house):
    house.fails(house.engine.read(add("a")), StoreError if house.url in ("memory", "sqlite") else Exception)
    assert names(house) == []
    house.run(house.engine.write(add("a")))


def test_a_read_that_raises_gives_its_own_exception(house):
    house.fails(house.engine.read(lambda tx: 1 / 0), ZeroDivisionError)
    house.fails(house.engine.read(lambda tx: tx.rows("SELECT nonsense FROM nowhere")), Exception)
    assert house.value("SELECT 1") == 1


def test_a_read_that_takes_too_long_is_ended(make_house, monkeypatch):
    monkeypatch.setattr("netsvc.store.sqlite.READ_S", 0.05)
    house = make_house("sqlite")
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    house.fails(house.engine.read(lambda tx: tx.value(endless)), StoreUnavailableError)
    monkeypatch.setattr("netsvc.store.sqlite.READ_S", 5.0)
    assert house.value("SELECT 1") == 1


def test_a_long_read_on_postgresql_is_ended(make_house, pg_url):
    house = make_house(pg_url)
    house.fails(
        house.engine.read(lambda tx: tx.rows("SET LOCAL statement_timeout = 50") or tx.value("SELECT pg_sleep(5)")),
        StoreUnavailableError,
    )
    assert house.value("SELECT 1") == 1
    house.close()


def test_a_closed_store_takes_nothing(lasting):
    lasting.close()
    lasting.fails(lasting.engine.write(add("a")), StoreUnavailableError)
    lasting.fails(lasting.engine.read(add("a")), StoreUnavailableError)
    lasting.close()
    lasting.open()
    assert names(lasting) == []


def test_closing_finishes_what_was_begun(lasting):
    waiting = [lasting.engine.write(add(f"d{n}")) for n in range(20)]
    lasting.close()
    assert [lasting.run(d) for d in waiting] == [1] * 20
    lasting.open()
    assert len(names(lasting)) == 20


def test_a_cancelled_wait_harms_nobody():
    deferred = Deferred()
    deferred.addErrback(lambda _: None)
    deferred.cancel()
    fire([(deferred, 1)])


def test_the_same_statements_on_every_engine(house):
    number = table("reason", "id klass code enhanced:t text:t sample:t first_at last_at")

    def work(tx):
        tx.insert(number, [(n, 1, n, "", f"t{n}", "100% {v}", 0, 0) for n in range(1, 301)])
        tx.insert(number, [])
        tx.insert(number, [(1, 1, 1, "", "", "", 0, 0)], "ON CONFLICT (id) DO NOTHING")
        tx.each(
            "UPDATE reason SET code = v.column2 FROM {v} WHERE reason.id = v.column1",
            "ii",
            [(n, -n) for n in range(1, 301)],
        )
        assert tx.each("SELECT 1 FROM {v}", "i", []) == []
        back = tx.each(
            "UPDATE reason SET sample = v.column2 FROM {v} WHERE reason.id = v.column1 RETURNING reason.id",
            "it", [(n, None if n > 3 else "s") for n in range(1, 4)],
        )  # fmt: skip
        tx.many("UPDATE reason SET last_at = ? WHERE id = ?", [(n, n) for n in range(1, 5)])
        assert tx.among("SELECT id FROM reason WHERE id {ids}", []) == []
        found = tx.among("SELECT id FROM reason WHERE klass = ? AND id {ids}", list(range(1, 1000)), (1,))
        assert tx.row("SELECT id FROM reason WHERE id = ?", (0,)) is None
        assert tx.row("SELECT id FROM reason WHERE text LIKE 't1%' AND id < ?", (2,)) == (1,)
        assert tx.value("SELECT id FROM reason WHERE id = ?", (0,)) is None
        return (
            sorted(back),
            len(found),
            tx.value("SELECT sum(code) FROM reason"),
            tx.value("SELECT sum(last_at) FROM reason"),
        )

    assert house.run(house.engine.write(work)) == ([(1,), (2,), (3,)], 300, -45150, 10)


def test_a_savepoint_covers_bodies_too(gated):
    house, gate = gated

    def bad(tx):
        tx.put_chunks([(7, 0, b"bad")])
        raise ValueError

    failing = house.engine.write(bad)
    good = house.engine.write(lambda tx: tx.put_chunks([(8, 0, b"good")]))
    gate.open()
    house.fails(failing, ValueError)
    house.run(good)
    assert house.bodies() == [8]


def test_a_node_keeps_its_number_and_gets_a_new_epoch(lasting):
    first = (lasting.engine.node_id, lasting.engine.epoch)
    lasting.again()
    assert (lasting.engine.node_id, lasting.engine.epoch) == (first[0], first[1] + 1)


def test_the_clock_never_goes_back():
    clock = Clock(10**12)
    at = clock.now()
    clock.sync(at - 30_000)
    assert clock.now() >= at
    clock.sync(at + 20_000)
    assert at + 20_000 <= clock.now() < at + 21_000
    clock.sync(clock.now() + 2 * HOUR)
    assert clock.jump > HOUR
    assert clock.now() < at + 22_000
    clock.sync(clock.now())
    assert clock.jump == 0
    clock._last = at + 10**6
    assert clock.now() == at + 10**6


def test_ids_rise_whatever_the_clock_does():
    clock = Clock(1_700_000_000_000)
    ids = Ids(clock)
    ids.start(5, 0)
    many = ids.many(10_000)
    assert many == sorted(set(many))
    assert all((number >> 12) & 1023 == 5 for number in many)
    clock.set(1_600_000_000_000)
    assert ids.one() > many[-1]
    singles = [ids.one() for _ in range(10_000)]
    assert singles == sorted(set(singles))
    ids.start(5, (1_800_000_000_000 - 1_577_836_800_000) << 22)
    assert id_time(ids.one()) > 1_800_000_000_000


def test_ids_go_on_above_those_in_the_store(lasting):
    lasting.engine.clock.advance(10**9)
    number = lasting.accept(deliveries=[lasting.away()])
    lasting.again()
    assert lasting.spool.new_id() > number


def test_a_store_that_cannot_be_opened_says_so(make_house, tmp_path):
    class Broken(Engine):
        pass

    class Links:
        dialect, inline, lanes, readers = "sqlite", True, 1, 1

        def prepare(self, now):
            raise StoreError("no")

    failed = []
    Broken(Links(), None).open().addErrback(failed.append)
    assert failed[0].check(StoreError)


def test_figures(house):
    figures = house.store.health()
    assert figures["node"] == 1
    assert figures["safe"] is True
    if house.url == "sqlite":
        assert figures["disk_free"] > 0
        assert not figures["wal_alarm"]


def test_units_say_what_they_are():
    unit = Unit(add("a"), SETTLE)
    assert not unit.gathered
