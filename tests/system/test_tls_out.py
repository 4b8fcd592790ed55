"""TLS towards other hosts by what they publish: MTA-STS and DANE against peers and policy hosts on loopback.

All hosts are on 127.0.0.x with one port; the name server says that it validates.
"""

import hashlib
import http.server
import ssl
import threading

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.system.service import NODE, SITE, Service
from tests.system.wire import Control, Line, Sink, send
from tests.zones import ZoneProcess

HEAD = b"From: <alice@example.org>\r\nSubject: to the world\r\n\r\nhello\r\n"
GOOD, BAD, CLEAR = "127.0.0.2", "127.0.0.3", "127.0.0.4"
POLICY = "version: STSv1\r\nmode: {mode}\r\nmx: {host}\r\nmax_age: 604800\r\n"


class TlsSink(Sink):
    """A Sink that offers STARTTLS with a certificate; ``clear`` are the commands it was sent outside of TLS."""

    def __init__(self, leaf, **options):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(self.context)
        self.clear = []
        super().__init__(**options)

    def _talk(self, line):
        line.send(b"220 sink.example.net ESMTP\r\n")
        while True:
            command = line.read_line()
            self.clear.append(command)
            if command[:4].upper() == b"EHLO":
                line.send(b"250-sink.example.net\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n")
            elif command.upper() == b"STARTTLS":
                line.send(b"220 2.0.0 go\r\n")
                break
            else:
                line.send(b"250 2.0.0 ok\r\n")
        with self.context.wrap_socket(line.sock, server_side=True) as sock:
            super()._talk(Secured(sock))


class Secured(Line):
    """A line after STARTTLS, on which the banner is not said again."""

    silent = True

    def send(self, data):
        if self.silent:
            self.silent = False
        else:
            super().send(data)


