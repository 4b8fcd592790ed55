"""A certificate authority made for a test, and one server's certificate signed by it."""

import datetime as dt
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests import certs


def _builder(subject, issuer, key):
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
    )


def _name(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def write(folder, server="mx1.example.org"):
    """Write ``cert.pem`` and ``cert.key`` for ``server`` on 127.0.0.1 -> the path of the authority's certificate."""
    root, root_key, key = _name("Test authority"), certs.new_key(), certs.new_key()
    names = [x509.DNSName(server), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    authority = (
        _builder(root, root, root_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    certificate = (
        _builder(_name(server), root, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "cert.key").write_bytes(certs.key_pem(key))
    path = folder / "authority.pem"
    path.write_bytes(authority.public_bytes(Encoding.PEM))
    return path
