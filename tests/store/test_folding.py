"""Logs are folded beside the writing, and begin again."""

import sqlite3
import threading
import time

import pytest

from netsvc.store import folding as folding_module
from netsvc.store.folding import Folding


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL").fetchall()
    db.execute("PRAGMA wal_autocheckpoint=0")
    db.execute("CREATE TABLE t (x)")
    yield path, db
    db.close()


@pytest.fixture
def folded(file, monkeypatch):
    monkeypatch.setattr(folding_module, "PAUSE_S", 0.005)
    asked = threading.Event()
    folding = Folding({file[0]: 20}, asked.set)
    folding.start()
    yield folding, asked
    folding.stop()


def write(db, n=30):
    for _ in range(n):
        db.execute("INSERT INTO t VALUES (zeroblob(5000))")


def test_a_long_log_is_folded_and_the_rest_asked_for(file, folded):
    _, db = file
    folding, asked = folded
    write(db)
    folding.wrote()
    assert asked.wait(10)
    assert folding.wanted
    _, logged, done = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert logged == done >= 20
    write(db, 1)  # the log begins again at its front
    assert db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1] < 10


def test_a_short_log_is_folded_and_nobody_asked(file, folded):
    _, db = file
    folding, asked = folded
    write(db, 2)
    folding.wrote()
    end = time.monotonic() + 10
    while not folding.passes and time.monotonic() < end:
        asked.wait(0.005)
    assert folding.passes == 1
    assert not folding.wanted
    assert not asked.is_set()


def test_who_asked_does_not_ask_again(file, folded):
    _, db = file
    folding, asked = folded
    write(db)
    folding.wrote()
    assert asked.wait(10)
    asked.clear()
    passes = folding.passes
    folding.wrote()
    while folding.passes == passes:
        assert not asked.wait(0.005)


def test_a_file_that_cannot_be_read_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(folding_module, "PAUSE_S", 0.005)
    path = tmp_path / "b.db"
    path.write_bytes(b"this is no database, but long enough to be taken for one" * 20)
    folding = Folding({path: 1}, lambda: None)
    folding.start()
    folding.wrote()
    tries = 0
    while tries < 3:
        folding._stop.wait(0.01)
        tries += folding._dirty
    folding.stop()
    assert folding.passes == 0


def test_the_store_keeps_its_logs_short(make_house, monkeypatch):
    monkeypatch.setattr(folding_module, "PAUSE_S", 0.005)
    monkeypatch.setattr("netsvc.store.sqlitefiles.FRAMES", {"queue.db": 50, "body.db": 20})
    house = make_house("sqlite")
    box = house.mailbox()
    log = house.folder / "body.db-wal"
    for _ in range(30):
        house.accept(b"x" * 1_000_000, [house.local(box)])
    assert log.stat().st_size < 25_000_000
    assert house.value("SELECT count(*) FROM mail") == 30
