"""A certificate and its key, from two PEM files to what a TLS session begins with (floor 4); it blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from OpenSSL import SSL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from netsvc.config.tls import TlsPair

    Choose = Callable[[SSL.Connection], None]

MOST: Final = 1 << 20
"""Octets of a file that could be a chain or a key."""
CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only; those of TLS 1.3 are all such."""


class CertificateError(Exception):
    """A pair that cannot be used, in words that name the file and what to do."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate that works.  Times are ms since 1970; ``fingerprint`` is SHA-256 in hexadecimal."""

    context: SSL.Context
    names: tuple[str, ...]
    issuer: str
    not_before: int
    not_after: int
    fingerprint: str


def stamp_of(wanted: TlsPair) -> tuple[object, ...]:
    """Return what changes when either file does."""
    return tuple(_stamp(path) for path in (wanted.certificate, wanted.key))


def _stamp(path: Path) -> object:
    try:
        facts = path.stat()
    except OSError as error:
        return error.errno
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def load_pair(wanted: TlsPair, choose: Choose | None = None) -> Pair:
    """Read and check a pair.  Raises CertificateError.

    ``choose`` is called with a connection when its client says which name it wants.
    """
    chain = _certificates(wanted.certificate)
    key = _key(wanted.key)
    leaf = chain[0]
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        raise CertificateError(
            f"{wanted.key}: is not the key of the first certificate in {wanted.certificate}; "
            f"name the key it was made with, and put the server's own certificate first"
        )
    return Pair(
        _context(chain, key, wanted, choose),
        _names(leaf),
        leaf.issuer.rfc4514_string(),
        round(leaf.not_valid_before_utc.timestamp() * 1000),
        round(leaf.not_valid_after_utc.timestamp() * 1000),
        leaf.fingerprint(hashes.SHA256()).hex(),
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST + 1)
    except OSError as error:
        remedy = "; let the service's user read it" if isinstance(error, PermissionError) else ""
        raise CertificateError(f"{path}: cannot be read: {error.strerror}{remedy}") from None
    if len(data) > MOST:
        raise CertificateError(f"{path}: is larger than {MOST} octets; is it the right file?")
    if b"-----BEGIN " not in data:
        what = "is empty" if not data.strip() else "is not PEM: there is no -----BEGIN line in it"
        raise CertificateError(f"{path}: {what}; name a PEM file")
    return data


def _certificates(path: Path) -> list[x509.Certificate]:
    data = _read(path)
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise CertificateError(f"{path}: holds no certificate; name the file with the certificate and its chain")
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise CertificateError(f"{path}: holds a certificate that cannot be read: {error}") from None


def _key(path: Path) -> PrivateKeyTypes:
    data = _read(path)
    if b"PRIVATE KEY-----" not in data:
        raise CertificateError(f"{path}: holds no private key; name the file with the key")
    try:
        return load_pem_private_key(data, None)
    except TypeError:
        raise CertificateError(
            f"{path}: the key is encrypted, and nobody can be asked for its password "
            f"when the service starts: store it without one, readable by the service alone"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path}: holds a key that cannot be read: {error}") from None


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    """Return the names a certificate is for; its common name where it lists none."""
    try:
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = [*alternative.get_values_for_type(x509.DNSName)]
        found += [str(address) for address in alternative.get_values_for_type(x509.IPAddress)]
    except (x509.ExtensionNotFound, ValueError):
        found = []
    common = [str(name.value) for name in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    return tuple(found or common)


def _context(
    chain: list[x509.Certificate], key: PrivateKeyTypes, wanted: TlsPair, choose: Choose | None
) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # idle sessions are many
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # tickets do without
    context.set_cipher_list(CIPHERS)
    if choose is not None:
        context.set_tlsext_servername_callback(choose)
    try:
        context.use_certificate(chain[0])
        for certificate in chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(key)  # type: ignore[arg-type] # kinds TLS does not use raise TypeError
        context.check_privatekey()
    except TypeError:
        raise CertificateError(f"{wanted.key}: is of a kind that TLS does not use; make an EC or RSA key") from None
    except SSL.Error as error:
        raise CertificateError(f"{wanted.certificate}: cannot be used for TLS: {_reason(error)}") from None
    return context


def _reason(error: SSL.Error) -> str:
    """Return OpenSSL's own words."""
    found = error.args[0] if error.args else ""
    if isinstance(found, list):
        return "; ".join(str(item[-1]) for item in found if item)
    return str(found)
