"""A message's DKIM signatures checked: keys from DNS, the body read in pieces, everything else in threads (floor 3).

Of the body one piece of 256 KiB at most is in memory, whatever its size, and it is read once for all signatures.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred, DeferredList

from netsvc.policy.auth.dkim import (
    MAX_BODY_HASHES,
    MAX_SIGNATURES,
    DkimError,
    DkimResult,
    Signature,
    check_body,
    check_signature,
    read_key,
    read_signature,
)
from netsvc.policy.auth.dkimbody import BodyHash
from netsvc.records import NameNotFoundError, NameTemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.policy.auth.fields import Header

PIECE = 256 << 10
"""Octets of body read at once."""

Kind = tuple[str, int | None]
"""How a body is hashed: its form, and how much of it."""


class Verifier:
    """Checks messages.  ``names`` is an IResolver, ``run(function, *args)`` -> Deferred runs in a thread."""

    def __init__(self, names: Any, run: Callable[..., Deferred[Any]], wall: Callable[[], float] = time.time) -> None:
        self._names = names
        self._run = run
        self._wall = wall

    async def check(self, content: Any, header: Header) -> list[DkimResult]:
        """Return one result a signature of ``content`` (an IContent), top first; none where there is no signature."""
        fields = header.named(b"dkim-signature")
        if not fields:
            return []
        if not header.complete:
            return [DkimResult("policy", "the header has too many fields")]
        found: list[Signature | DkimResult] = await self._run(read_signatures, fields[:MAX_SIGNATURES], self._wall())
        signatures = [each for each in found if isinstance(each, Signature)]
        keys = dict(zip((s.key_name for s in signatures), await self._keys(signatures), strict=True))
        wanted = {s.body_kind for s in signatures if not isinstance(keys[s.key_name], DkimError)}
        hashes = await self._hash(content, wanted)
        results: list[DkimResult] = await self._run(judge, header, found, keys, hashes)
        return results

    async def _keys(self, signatures: list[Signature]) -> list[list[bytes] | DkimError]:
        """Look up every key at once -> the TXT records of each, or why there are none."""
        asked: list[Deferred[list[bytes]]] = [self._names.txt(s.key_name) for s in signatures]
        found = await DeferredList(asked, consumeErrors=True)
        return [value if ok else _no_key(cast("Any", value).value) for ok, value in found]

    async def _hash(self, content: Any, kinds: set[Kind]) -> dict[Kind, tuple[bytes, int]]:
        """Return {kind: (hash, canonical size)} of the body."""
        hashes = {kind: BodyHash(*kind) for kind in sorted(kinds, key=repr)[:MAX_BODY_HASHES]}
        at = len(content.header) + 2
        while hashes and at < content.size:
            piece = await content.read(at, PIECE)
            if not piece:
                break
            at += len(piece)
            await self._run(_feed, list(hashes.values()), piece)
        return {kind: (each.digest(), each.size) for kind, each in hashes.items()}


def _no_key(error: BaseException) -> DkimError:
    if isinstance(error, NameTemporaryError):
        return DkimError("temperror", "the key cannot be looked up now")
    if isinstance(error, NameNotFoundError | ValueError):
        return DkimError("permerror", "there is no key")
    raise error


def _feed(hashes: list[BodyHash], piece: bytes) -> None:
    for each in hashes:
        each.update(piece)


def read_signatures(fields: list[Any], now: float) -> list[Signature | DkimResult]:
    """Return each field as a Signature, or as the result it has already."""
    found: list[Signature | DkimResult] = []
    for field in fields:
        try:
            found.append(read_signature(field, int(now)))
        except DkimError as error:
            found.append(DkimResult(error.result, error.why))
    return found


def judge(
    header: Header,
    found: list[Signature | DkimResult],
    keys: dict[str, list[bytes] | DkimError],
    hashes: dict[Kind, tuple[bytes, int]],
) -> list[DkimResult]:
    """Return the result of each of ``found``, which are signatures or results."""
    return [each if isinstance(each, DkimResult) else _judge(header, each, keys, hashes) for each in found]


def _judge(
    header: Header,
    signature: Signature,
    keys: dict[str, list[bytes] | DkimError],
    hashes: dict[Kind, tuple[bytes, int]],
) -> DkimResult:
    start = base64.b64encode(signature.signature[:6]).decode()
    result = DkimResult("pass", "", signature.domain, signature.selector, signature.algorithm, start)
    try:
        key = read_key(_only(keys[signature.key_name]), signature)
        result.testing = key.testing
        check_body(signature, *_hash_of(hashes, signature))
        check_signature(header, signature, key)
    except DkimError as error:
        result.result, result.why = error.result, error.why
    return result


def _only(records: list[bytes] | DkimError) -> bytes:
    if isinstance(records, DkimError):
        raise records
    if len(records) != 1:
        raise DkimError("permerror", "there is not one key")
    return records[0]


def _hash_of(hashes: dict[Kind, tuple[bytes, int]], signature: Signature) -> tuple[bytes, int]:
    if signature.body_kind not in hashes:
        raise DkimError("policy", "too many kinds of signatures")
    return hashes[signature.body_kind]
