"""TLSA records against chains of certificates."""

import datetime as dt
import hashlib

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from netsvc.delivery.tlsa import MOST, anchored, end_entity, fits, usable, words

UTC = dt.UTC
NAME = "mx1.example.org"
D32, D64 = b"d" * 32, b"d" * 64


def loaded(pem):
    return x509.load_pem_x509_certificate(pem.bytes())


def record(usage, selector, matching, certificate):
    data = certificate.public_bytes(Encoding.DER)
    if selector:
        data = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if matching:
        data = (hashlib.sha256 if matching == 1 else hashlib.sha512)(data).digest()
    return usage, selector, matching, data


@pytest.fixture(scope="module")
def chain():
    """-> [the peer's certificate, the intermediate, the root]."""
    root = trustme.CA()
    middle = root.create_child_ca()
    leaf = middle.issue_cert(NAME)
    return [*(loaded(pem) for pem in leaf.cert_chain_pems), loaded(root.cert_pem)]


@pytest.fixture(scope="module")
def stranger():
    ca = trustme.CA()
    return [loaded(ca.issue_cert(NAME).cert_chain_pems[0]), loaded(ca.cert_pem)]


ALL = [(selector, matching) for selector in (0, 1) for matching in (0, 1, 2)]


@pytest.mark.parametrize(("selector", "matching"), ALL)
def test_the_peers_own(chain, stranger, selector, matching):
    good = record(3, selector, matching, chain[0])
    assert usable([good]) == (good,)
    assert end_entity([record(3, selector, matching, stranger[0]), good], chain[0]) == good
    assert end_entity([good], stranger[0]) is None
    assert anchored([good], chain) is None


@pytest.mark.parametrize(("selector", "matching"), ALL)
@pytest.mark.parametrize("place", [1, 2])
def test_an_anchor(chain, stranger, selector, matching, place):
    good = record(2, selector, matching, chain[place])
    assert usable([good]) == (good,)
    assert anchored([record(2, selector, matching, stranger[1]), good], chain) == good
    assert anchored([good], stranger) is None
    assert anchored([good], [stranger[0], *chain[1:]]) is None
    assert end_entity([good], chain[place]) is None


@pytest.mark.parametrize(("matching", "found"), [(0, True), (1, False)])
def test_an_anchor_that_is_not_shown(chain, matching, found):
    good = record(2, 0, matching, chain[2])
    assert (anchored([good], chain[:2]) == good) is found


def test_an_anchor_is_not_the_peers_own(chain):
    assert anchored([record(2, 1, 1, chain[0])], chain) is None


def test_an_expired_certificate():
    ca = trustme.CA()
    now = dt.datetime.now(UTC)
    leaf = ca.issue_cert(NAME, not_before=now - dt.timedelta(9), not_after=now - dt.timedelta(1))
    shown = [loaded(leaf.cert_chain_pems[0]), loaded(ca.cert_pem)]
    assert anchored([record(2, 0, 1, shown[1])], shown) is None
    assert end_entity([record(3, 0, 1, shown[0])], shown[0]) is not None


@pytest.mark.parametrize(
    "bad",
    [
        (0, 1, 1, D32),
        (1, 0, 1, D32),
        (4, 1, 1, D32),
        (3, 2, 1, D32),
        (3, 1, 3, D32),
        (3, 1, 1, b""),
        (3, 1, 1, D64),
        (3, 1, 2, D32),
        (3, 0, 0, b""),
        (2, 0, 0, b"no certificate"),
    ],
)
def test_records_that_cannot_be_used(bad):
    assert usable([bad]) == ()


def test_the_strongest_hash_counts():
    weak, strong, other, whole = (3, 1, 1, D32), (3, 1, 2, D64), (3, 0, 1, D32), (3, 1, 0, b"x")
    assert usable([weak, strong, other, whole, weak]) == (strong, other, whole)


def test_no_more_than_some():
    assert len(usable([(3, 1, 0, bytes([n])) for n in range(200)])) == MOST


def test_a_key_that_cannot_be_shown():
    class Odd:
        def public_key(self):
            raise ValueError

    assert not fits((3, 1, 1, D32), Odd())


def test_words():
    assert words((3, 1, 1, bytes(range(32)))) == "TLSA 3 1 1 0001020304050607…"


def test_a_record_too_short_for_any_use_is_unusable():
    assert usable([(3, 255, 255, b"")]) == ()
