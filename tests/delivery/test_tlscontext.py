"""TLS towards other hosts, by whole handshakes in memory against certificates of an authority of the tests."""

import contextlib
import datetime as dt

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

from netsvc.delivery import tlscontext
from netsvc.delivery.terms import Host, TlsLevel, TlsTerms
from netsvc.delivery.tlscontext import Authorities, connection_creator
from netsvc.mail.outcome import Fault
from tests import certs

UTC = dt.UTC
NAME = "mx1.example.org"
HOST = Host(NAME, ("192.0.2.1",))
OPPORTUNISTIC = TlsTerms()
VERIFY = TlsTerms(TlsLevel.VERIFY, source="site")


class Protocol:
    def __init__(self):
        self.failed = None

    def failVerification(self, reason):
        self.failed = reason.value


@pytest.fixture(scope="module")
def ca():
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="module")
def authorities(ca, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return Authorities(str(path))


def server(leaf=None, *, pair=None, version=None):
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    if version is not None:
        context.set_max_proto_version(version)
    if leaf is not None:
        leaf.configure_cert(context)
    else:
        key, certificate = pair
        context.use_certificate(certificate)
        context.use_privatekey(key)
    return context


def shake(context, host, terms, authorities):
    """Shake hands -> (PeerCheck, the client's connection, the name the server was asked for, Protocol)."""
    far = SSL.Connection(context, None)
    far.set_accept_state()
    protocol = Protocol()
    check = connection_creator(host, terms, authorities)
    near = check.clientConnectionForTLS(protocol)
    near.set_connect_state()
    for _ in range(6):
        for one, other in ((near, far), (far, near)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(1 << 16))
    with contextlib.suppress(SSL.WantReadError):
        near.recv(1)  # the tickets of TLS 1.3, of which nothing is made
    return check, near, far.get_servername(), protocol


def test_a_good_certificate_is_verified(ca, authorities):
    check, near, asked, protocol = shake(server(ca.issue_cert(NAME)), HOST, VERIFY, authorities)
    assert (check.done, check.verified, check.by, check.problem) == (True, True, NAME, "")
    assert check.error is None
    assert protocol.failed is None
    assert asked == NAME.encode()
    assert check.describe(near) == f"TLSv1.3 TLS_AES_256_GCM_SHA384 verified {NAME} (site)"


def test_it_is_known_to_be_good_though_nobody_asks(ca, authorities):
    check, near, _, _ = shake(server(ca.issue_cert(NAME), version=SSL.TLS1_2_VERSION), HOST, OPPORTUNISTIC, authorities)
    assert check.verified
    assert check.describe(near).startswith("TLSv1.2 ECDHE-")
    assert check.describe(near).endswith(f"verified {NAME} (default)")


def bad(ca, what):
    now = dt.datetime.now(UTC)
    if what == "name":
        return server(ca.issue_cert("other.example.org", "third.example.org"))
    if what == "expired":
        return server(ca.issue_cert(NAME, not_before=now - dt.timedelta(9), not_after=now - dt.timedelta(1)))
    if what == "stranger":
        return server(trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert(NAME))
    key = certs.new_key()
    return server(pair=(key, certs.make((NAME,), key=key)[2]))


BAD = [
    ("name", f"its certificate does not bear {NAME}, but other.example.org, third.example.org"),
    ("expired", "its certificate has expired"),
    ("stranger", "its certificate's authority is not known"),
    ("self", "its certificate is signed by itself"),
]


@pytest.mark.parametrize(("what", "problem"), BAD)
def test_a_bad_certificate_ends_the_connection_where_it_must_be_good(ca, authorities, what, problem):
    check, _, _, protocol = shake(bad(ca, what), HOST, VERIFY, authorities)
    assert check.done
    assert not check.verified
    assert check.problem == problem
    assert protocol.failed is check.error
    assert (check.error.fault, check.error.status) == (Fault.TLS, "4.7.5")
    assert check.error.words == f"TLS with {NAME} cannot be trusted (site): {problem}"


@pytest.mark.parametrize(("what", "problem"), BAD)
@pytest.mark.parametrize("level", [TlsLevel.OPPORTUNISTIC, TlsLevel.ENCRYPT])
def test_a_bad_certificate_does_where_none_is_asked_for(ca, authorities, what, problem, level):
    check, near, _, protocol = shake(bad(ca, what), HOST, TlsTerms(level), authorities)
    assert check.problem == problem
    assert check.error is None
    assert protocol.failed is None
    assert check.describe(near).endswith(" unverified (default)")


@pytest.mark.parametrize(
    ("borne", "names", "good"),
    [
        ("relay.example.net", ("a.example.net", "relay.example.net"), "relay.example.net"),
        ("relay.example.net", ("*.example.net",), "*.example.net"),
        ("*.example.net", ("*.example.net",), "*.example.net"),
        ("*.example.net", ("relay.example.net",), "relay.example.net"),
        ("deep.relay.example.net", ("*.example.net",), ""),
        ("example.net", ("*.example.net",), ""),
        ("relay.example.net", ("not a name",), ""),
        (NAME, ("relay.example.net",), ""),
        ("192.0.2.1", ("192.0.2.1",), "192.0.2.1"),
        ("192.0.2.1", ("192.0.2.2",), ""),
        ("192.0.2.1", ("*.example.org",), ""),
    ],
)
def test_the_names_that_are_wanted(ca, authorities, borne, names, good):
    terms = TlsTerms(TlsLevel.VERIFY, names, source="site")
    check, _, asked, _ = shake(server(ca.issue_cert(borne)), HOST, terms, authorities)
    assert check.by == good
    assert check.verified is bool(good)
    assert asked == NAME.encode()


def tlsa(usage, certificate):
    return (usage, 0, 1, certificate.fingerprint(hashes.SHA256()))


@pytest.mark.parametrize("what", ["name", "expired", "stranger", "self"])
def test_a_record_of_the_certificate_itself(ca, authorities, what):
    context = bad(ca, what)
    check, near, asked, protocol = shake(
        context,
        HOST,
        TlsTerms(TlsLevel.VERIFY, ("base.example.org",), (tlsa(3, certificate_of(context, authorities)),), "dane"),
        authorities,
    )
    assert check.verified
    assert protocol.failed is None
    assert asked == b"base.example.org"
    assert "verified TLSA 3 0 1 " in check.describe(near)


def certificate_of(context, authorities):
    _, near, _, _ = shake(context, HOST, OPPORTUNISTIC, authorities)
    return near.get_peer_certificate(as_cryptography=True)


@pytest.mark.parametrize(
    ("borne", "right", "problem"),
    [
        (NAME, True, ""),
        ("example.org", True, ""),
        ("other.example.org", True, "does not bear mx1.example.org or example.org, but other.example.org"),
        (NAME, False, "fits none of its 1 TLSA records"),
    ],
)
def test_a_record_of_its_authority(authorities, borne, right, problem):
    own = trustme.CA(key_type=trustme.KeyType.ECDSA)
    middle = own.create_child_ca(key_type=trustme.KeyType.ECDSA)
    context = server(middle.issue_cert(borne))
    anchor = x509.load_pem_x509_certificate((middle if right else own).cert_pem.bytes())
    terms = TlsTerms(TlsLevel.VERIFY, (NAME, "example.org"), (tlsa(2, anchor),), "dane")
    check, _, _, protocol = shake(context, HOST, terms, authorities)
    assert check.problem.endswith(problem)
    assert check.verified is not bool(problem)
    assert (protocol.failed is None) is check.verified


def test_an_address_is_no_name_to_ask_for(ca, authorities):
    host = Host("192.0.2.1", ("192.0.2.1",))
    check, _, asked, _ = shake(server(ca.issue_cert("192.0.2.1")), host, VERIFY, authorities)
    assert check.by == "192.0.2.1"
    assert asked is None


def test_tls_is_at_least_1_2(ca, authorities):
    context = server(ca.issue_cert(NAME), version=SSL.TLS1_1_VERSION)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    with pytest.raises(SSL.Error):
        shake(context, HOST, OPPORTUNISTIC, authorities)


def test_nothing_shown_is_nothing_verified(authorities):
    check = connection_creator(HOST, VERIFY, authorities)
    assert check.refusal.words == f"TLS with {NAME} has not been judged"
    assert connection_creator(HOST, OPPORTUNISTIC, authorities).refusal is None
    check.judge([])
    assert check.problem == "it has shown no certificate"
    assert check.error is not None


def test_names_that_cannot_be_read(ca, authorities):
    certificate = certs.make(("a*b*.example.org",))[2]
    check = connection_creator(HOST, VERIFY, authorities)
    check.judge([certificate])
    assert check.problem == "its certificate bears names that cannot be read"


def test_certificates_that_cannot_be_judged(authorities):
    check = connection_creator(HOST, TlsTerms(TlsLevel.VERIFY, (NAME,), ((3, 0, 1, b"d" * 32),), "dane"), authorities)
    check.judge([object(), object()])
    assert check.refusal is check.error
    check = connection_creator(HOST, VERIFY, authorities)
    check.judge([object()])
    assert check.problem == "its certificate cannot be judged (AttributeError)"
    assert not check.verified


def test_certificates_that_cannot_be_read():
    class Odd:
        def get_peer_cert_chain(self, **_):
            raise ValueError

    assert tlscontext._shown(Odd()) == []


def test_a_number_without_words(authorities):
    check = connection_creator(HOST, VERIFY, authorities)
    check.chain_fault(77)
    check.chain_fault(10)
    check.judge([certs.make((NAME,))[2]])
    assert check.problem == "its certificate is not valid (X.509 error 77)"


def test_the_hosts_authorities_are_the_default(ca):
    check, _, _, _ = shake(server(ca.issue_cert(NAME)), HOST, VERIFY, None)
    assert check.problem == "its certificate's authority is not known"


def test_authorities_that_cannot_be_read(tmp_path):
    with pytest.raises(SSL.Error):
        Authorities(str(tmp_path / "none.pem"))
