"""Secrets at rest: sealed with AES-256-GCM under a key that is in a file, not in the database.

A file holds one key a line, ``netsvc-key-1 HEXADECIMAL``; the first seals, all of
them open, so that a key can be changed: put the new one on top.  What was sealed
bears its key's id, and opens for the very name and user it was sealed for only.
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

OCTETS = 32
MOST_KEYS = 20
_WORD = "netsvc-key-1"
_NONCE = 12
_ID = 8
"""Octets of a key's id."""


class SealError(Exception):
    """What was sealed cannot be opened, in words fit to be shown."""


def new_file() -> str:
    """Return the contents of a file with one fresh key."""
    return f"{_WORD} {secrets.token_hex(OCTETS)}\n"


def key_id(key: bytes) -> str:
    """Return what a key is known by; it tells nothing of the key."""
    return hashlib.sha256(b"netsvc key id\0" + key).hexdigest()[: 2 * _ID]


class SecretKeys:
    """The keys of a file."""

    def __init__(self, text: str) -> None:
        """Take the file's contents.  Raises ValueError in words that do not repeat them."""
        self._keys: dict[str, bytes] = {}
        lines = [line.strip() for line in text.split("\n")]
        for number, line in enumerate(lines, 1):
            if not line or line.startswith("#"):
                continue
            word, _, digits = line.partition(" ")
            key = _unhex(digits.strip()) if word == _WORD else None
            if key is None:
                raise ValueError(f"line {number} is not {_WORD} and {2 * OCTETS} hexadecimal digits")
            self._keys[key_id(key)] = key
        if not 1 <= len(self._keys) <= MOST_KEYS:
            raise ValueError(f"it holds {len(self._keys)} keys, and 1 to {MOST_KEYS} are wanted")

    @property
    def ids(self) -> tuple[str, ...]:
        """The keys' ids, that which seals first."""
        return tuple(self._keys)

    def seal(self, text: str, *bound: str) -> tuple[str, bytes]:
        """Return (id of the key, ``text`` sealed for ``bound``)."""
        number, key = next(iter(self._keys.items()))
        nonce = secrets.token_bytes(_NONCE)
        return number, nonce + AESGCM(key).encrypt(nonce, text.encode(), _bound(bound))

    def open(self, number: str, sealed: bytes, *bound: str) -> str:
        """Return what was sealed.  Raises SealError."""
        key = self._keys.get(number)
        if key is None:
            raise SealError(f"it was encrypted with the key {number}, which secret_key_file of this node does not hold")
        try:
            return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(bound)).decode()
        except (InvalidTag, ValueError):
            raise SealError("it was changed since it was encrypted: set it again") from None


def _bound(words: tuple[str, ...]) -> bytes:
    return b"netsvc\0" + b"\0".join(word.encode("utf-8", "surrogatepass") for word in words)


def _unhex(digits: str) -> bytes | None:
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        return None
    return key if len(key) == OCTETS else None
