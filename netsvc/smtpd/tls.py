"""What the door knows of a TLS session: its protocol and cipher, its channel bindings, and why a handshake failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

if TYPE_CHECKING:
    from collections.abc import Mapping

HANDSHAKE_SECONDS: Final = 30.0
"""How long a client has for its handshake (T6)."""
NOT_SHAKEN: Final = "no TLS handshake"
"""Why a session ends that never came to be: of no interest unless somebody looks for a fault."""

_EXPORTER: Final = b"EXPORTER-Channel-Binding"
_WEAK: Final = ("md5", "sha1")


def describe(handle: SSL.Connection) -> str:
    """Return ``PROTOCOL CIPHER`` of a session."""
    return f"{handle.get_protocol_version_name()} {handle.get_cipher_name()}"


def bindings_of(handle: Any) -> Mapping[str, bytes]:
    """Return {type: octets} of the channel bindings a session has; ``handle`` None: none.

    ``tls-exporter`` (RFC 9266) under TLS 1.3 only: before, it is safe only with an extension that cannot be asked
    about.  ``tls-server-end-point`` (RFC 5929 4.1) where our certificate's signature has a hash.
    """
    if handle is None:
        return {}
    found: dict[str, bytes] = {}
    if handle.get_protocol_version_name() == "TLSv1.3":
        found["tls-exporter"] = handle.export_keying_material(_EXPORTER, 32, b"")
    certificate = handle.get_certificate(as_cryptography=True)
    algorithm = certificate.signature_hash_algorithm
    if algorithm is not None:
        chosen = hashes.SHA256() if algorithm.name in _WEAK else algorithm
        found["tls-server-end-point"] = certificate.fingerprint(chosen)
    return found


def can_bind(handle: Any) -> bool:
    """Whether a session has any channel binding."""
    return handle.get_protocol_version_name() == "TLSv1.3" or bool(bindings_of(handle))


def why_failed(error: BaseException | None) -> str:
    """Return OpenSSL's words for a handshake that failed, or what else ended the connection."""
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return "; ".join(str(item[-1]) for item in error.args[0] if item) or "TLS error"
    return str(error) or type(error).__name__
