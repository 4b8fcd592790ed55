"""The node's certificates: who gets which, and what becomes of them when their files change."""

import contextlib

import pytest
from OpenSSL import SSL
from twisted.internet.defer import maybeDeferred, succeed
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from netsvc.certificates.keyfiles import CertificateError
from netsvc.certificates.shelf import DAY_MS, LOOK_S, Certificates
from netsvc.config.tls import TlsPair
from netsvc.interfaces import ICertificates
from tests import certs
from tests.fakes import FakeLogbook


class Node:
    """Certificates on a clock; ``served(name)`` is what a client that asks for ``name`` gets."""

    def __init__(self, folder, *names):
        self.folder = folder
        self.log = FakeLogbook()
        self.clock = Clock()
        self.now = int(certs.dt.datetime.now(certs.UTC).timestamp() * 1000)
        wanted = [self.pair(name) for name in names or ("",)]
        self.certificates = Certificates(wanted, self.log, now=lambda: self.now, listeners=["smtp"])

    def pair(self, name):
        file = name.replace("*", "any") or "usual"
        certificate, key, _ = certs.write(self.folder, file, names=(name or "mx1.example.org",))
        return TlsPair(name, certificate, key)

    def start(self):
        self.certificates.load()
        self.certificates.start(self.clock, maybeDeferred)
        return self

    def look(self):
        self.clock.advance(LOOK_S)

    def served(self, name=None):
        server = self.certificates.serverConnectionForTLS(None)
        server.set_accept_state()
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        client.set_connect_state()
        if name:
            client.set_tlsext_host_name(name)
        for _ in range(4):
            for one, other in ((client, server), (server, client)):
                with contextlib.suppress(SSL.WantReadError):
                    one.do_handshake()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(one.bio_read(1 << 16))
        return client.get_peer_certificate(as_cryptography=True)


def name_of(certificate):
    return certificate.subject.rfc4514_string()[3:]


def test_promises(tmp_path):
    node = Node(tmp_path)
    verifyObject(ICertificates, node.certificates)
    verifyObject(IOpenSSLServerConnectionCreator, node.certificates)


def test_sni(tmp_path):
    node = Node(tmp_path, "", "mx2.example.org", "*.example.net").start()
    for asked, got in {
        None: "mx1.example.org",
        b"mx1.example.org": "mx1.example.org",
        b"MX2.example.org": "mx2.example.org",
        b"a.example.net": "*.example.net",
        b"a.b.example.net": "mx1.example.org",
        b"example.net": "mx1.example.org",
    }.items():
        assert name_of(node.served(asked)) == got
    node.certificates.stop()


def test_a_pair_that_cannot_be_used_stops_the_start(tmp_path):
    node = Node(tmp_path, "", "mx2.example.org")
    (tmp_path / "mx2.example.org.key").write_bytes(b"")
    with pytest.raises(CertificateError, match=r"mx2\.example\.org\.key: is empty"):
        node.certificates.load()


@pytest.mark.parametrize("name", ["", "mx2.example.org"])
def test_new_files_are_read_and_half_ones_are_not(tmp_path, name):
    node = Node(tmp_path, "", "mx2.example.org").start()
    asked = name.encode() or None
    first = node.served(asked)
    file = name or "usual"
    certificate, key, value = certs.make((name or "mx1.example.org",))
    (tmp_path / f"{file}.pem").write_bytes(certificate)  # the key is still the old one
    node.look()
    node.look()
    assert node.served(asked) == first
    (refused,) = node.log.named("tls.certificate_refused")
    assert refused["name"] == name
    assert "is not the key of" in refused["why"]
    row = next(row for row in node.certificates.rows() if row["name"] == (name or "*"))
    assert row["error"] == refused["why"]
    (tmp_path / f"{file}.key").write_bytes(key)
    node.look()
    assert node.served(asked) == value
    assert len(node.log.named("tls.certificate_read")) == 1
    assert not any(row["error"] for row in node.certificates.rows())
    node.look()
    assert len(node.log.named("tls.certificate_read")) == 1
    node.certificates.stop()
    node.certificates.stop()


def test_a_session_keeps_what_it_began_with(tmp_path):
    node = Node(tmp_path).start()
    before = node.certificates.serverConnectionForTLS(None)
    context = before.get_context()
    certs.write(tmp_path, "usual")
    node.look()
    assert before.get_context() is context
    assert node.certificates.serverConnectionForTLS(None).get_context() is not context
    node.certificates.stop()


def test_files_that_go_and_come_back(tmp_path):
    node = Node(tmp_path).start()
    kept = (tmp_path / "usual.key").read_bytes()
    (tmp_path / "usual.key").unlink()
    node.look()
    assert "cannot be read" in node.certificates.rows()[0]["error"]
    (tmp_path / "usual.key").write_bytes(kept)
    node.look()
    assert node.certificates.rows()[0]["error"] == ""
    node.certificates.stop()


def test_the_end_is_warned_of_daily(tmp_path):
    node = Node(tmp_path).start()
    assert node.log.named("tls.certificate_expires") == []
    node.now += 80 * DAY_MS
    node.look()
    node.look()
    (warned,) = node.log.named("tls.certificate_expires")
    assert (warned["days"], warned["why"]) == (9, "expiring")
    node.now += DAY_MS
    node.look()
    node.now += 30 * DAY_MS
    node.look()
    assert [each["why"] for each in node.log.named("tls.certificate_expires")] == ["expiring", "expiring", "expired"]
    assert node.certificates.rows()[0]["state"] == "expired"
    node.certificates.stop()


def test_one_that_is_not_valid_yet(tmp_path):
    node = Node(tmp_path)
    node.now -= 30 * DAY_MS
    node.start()
    assert node.log.named("tls.certificate_expires")[0]["why"] == "not yet valid"
    assert node.certificates.rows()[0]["state"] == "not yet valid"
    node.certificates.stop()


def test_rows(tmp_path):
    node = Node(tmp_path).start()
    (row,) = node.certificates.rows()
    assert row["name"] == "*"
    assert row["names"] == ["mx1.example.org"]
    assert row["issuer"] == "CN=mx1.example.org"
    assert (row["state"], row["days"]) == ("ok", 89)
    assert (row["listeners"], row["file"], row["read"]) == (["smtp"], str(tmp_path / "usual.pem"), node.now)
    node.certificates.stop()


def test_without_any_nothing_runs(tmp_path):
    certificates = Certificates((), FakeLogbook(), now=lambda: 0)
    clock = Clock()
    certificates.load()
    certificates.start(clock, maybeDeferred)
    assert clock.getDelayedCalls() == []
    assert certificates.rows() == []


def test_a_mistake_of_ours_is_logged_and_the_next_look_comes(tmp_path):
    node = Node(tmp_path)
    node.certificates.load()
    node.certificates.start(node.clock, lambda work: succeed(None).addCallback(lambda _: 1 / 0))
    node.look()
    assert len(node.log.named("tls.fault")) == 2
    node.certificates.stop()
