"""Password hashes (argon2id), made and checked away from the reactor.

A check takes some tens of milliseconds and some megabytes on purpose.  At most
two run at a time and at most sixteen wait; whoever comes then is refused with
``HasherBusyError``, which is a refusal for now and no failed login.  Checking a
name nobody has costs the same: its password is checked against a dummy hash.
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Callable
from typing import Any, Final

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThreadPool

from netsvc.sasl.prep import PrepError
from netsvc.sasl.verifier import SALT_LENGTH, make_verifier

TIME_COST: Final = 3
MEMORY_KIB: Final = 19 * 1024
AT_ONCE: Final = 2
WAITING: Final = 16
MOST_MEMORY_KIB: Final = 1024 * 1024
"""A hash that asks for more memory to be checked is not believed."""

Run = Callable[..., Deferred[Any]]


class HasherBusyError(Exception):
    """Too many passwords wait to be checked."""


def in_threads(reactor: Any) -> Run:
    """Return what runs a function in the reactor's thread pool -> Deferred of its result."""

    def run(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), function, *args)

    return run


def is_argon2id(text: str) -> bool:
    """Whether ``text`` is a whole argon2id hash that may be checked here."""
    try:
        parameters = extract_parameters(text)
    except (InvalidHashError, ValueError):
        return False
    return parameters.type is Type.ID and parameters.memory_cost <= MOST_MEMORY_KIB and text.isprintable()


class Hasher:
    """Makes and checks hashes.  ``run(function, *args)`` -> Deferred: where the work is done."""

    def __init__(self, run: Run, argon2: PasswordHasher | None = None) -> None:
        self.run = run
        self._argon2 = argon2 or PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=1)
        self._dummy = ""
        self._slots = DeferredSemaphore(AT_ONCE)
        self._queued = 0

    async def hash(self, password: str) -> str:
        """Return a hash of ``password`` with a fresh salt.  Raises HasherBusyError."""
        made: str = await self._queue(self._argon2.hash, _prepared(password))
        return made

    async def verifier(self, password: str) -> str:
        """Return a SCRAM verifier of ``password``, "" for one that SCRAM has no form of.  Raises HasherBusyError."""
        made: str = await self._queue(_verifier, password)
        return made

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether ``password`` is that of the hash ``stored``; None: of nobody, checked all the same.

        Raises HasherBusyError.
        """
        right: bool = await self._queue(self._verify, stored, _prepared(password))
        return right

    async def _queue(self, function: Callable[..., Any], *args: Any) -> Any:
        if self._queued >= AT_ONCE + WAITING:
            raise HasherBusyError(f"{self._queued} passwords are being checked")
        self._queued += 1
        try:
            return await self._slots.run(self.run, function, *args)
        finally:
            self._queued -= 1

    def _verify(self, stored: str | None, password: bytes) -> bool:
        """Check in whatever thread this is; a hash that cannot be read is nobody's."""
        known = stored is not None and is_argon2id(stored)
        if not self._dummy:
            self._dummy = self._argon2.hash(b"nobody's password")
        try:
            return self._argon2.verify(stored if known and stored else self._dummy, password) and known
        except Argon2Error:
            return False


def _prepared(password: str) -> bytes:
    """Return the octets that are hashed: the same for every way to type the same characters (RFC 8265, NFC)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _verifier(password: str) -> str:
    try:
        return str(make_verifier(password, secrets.token_bytes(SALT_LENGTH)))
    except (PrepError, UnicodeEncodeError):
        return ""
