"""The audit trail, on every engine: a chain nobody can cut unseen, and its copy in a file."""

import json
import stat

import pytest
from twisted.logger import globalLogPublisher
from zope.interface.verify import verifyObject

from netsvc.criteria import Glob, Test
from netsvc.interfaces import IAudit
from netsvc.mail.ids import show_id
from netsvc.store import audit as audit_module
from netsvc.store.audit import Audit

KEYS = ["seq", "at", "node", "actor", "role", "source", "verb", "target", "args", "affected", "result"]


@pytest.fixture
def audit(house):
    return house.store.audit


def record(house, audit, verb="hold", **changes):
    facts = {
        "actor": "op",
        "role": "operator",
        "source": "telnet 192.0.2.1",
        "verb": verb,
        "target": "where domain=example.com",
        "args": 'reason "x"',
        "affected": 3,
        "result": "ok",
    }
    return house.run(audit.record(**(facts | changes)))


def test_rows_are_kept_newest_first(audit, house):
    assert verifyObject(IAudit, audit)
    ids = [record(house, audit, verb=f"v{n}", actor="o\x1bp") for n in range(5)]
    assert ids == sorted(ids)
    first = house.run(audit.page(limit=2))
    assert list(first.rows[0]) == KEYS
    assert [row["verb"] for row in first.rows] == ["v4", "v3"]
    assert (first.rows[0]["seq"], first.rows[0]["actor"], first.rows[0]["node"]) == (
        show_id(ids[4]),
        "o\\x1bp",
        "node1",
    )
    second = house.run(audit.page(after=first.next, limit=2))
    third = house.run(audit.page(after=second.next, limit=2))
    assert [row["verb"] for row in (*second.rows, *third.rows)] == ["v2", "v1", "v0"]
    assert third.next is None
    assert house.run(audit.page(limit=5)).next is None
    assert house.run(audit.verify()) == (5, 0)


def test_a_page_can_be_filtered(audit, house, monkeypatch):
    for n in range(9):
        record(house, audit, verb="login" if n % 2 else "hold", affected=n)
    found = house.run(audit.page(where=Test("verb", "=", Glob("log*"))))
    assert [row["affected"] for row in found.rows] == [7, 5, 3, 1]
    assert (found.next, found.scanned) == (None, 9)
    part = house.run(audit.page(where=Test("verb", "=", "login"), limit=2))
    assert [row["affected"] for row in part.rows] == [7, 5]
    rest = house.run(audit.page(after=part.next, where=Test("verb", "=", "login"), limit=2))
    assert [row["affected"] for row in rest.rows] == [3, 1]
    monkeypatch.setattr(audit_module, "MAX_PAGE", 3)
    short = house.run(audit.page(where=Test("affected", "=", 0), limit=2))
    assert (short.rows, short.scanned) == ([], 3)
    assert short.next is not None


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE audit SET affected = 99 WHERE id = ?",
        "UPDATE audit SET actor = 'bo' WHERE id = ?",
        "UPDATE audit SET prev = 'x' WHERE id = ?",
        "UPDATE audit SET mac = 'x' WHERE id = ?",
    ],
)
def test_a_changed_row_is_found(audit, house, harm, monkeypatch):
    monkeypatch.setattr(audit_module, "CHUNK", 2)
    ids = [record(house, audit) for _ in range(5)]
    assert house.run(audit.verify()) == (5, 0)
    house.execute(harm, (ids[2],))
    assert house.run(audit.verify()) == (2, ids[2])


def test_a_missing_row_is_found(audit, house):
    ids = [record(house, audit) for _ in range(4)]
    house.execute("DELETE FROM audit WHERE id = ?", (ids[1],))
    assert house.run(audit.verify()) == (1, ids[2])
    house.execute("DELETE FROM audit WHERE id = ?", (ids[0],))  # what is old may go from the beginning
    assert house.run(audit.verify()) == (2, 0)


def test_the_chain_goes_on_after_a_restart(lasting):
    house = lasting
    record(house, house.store.audit)
    house.again()
    record(house, house.store.audit)
    rows = house.rows("SELECT prev, mac FROM audit ORDER BY id")
    assert rows[0][0] == ""
    assert rows[1][0] == rows[0][1]
    assert house.run(house.store.audit.verify()) == (2, 0)


def test_nodes_have_chains_of_their_own(audit, house):
    record(house, audit)
    house.engine.node_id = 77
    record(house, audit)
    assert [row[0] for row in house.rows("SELECT prev FROM audit ORDER BY id")] == ["", ""]
    assert house.run(audit.verify()) == (2, 0)
    assert house.run(audit.page(limit=1)).rows[0]["node"] is None


def test_records_made_at_once_make_one_chain(audit, house):
    waiting = [audit.record("op", "admin", "s", f"v{n}", "t", "a", n, "ok") for n in range(20)]
    ids = [house.run(one) for one in waiting]
    assert ids == sorted(ids)
    assert house.run(audit.verify()) == (20, 0)


def test_the_copy_is_appended_and_private(lasting):
    house = lasting
    house.folder.mkdir(exist_ok=True)
    path = house.folder / "audit.jsonl"
    number = record(house, house.store.audit, target="Ünal\n")
    record(house, house.store.audit)
    lines = path.read_text().splitlines()
    assert len(lines) == 2
    first = json.loads(lines[0])
    assert (first["id"], first["target"], first["prev"]) == (number, "Ünal\\x0a", "")
    assert json.loads(lines[1])["prev"] == first["mac"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_copy_that_cannot_be_written_is_logged(make_house, tmp_path):
    house = make_house("memory")
    logged = []
    globalLogPublisher.addObserver(logged.append)
    try:
        record(house, Audit(house.engine, tmp_path / "no folder" / "audit.jsonl"))
    finally:
        globalLogPublisher.removeObserver(logged.append)
    assert [event["why"] for event in logged] == ["No such file or directory"]
    assert house.run(house.store.audit.verify()) == (1, 0)


def test_hostile_words_are_kept_harmless(audit, house):
    record(house, audit, actor="a\0b", target="' OR 1=1 --", args="\u202e" + "x" * 5000, result="\ud800")
    row = house.run(audit.page()).rows[0]
    assert (row["actor"], row["target"], row["result"]) == ("a\\x00b", "' OR 1=1 --", "\\u{D800}")
    assert row["args"].startswith("\\u{202E}xxx")
    assert len(row["args"]) == 2000
    assert house.run(audit.verify()) == (1, 0)
