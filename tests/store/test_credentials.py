"""Credentials: encrypted at rest, bound to their names, readable with the site's key alone."""

import pytest
from zope.interface.verify import verifyObject

from netsvc.interfaces import ICredentials
from netsvc.records import Credential, CredentialError, StoreError
from netsvc.store import credentials
from netsvc.store.sealing import SealError, SecretKeys, new_file

KEYS = SecretKeys(new_file())


@pytest.fixture
def kept(house):
    house.run(house.store.credentials.use(KEYS))
    return house.store.credentials


def columns(house):
    return house.run(
        house.store.engine.read(lambda tx: tx.rows("SELECT name, account, key_id, sealed FROM credential"))
    )


def test_a_credential_is_kept_and_read(house, kept):
    verifyObject(ICredentials, kept)
    assert house.run(kept.get("relay")) is None
    assert house.run(kept.put("relay", "netsvc", "pass wörd", "ann")) is False
    assert house.run(kept.get("relay")) == Credential("netsvc", "pass wörd")
    assert house.run(kept.put("relay", "other", "second", "bo")) is True
    assert house.run(kept.get("relay")) == Credential("other", "second")
    (row,) = house.run(kept.rows())
    assert row.pop("set") > 0
    assert row == {
        "name": "relay", "user": "other", "password": "<set>", "by": "bo", "key": KEYS.ids[0], "error": None,
    }  # fmt: skip
    assert house.run(kept.delete("relay")) is True
    assert house.run(kept.delete("relay")) is False
    assert house.run(kept.rows()) == []


def test_nothing_of_the_password_is_in_the_database_or_in_texts(house, kept):
    house.run(kept.put("relay", "netsvc", "correct horse", "ann"))
    assert b"correct horse".hex() not in repr(columns(house))
    assert "correct horse" not in repr(columns(house)) + repr(house.run(kept.get("relay")))
    assert "correct horse" not in repr(house.run(kept.rows()))


def test_what_was_moved_to_another_name_or_user_is_refused(house, kept):
    house.run(kept.put("a", "netsvc", "one", "ann"))
    for sql in ("UPDATE credential SET name = 'b'", "UPDATE credential SET name = 'a', account = 'root'"):
        house.run(house.store.engine.write(lambda tx, sql=sql: tx.execute(sql)))
        name = columns(house)[0][0]
        assert "changed since" in str(house.fails(kept.get(name), CredentialError))
    assert "changed since" in house.run(kept.rows())[0]["error"]
    house.run(house.store.engine.write(lambda tx: tx.execute("UPDATE credential SET sealed = 'nonsense'")))
    assert "credential a" in str(house.fails(kept.get("a"), CredentialError))


def test_another_key_is_a_clear_error(house, kept):
    house.run(kept.put("relay", "netsvc", "one", "ann"))
    other = credentials.Credentials(house.store.engine)
    assert house.run(other.known_keys()) == {KEYS.ids[0]}
    assert "no secret key" in str(house.fails(other.get("relay"), CredentialError))
    assert "no secret key" in str(house.fails(other.put("x", "y", "z", "ann"), StoreError))
    assert house.run(other.use(SecretKeys(new_file()))) is False
    assert "is not the site's" in str(house.fails(other.get("relay"), CredentialError))
    assert "is not the site's" in str(house.fails(other.put("x", "y", "z", "ann"), StoreError))
    assert house.run(other.known_keys()) == {KEYS.ids[0]}


def test_a_key_is_changed_by_putting_a_new_one_on_top(house):
    old, new = new_file(), new_file()
    kept, both, late = (credentials.Credentials(house.store.engine) for _ in range(3))
    house.run(kept.use(SecretKeys(old)))
    house.run(kept.put("a", "u", "one", "ann"))
    assert house.run(both.use(SecretKeys(f"# of June\n{new}\n{old}")))
    assert house.run(both.get("a")).password == "one"
    house.run(both.put("b", "u", "two", "ann"))
    assert "does not hold" in str(house.fails(kept.get("b"), CredentialError))
    assert house.run(late.use(SecretKeys(new)))
    assert house.run(late.get("b")).password == "two"
    assert [row["error"] is None for row in house.run(late.rows())] == [False, True]


def test_there_is_an_end_to_them(house, kept, monkeypatch):
    monkeypatch.setattr(credentials, "MOST", 1)
    house.run(kept.put("a", "u", "one", "ann"))
    house.run(kept.put("a", "u", "two", "ann"))
    house.fails(kept.put("b", "u", "one", "ann"), StoreError)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 keys"),
        ("# nothing\n", "0 keys"),
        ("secret", "line 1"),
        ("netsvc-key-1 00", "line 1"),
        ("netsvc-key-1 " + "x" * 64, "line 1"),
        (new_file() + "y", "line 2"),
        ("".join(new_file() for _ in range(21)), "21 keys"),
    ],
    ids=["empty", "comment", "word", "short", "letters", "behind", "many"],
)
def test_what_is_no_key_file(text, words):
    with pytest.raises(ValueError, match=words) as caught:
        SecretKeys(text)
    assert "xxx" not in str(caught.value)


def test_each_sealing_is_another():
    number, sealed = KEYS.seal("x", "a", "b")
    assert KEYS.seal("x", "a", "b")[1] != sealed
    assert KEYS.open(number, sealed, "a", "b") == "x"
    for bound in (("a",), ("ab",), ("b", "a")):
        with pytest.raises(SealError):
            KEYS.open(number, sealed, *bound)
    with pytest.raises(SealError):
        KEYS.open(number, b"", "a", "b")
