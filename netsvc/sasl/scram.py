"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side (RFC 5802, RFC 7677).

Channel bindings are what the TLS session gives: ``tls-exporter`` (RFC 9266) under
TLS 1.3, ``tls-server-end-point`` (RFC 5929) under any.  ``tls-unique`` is not
there: TLS 1.3 has none, and under 1.2 it is safe only with an extension that
cannot be asked about.

A client that says it would bind, had we offered it, while we do, is refused: that
is how somebody in the middle who takes the offer away is found out.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING

from netsvc.sasl.steps import (
    Challenge,
    MalformedError,
    ProofGiven,
    RefusedError,
    Step,
    Succeeded,
    VerifierWanted,
    name_of,
    text_of,
)
from netsvc.sasl.verifier import MECHANISM, base64, digest, read_verifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.sasl.verifier import Verifier

PLUS = f"{MECHANISM}-PLUS"
MAX_NONCE = 128
"""Characters of a client's nonce; ours are fewer."""

_FIRST = re.compile(
    r"(?P<header>(?P<flag>n|y|p=(?P<type>[A-Za-z0-9.-]{1,64})),(?:a=(?P<as>[^,]+))?,)(?P<bare>.*)", re.DOTALL
)
_BARE = re.compile(r"n=(?P<name>[^,]+),r=(?P<nonce>[!-+\--~]{1,128})(?:,.*)?", re.DOTALL)
_FINAL = re.compile(r"c=(?P<binding>[A-Za-z0-9+/=]+),r=(?P<nonce>[!-+\--~]+)(?:,.*)?", re.DOTALL)
_ESCAPE = re.compile(r"=(2C|3D)?")


class Scram:
    """One exchange.  ``bindings`` {type: octets} of the TLS session, none without -PLUS; ``nonce`` is ours, fresh.

    ``plus``: the client chose -PLUS; ``plus_offered``: it could have.
    """

    def __init__(self, nonce: str, bindings: Mapping[str, bytes], *, plus: bool, plus_offered: bool) -> None:
        self._nonce = nonce
        self._bindings = bindings
        self._plus = plus
        self._plus_offered = plus_offered
        self._next = self._first
        self._name = ""
        self._header = ""
        self._bound = b""
        self._bare = ""
        self._sent = ""
        self._signed = b""
        self._proof = b""
        self._signature = b""

    def receive(self, response: bytes | None) -> Step:
        """See Exchange."""
        if response is None:
            return Challenge()
        return self._next(response)

    def _first(self, response: bytes) -> Step:
        """Read client-first-message."""
        match = _FIRST.fullmatch(text_of(response))
        if match is None:
            raise MalformedError("not a client-first-message")
        bare = match["bare"]
        if bare.startswith("m="):
            raise RefusedError("extensions are not supported")
        found = _BARE.fullmatch(bare)
        if found is None:
            raise MalformedError("not a client-first-message")
        self._check_binding(match["flag"], match["type"])
        self._name = name_of(_plain_name(found["name"]))
        if match["as"] and name_of(_plain_name(match["as"])) != self._name:
            raise RefusedError("nobody may act as somebody else")
        self._nonce = found["nonce"] + self._nonce
        self._header, self._bare = match["header"], bare
        self._next = self._too_early
        return VerifierWanted(self._name)

    def _check_binding(self, flag: str, kind: str | None) -> None:
        if self._plus != (kind is not None):
            raise RefusedError("channel binding belongs to -PLUS, and to nothing else")
        if flag == "y" and self._plus_offered:
            raise RefusedError("the client was not offered -PLUS: somebody is in the middle")
        if kind is not None:
            if kind not in self._bindings:
                raise RefusedError(f"no channel binding {kind}")
            self._bound = self._bindings[kind]

    def _too_early(self, response: bytes) -> Step:
        raise AssertionError(f"{len(response)} octets handed in out of turn")

    def begin(self, verifier: Verifier) -> Challenge:
        """Return server-first-message for the verifier that was wanted."""
        self._sent = f"r={self._nonce},s={base64(verifier.salt)},i={verifier.iterations}"
        self._next = self._final
        return Challenge(self._sent.encode("ascii"))

    def _final(self, response: bytes) -> Step:
        """Read client-final-message."""
        bare, _, proof = text_of(response).rpartition(",p=")
        match = _FINAL.fullmatch(bare)
        if match is None:
            raise MalformedError("not a client-final-message")
        try:
            binding = binascii.a2b_base64(match["binding"], strict_mode=True)
            self._proof = binascii.a2b_base64(proof, strict_mode=True)
        except ValueError:
            raise MalformedError("not base64") from None
        if match["nonce"] != self._nonce or binding != self._header.encode("utf-8") + self._bound:
            raise RefusedError("another nonce or another channel")
        self._signed = f"{self._bare},{self._sent},{bare}".encode()
        self._next = self._too_early
        return ProofGiven(self._name)

    def proves(self, text: str) -> bool:
        """Whether the proof fits the verifier ``text``."""
        verifier = read_verifier(text)
        signature = digest(verifier.stored_key, self._signed)
        if len(self._proof) != len(signature):
            return False
        client_key = bytes(a ^ b for a, b in zip(self._proof, signature, strict=True))
        right = hmac.compare_digest(hashlib.sha256(client_key).digest(), verifier.stored_key)
        if right:
            self._signature = digest(verifier.server_key, self._signed)
        return right

    def finish(self) -> Challenge:
        """Return server-final-message, once ``proves`` was true: we know the verifier too."""
        assert self._signature, "nothing is proven"
        self._next = self._last
        return Challenge(f"v={base64(self._signature)}".encode("ascii"))

    def _last(self, response: bytes) -> Step:
        """Read the empty response to server-final-message (RFC 4954 4)."""
        if response:
            raise MalformedError("nothing is to be said any more")
        return Succeeded()


def _plain_name(text: str) -> str:
    """Undo =2C and =3D.  Raises MalformedError for another =."""

    def plain(match: re.Match[str]) -> str:
        if match[1] is None:
            raise MalformedError("a = in the name is =3D")
        return "," if match[1] == "2C" else "="

    return _ESCAPE.sub(plain, text)
