"""Opening: fresh, old, newer, foreign and damaged databases; the lock; permissions; URLs."""

import os
import sqlite3
import stat
import sys

import pytest

from netsvc.records import StoreError
from netsvc.store import schema
from netsvc.store.schema import Migration
from netsvc.store.sqlitefiles import SqliteLinks
from netsvc.store.store import links_for, open_store


def opening(house):
    return open_store(house.url, house.folder, reactor=house.pump, node_name="node1", version="1")


def refused(house):
    """Return the sentence a store is refused with."""
    return str(house.fails(opening(house), StoreError))


def later(*extra):
    """The migrations of a netsvc of tomorrow."""
    return lambda: [*schema_load(), *extra]


schema_load = schema.load
TOMORROW = Migration(
    9000,
    "tomorrow",
    "CREATE TABLE tomorrow (id {pk}, note {text}); -- a; comment\nCREATE INDEX tomorrow_note ON tomorrow(note);",
)


def test_the_files_are_private_and_their_logs_too(make_house):
    house = make_house("sqlite")
    house.mailbox()
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in house.folder.iterdir()}
    assert {"queue.db", "body.db", "netsvc.lock"} <= set(found)
    assert set(found.values()) == {0o600}
    assert stat.S_IMODE(house.folder.stat().st_mode) == 0o700


def test_a_fresh_store_needs_no_backup_and_knows_its_version(lasting):
    known = schema.load()
    assert lasting.rows("SELECT version, checksum FROM schema_version ORDER BY version") == [
        (m.version, m.checksum) for m in known
    ]
    lasting.again()
    if lasting.url == "sqlite":
        assert not list(lasting.folder.glob("backup-*"))


def test_an_upgrade_is_applied_once_after_a_backup(lasting, monkeypatch):
    box = lasting.mailbox()
    lasting.accept(b"old", [lasting.local(box)])
    lasting.close()
    monkeypatch.setattr(schema, "load", later(TOMORROW))
    lasting.open()
    lasting.execute("INSERT INTO tomorrow (id, note) VALUES (1, 'x')")
    lasting.again()
    assert lasting.value("SELECT count(*) FROM tomorrow") == 1
    if lasting.url == "sqlite":
        (backup,) = lasting.folder.glob("backup-*")
        assert backup.name.endswith(f"-v{schema_load()[-1].version}")
        assert stat.S_IMODE(backup.stat().st_mode) == 0o700
        with sqlite3.connect(backup / "queue.db") as old:
            assert old.execute("SELECT count(*) FROM mail").fetchone() == (1,)
            assert not old.execute("SELECT 1 FROM sqlite_master WHERE name = 'tomorrow'").fetchall()
        old.close()


def test_a_newer_database_is_refused_and_untouched(lasting, monkeypatch):
    lasting.close()
    monkeypatch.setattr(schema, "load", later(TOMORROW))
    lasting.open()
    epoch = lasting.engine.epoch
    lasting.close()
    monkeypatch.setattr(schema, "load", schema_load)
    text = refused(lasting)
    assert "version 9000 (tomorrow)" in text
    monkeypatch.setattr(schema, "load", lambda: schema_load()[:1])
    assert "version 9000 (tomorrow), and this netsvc knows versions up to 1 only" in refused(lasting)
    monkeypatch.setattr(schema, "load", schema_load)
    assert "newer netsvc" in text
    monkeypatch.setattr(schema, "load", later(TOMORROW))
    lasting.open()
    assert lasting.engine.epoch == epoch + 1


def test_a_changed_migration_is_refused(lasting):
    lasting.execute("UPDATE schema_version SET checksum = 'other' WHERE version = 1")
    lasting.close()
    assert "version 1 (init)" in refused(lasting)
    # Put right by hand, it opens again: nothing was touched.
    if lasting.url == "sqlite":
        with sqlite3.connect(lasting.folder / "queue.db") as db:
            db.execute("UPDATE schema_version SET checksum = ? WHERE version = 1", (schema_load()[0].checksum,))
        db.close()
        lasting.open()


