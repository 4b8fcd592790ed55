"""What only PostgreSQL can do to us: lost connections, lost answers, conflicts; many nodes."""

import psycopg
import pytest
from psycopg import errors

from netsvc.delivery.allowances import Allowances
from netsvc.mail.message import Result
from netsvc.mail.outcome import Outcome
from netsvc.mail.reply import ReplyError
from netsvc.records import StoreError, StoreUnavailableError
from netsvc.settings import DestinationSettings
from netsvc.store import membership, pgtx, postgres
from netsvc.store.arrays import array
from netsvc.store.batches import Batches
from netsvc.store.membership import GRACE_MS, LEASE_MS


@pytest.fixture
def nodes(pg_url, make_house, monkeypatch):
    """A maker of nodes that share one database; closed before its schema goes."""
    monkeypatch.setattr(postgres, "WAIT_S", 0.01)
    made = []

    def make(name="node1"):
        made.append(make_house(pg_url, name=name))
        return made[-1]

    yield make
    for house in made:
        house.close()


def add(name):
    return lambda tx: tx.execute("INSERT INTO domain (name, kind) VALUES (?, 1)", (name,))


def names(house):
    return [row[0] for row in house.rows("SELECT name FROM domain ORDER BY name")]


def once(house, step, act):
    """Have ``act(link)`` called at ``step`` of the next commit of the accepting lane."""
    link = house.engine._batches[0].link

    def fault(at):
        if at == step:
            link.fault = None
            act(link)

    link.fault = fault


def cut(link):
    """Cut the wire, as a server that dies does."""
    link.connection.close()
    raise psycopg.OperationalError("the connection is lost")


def fail(error):
    def act(link):
        raise error

    return act


@pytest.mark.parametrize("step", ["begin", "commit", "committed"])
def test_a_lost_connection_does_nothing_twice_and_loses_nothing(nodes, step):
    house = nodes()
    once(house, step, cut)
    assert house.run(house.engine.write(add("a"))) == 1
    assert names(house) == ["a"]
    box = house.mailbox()
    once(house, step, cut)
    house.accept(b"one", [house.local(box)])
    house.accept(b"two", [house.local(box)])
    assert [m["uid"] for m in house.run(house.store.mail.list("bob@example.net"))] == [1, 2]


def test_a_server_that_ends_our_session(nodes, pg_server):
    house = nodes()
    house.run(house.engine.write(add("a")))
    with psycopg.connect(pg_server, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'netsvc' AND pid <> pg_backend_pid()"
        )
    assert house.run(house.engine.write(add("b"))) == 1
    assert names(house) == ["a", "b"]


def test_a_server_that_is_away_takes_nothing(nodes, monkeypatch):
    monkeypatch.setattr(postgres, "PATIENCE_S", 0.05)
    house = nodes()
    box = house.mailbox()
    real = psycopg.connect

    def connect(*args, **kwargs):
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(psycopg, "connect", connect)
    for batches in house.engine._batches:
        batches.link.connection.close()
    assert house.fails(house.accepting(b"x", [house.local(box)]), ReplyError).reply.code == 451
    monkeypatch.setattr(psycopg, "connect", real)
    house.accept(b"x", [house.local(box)])
    assert house.value("SELECT count(*) FROM mail") == 1


def test_nobody_knows_what_became_of_a_commit(nodes, monkeypatch):
    monkeypatch.setattr(postgres, "PATIENCE_S", 0.05)
    house = nodes()
    real = psycopg.connect

    def act(link):
        monkeypatch.setattr(psycopg, "connect", lambda *a, **k: (_ for _ in ()).throw(psycopg.OperationalError("away")))
        cut(link)

    once(house, "committed", act)
    house.fails(house.engine.write(add("a")), StoreUnavailableError)
    monkeypatch.setattr(psycopg, "connect", real)
    assert names(house) == ["a"]


@pytest.mark.parametrize(
    "error", [errors.SerializationFailure("x"), errors.DeadlockDetected("x"), errors.LockNotAvailable("x")]
)
def test_conflicts_are_tried_again(nodes, error):
    house = nodes()
    once(house, "commit", fail(error))
    assert house.run(house.engine.write(add("a"))) == 1
    assert names(house) == ["a"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DiskFull("x"), 452),
        (errors.QueryCanceled("x"), 451),
        (OSError("x"), 451),
        (errors.InternalError("x"), 451),
    ],
)
def test_other_failures_keep_nothing(nodes, error, code):
    house = nodes()
    box = house.mailbox()
    once(house, "commit", fail(error))
    assert house.fails(house.accepting(b"x", [house.local(box)]), ReplyError).reply.code == code
    assert house.value("SELECT count(*) FROM mail") == 0


