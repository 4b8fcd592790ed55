"""Certificates and keys: which pairs work, and what is said of the others."""

import datetime as dt

import pytest
from cryptography.hazmat.primitives.asymmetric import x448
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from netsvc.certificates.keyfiles import CertificateError, load_pair, stamp_of
from netsvc.config.tls import TlsPair
from tests import certs


@pytest.fixture
def pair(tmp_path):
    certificate, key, _ = certs.write(tmp_path)
    return TlsPair("", certificate, key)


def refusal(pair):
    with pytest.raises(CertificateError) as caught:
        load_pair(pair)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_a_pair_that_works(tmp_path, kind):
    names = ("mx1.example.org", "192.0.2.1")
    certificate, key, value = certs.write(tmp_path, names=names, key=certs.new_key(kind), days=30)
    pair = load_pair(TlsPair("", certificate, key))
    assert pair.names == names
    assert pair.issuer == "CN=mx1.example.org"
    assert pair.not_after == value.not_valid_after_utc.timestamp() * 1000
    assert pair.not_before == value.not_valid_before_utc.timestamp() * 1000
    assert len(pair.fingerprint) == 64


def test_a_certificate_without_alternative_names(tmp_path):
    certificate, key, _ = certs.write(tmp_path, san=False)
    assert load_pair(TlsPair("", certificate, key)).names == ("mx1.example.org",)


def test_a_chain_and_one_file_for_both(tmp_path, pair):
    other, _, _ = certs.make(("ca.example.org",))
    whole = tmp_path / "all.pem"
    whole.write_bytes(pair.certificate.read_bytes() + other + pair.key.read_bytes())
    assert load_pair(TlsPair("", whole, whole)).names == ("mx1.example.org",)


def test_one_that_has_run_out_is_read_all_the_same(tmp_path):
    certificate, key, _ = certs.write(tmp_path, days=-1, begun=30)
    assert load_pair(TlsPair("", certificate, key)).not_after < dt.datetime.now(dt.UTC).timestamp() * 1000


def test_files_that_cannot_be_read(tmp_path, pair):
    missing = TlsPair("", tmp_path / "none.pem", pair.key)
    assert refusal(missing) == f"{tmp_path}/none.pem: cannot be read: No such file or directory"
    assert "cannot be read: Is a directory" in refusal(TlsPair("", pair.certificate, tmp_path))


def test_files_the_service_may_not_read(pair, monkeypatch):
    def forbidden(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(pair.key), "open", forbidden)
    assert refusal(pair).endswith("cannot be read: Permission denied; let the service's user read it")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x30\x82\x01", "is not PEM: there is no -----BEGIN line in it"),
        (b"x" * ((1 << 20) + 1), "is larger than 1048576 octets"),
        (b"-----BEGIN CERTIFICATE-----\nhalf", "holds a certificate that cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a certificate that cannot be read"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds no certificate"),
    ],
)
def test_files_that_hold_no_certificate(pair, content, said):
    pair.certificate.write_bytes(content)
    assert refusal(pair).startswith(f"{pair.certificate}: {said}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds a key that cannot be read"),
        (certs.key_pem(certs.new_key(), b"secret"), "the key is encrypted"),
        (certs.key_pem(certs.new_key()), "is not the key of the first certificate in"),
        (
            x448.X448PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "is not the key of the first certificate in",
        ),
    ],
)
def test_files_that_hold_no_key_of_it(pair, content, said):
    pair.key.write_bytes(content)
    assert refusal(pair).startswith(f"{pair.key}: {said}")


def test_a_weak_key_is_refused_in_openssls_words(tmp_path):
    certificate, key, _ = certs.write(tmp_path, key=certs.rsa.generate_private_key(65537, 1024))
    said = refusal(TlsPair("", certificate, key))
    assert said.startswith(f"{certificate}: cannot be used for TLS: ")
    assert "too small" in said


def test_stamps_change_with_the_files(pair):
    before = stamp_of(pair)
    assert stamp_of(pair) == before
    pair.key.write_bytes(b"")
    changed = stamp_of(pair)
    assert changed != before
    pair.key.unlink()
    assert stamp_of(pair) not in (before, changed)
