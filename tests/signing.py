"""DKIM keys and signatures for tests, made by a library that is not under test (dkimpy)."""

import base64
import functools

import dkim
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa


@functools.cache
def rsa_key(bits=2048, which=0):
    """-> (PEM for the signer, the key's record)"""
    key = rsa.generate_private_key(65537, bits)
    pem = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.TraditionalOpenSSL, s.NoEncryption())
    public = key.public_key().public_bytes(s.Encoding.DER, s.PublicFormat.SubjectPublicKeyInfo)
    return pem, "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()


@functools.cache
def ed25519_key():
    """-> (the key itself, its record)"""
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(s.Encoding.Raw, s.PublicFormat.Raw)
    return key, "v=DKIM1; k=ed25519; p=" + base64.b64encode(public).decode()


def signed(message, domain="example.com", selector="s1", pem=None, form=("relaxed", "relaxed"), **options):
    """-> ``message`` with a DKIM-Signature on top."""
    canonical = tuple(word.encode() for word in form)
    pem = pem or rsa_key()[0]
    field = dkim.sign(message, selector.encode(), domain.encode(), pem, canonicalize=canonical, **options)
    return field + message
