"""TLSA records and certificates (RFC 6698, 7671, 7672): which records can be used, and whether a chain fits one.

Only DANE-TA (2) and DANE-EE (3) mean anything between mail servers; PKIX-TA and
PKIX-EE are taken as unusable (RFC 7672 3.1.3).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import crypto

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.x509 import Certificate

Record = tuple[int, int, int, bytes]
"""(usage, selector, matching type, data)."""

ANCHOR: Final = 2
END_ENTITY: Final = 3
WHOLE: Final = 0
"""Selector: the certificate; or matching type: the data themselves."""
KEY: Final = 1
"""Selector: the public key."""
MOST: Final = 50
"""Records of one host that are looked at."""
_HASHES: Final = {1: hashlib.sha256, 2: hashlib.sha512}
_LENGTHS: Final = {1: 32, 2: 64}


def usable(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return the records that can be used, of each usage and selector those of the strongest hash (RFC 7671 9)."""
    good = list(dict.fromkeys(record for record in list(records)[:MOST] if _well_formed(record)))
    strongest: dict[tuple[int, int], int] = {}
    for usage, selector, matching, _ in good:
        strongest[usage, selector] = max(strongest.get((usage, selector), 0), matching)
    return tuple(r for r in good if r[2] in {WHOLE, strongest[r[0], r[1]]})


def _well_formed(record: Record) -> bool:
    usage, selector, matching, data = record
    if usage not in {ANCHOR, END_ENTITY} or selector not in {WHOLE, KEY} or matching not in {WHOLE, *_LENGTHS}:
        return False
    if matching != WHOLE:
        return len(data) == _LENGTHS[matching]
    if selector == KEY or usage == END_ENTITY:
        return bool(data)
    return _certificate(data) is not None


def _certificate(data: bytes) -> Certificate | None:
    try:
        return x509.load_der_x509_certificate(data)
    except ValueError:
        return None


def fits(record: Record, certificate: Certificate) -> bool:
    """Whether ``certificate`` is what a record speaks of."""
    _, selector, matching, data = record
    try:
        if selector == WHOLE:
            shown = certificate.public_bytes(Encoding.DER)
        else:
            shown = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception:  # noqa: BLE001 - keys of kinds and forms the library does not know raise what they like
        return False
    return data == (shown if matching == WHOLE else _HASHES[matching](shown).digest())


def words(record: Record) -> str:
    """Return a record's numbers and the beginning of its data, for people."""
    usage, selector, matching, data = record
    return f"TLSA {usage} {selector} {matching} {data[:8].hex()}…"


def end_entity(records: Sequence[Record], certificate: Certificate) -> Record | None:
    """Return the DANE-EE record that the peer's own certificate fits; its names and dates mean nothing then."""
    return next((r for r in records if r[0] == END_ENTITY and fits(r, certificate)), None)


def anchored(records: Sequence[Record], chain: Sequence[Certificate]) -> Record | None:
    """Return the DANE-TA record with whose certificate the chain (the peer's own first) ends well.

    Dates and signatures are OpenSSL's to check; whose names the peer's certificate bears is not looked at here.
    """
    for record in records:
        if record[0] != ANCHOR:
            continue
        anchors = [certificate for certificate in chain[1:] if fits(record, certificate)]
        if record[1] == WHOLE and record[2] == WHOLE:
            published = _certificate(record[3])
            anchors = [published] if published is not None else []
        if any(_leads_to(anchor, chain) for anchor in anchors):
            return record
    return None


def _leads_to(anchor: Certificate, chain: Sequence[Certificate]) -> bool:
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    try:
        store.add_cert(crypto.X509.from_cryptography(anchor))
        between = [crypto.X509.from_cryptography(certificate) for certificate in chain[1:]]
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(chain[0]), between).verify_certificate()
    except (crypto.X509StoreContextError, crypto.Error):
        return False
    return True
