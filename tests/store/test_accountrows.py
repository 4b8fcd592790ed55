"""Accounts as rows, on every engine."""

import pytest
from zope.interface.verify import verifyObject

from netsvc.interfaces import IAccountRows
from netsvc.records import FLAG_CONTENT, AccountRow, StoreError


@pytest.fixture
def rows(house):
    return house.store.account_rows


def test_accounts_come_and_go(rows, house):
    assert verifyObject(IAccountRows, rows)
    row = AccountRow("Op", "$argon2id$x", scram="s", role=2, flags=FLAG_CONTENT)
    house.run(rows.create(row))
    house.run(rows.create(AccountRow("admin", "y", role=3)))
    assert house.run(rows.get("Op")) == row
    assert house.run(rows.get("op")) is None
    assert [r.name for r in house.run(rows.all())] == ["Op", "admin"]
    assert "already" in str(house.fails(rows.create(AccountRow("Op", "z")), StoreError))
    assert house.run(rows.update("Op", role=1, hash="new")) is True
    assert (house.run(rows.get("Op")).role, house.run(rows.get("Op")).hash) == (1, "new")
    assert house.run(rows.update("nobody", role=1)) is False
    assert house.run(rows.delete("Op")) is True
    assert house.run(rows.delete("Op")) is False


def test_logins_are_recorded(rows, house):
    house.run(rows.create(AccountRow("op", "x")))
    for _ in range(2):
        house.run(rows.seen("op", "telnet 192.0.2.1", ok=False))
    assert house.run(rows.get("op")).fails == 2
    house.run(rows.seen("op", "telnet \x1b[2J" + "x" * 500, ok=True))
    row = house.run(rows.get("op"))
    assert row.fails == 0
    assert row.last_at > 0
    assert row.last_from.startswith("telnet \\x1b[2J")
    assert len(row.last_from) == 200
    house.run(rows.seen("nobody", "x", ok=False))


@pytest.mark.parametrize("name", ["\0", "a\0b", "\ud800", "' OR 1=1 --", ""])
def test_hostile_names_are_nobody(rows, house, name):
    house.run(rows.create(AccountRow("op", "x")))
    assert house.run(rows.get(name)) is None
    house.run(rows.seen(name, "x", ok=False))
    house.run(rows.seen(name, "x", ok=True))
    assert house.run(rows.get("op")).last_at == 0


def test_only_known_columns_are_set(rows):
    with pytest.raises(TypeError):
        rows.update("op", name="x")
    with pytest.raises(TypeError):
        rows.update("op")
