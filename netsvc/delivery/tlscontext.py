"""TLS towards other hosts: the OpenSSL contexts, and whether the certificate shown is the one that is wanted.

A handshake is always brought to its end, and judged there: so that what is wrong
has words, and what happens to be right is known under ``opportunistic`` too.  A
certificate that must be verified and is not ends the connection by itself, before
anything is sent: nobody needs to remember to ask.
"""

from __future__ import annotations

import ipaddress
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL
from service_identity import CertificateError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, DNSPattern, IPAddress_ID
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.delivery.faults import AttemptError
from netsvc.delivery.terms import Host, TlsLevel, TlsTerms
from netsvc.delivery.tlsa import anchored, end_entity, words
from netsvc.mail.escape import escape
from netsvc.mail.outcome import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.x509 import Certificate

_LAX: Final = b"HIGH:!aNULL:!eNULL:@SECLEVEL=0"
"""Ciphers where no certificate is asked for: an old key is still better than the clear."""
_OPTIONS: Final = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION
_REASONS: Final = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is signed by itself",
    19: "its certificate's authority is not trusted",
    20: "its certificate's authority is not known",
    21: "its certificate's authority is not known",
    24: "an authority of its certificate is none",
    26: "its certificate is not made for this",
}
"""X509_V_ERR_… in words; others have their number."""


class Authorities:
    """The certificate authorities that are trusted: this host's, and those of ``ca_file`` (PEM) besides.

    Raises SSL.Error where ``ca_file`` cannot be read.  It takes some 20 ms to load them: once, before mail flows.
    """

    def __init__(self, ca_file: str = "") -> None:
        """Load them."""
        self.ca_file = ca_file
        self._strict = self._context()
        self._lax = self._context()
        self._lax.set_cipher_list(_LAX)

    def _context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(_OPTIONS)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_default_verify_paths()
        if self.ca_file:
            context.load_verify_locations(str(Path(self.ca_file)))
        context.set_verify(SSL.VERIFY_PEER, _verified)
        context.set_info_callback(_informed)
        return context

    def context(self, level: TlsLevel) -> SSL.Context:
        """Return the context for ``level``; it calls the ``PeerCheck`` of its connection."""
        return self._strict if level >= TlsLevel.VERIFY else self._lax


_system: list[Authorities] = []


def system_authorities() -> Authorities:
    """Return this host's authorities, loaded once."""
    if not _system:
        _system.append(Authorities())
    return _system[0]


def connection_creator(host: Host, terms: TlsTerms, authorities: Authorities | None = None) -> PeerCheck:
    """Return what makes one TLS connection to ``host`` and judges it; this host's authorities by default."""
    return PeerCheck(host, terms, authorities or system_authorities())


