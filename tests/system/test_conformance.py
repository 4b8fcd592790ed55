"""The conformance suite against the real process: each dialogue turn by turn, whole, and byte by byte.

All are held with one service; then what was kept is exported once, and each test looks at what came of its own. The
octets beyond LONG of a turn go in pieces of PIECE, all but its last ones.
"""

import json
import re
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import certs
from tests.smtp.conformance.book import CHECKS
from tests.smtp.conformance.check import (
    HANDSHAKE,
    LMTP,
    MAX_MESSAGES,
    MAX_RECIPIENTS,
    PASSWORD,
    SUBMISSION,
    SUBMISSIONS,
    TRANSFER,
    USER,
)
from tests.smtp.test_conformance import assert_said
from tests.system.service import LOOPBACK, SITE, Service
from tests.system.wire import DEADLINE, Line, without_trace

CLIENTS = 4
LONG, PIECE = 4096, 509
TURNS, WHOLE, BYTES = WAYS = ("turns", "whole", "bytes")
_LISTENER = """
[listeners.{name}]
protocol = "smtp"
endpoint = "{endpoint}"
service = "{service}"
tls = "{tls}"
max_message_size = "64K"
max_recipients = {recipients}
max_messages = {messages}
"""
_TLS = {TRANSFER: "starttls", SUBMISSION: "starttls", SUBMISSIONS: "implicit", LMTP: "none"}
NODE = """
hostname = "mx1.example.org"
state = "state"
control_socket = "state/console.sock"
store = "{store}"

[tls]
certificate = "cert.pem"
key = "cert.key"
""" + "".join(
    _LISTENER.format(
        name=door,
        endpoint=LOOPBACK,
        service="submission" if door == SUBMISSIONS else door,
        tls=tls,
        recipients=MAX_RECIPIENTS,
        messages=MAX_MESSAGES,
    )
    for door, tls in _TLS.items()
)
STRICT = SITE.replace('relay_from = ["127.0.0.0/8"]\n', "")
_ID = re.compile(r"(?<= )[0-9A-Z]{13}(?= queued)")


def _context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


CONTEXT = _context()


class Client(Line):
    """A client that holds one check's dialogue; ``replies`` are what it heard, ``closed`` whether the service closed."""

    def __init__(self, check, port):
        super().__init__(socket.create_connection(("127.0.0.1", port), DEADLINE))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = []
        self.closed = False
        if check.door == SUBMISSIONS:
            self.begin_tls()

    def begin_tls(self):
        self.sock = CONTEXT.wrap_socket(self.sock)

    def hear(self, count):
        for _ in range(count):
            lines = []
            while not lines or lines[-1][3:4] == "-":
                lines.append(self.read_line().decode("ascii"))
            self.replies.append("\n".join(lines))

    def hold(self, check, way):
        self.hear(1)
        for number, turns in enumerate(check.segments):
            if number:
                self.begin_tls()
            if way == TURNS:
                for turn in turns:
                    self.send(turn.sends)
                    self.hear(len(turn.replies))
                continue
            data = b"".join(turn.sends for turn in turns)
            if way == WHOLE:
                self.send(data)
            else:
                self.send_bytes(data)
            self.hear(sum(len(turn.replies) for turn in turns))
        if check.ends:
            assert self.read_to_end() == b""
            self.closed = True

    def send_bytes(self, data):
        place = 0
        while place < len(data):
            step = 1 if not LONG < place < len(data) - LONG else PIECE
            self.send(data[place : place + step])
            place += step


def hold(service, check, way):
    """Hold a check's dialogue -> its replies, or the exception that came instead."""
    try:
        with Client(check, service.ports[check.door]) as client:
            client.hold(check, way)
            return client.replies
    except (AssertionError, OSError, UnicodeError) as error:  # it is the test's to tell
        return error


class Findings:
    """What came of all dialogues: ``said`` {(name, way): replies}, ``kept`` {(queue id, mailbox): content as exported}."""

    def __init__(self, service):
        ways = [(check, way) for check in CHECKS for way in WAYS if not (check.glued and way == BYTES)]
        with ThreadPoolExecutor(CLIENTS) as clients:
            said = clients.map(lambda pair: hold(service, *pair), ways)
            self.said = {(check.name, way): replies for (check, way), replies in zip(ways, said, strict=True)}
        asked = sum(1 for check, _ in ways if check.reports)
        service.wait("delivery.reported", count=asked)
        exported = {
            address: service.export(address)
            for address in ("bob", "alice", "postmaster")
            for address in [address + "@example.org"]
        }
        self.kept = {
            (name.partition("-")[2].removesuffix(".eml"), address): data
            for address, files in exported.items()
            for name, data in files.items()
        }
        self.reports = [data.decode() for data in exported[USER].values() if b"\r\nOriginal-Envelope-Id: " in data]


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conformance")
    certs.write(folder, names=("mx1.example.org",))
    service = Service(folder, node=NODE, site=STRICT)
    try:
        service.start()
        service.netsvcctl("--json", data=f"user add {USER} mailbox password {json.dumps(PASSWORD)}\n")
        yield Findings(service)
    finally:
        service.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_conformance(findings, check):
    ways = [way for way in WAYS if (check.name, way) in findings.said]
    assert HANDSHAKE not in check.turns or check.door in (TRANSFER, SUBMISSION)
    heard = []
    for way in ways:
        replies = findings.said[check.name, way]
        assert isinstance(replies, list), f"{way}: {replies!r}"
        assert_said(check, replies)
        heard.append([_ID.sub("ID", reply) for reply in replies])
        ids = [match[0] for reply in replies if (match := _ID.search(reply))]
        for queue_id, stored in zip(dict.fromkeys(ids), check.stored, strict=True):
            assert_kept(findings, queue_id, stored, own=check.door in (SUBMISSION, SUBMISSIONS))
    assert all(replies == heard[0] for replies in heard)
    if check.envid:
        found = [data for data in findings.reports if f"\r\nOriginal-Envelope-Id: {check.envid}\r\n" in data]
        assert len(found) == (len(ways) if check.reports else 0)
        for data in found:
            for pattern in check.reports:
                assert re.search(pattern, data, re.DOTALL), data


def assert_kept(findings, queue_id, stored, *, own):
    """Assert that a message is in its mailboxes and in no other, as it was sent; ``own``: fields of ours may be added."""
    found = {address: data for (one, address), data in findings.kept.items() if one == queue_id}
    assert found.keys() == set(stored.to)
    for data in found.values():
        trace, content = without_trace(data)
        if own and content.endswith(stored.content):
            trace += content.removesuffix(stored.content)
            content = stored.content
        assert content == stored.content
        assert re.search(stored.trace, trace.decode(), re.DOTALL), trace
