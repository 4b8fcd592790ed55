"""Promises about people: accounts, throttles, operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from netsvc.records import AccountRow, Row


class IAccountRows(Interface):
    """The store's rows about accounts; the accounts room makes and checks what is in them."""

    def get(name: str) -> Deferred[AccountRow | None]:
        "-> Deferred[AccountRow | None]"

    def all() -> Deferred[list[AccountRow]]:
        "-> Deferred[list[AccountRow]], by name"

    def create(row: AccountRow) -> Deferred[None]:
        "-> Deferred[None]; StoreError when the name is taken"

    def update(name: str, **columns: Any) -> Deferred[bool]:
        "-> Deferred[bool]: hash scram role flags mailbox_id; False when there is no such account"

    def delete(name: str) -> Deferred[bool]:
        "-> Deferred[bool]"

    def seen(name: str, source: str, ok: bool) -> Deferred[None]:
        "Record a login that worked (last_at, last_from, fails=0) or failed (fails+1) -> Deferred[None]"


class IAccounts(Interface):
    """Accounts as the console's user verbs see them.  Changes fail with AccountError, whose text is fit to be shown."""

    def users() -> Deferred[list[Row]]:
        "-> Deferred[list[row]]: name role content last_at last_from fails locked mailbox_id scram (bool)"

    def add(name: str, password: str, role: str, mailbox: int = 0) -> Deferred[None]:
        "-> Deferred[None]; hashing is off the reactor.  ``mailbox`` is its mailbox's id, 0 for none"

    def set_password(name: str, password: str) -> Deferred[None]:
        "-> Deferred[None]"

    def set_role(name: str, role: str) -> Deferred[None]:
        "-> Deferred[None]"

    def set_mailbox(name: str, mailbox: int) -> Deferred[None]:
        "Give it the mailbox with this id, 0: none -> Deferred[None]"

    def delete(name: str) -> Deferred[None]:
        "-> Deferred[None]; the last admin stays"

    def locks() -> Deferred[list[Row]]:
        "-> Deferred[list of lock/1 rows]: who is kept out for wrong passwords, by door and name"

    def unlock(name: str) -> Deferred[tuple[int, int]]:
        """Forget the wrong passwords of ``name``, from wherever, at the console and of mail clients.

        -> Deferred[(how many locks that lifted, how many counts there were in all)]
        """

    def verify(name: str, password: str) -> Deferred[bool]:
        "-> Deferred[bool]: for enable; the same time whether the name exists or not"


class ICounters(Interface):
    """Throttles and rate windows: add and test in one call; shared by all nodes on PostgreSQL."""

    def fail(realm: int, key: str, lock_after: int, window_ms: int, lock_ms: int) -> Deferred[tuple[int, int]]:
        """Count a failure -> Deferred[(fails in the window, locked until ms or 0)]."""

    def locked(realm: int, key: str) -> Deferred[int]:
        """-> Deferred[int]: locked until (ms), 0 when not."""

    def clear(realm: int, key: str) -> Deferred[int]:
        """Forget the failures, or the window, of a key -> Deferred[int]: how many counts that were, 0 or 1."""

    def locks(realms: Sequence[int]) -> Deferred[list[tuple[int, str, int]]]:
        """-> Deferred[[(realm, key, locked until ms)]] of what is locked now, by realm and key, a thousand a realm."""

    def clear_named(realms: Sequence[int], name: str) -> Deferred[tuple[int, int]]:
        """Forget the failures of all keys of two words whose second is ``name``, which holds no blank.

        -> Deferred[(how many were locked, how many there were in all)]
        """

    shared = Attribute("bool: whether other nodes count in the same windows")

    def add(entries: Sequence[tuple[int, str, int, int]]) -> Deferred[list[tuple[int, int]]]:
        """Add ``entries`` [(realm, key, amount, window ms)] -> Deferred[[(used, ms the window still lasts)]].

        One answer an entry, what it added included; amount 0 only asks.  A window begins with what is first added
        after the end of the one before.  Realms 40 to 79 are for this.
        """

    def most(realm: int, limit: int) -> Deferred[list[tuple[str, int, int]]]:
        """-> Deferred[[(key, used, ms the window still lasts)]] of the keys of ``realm`` that have used most."""

    def greylist(
        triplet: tuple[str, str, str], delay_ms: int, times: tuple[int, int, int]
    ) -> Deferred[tuple[int, str]]:
        """Note that (network, sender, recipient) has come -> Deferred[(ms it has to wait, why)].

        ``times``: (ms in which it may come again, ms it is kept once let through, triplets of a network that make
        the whole network known or 0).  Why: new, early; with nothing to wait: known, passed (now), client.
        """

    def greylisted(text: str = "") -> Deferred[list[Row]]:
        """-> Deferred[list of greylist/1 rows], the youngest first, those that hold ``text``; a thousand at most."""

    def clear_greylist(text: str = "") -> Deferred[int]:
        """Forget the entries that hold ``text``, all for "" -> Deferred[int]: how many."""


class IOperator(Interface):
    """The avatar of somebody who may use the console."""

    name = Attribute("str")
    role = Attribute("viewer, operator or admin: what the account may become")
    content = Attribute("bool: may read headers and bodies")
    last_at = Attribute("ms since 1970 of the last access before this one, 0 for none")
    last_from = Attribute("str: where from, or ''")
    fails = Attribute("int: failed attempts since then")
    enabled = Attribute("bool: stands enabled from the start, no password asked (the control socket)")


class ILoginSource(Interface):
    """Credentials that say where they come from, so that failures are counted and the access is remembered."""

    source = Attribute("str: IP address of whoever logs in")


class IMailLogin(ILoginSource):
    """Credentials of a mail client: counted apart from the console's, so that guessing here locks nobody out there."""


class IScramLogin(IMailLogin):
    """Credentials whose bearer has shown in a SCRAM exchange that he knows a password."""

    username = Attribute("the name as it was prepared, str")

    def proves(verifier: str) -> bool:
        """-> bool: whether what was shown fits ``verifier``, the text of an account's scram column."""
