"""Bodies: small and large, read back byte for byte; what is not accepted leaves nothing."""

import random
import sqlite3

import pytest

from netsvc.mail.reply import ReplyError
from netsvc.store.bodies import CHUNK, IN_FLIGHT


def sqlite_error(code):
    error = sqlite3.OperationalError("made to fail")
    error.sqlite_errorcode = code
    return error


SIZES = (0, 1, 2047, 4096, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17)


def content(size):
    return random.Random(size).randbytes(size)


def fed(house, data, piece=60_000):
    """A writer that was given ``data``, in pieces, waiting when told to."""
    writer = house.spool.body()
    for at in range(0, len(data), piece):
        wait = writer.write(data[at : at + piece])
        if wait is not None:
            house.run(wait)
    return writer


@pytest.mark.parametrize("size", SIZES)
def test_what_was_written_is_read(house, size):
    box = house.mailbox()
    data = content(size)
    writer = fed(house, data)
    assert writer.size == size
    house.run(house.spool.accept(house.message(size), writer, [house.away(2)], [house.local(box)]))
    mail = house.run(house.store.mail.fetch("bob@example.net", 1))
    assert mail.size == size + 32
    assert house.read_all(mail) == b"Return-Path: <ann@example.org>\r\n" + data
    (leased,) = house.lease()
    for _ in range(2):
        assert house.read_all(house.run(house.spool.open_body(leased.blob_id))) == data
        house.spool._recent._bodies.clear()
    from hashlib import sha256

    assert house.value("SELECT sha256 FROM blob") == sha256(data).digest()


@pytest.mark.parametrize("size", [5, CHUNK, 2 * CHUNK + 3])
def test_bytes_will_do(house, size):
    box = house.mailbox()
    house.accept(content(size), [house.local(box, hdr=b"")])
    assert house.read_all(house.run(house.store.mail.fetch("bob@example.net", 1))) == content(size)


def test_one_huge_piece_is_cut(house):
    box = house.mailbox()
    data = content(5 * CHUNK + 5)
    writer = fed(house, data, len(data))
    house.run(house.spool.accept(house.message(len(data)), writer, [], [house.local(box, hdr=b"")]))
    assert house.read_all(house.run(house.store.mail.fetch("bob@example.net", 1))) == data


