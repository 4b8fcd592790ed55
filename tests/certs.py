"""Certificates made for a test: self-signed, of elliptic curves, cheap."""

import datetime as dt
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

UTC = dt.UTC


def new_key(kind="ec"):
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, 2048)


def key_pem(key, password=None):
    hiding = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hiding)


def make(names=("mx1.example.org",), *, key=None, days=90, begun=1, now=None, san=True):
    """-> (certificate PEM, key PEM, certificate); ``days`` from now, ``begun`` days ago."""
    key = key or new_key()
    now = now or dt.datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=begun))
        .not_valid_after(now + dt.timedelta(days=days))
    )
    if san:
        alternative = [x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    hashed = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = builder.sign(key, hashed)
    return certificate.public_bytes(Encoding.PEM), key_pem(key), certificate


def write(folder, name="cert", **options):
    """Write a pair into ``folder`` -> (certificate path, key path, certificate)."""
    certificate, key, value = make(**options)
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(certificate)
    paths[1].write_bytes(key)
    return *paths, value
