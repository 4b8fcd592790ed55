"""What is kept of a password for SCRAM-SHA-256 (RFC 5802 3, RFC 7677), as the text of RFC 5803.

``SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY``, octets in base64.  Whoever
has it cannot log in with it, but can guess at the password.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field

from netsvc.sasl.prep import saslprep

MECHANISM = "SCRAM-SHA-256"
ITERATIONS = 65_536
"""Of PBKDF2 for new verifiers; RFC 7677 asks for 4,096 at least.  The client does the work at each login.

Cyrus SASL, and with it Postfix as a client, refuses to log in where it is more than that.
"""
SALT_LENGTH = 16
_TEXT = re.compile(
    r"SCRAM-SHA-256\$([1-9][0-9]{3,8}):([A-Za-z0-9+/=]{4,200})\$([A-Za-z0-9+/]{43}=):([A-Za-z0-9+/]{43}=)\Z"
)


def digest(key: bytes, data: bytes) -> bytes:
    """Return HMAC-SHA-256."""
    return hmac.digest(key, data, "sha256")


def base64(data: bytes) -> str:
    """Return ``data`` in base64, on one line."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


@dataclass(frozen=True, slots=True)
class Verifier:
    """The parts of a verifier."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __str__(self) -> str:
        """Return the text that is kept."""
        return f"{MECHANISM}${self.iterations}:{base64(self.salt)}${base64(self.stored_key)}:{base64(self.server_key)}"


def make_verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> Verifier:
    """Return the verifier of ``password``; takes some tens of milliseconds.  Raises PrepError (see ``saslprep``)."""
    prepared = saslprep(password).encode("utf-8")
    salted = hashlib.pbkdf2_hmac("sha256", prepared, salt, iterations)
    stored = hashlib.sha256(digest(salted, b"Client Key")).digest()
    return Verifier(iterations, salt, stored, digest(salted, b"Server Key"))


def fake_verifier(secret: bytes, name: str) -> Verifier:
    """Return a verifier that no password fits, the same each time for ``name``, for names that have none (T22)."""
    key = name.encode("utf-8", "surrogatepass")
    salt = digest(secret, b"salt " + key)[:SALT_LENGTH]
    return Verifier(ITERATIONS, salt, digest(secret, b"stored " + key), digest(secret, b"server " + key))


def read_verifier(text: str) -> Verifier:
    """Return the verifier that ``text`` says.  Raises ValueError."""
    match = _TEXT.match(text)
    if match is None:
        raise ValueError("not a verifier")
    salt, stored, server = (binascii.a2b_base64(part, strict_mode=True) for part in match.groups()[1:])
    return Verifier(int(match[1]), salt, stored, server)