class Policies:
    """The policy host of all domains: ``files`` are {domain: body}."""

    def __init__(self, leaf):
        files = self.files = {}

        class Request(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = files.get(self.headers["Host"].partition(":")[0].removeprefix("mta-sts."))
                if body is None or self.path != "/.well-known/mta-sts.txt":
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self._server.handle_error = lambda *_: None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def tlsa(leaf):
    certificate = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return [3, 1, 1, hashlib.sha256(key).hexdigest()]


class World:
    """A service, its name server, a policy host, and peers with a good certificate, a bad one, and none."""

    def __init__(self, folder):
        ca, stranger = trustme.CA(), trustme.CA()
        ca.cert_pem.write_to_path(folder / "ca.pem")
        bad = stranger.issue_cert("other.example.net")
        self.good = TlsSink(ca.issue_cert("mx.good.example"), host=GOOD)
        self.port = self.good.port
        self.bad = TlsSink(bad, host=BAD, port=self.port)
        self.clear = Sink(host=CLEAR, port=self.port)
        domains = ("enforced", "badcert", "stripped", "unlisted", "tested")
        self.policies = Policies(ca.issue_cert(*(f"mta-sts.{name}.example" for name in domains)))
        zone = {
            "mx.good.example": {"A": [GOOD]},
            "mx.bad.example": {"A": [BAD]},
            "mx.clear.example": {"A": [CLEAR]},
            "enforced.example": {"MX": [[10, "mx.good.example"]]},
            "badcert.example": {"MX": [[10, "mx.bad.example"]]},
            "stripped.example": {"MX": [[10, "mx.clear.example"]]},
            "unlisted.example": {"MX": [[10, "mx.good.example"]]},
            "tested.example": {"MX": [[10, "mx.bad.example"]]},
            "unpublished.example": {"MX": [[10, "mx.bad.example"]]},
            "dane.example": {"MX": [[10, "right.dane.example"]]},
            "right.dane.example": {"A": [BAD]},
            f"_{self.port}._tcp.right.dane.example": {"TLSA": [tlsa(bad)]},
            "notdane.example": {"MX": [[10, "wrong.dane.example"]]},
            "wrong.dane.example": {"A": [GOOD]},
            f"_{self.port}._tcp.wrong.dane.example": {"TLSA": [tlsa(bad)]},
            "nodane.example": {"MX": [[10, "broken.dane.example"]]},
            "broken.dane.example": {"A": [GOOD]},
            f"_{self.port}._tcp.broken.dane.example": "SERVFAIL",
        }
        for name in domains:
            zone[f"_mta-sts.{name}.example"] = {"TXT": ["v=STSv1; id=20261123;"]}
            zone[f"mta-sts.{name}.example"] = {"A": ["127.0.0.1"]}
            mode = "testing" if name == "tested" else "enforce"
            host = "mx.elsewhere.example" if name == "unlisted" else "*." + zone[f"{name}.example"]["MX"][0][1][3:]
            self.policies.files[f"{name}.example"] = POLICY.format(mode=mode, host=host)
        self.zone = ZoneProcess(zone, authentic=True)
        more = f"""
[site.delivery]
dns = ["{self.zone.at}"]
mx_port = {self.port}
mta_sts_port = {self.policies.port}
mx_allow_networks = ["127.0.0.0/8"]
"""
        self.service = Service(folder, node='tls_ca_file = "ca.pem"\n' + NODE, site=SITE + more)

    def outcome(self, domain, result):
        send(self.service.ports["smtp"], "alice@example.org", [f"bob@{domain}"], HEAD)
        self.service.wait("delivery.done", rcpt=f"bob@{domain}", result=result)
        with Control(self.service.control) as operator:
            if result == "delivered":
                (row, *_) = operator.rows(f"show history where domain={domain}")
                return row["tls"]
            (row,) = operator.rows(f"show queue where domain={domain}")
            return f"{row['status']} {row['error']}"

    def close(self):
        try:
            self.service.close()
        finally:
            for one in (self.good, self.bad, self.clear, self.policies, self.zone):
                one.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    try:
        world.service.start()
        yield world
    finally:
        world.close()


@pytest.mark.parametrize(
    ("domain", "how"),
    [
        ("enforced.example", "verified mx.good.example (mta-sts)"),
        ("tested.example", "unverified (mta-sts testing)"),
        ("unpublished.example", "unverified (default)"),
    ],
)
def test_mail_goes_by_tls_and_history_says_how_good_it_was(world, domain, how):
    words = world.outcome(domain, "delivered")
    assert words.startswith("TLSv1.3 TLS_")
    assert words.endswith(how)


def test_dane_takes_the_certificate_that_is_published_whoever_signed_it(world):
    assert " verified TLSA 3 1 1 " in world.outcome("dane.example", "delivered")


@pytest.mark.parametrize(
    ("domain", "why"),
    [
        ("badcert.example", "4.7.5 TLS with mx.bad.example cannot be trusted (mta-sts): its certificate"),
        ("stripped.example", "4.7.4 mx.clear.example does not offer STARTTLS"),
        ("unlisted.example", "4.7.5 mx.good.example is not used: the domain's MTA-STS policy does not name it"),
        ("notdane.example", "4.7.5 TLS with wrong.dane.example cannot be trusted (dane): its certificate fits none"),
        ("nodane.example", "4.7.5 the TLSA records of broken.dane.example cannot be looked up"),
    ],
)
def test_mail_waits_rather_than_go_where_it_must_not(world, domain, why):
    assert world.outcome(domain, "deferred").startswith(why)
    for sink in (world.good, world.bad, world.clear):
        assert not any(f"bob@{domain}" in recipients for _, recipients, _ in sink.messages)
    for sink in (world.good, world.bad):
        assert {command[:4].upper() for command in sink.clear} <= {b"EHLO", b"STAR", b"QUIT"}


def test_a_policy_outlives_the_service_and_its_host(world):
    world.outcome("enforced.example", "delivered")
    world.service.stop()
    kept, world.policies.files = dict(world.policies.files), {}
    world.policies.files.clear()
    world.service.start()
    assert world.outcome("enforced.example", "delivered").endswith("(mta-sts)")
    world.policies.files |= kept
    with Control(world.service.control) as operator:
        (row,) = operator.rows("show tls-policies enforced.example")
        assert (row["mode"], row["hosts"]) == ("enforce", ["*.good.example"])
        operator.do("tls-policies forget enforced.example")
        assert operator.rows("show tls-policies enforced.example") == []