def test_a_body_streamed_before_a_server_died_is_not_trusted(nodes):
    house = nodes()
    box = house.mailbox()
    writer = house.spool.body()
    for _ in range(10):
        writer.write(b"x" * 65536)
    house.run(writer.drained())
    house.engine._batches[0].link.connection.close()
    error = house.fails(house.spool.accept(house.message(writer.size), writer, [], [house.local(box)]), ReplyError)
    assert error.reply.code == 451


def test_reading_survives_a_lost_connection(nodes, pg_server):
    house = nodes()
    for _ in range(4):
        house.value("SELECT 1")
    with psycopg.connect(pg_server, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'netsvc'")
    assert [house.value("SELECT 1") for _ in range(4)] == [1] * 4


def test_an_old_server_or_another_encoding_is_refused(pg_url, monkeypatch):
    monkeypatch.setattr(postgres, "OLDEST", 990_000)
    with pytest.raises(StoreError, match="PostgreSQL 14"):
        postgres.PgLinks(pg_url).prepare(0)


def test_another_encoding_is_refused(pg_server):
    with psycopg.connect(pg_server, autocommit=True) as admin:
        admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(StoreError, match="UTF8"):
            postgres.PgLinks(pg_server.replace("/postgres?", "/latin?")).prepare(0)
    finally:
        with psycopg.connect(pg_server, autocommit=True) as admin:
            admin.execute("DROP DATABASE latin")


def test_two_nodes_have_different_numbers_and_share_the_queue(nodes):
    first, second = nodes("a"), nodes("b")
    assert {first.engine.node_id, second.engine.node_id} == {1, 2}
    for n in range(20):
        (first if n % 2 else second).accept(deliveries=[first.away(n, f"u{n}@example.com")])
    ((dest, *_),) = first.run(first.spool.due(9))
    mine = [row.id for row in first.run(first.spool.lease([(dest, 8)]))]
    yours = [row.id for row in second.run(second.spool.lease([(dest, 50)]))]
    assert (len(mine), len(yours)) == (8, 12)
    assert not set(mine) & set(yours)
    told = second.run(second.spool.settle([Outcome(n, Result.DELIVERED) for n in mine + yours], []))
    assert set(told.acked) == set(yours)
    assert set(told.lost) == set(mine)
    first.run(first.spool.settle([Outcome(n, Result.DELIVERED) for n in mine], []))
    assert first.counted()[0] == first.counted()[1] == ([], [])


def beat(house):
    batches = Batches(house.engine.links.writer(), house.engine.clock)
    try:
        return house.store.beats.beat(batches)
    finally:
        batches.link.close()


def test_nodes_know_who_lives_and_what_operators_allow(nodes):
    first, second = nodes("mx1"), nodes("mx2")
    one, two = (house.store.queue.steering for house in (first, second))
    for house, steering in ((first, one), (second, two)):
        house.run(steering.load())
    assert one.nodes == two.nodes == tuple(sorted((one.node, two.node)))
    first.run(first.store.queue.set_destination("example.org", 0, connections=1, rate_count=6, rate_ms=60_000))
    second.run(two.load())
    assert one.limits == two.limits == {"example.org": (DestinationSettings(connections=1, rate=(6, 60_000)), 0)}
    known = [
        Allowances(house.store.site, s, house.spool.now, lambda: 0.0) for house, s in ((first, one), (second, two))
    ]
    assert sorted(each.of("example.org").connections for each in known) == [0, 1]
    assert sum(each.of("other.example").connections for each in known) == 20
    second.run(second.engine.write(lambda tx: membership.leave(tx, two.node, second.engine.epoch)))
    first.run(one.load())
    assert one.nodes == (one.node,)
    one.start()
    one.start()
    one.stop()


def test_a_silent_node_is_fenced_and_its_work_taken_back(nodes):
    first, second = nodes("a"), nodes("b")
    logged = []
    first.store.beats._log = lambda event, **fields: logged.append((event, fields))
    first.accept(deliveries=[first.away(1), first.away(2, "dan@example.com")])
    leased = second.lease()
    assert beat(first) is True
    assert second.rows("SELECT count(*) FROM delivery WHERE state = 2") == [(2,)]
    first.execute("UPDATE node SET heartbeat_at = heartbeat_at - ? WHERE name = 'b'", (LEASE_MS + 1000,))
    assert beat(first) is True
    assert first.rows("SELECT state FROM node WHERE name = 'b'") == [(membership.FENCED,)]
    due = first.run(first.spool.next_due())
    assert first.spool.now() < due <= first.spool.now() + GRACE_MS
    assert logged == [("store.recovered", {"node": second.engine.node_id, "released": 2, "held": 0})]
    # The woken node leases nothing, settles late, and begins anew.
    assert second.lease() == []
    told = second.run(second.spool.settle([Outcome(leased[0].id, Result.DELIVERED)], []))
    assert told.late == (leased[0].id,)
    epoch, fenced = second.engine.epoch, []
    second.store.beats.fenced.append(lambda: fenced.append(1))
    assert beat(second) is False
    assert second.engine.epoch > epoch
    assert fenced == [1]
    assert beat(second) is True
    assert second.counted()[0] == second.counted()[1]


def test_a_node_that_cannot_say_it_lives_begins_nothing(nodes):
    house = nodes()
    house.accept(deliveries=[house.away()])
    beats = house.store.beats
    assert house.store.health()["safe"]
    beats._good -= 0.7 * LEASE_MS / 1000
    assert not beats.safe()
    assert house.lease() == []
    assert not house.store.health()["safe"]
    beat(house)
    assert len(house.lease()) == 1


def test_a_beat_that_fails_is_told(nodes, monkeypatch):
    house = nodes()
    logged = []
    house.store.beats._log = lambda event, **fields: logged.append(event)
    monkeypatch.setattr(membership, "beat", lambda *a: 1 / 0)
    assert beat(house) is False
    monkeypatch.setattr(membership, "beat", lambda *a: False)
    monkeypatch.setattr(membership, "register", lambda *a: (_ for _ in ()).throw(StoreError("full")))
    assert beat(house) is False
    monkeypatch.setattr(membership, "beat", lambda *a: True)
    monkeypatch.setattr(membership, "orphaned", lambda *a: 1 / 0)
    monkeypatch.setattr(house.engine.links, "clock", lambda: 1 / 0)
    assert beat(house) is True
    assert logged == ["store.beat_failed"] * 3


def test_taking_back_that_fails_waits_for_the_next_beat(nodes, monkeypatch):
    house = nodes()
    monkeypatch.setattr(membership, "orphaned", lambda *a: [(9, 9)])
    monkeypatch.setattr(membership, "take_back", lambda *a: 1 / 0)
    assert beat(house) is True
    monkeypatch.setattr(membership, "take_back", lambda *a: (False, 0, []))
    assert beat(house) is True


def test_the_thread_beats(pg_url, monkeypatch, make_house):
    from netsvc.store import beats

    monkeypatch.setattr(beats, "BEAT_MS", 10)
    house = make_house(pg_url)
    before = house.value("SELECT heartbeat_at FROM node")
    for _ in range(500):
        if house.value("SELECT heartbeat_at FROM node") > before:
            break
    assert house.value("SELECT heartbeat_at FROM node") > before
    house.close()


def test_a_full_house(house, monkeypatch):
    monkeypatch.setattr(membership, "TOP", 1)
    error = house.fails(house.engine.write(lambda tx: membership.register(tx, "other", "1")), StoreError)
    assert "1 nodes" in str(error)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("i", [1, -2, 1 << 62]),
        ("i", [None, 5]),
        ("t", ["ä", None, ""]),
        ("b", [b"\0\xff", None]),
        ("t", [None, None]),
        ("i", []),
    ],
)
def test_arrays_travel_whole(nodes, kind, values):
    house = nodes()
    cast = pgtx.CASTS[kind]
    with house.engine.links.writer().connection as connection:
        found = connection.execute(
            f"SELECT x FROM unnest(%b::{cast}) AS x", [array(kind, values)], binary=True
        ).fetchall()
    assert [row[0] for row in found] == values


def test_sums_are_numbers(nodes):
    house = nodes()
    assert house.value("SELECT sum(x) FROM (VALUES (1::bigint), (2)) AS v(x)") == 3
    assert isinstance(house.value("SELECT sum(x) FROM (VALUES (1::bigint)) AS v(x)"), int)
    assert house.value("SELECT 1.5::numeric") == 1.5
