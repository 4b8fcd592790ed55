"""How everybody logs in: the console's checker, and the portal of operators and mail clients (floor 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.cred.portal import Portal

from netsvc.accounts.chain import ByDoor, auth_chain
from netsvc.accounts.hashes import Hasher, in_threads
from netsvc.accounts.realm import Realm
from netsvc.accounts.throttle import MAIL, ThrottledChecker
from netsvc.accounts.verifiers import ScramChecker, Verifiers
from netsvc.node import StartError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netsvc.interfaces import IVerifiers
    from netsvc.logbook import Logbook
    from netsvc.store.store import Store


def make_locks(
    specs: Sequence[str], store: Store, hasher: Hasher, logbook: Logbook, reactor: Any
) -> tuple[ThrottledChecker, Portal]:
    """Return (the console's checker, the portal) for the ways ``specs``; raises StartError for password files."""
    rows, counters = store.account_rows, store.counters
    own = Hasher(in_threads(reactor))  # so that a flood of mail clients keeps no operator out
    try:
        console = auth_chain(specs, rows, hasher, counters, logbook)
        mail = auth_chain(specs, rows, own, counters, logbook, MAIL)
    except ValueError as error:
        raise StartError(f"auth: {error}") from None
    checkers: list[Any] = [ByDoor(console, mail)]
    if "store" in specs:
        checkers.append(ThrottledChecker(ScramChecker(rows), counters, own, MAIL))
    return console, Portal(Realm(rows, store.senders), checkers)


def make_verifiers(specs: Sequence[str], store: Store) -> IVerifiers | None:
    """Return what SCRAM exchanges begin with; None where accounts are not in the store."""
    return Verifiers(store.account_rows, store.senders.secret) if "store" in specs else None
