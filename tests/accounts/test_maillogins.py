"""Logins of mail clients: their own counters, SCRAM, verifiers, and what becomes of whom."""

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import LoginDenied, UnauthorizedLogin
from twisted.internet.defer import execute, fail, succeed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from netsvc.accounts.chain import ByDoor, auth_chain
from netsvc.accounts.checkers import BusyLogin, StoreChecker
from netsvc.accounts.hashes import AT_ONCE, WAITING, Hasher, HasherBusyError
from netsvc.accounts.identity import Operator, Submitter, is_name
from netsvc.accounts.realm import Realm
from netsvc.accounts.registry import Accounts
from netsvc.accounts.throttle import MAIL, MAIL_LOCK_MS, MAIL_REALM, PAIR_LIMIT, REALM, ThrottledChecker, counted
from netsvc.accounts.verifiers import ScramChecker, Verifiers, keep_verifier, readable
from netsvc.interfaces import ILoginSource, IMailLogin, IScramLogin, ISubmitter, IVerifiers
from netsvc.records import FLAG_LOCKED, AccountError
from netsvc.sasl import verifier as sasl_verifier
from netsvc.sasl.verifier import make_verifier, read_verifier

TEXT = str(make_verifier("secret-1", b"salt", 4096))


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch):
    monkeypatch.setattr(sasl_verifier.make_verifier, "__defaults__", (4096,))


@implementer(IMailLogin)
class Mail(UsernamePassword):
    def __init__(self, name, password, source="192.0.2.7"):
        super().__init__(name.encode(), password.encode())
        self.source = source


@implementer(ILoginSource)
class Console(UsernamePassword):
    source = "192.0.2.7"


@implementer(IScramLogin)
class Proof:
    source = "192.0.2.7"

    def __init__(self, name, text=TEXT):
        self.username = name
        self.proves = lambda verifier: verifier == text


class Senders:
    def __init__(self, **boxes):
        self.boxes = boxes

    def mailbox_of(self, user):
        return succeed(self.boxes.get(user, ""))


@pytest.fixture
def door(rows, hasher, counters, add):
    add("ann", "secret-1", role=0)
    return ByDoor(
        auth_chain(["store"], rows, hasher, counters), auth_chain(["store"], rows, hasher, counters, None, MAIL)
    )


@pytest.mark.parametrize(
    ("name", "can_be"),
    [
        ("ann", True),
        ("ann@example.org", True),
        ("o'neil+x@example.org", True),
        ("Ann@example.org", False),
        ("ann@", False),
        ("@example.org", False),
        ('"a b"@example.org', False),
        ("ann@[192.0.2.1]", False),
        ("a" * 64 + "@" + "b" * 63 + "." + "c" * 63 + "." + "d" * 62, False),
        ("a b", False),
    ],
)
def test_names(name, can_be):
    assert is_name(name) is can_be


def test_guessing_at_mail_locks_nobody_out_of_the_console(door, counters, result):
    for _ in range(PAIR_LIMIT):
        with pytest.raises(UnauthorizedLogin):
            result(door.requestAvatarId(Mail("ann", "wrong")))
    assert {realm for realm, _ in counters.counts} == {MAIL_REALM}
    assert counters.locked_until[MAIL_REALM, "192.0.2.7 ann"] == MAIL_LOCK_MS == 15 * 60_000
    with pytest.raises(UnauthorizedLogin, match="locked"):
        result(door.requestAvatarId(Mail("ann", "secret-1")))
    assert result(door.requestAvatarId(Mail("ann", "secret-1", "192.0.2.8"))).name == "ann"
    assert result(door.requestAvatarId(Console(b"ann", b"secret-1"))).name == "ann"


def test_guessing_at_the_console_locks_nobody_out_of_mail(door, counters, result):
    for _ in range(PAIR_LIMIT):
        with pytest.raises(UnauthorizedLogin):
            result(door.requestAvatarId(Console(b"ann", b"wrong")))
    assert {realm for realm, _ in counters.counts} == {REALM}
    assert result(door.requestAvatarId(Mail("ann", "secret-1"))).name == "ann"


def test_exact_addresses_are_counted_where_asked_for():
    assert counted("ann", "192.0.2.7", exact=True)[0] == ("192.0.2.7 ann", PAIR_LIMIT)
    assert counted("ann", "2001:db8::1", exact=True)[0] == ("2001:db8::/64 ann", PAIR_LIMIT)


def test_a_failed_mail_login_leaves_no_trace_in_the_row(rows, hasher, add, result):
    add("ann", "secret-1")
    with pytest.raises(UnauthorizedLogin):
        result(StoreChecker(rows, hasher).requestAvatarId(Mail("ann", "wrong")))
    assert rows.seen_calls == []
    result(StoreChecker(rows, hasher).requestAvatarId(Mail("ann", "secret-1")))
    assert rows.seen_calls == [("ann", "192.0.2.7", True)]


def test_the_first_mail_login_makes_a_verifier(rows, hasher, add, result):
    add("ann", "secret-1")
    checker = StoreChecker(rows, hasher)
    result(checker.requestAvatarId(Console(b"ann", b"secret-1")))
    assert rows.rows["ann"].scram == ""
    result(checker.requestAvatarId(Mail("ann", "secret-1")))
    made = rows.rows["ann"].scram
    assert readable(made)
    result(checker.requestAvatarId(Mail("ann", "secret-1")))
    assert rows.rows["ann"].scram == made


