"""The store looked at: space, a durable write, and files that are whole or not."""

import sqlite3

import pytest
from zope.interface.verify import verifyObject

from netsvc.interfaces import ICheckup
from netsvc.store.checkup import Checkup


class Engine:
    """Just what a checkup asks of one."""

    node_id = 7

    def __init__(self, **figures):
        self.told = {"failed_commits": 3, **figures}
        self.statements = []
        self.now = 5

    def figures(self):
        return self.told

    def write(self, work, priority):
        work(self)
        return priority

    def execute(self, sql, values):
        self.statements.append((sql, values))


@pytest.fixture
def folder(tmp_path):
    for name in ("queue.db", "body.db"):
        db = sqlite3.connect(tmp_path / name)
        db.execute("CREATE TABLE t (x)")
        db.executemany("INSERT INTO t VALUES (?)", [(b"x" * 5000,)] * 50)
        db.commit()
        db.close()
    return tmp_path


def test_measure(tmp_path):
    assert verifyObject(ICheckup, Checkup(Engine(), tmp_path))
    assert Checkup(Engine(disk_free=5, disk_total=9), tmp_path).measure() == (5, 9, 3)
    assert Checkup(Engine(), None).measure() == (None, None, 3)


def test_a_probe_is_a_write():
    engine = Engine()
    Checkup(engine, None).probe()
    assert engine.statements == [("UPDATE node SET heartbeat_at = ? WHERE id = ?", (5, 7))]


def test_whole_files(folder):
    assert Checkup(Engine(), folder).examine() == ""
    assert Checkup(Engine(), None).examine() == ""


def test_damaged_files(folder):
    path = folder / "queue.db"
    data = bytearray(path.read_bytes())
    data[8192:12288] = b"\xff" * 4096
    path.write_bytes(data)
    assert "queue.db" in Checkup(Engine(), folder).examine()


def test_files_that_are_gone_or_no_database(folder):
    (folder / "body.db").write_bytes(b"no database" * 1000)
    assert Checkup(Engine(), folder).examine().startswith("body.db: ")
    (folder / "queue.db").unlink()
    assert Checkup(Engine(), folder).examine().startswith("queue.db: ")


def test_a_real_store_takes_a_probe(house):
    assert house.pump.wait(Checkup(house.store.engine, None).probe()) is None
