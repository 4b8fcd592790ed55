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


def chunks(house):
    return house.run(house.engine.read(lambda tx: tx.chunk_blobs(0, 100)))


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
    house.run(house.engine.write(lambda tx: tx.put_chunks(()), 2))
    assert chunks(house) == []


def test_a_refused_large_message_leaves_nothing(house):
    box = house.mailbox(quota=10)
    data = content(2 * CHUNK)
    writer = fed(house, data)
    error = house.fails(house.spool.accept(house.message(len(data)), writer, [], [house.local(box)]), ReplyError)
    assert error.reply.code == 452
    house.run(house.engine.write(lambda tx: tx.put_chunks(()), 2))
    assert chunks(house) == []
    assert house.value("SELECT count(*) FROM blob") == 0


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
    assert chunks(house) == []


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
    assert chunks(house) == [writer.blob_id]
    writer.abort()


def test_pieces_never_accepted_are_gone_after_a_restart(make_house):
    house = make_house("sqlite")
    fed(house, content(2 * CHUNK))
    house.again()
    assert chunks(house) == []


def test_a_body_that_is_not_there(house):
    house.fails(house.spool.open_body(99), LookupError)
    box = house.mailbox()
    house.accept(b"x" * (2 * CHUNK), [house.local(box)])
    house.run(house.engine.write(lambda tx: tx.drop_chunks([row[0] for row in tx.rows("SELECT id FROM blob")])))
    house.run(house.engine.write(lambda tx: tx.put_chunks(())))
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