def test_a_migration_that_fails_leaves_the_version_before(lasting, monkeypatch):
    lasting.close()
    broken = Migration(9000, "broken", "CREATE TABLE half (id {pk}); CREATE TABLE half (id {pk});")
    monkeypatch.setattr(schema, "load", later(broken))
    refused(lasting)
    monkeypatch.setattr(schema, "load", schema_load)
    lasting.open()
    with pytest.raises(Exception, match="half"):
        lasting.value("SELECT count(*) FROM half")


def test_no_backup_no_upgrade(make_house, monkeypatch):
    house = make_house("sqlite")
    house.close()
    monkeypatch.setattr(schema, "load", later(TOMORROW))
    monkeypatch.setattr(SqliteLinks, "_backup", lambda self, version: (_ for _ in ()).throw(StoreError("no backup")))
    assert refused(house) == "no backup"
    monkeypatch.setattr(schema, "load", schema_load)
    house.open()


def test_a_backup_that_cannot_be_written(tmp_path, monkeypatch):
    links = SqliteLinks(tmp_path)
    (tmp_path / "queue.db").write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(StoreError, match="no backup could be made"):
        links._backup(1)
    assert not list(tmp_path.glob("backup-*"))


def test_a_second_process_is_told_who_has_the_lock(make_house):
    house = make_house("sqlite")
    text = refused(house)
    assert "in use by another netsvc" in text
    assert f"process {os.getpid()}" in text
    house.again()


@pytest.mark.parametrize("name", ["queue.db", "body.db"])
def test_a_file_that_is_no_database(make_house, name):
    house = make_house("sqlite")
    house.close()
    (house.folder / name).write_bytes(b"Dear sirs, this is no database. " * 200)
    assert "is not an SQLite database" in refused(house)
    assert (house.folder / name).read_bytes().startswith(b"Dear sirs")


@pytest.mark.parametrize("name", ["queue.db", "body.db"])
def test_one_file_without_the_other(make_house, name):
    house = make_house("sqlite")
    house.close()
    for path in house.folder.glob(f"{name}*"):
        path.unlink()
    assert f"{name} is missing" in refused(house)
    assert not (house.folder / name).exists()


def test_the_database_of_something_else(make_house, tmp_path):
    house = make_house("sqlite")
    house.close()
    for name in ("queue.db", "body.db"):
        (house.folder / name).unlink()
        with sqlite3.connect(house.folder / name) as db:
            db.execute("CREATE TABLE theirs (x)")
        db.close()
    assert "not netsvc's" in refused(house)


def test_a_postgresql_schema_of_something_else(make_closed, pg_url):
    import psycopg

    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE theirs (x int)")
    assert "not netsvc's" in refused(make_closed(pg_url))


def test_a_postgresql_that_is_not_there(make_closed):
    text = refused(make_closed("postgresql://nobody:secret@127.0.0.1:1/none"))
    assert "cannot be opened" in text
    assert "secret" not in text


def test_a_damaged_database(make_house):
    house = make_house("sqlite")
    house.close()
    path = house.folder / "queue.db"
    data = bytearray(path.read_bytes())
    data[100:4000] = b"\xff" * 3900
    path.write_bytes(data)
    text = refused(house)
    assert "damaged" in text or "cannot be opened" in text or "not netsvc's" in text


def test_a_folder_that_cannot_be_made(make_closed, tmp_path):
    (tmp_path / "file").write_text("")
    house = make_closed("sqlite")
    house.folder = tmp_path / "file" / "state"
    refused(house)


def test_urls():
    with pytest.raises(StoreError, match="sqlite or postgresql"):
        links_for("mysql://secret@x", "/tmp")
    assert links_for("memory", "/tmp").inline


def test_postgresql_without_psycopg(monkeypatch):
    monkeypatch.setitem(sys.modules, "netsvc.store.postgres", None)
    with pytest.raises(StoreError, match=r"pip install 'netsvc\[postgres\]'"):
        links_for("postgresql://x", "/tmp")


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_every_token_is_rendered(dialect):
    for migration in schema.load():
        for statement in migration.statements(dialect):
            assert "{" not in statement
            assert "--" not in statement


def test_versions_are_numbered_without_gaps():
    assert [m.version for m in schema.load()] == list(range(1, len(schema.load()) + 1))
