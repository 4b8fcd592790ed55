"""The client's side of AUTH: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 5802, RFC 7677).

An exchange answers the server's challenges.  SCRAM needs a key that takes a while
to be made: it asks for it with ``KeyWanted``.  Its exchange is over only once the
server has shown that it knows the password too: until then ``proven`` is False,
whatever the server says.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from netsvc.sasl.prep import PrepError, saslprep
from netsvc.sasl.verifier import MECHANISM as SCRAM
from netsvc.sasl.verifier import base64, digest

if TYPE_CHECKING:
    from collections.abc import Iterable

MECHANISMS = (SCRAM, "PLAIN", "LOGIN")
"""What we have, strongest first."""
LEAST_ITERATIONS = 4_096
"""A server that asks for fewer would learn what is easily guessed from (RFC 7677 4)."""
MOST_ITERATIONS = 1_000_000
"""A server that asks for more only wants to keep us busy."""

_FIRST = re.compile(r"r=([!-+\--~]{1,400}),s=([A-Za-z0-9+/=]{4,1000}),i=([1-9][0-9]{0,9})(?:,[^\0]*)?\Z")
_FINAL = re.compile(r"v=([A-Za-z0-9+/]{43}=)(?:,[^\0]*)?\Z")


class ExchangeError(Exception):
    """The exchange cannot go on; the text says why, and holds nothing of the server's or of the password."""


@dataclass(frozen=True, slots=True)
class KeyWanted:
    """Hand in ``salted(...)`` of this, made where it may take a while."""

    password: str = field(repr=False)
    salt: bytes
    iterations: int


class ClientExchange(Protocol):
    """One exchange.  ``initial`` is the first response, None where the server speaks first."""

    initial: bytes | None

    @property
    def proven(self) -> bool:
        """Whether the server has shown what this mechanism asks of it."""

    def receive(self, challenge: bytes) -> bytes | KeyWanted:
        """Return the response to ``challenge``.  Raises ExchangeError."""

    def key(self, salted_password: bytes) -> bytes:
        """Return the response that a KeyWanted held up."""


class PlainClient:
    """PLAIN: everything at once."""

    proven = True

    def __init__(self, user: str, password: str) -> None:
        self.initial: bytes | None = f"\0{user}\0{password}".encode()

    def receive(self, challenge: bytes) -> bytes | KeyWanted:
        """See ClientExchange: nothing is asked."""
        raise ExchangeError(f"PLAIN asks nothing more, the server did ({len(challenge)} octets)")

    def key(self, salted_password: bytes) -> bytes:
        """See ClientExchange: none was asked for."""
        raise AssertionError(f"{len(salted_password)} octets handed in out of turn")


class LoginClient(PlainClient):
    """LOGIN: the name, then the password, whatever the words of the questions are."""

    def __init__(self, user: str, password: str) -> None:
        super().__init__(user, password)
        self.initial = None
        self._answers = [password.encode(), user.encode()]

    def receive(self, challenge: bytes) -> bytes | KeyWanted:
        """See ClientExchange."""
        del challenge
        if not self._answers:
            raise ExchangeError("LOGIN asks two questions, the server asked three")
        return self._answers.pop()


class ScramClient:
    """SCRAM-SHA-256 without channel binding; ``nonce`` is ours, fresh, printable without commas."""

    def __init__(self, user: str, password: str, nonce: str) -> None:
        self._password = password
        self._nonce = nonce
        self._bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self.initial: bytes | None = f"n,,{self._bare}".encode()
        self._first = ""
        self._without_proof = ""
        self._signature = b""
        self._turn = 0
        self.proven = False

    def receive(self, challenge: bytes) -> bytes | KeyWanted:
        """See ClientExchange."""
        try:
            text = challenge.decode("utf-8")
        except UnicodeDecodeError:
            raise ExchangeError("the server's message is not UTF-8") from None
        self._turn += 1
        if self._turn == 1:
            return self._server_first(text)
        if self._turn == 2:
            return self._server_final(text)
        raise ExchangeError("SCRAM is over, the server asks more")

    def _server_first(self, text: str) -> KeyWanted:
        match = _FIRST.match(text)
        if match is None:
            raise ExchangeError("not a server-first-message of SCRAM")
        nonce, salt_text, iterations = match[1], match[2], int(match[3])
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ExchangeError("the server's nonce does not begin with ours")
        if not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            raise ExchangeError(f"{iterations} iterations are not within {LEAST_ITERATIONS} and {MOST_ITERATIONS}")
        try:
            salt = binascii.a2b_base64(salt_text, strict_mode=True)
        except ValueError:
            raise ExchangeError("the server's salt is not base64") from None
        self._first = text
        self._without_proof = f"c=biws,r={nonce}"
        return KeyWanted(self._password, salt, iterations)

    def key(self, salted_password: bytes) -> bytes:
        """See ClientExchange."""
        signed = f"{self._bare},{self._first},{self._without_proof}".encode()
        client_key = digest(salted_password, b"Client Key")
        signature = digest(hashlib.sha256(client_key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._signature = digest(digest(salted_password, b"Server Key"), signed)
        return f"{self._without_proof},p={base64(proof)}".encode()

    def _server_final(self, text: str) -> bytes:
        match = _FINAL.match(text)
        if match is None:
            raise ExchangeError("not a server-final-message of SCRAM")
        if not hmac.compare_digest(binascii.a2b_base64(match[1]), self._signature):
            raise ExchangeError("the server does not know the password: it is not who it says it is")
        self.proven = True
        return b""


def salted(wanted: KeyWanted) -> bytes:
    """Return the key that ``wanted`` asks for (PBKDF2); takes up to some hundred milliseconds."""
    return hashlib.pbkdf2_hmac("sha256", wanted.password.encode(), wanted.salt, wanted.iterations)


def choose(offered: Iterable[str], *, clear: bool) -> list[str]:
    """Return those of ``offered`` that we have, strongest first; ``clear``: such that show the password, too."""
    words = set(offered)
    return [word for word in MECHANISMS if word in words and (clear or word == SCRAM)]


def exchange(mechanism: str, user: str, password: str, nonce: str) -> ClientExchange:
    """Begin an exchange.  Raises ExchangeError for a name or password that no server can take."""
    try:
        user, password = saslprep(user), saslprep(password)
    except PrepError as why:
        raise ExchangeError(f"the credential cannot be said: {why}") from None
    if not user or not password or "\0" in user + password:
        raise ExchangeError("the credential cannot be said: a part of it is empty")
    if mechanism == SCRAM:
        return ScramClient(user, password, nonce)
    return PlainClient(user, password) if mechanism == "PLAIN" else LoginClient(user, password)