def test_passwords_that_scram_has_no_form_of(hasher, rows, add, result):
    assert result(hasher.verifier("a\x07b")) == ""
    assert result(hasher.verifier("\udc80")) == ""
    add("ann", "x")
    result(keep_verifier(rows, hasher, "ann", "a\x07b"))
    assert rows.rows["ann"].scram == ""


def test_a_verifier_can_wait(rows, add, result):
    class Busy:
        async def verifier(self, password):
            raise HasherBusyError("busy")

    add("ann", "x")
    result(keep_verifier(rows, Busy(), "ann", "x"))
    assert rows.rows["ann"].scram == ""


def test_locked_while_busy_is_not_tried(rows, counters, result):
    hasher = Hasher(execute)
    hasher._queued = AT_ONCE + WAITING
    counters.locked_until[MAIL_REALM, "192.0.2.7 ann"] = 1
    gate = ThrottledChecker(StoreChecker(rows, hasher), counters, hasher, MAIL)
    with pytest.raises(BusyLogin):
        result(gate.requestAvatarId(Mail("ann", "x")))


# -- SCRAM ----------------------------------------------------------------------------------------


def test_a_proof_that_fits(rows, add, result):
    add("ann", "secret-1", role=2, scram=TEXT)
    found = result(ScramChecker(rows).requestAvatarId(Proof("ann")))
    assert (found.name, found.role) == ("ann", "operator")
    assert rows.seen_calls == [("ann", "192.0.2.7", True)]


@pytest.mark.parametrize(
    ("row", "proof"),
    [
        ({"scram": TEXT}, "other"),
        ({"scram": ""}, ""),
        ({"scram": "nonsense"}, "nonsense"),
        ({"scram": TEXT, "flags": FLAG_LOCKED}, TEXT),
    ],
)
def test_proofs_that_do_not(rows, add, result, row, proof):
    add("ann", "secret-1", **row)
    with pytest.raises(UnauthorizedLogin):
        result(ScramChecker(rows).requestAvatarId(Proof("ann", proof)))
    with pytest.raises(UnauthorizedLogin):
        result(ScramChecker(rows).requestAvatarId(Proof("nobody")))
    assert rows.seen_calls == []


def test_proofs_are_throttled_too(rows, counters, hasher, result):
    gate = ThrottledChecker(ScramChecker(rows), counters, hasher, MAIL)
    for _ in range(PAIR_LIMIT):
        with pytest.raises(UnauthorizedLogin, match="wrong"):
            result(gate.requestAvatarId(Proof("ann")))
    with pytest.raises(UnauthorizedLogin, match="locked"):
        result(gate.requestAvatarId(Proof("ann")))


def test_verifiers_tell_nobody_who_exists(rows, add, result):
    asked = []

    def secret(name):
        asked.append(name)
        return succeed(b"site secret")

    add("ann", "secret-1", scram=TEXT)
    add("old", "secret-1")
    add("odd", "secret-1", scram="nonsense")
    verifiers = Verifiers(rows, secret)
    verifyObject(IVerifiers, verifiers)
    assert result(verifiers.verifier("Ann")) == TEXT
    fakes = [result(verifiers.verifier(name)) for name in ("old", "odd", "nobody", "not a name", "\udc80")]
    assert len(set(fakes)) == 5
    assert all(readable(fake) and read_verifier(fake).iterations == sasl_verifier.ITERATIONS for fake in fakes)
    assert result(Verifiers(rows, secret).verifier("NOBODY")) == fakes[2]
    assert asked == ["scram", "scram"]


def test_a_store_that_does_not_answer(rows, result):
    with pytest.raises(OSError, match="gone"):
        result(Verifiers(rows, lambda name: fail(OSError("gone"))).verifier("ann"))


# -- avatars --------------------------------------------------------------------------------------


def test_submitters(rows, add, result):
    realm = Realm(rows, Senders(ann="ann@example.org"))
    interface, avatar, logout = result(realm.requestAvatar(Operator("ann", "none"), None, ISubmitter))
    assert (interface, avatar) == (ISubmitter, Submitter("ann", "ann@example.org"))
    verifyObject(ISubmitter, avatar)
    logout()
    add("bob", "x")
    with pytest.raises(LoginDenied, match="no mailbox"):
        result(realm.requestAvatar("bob", None, ISubmitter))
    with pytest.raises(LoginDenied):
        result(realm.requestAvatar("nobody", None, ISubmitter))
    with pytest.raises(NotImplementedError):
        Realm(rows).requestAvatar("ann", None, ISubmitter)


# -- accounts -------------------------------------------------------------------------------------


def test_accounts_keep_verifiers_and_mailboxes(rows, hasher, result):
    accounts = Accounts(rows, hasher, None, None)
    result(accounts.add("ann@example.org", "secret-1", "none", 7))
    row = rows.rows["ann@example.org"]
    assert (row.mailbox_id, row.role, readable(row.scram)) == (7, 0, True)
    (shown,) = result(accounts.users())
    assert (shown["mailbox_id"], shown["scram"], shown["role"]) == (7, True, "none")
    result(accounts.set_password("ann@example.org", "secret-2"))
    assert rows.rows["ann@example.org"].scram not in ("", row.scram)
    result(accounts.set_mailbox("ann@example.org", 0))
    assert rows.rows["ann@example.org"].mailbox_id is None
    with pytest.raises(AccountError, match="no account"):
        result(accounts.set_mailbox("nobody", 1))