def test_the_writer_is_told_to_wait(lasting):
    writer = lasting.spool.body()
    waits = [writer.write(b"x" * 65536) for _ in range(2 * IN_FLIGHT // 65536 + 8)]
    told = [w for w in waits if w is not None]
    assert told
    lasting.run(told[-1])
    assert writer.write(b"") is None
    writer.abort()


def test_an_aborted_body_leaves_nothing(house):
    writer = fed(house, content(3 * CHUNK))
    writer.abort()
    writer.abort()
    assert writer.write(b"more") is None
    small = fed(house, b"small")
    small.abort()
    house.run(writer.drained())
    assert house.bodies() == []


def test_a_refused_large_message_leaves_nothing(house):
    box = house.mailbox(quota=10)
    data = content(2 * CHUNK)
    writer = fed(house, data)
    error = house.fails(house.spool.accept(house.message(len(data)), writer, [], [house.local(box)]), ReplyError)
    assert error.reply.code == 552
    assert house.bodies() == []
    assert house.value("SELECT count(*) FROM blob") == 0


def test_a_message_kept_by_a_commit_that_failed_keeps_its_body(make_house):
    house = make_house("sqlite")
    box = house.mailbox()
    data = content(2 * CHUNK)
    writer = fed(house, data)
    house.run(writer.drained())
    link = house.engine._batches[0].link
    commit = link.commit

    def lost():
        commit()
        link.commit = commit
        raise sqlite_error(sqlite3.SQLITE_IOERR)

    link.commit = lost
    house.fails(house.spool.accept(house.message(len(data)), writer, [], [house.local(box, hdr=b"")]), ReplyError)
    house.run(house.engine.write(lambda tx: None, 2))
    assert house.read_all(house.run(house.store.mail.fetch("bob@example.net", 1))) == data


def test_what_was_streamed_and_lost_is_not_accepted(make_house):
    house = make_house("sqlite")
    box = house.mailbox()
    data = content(2 * CHUNK)
    writer = fed(house, data)
    house.run(writer.drained())

    def fault(step):
        raise sqlite_error(sqlite3.SQLITE_IOERR)

    house.engine.links.fault = fault
    house.fails(house.engine.write(lambda tx: None), Exception)
    house.engine.links.fault = None
    error = house.fails(house.spool.accept(house.message(len(data)), writer, [], [house.local(box)]), ReplyError)
    assert error.reply.code == 451
    assert house.value("SELECT count(*) FROM mail") == 0


def test_a_disk_that_fills_while_streaming(make_house):
    house = make_house("sqlite")
    box = house.mailbox()

    def fault(step):
        raise sqlite_error(sqlite3.SQLITE_FULL)

    house.engine.links.fault = fault
    writer = fed(house, content(3 * CHUNK))
    house.run(writer.drained())
    assert writer.write(b"x" * CHUNK) is None
    house.engine.links.fault = None
    error = house.fails(house.spool.accept(house.message(3 * CHUNK), writer, [], [house.local(box)]), ReplyError)
    assert error.reply.code == 452
    assert house.bodies() == []


def test_a_disk_that_fills_under_somebody_elses_stream(make_house):
    """SQLite may end the transaction by itself, and with it go the pieces of all who stream."""
    house = make_house("sqlite")
    box = house.mailbox()
    data = content(3 * CHUNK + 100)
    first = fed(house, data)
    house.run(first.drained())
    link = house.engine._batches[0].link
    pages = house.run(house.engine.write(lambda tx: link.body.execute("PRAGMA page_count").fetchone()[0]))
    house.run(house.engine.write(lambda tx: link.body.execute(f"PRAGMA max_page_count={pages + 3}").fetchall()))
    second = fed(house, content(CHUNK + 1), CHUNK)
    house.run(second.drained())
    assert second.error.full
    assert not link.body.in_transaction
    house.run(house.engine.write(lambda tx: link.body.execute("PRAGMA max_page_count=1000000").fetchall()))
    error = house.fails(house.spool.accept(house.message(len(data)), first, [], [house.local(box)]), ReplyError)
    assert error.reply.code == 451
    assert house.value("SELECT count(*) FROM mail") == 0


@pytest.mark.parametrize("when", ["idle", "tidy"])
def test_a_disk_that_fills_while_a_stream_is_made_durable(make_house, when):
    house = make_house("sqlite")
    box = house.mailbox()
    data = content(3 * CHUNK + 100)
    writer = fed(house, data)
    house.run(writer.drained())
    link = house.engine._batches[0].link

    class Failing:
        """A connection whose COMMIT fails and ends the transaction, as SQLITE_FULL can."""

        def __init__(self, real):
            self.real = real

        def __getattr__(self, name):
            return getattr(self.real, name)

        def execute(self, sql, *args):
            if sql == "COMMIT":
                self.real.execute("ROLLBACK")
                raise sqlite_error(sqlite3.SQLITE_FULL)
            return self.real.execute(sql, *args)

    def work(tx):
        real = link._open
        link.staged, link._dirty = (1 << 30 if when == "tidy" else 0), True
        link._open = (real[0], Failing(real[1]))
        try:
            if when == "tidy":
                real[0].execute("COMMIT")
            getattr(link, when)()
        finally:
            link._open, link.staged = real, 0
            if not real[0].in_transaction:
                real[0].execute("BEGIN IMMEDIATE")

    house.run(house.engine.write(work))
    house.fails(house.spool.accept(house.message(len(data)), writer, [], [house.local(box)]), ReplyError)


def test_a_failing_neighbour_does_not_harm_what_is_streamed(make_house):
    house = make_house("sqlite")
    box = house.mailbox()
    data = content(2 * CHUNK + 1)
    writer = fed(house, data)
    house.run(writer.drained())
    house.fails(house.engine.write(lambda tx: 1 / 0), ZeroDivisionError)
    writer.write(b"")
    house.run(house.spool.accept(house.message(len(data)), writer, [], [house.local(box, hdr=b"")]))
    assert house.read_all(house.run(house.store.mail.fetch("bob@example.net", 1))) == data


def test_many_streamed_pieces_are_committed_on_the_way(make_house, monkeypatch):
    monkeypatch.setattr("netsvc.store.sqlite.STREAM_BYTES", CHUNK)
    house = make_house("sqlite")
    writer = fed(house, content(6 * CHUNK))
    house.run(writer.drained())
    assert house.bodies() == [writer.blob_id]
    writer.abort()


def test_pieces_never_accepted_are_gone_after_a_restart(make_house):
    house = make_house("sqlite")
    fed(house, content(2 * CHUNK))
    house.again()
    assert house.bodies() == []


def test_a_body_that_is_not_there(house):
    house.fails(house.spool.open_body(99), LookupError)
    box = house.mailbox()
    house.accept(b"x" * (2 * CHUNK), [house.local(box)])
    house.run(house.engine.write(lambda tx: tx.drop_chunks([row[0] for row in tx.rows("SELECT id FROM blob")])))
    reader = house.run(house.store.mail.fetch("bob@example.net", 1))
    house.run(reader.read())
    house.fails(reader.read(), LookupError)
    reader.close()
    assert house.run(reader.read()) == b""


def test_recent_bodies_are_bounded(monkeypatch):
    from netsvc.store import spool

    monkeypatch.setattr(spool, "RECENT_OCTETS", 10)
    recent = spool.Recent()
    recent.put(1, b"x" * 6)
    recent.put(1, b"x" * 6)
    recent.put(2, b"y" * 6)
    recent.put(3, b"z" * (spool.RECENT_BODY + 1))
    assert (recent.get(1), recent.get(2), recent.get(3)) == (None, b"y" * 6, None)


def moved(house):
    """Let the writer do what it does when nothing waits."""
    link = house.engine._batches[0].link
    while link.idle():
        pass


def test_small_bodies_are_moved_when_nothing_waits(make_house, monkeypatch):
    monkeypatch.setattr("netsvc.store.sqlite.MOVE", 2)
    house = make_house("sqlite")
    box = house.mailbox()
    contents = [b"body %d" % n for n in range(5)]
    for body in contents:
        house.accept(body, [house.local(box, hdr=b"")])
    house.run(house.store.mail.expunge("bob@example.net", [2]))
    assert house.value("SELECT count(*) FROM blob_new") == 5
    moved(house)
    assert house.value("SELECT count(*) FROM blob_new") == 0
    kept = house.run(house.engine.read(lambda tx: tx.chunk_blobs(0, 9)))
    assert len(kept) == 4  # the one nobody refers to is not worth it
    for uid in (1, 3, 4, 5):
        assert house.read_all(house.run(house.store.mail.fetch("bob@example.net", uid))) == contents[uid - 1]
    house.accept(b"after", [house.local(box, hdr=b"")])
    house.again()
    assert house.read_all(house.run(house.store.mail.fetch("bob@example.net", 6))) == b"after"
    moved(house)
    assert house.read_all(house.run(house.store.mail.fetch("bob@example.net", 6))) == b"after"


def test_too_many_small_bodies_are_moved_at_once(make_house, monkeypatch):
    monkeypatch.setattr("netsvc.store.sqlite.STAGE_BYTES", 2000)
    house = make_house("sqlite")
    box = house.mailbox()
    for _ in range(6):
        house.accept(content(1000), [house.local(box, hdr=b"")])
    house.accept(b"x", [house.local(box, hdr=b"")])
    assert house.value("SELECT count(*) FROM blob_new") < 6
    for uid in range(1, 7):
        assert house.read_all(house.run(house.store.mail.fetch("bob@example.net", uid))) == content(1000)


def test_a_crash_between_copy_and_deletion_harms_nothing(make_house):
    house = make_house("sqlite")
    box = house.mailbox()
    house.accept(b"twice", [house.local(box, hdr=b"")])
    link = house.engine._batches[0].link
    link._move()
    link._moved = []  # what a crash forgets
    assert house.value("SELECT count(*) FROM blob_new") == 1
    house.again()
    moved(house)
    assert house.value("SELECT count(*) FROM blob_new") == 0
    assert house.read_all(house.run(house.store.mail.fetch("bob@example.net", 1))) == b"twice"


def test_moving_goes_on_after_a_failed_batch(make_house):
    house = make_house("sqlite")
    box = house.mailbox()
    house.accept(b"one", [house.local(box, hdr=b"")])
    house.engine._batches[0].link._move()
    house.fails(house.engine.write(lambda tx: 1 / 0), ZeroDivisionError)
    house.accept(b"two", [house.local(box, hdr=b"")])
    assert house.value("SELECT count(*) FROM blob_new") == 1
    assert [house.read_all(house.run(house.store.mail.fetch("bob@example.net", n))) for n in (1, 2)] == [b"one", b"two"]


def test_moving_that_fails_is_tried_again(make_house, monkeypatch):
    house = make_house("sqlite")
    box = house.mailbox()
    house.accept(b"one", [house.local(box, hdr=b"")])
    link = house.engine._batches[0].link

    def broken():
        raise sqlite_error(sqlite3.SQLITE_FULL)

    real = link._move
    link._move = broken
    assert link.idle() is False
    link.staged = 1 << 30
    link.tidy()
    link._move = real
    moved(house)
    assert house.read_all(house.run(house.store.mail.fetch("bob@example.net", 1))) == b"one"


def test_a_stream_that_is_open_is_made_durable_before_moving(make_house):
    house = make_house("sqlite")
    box = house.mailbox()
    house.accept(b"small", [house.local(box, hdr=b"")])
    data = content(3 * CHUNK)
    writer = fed(house, data)
    house.run(writer.drained())
    house.run(house.engine.write(lambda tx: None))
    moved(house)
    house.run(house.spool.accept(house.message(len(data)), writer, [], [house.local(box, hdr=b"")]))
    assert house.read_all(house.run(house.store.mail.fetch("bob@example.net", 2))) == data


@pytest.mark.parametrize("size", SIZES)
def test_what_was_written_can_be_looked_at_before_it_is_accepted(house, size):
    data = content(size)
    writer = fed(house, data)
    seen = b""
    while piece := house.run(writer.peek(len(seen), 100_000)):
        assert len(piece) <= 100_000
        seen += piece
    assert seen == data
    middle = size // 2
    assert data[middle:].startswith(house.run(writer.peek(middle, 10)))
    house.run(house.spool.accept(house.message(size), writer, [house.away(1)], []))
    (leased,) = house.lease()
    assert house.read_all(house.run(house.spool.open_body(leased.blob_id))) == data


def test_looking_at_what_is_still_on_its_way(house):
    data = content(3 * CHUNK)
    writer = house.spool.body()
    writer.write(data)
    assert house.run(writer.peek(CHUNK, CHUNK)) == data[CHUNK : 2 * CHUNK]
    writer.abort()


def test_looking_at_what_has_gone(house):
    writer = fed(house, b"text")
    writer.error = RuntimeError("gone")
    house.fails(writer.peek(0, 4), RuntimeError)
