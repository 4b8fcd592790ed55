"""What an exchange asks for next, as values, and how it fails.

An exchange is handed the client's responses with ``receive`` and answers with one
of these steps.  Whoever runs it sends challenges, and asks others about passwords
and proofs.  Secrets are in no repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from netsvc.sasl.prep import PrepError, saslprep

MAX_NAME = 320
"""Characters of a name: a local part of 64, @, and a domain of 255."""
MAX_PASSWORD = 1024


class MalformedError(Exception):
    """The response is none the mechanism has: the client is broken (501)."""


class RefusedError(Exception):
    """The response is well formed and can never lead in (535)."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send this, and hand in the response."""

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class PasswordGiven:
    """Let somebody check this; the exchange is over.  ``name`` is prepared, ``password`` as it was given."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifierWanted:
    """Hand in the verifier of ``name``, prepared."""

    name: str


@dataclass(frozen=True, slots=True)
class ProofGiven:
    """Let somebody check the proof of ``name``: ``proves``."""

    name: str


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The client has taken the last challenge; the exchange is over."""


Step = Challenge | PasswordGiven | VerifierWanted | ProofGiven | Succeeded


class Exchange(Protocol):
    """One exchange of one mechanism.  ``receive`` raises MalformedError and RefusedError, and then is over."""

    def receive(self, response: bytes | None) -> Step:
        """Take a response, None where the client sent none with its command, and say what is next."""


def text_of(data: bytes) -> str:
    """Return the text ``data`` is in UTF-8.  Raises MalformedError."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("not UTF-8") from None


def name_of(text: str) -> str:
    """Return the name ``text``, prepared.  Raises RefusedError for what can be nobody's."""
    if len(text) > MAX_NAME:
        raise RefusedError("the name is too long")
    try:
        name = saslprep(text)
    except PrepError as error:
        raise RefusedError(f"the name: {error}") from None
    if not name:
        raise RefusedError("the name is empty")
    return name


def password_of(text: str) -> str:
    """Return the password ``text`` as it is.  Raises RefusedError for what can be nobody's."""
    if not text or len(text) > MAX_PASSWORD:
        raise RefusedError("the password is empty or too long")
    try:
        saslprep(text)
    except PrepError:
        raise RefusedError("the password holds prohibited characters") from None
    return text