@implementer(IOpenSSLClientConnectionCreator)
class PeerCheck:
    """Makes one connection, and knows after its handshake what became of it.

    ``done``: the handshake ended.  ``verified``: the certificate is trusted and bears a name that is wanted (or matches
    a TLSA record), whether that was asked for or not; ``by``: the name or record.  ``problem``: why it is not verified.
    Where it must be and is not, the connection fails, and ``error`` is the reason it is lost with: look at ``refusal``
    in ``handshakeCompleted``, which Twisted calls all the same.
    """

    def __init__(self, host: Host, terms: TlsTerms, authorities: Authorities) -> None:
        """Know nothing of the peer yet."""
        self.host = host
        self.terms = terms
        self.done = False
        self.verified = False
        self.by = ""
        self.problem = ""
        self.error: AttemptError | None = None
        self._context = authorities.context(terms.level)
        self._protocol: weakref.ref[Any] | None = None
        self._chain_problem = ""

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """See IOpenSSLClientConnectionCreator."""
        connection = SSL.Connection(self._context, None)
        name = self.terms.names[0] if self.terms.tlsa and self.terms.names else self.host.name
        if _address(name) is None:
            connection.set_tlsext_host_name(name.encode("ascii", "replace"))
        _checks[connection] = self
        self._protocol = weakref.ref(tlsProtocol)
        return connection

    @property
    def refusal(self) -> AttemptError | None:
        """Why mail must not go this way now that the handshake has ended; what was not judged is not good either."""
        if self.error is None and not self.done and self.terms.level >= TlsLevel.VERIFY:
            return AttemptError(Fault.TLS, f"TLS with {self.host.name} has not been judged", "4.7.5")
        return self.error

    def describe(self, handle: SSL.Connection) -> str:
        """Return what was negotiated: ``TLSv1.3 TLS_AES_256_GCM_SHA384 verified mx.example.org (mta-sts)``."""
        how = f"verified {self.by}" if self.verified else "unverified"
        return f"{handle.get_protocol_version_name()} {handle.get_cipher_name()} {how} ({self.terms.source})"

    def chain_fault(self, number: int) -> None:
        """Hear from OpenSSL what is wrong with the chain of certificates; the first word counts."""
        self._chain_problem = self._chain_problem or _REASONS.get(
            number, f"its certificate is not valid (X.509 error {number})"
        )

    def judge(self, chain: Sequence[Certificate]) -> None:
        """Judge the certificates shown, the peer's own first."""
        self.done = True
        try:
            self._judge(chain)
        except Exception as fault:  # noqa: BLE001 - certificates are foreign: whatever their readers raise, they are not good
            self.problem = f"its certificate cannot be judged ({type(fault).__name__})"
        self.verified = not self.problem
        if self.problem and self.terms.level >= TlsLevel.VERIFY:
            why = f"TLS with {self.host.name} cannot be trusted ({self.terms.source}): {self.problem}"
            self.error = AttemptError(Fault.TLS, why, "4.7.5")
            protocol = self._protocol() if self._protocol is not None else None
            if protocol is not None:
                protocol.failVerification(Failure(self.error))  # type: ignore[no-untyped-call] # Twisted's has no types

    def _judge(self, chain: Sequence[Certificate]) -> None:
        if not chain:
            self.problem = "it has shown no certificate"
        elif self.terms.tlsa:
            self._match_records(chain)
        else:
            self.problem = self._chain_problem
            if not self.problem:
                self._match_names(chain[0])

    def _match_records(self, chain: Sequence[Certificate]) -> None:
        """Judge by TLSA records (RFC 7672 3.1): authorities, and for DANE-EE names and dates too, mean nothing."""
        record = end_entity(self.terms.tlsa, chain[0])
        if record is None:
            record = anchored(self.terms.tlsa, chain)
            if record is None:
                self.problem = f"its certificate fits none of its {len(self.terms.tlsa)} TLSA records"
                return
            self._match_names(chain[0])
        self.by = words(record)

    def _match_names(self, certificate: Certificate) -> None:
        names = self.terms.names or (self.host.name,)
        try:
            found = matched_name(certificate, names)
        except (CertificateError, ValueError):
            self.problem = "its certificate bears names that cannot be read"
            return
        if found:
            self.by = found
        else:
            self.problem = f"its certificate does not bear {' or '.join(names)}, but {names_of(certificate)}"


_checks: weakref.WeakKeyDictionary[SSL.Connection, PeerCheck] = weakref.WeakKeyDictionary()
"""The check of each connection (its application data are Twisted's)."""


def _verified(connection: SSL.Connection, certificate: Any, number: int, depth: int, good: int) -> bool:
    """Let the handshake go on, whatever the chain is like: it is judged at its end."""
    del certificate, depth
    if not good:
        _checks[connection].chain_fault(number)
    return True


def _informed(connection: SSL.Connection, where: int, value: int) -> None:
    """Judge the connection when its handshake has ended (under TLS 1.3 this comes again with each ticket)."""
    del value
    if where & SSL.SSL_CB_HANDSHAKE_DONE:
        check = _checks[connection]
        if not check.done:
            check.judge(_shown(connection))


def _shown(connection: SSL.Connection) -> Sequence[Certificate]:
    """Return the certificates shown, none where one of them cannot be read."""
    try:
        return connection.get_peer_cert_chain(as_cryptography=True) or []
    except Exception:  # noqa: BLE001 - what OpenSSL takes for a certificate its readers may not
        return []


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def matched_name(certificate: Certificate, names: Sequence[str]) -> str:
    """Return the first of ``names`` that ``certificate`` bears as a subject alternative name (RFC 6125), "" for none.

    ``*.example.org`` among ``names`` stands for one label.  Raises CertificateError or ValueError for a certificate
    whose names cannot be read.
    """
    patterns = extract_patterns(certificate)
    for name in names:
        if name.startswith("*."):
            if any(isinstance(p, DNSPattern) and _is_below(p.pattern, name[2:]) for p in patterns):
                return name
            continue
        try:
            wanted = DNS_ID(name) if _address(name) is None else IPAddress_ID(name)
        except ValueError:
            continue
        if any(wanted.verify(pattern) for pattern in patterns):
            return name
    return ""


def _is_below(pattern: bytes, domain: str) -> bool:
    label, _, rest = pattern.decode("ascii", "replace").lower().partition(".")
    return bool(label) and rest == domain.lower()


def names_of(certificate: Certificate, most: int = 5) -> str:
    """Return some of the names a certificate bears, for people."""
    names = [p.pattern.decode("ascii", "replace") for p in extract_patterns(certificate) if isinstance(p, DNSPattern)]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return escape(", ".join(names[:most]) + more, 300) if names else "no host's name"
