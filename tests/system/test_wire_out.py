"""The wire on the way out through the real process: smarthosts with TLS and AUTH, and servers that mean harm."""

import base64
import threading

import pytest
import trustme

from tests.system.peers import Peer
from tests.system.service import NODE, SITE, Service
from tests.system.wire import CRLF, Control, send

HEAD = b"From: <alice@example.org>\r\nSubject: to the world\r\n\r\nhello\r\n"
USER, PASSWORD = "netsvc@example.org", "c0rrect h=rse, battery"
PLAIN = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())


def smarthost(conversation):
    """STARTTLS, then SCRAM before all else."""
    conversation.say("220 smarthost.example.net ESMTP")
    conversation.hello("STARTTLS")
    conversation.begin_tls()
    conversation.hello("AUTH PLAIN LOGIN SCRAM-SHA-256")
    if conversation.scram(USER, PASSWORD):
        conversation.take_mail()


def plain(conversation):
    """AUTH PLAIN alone, which fails."""
    conversation.say("220 plain.example.net")
    conversation.hello("STARTTLS", "AUTH PLAIN")
    conversation.begin_tls()
    conversation.hello("AUTH PLAIN")
    assert conversation.read_line() == b"AUTH PLAIN " + PLAIN
    conversation.say(f"535 5.7.8 who is {USER}?")
    conversation.read_to_end()


def broken(conversation):
    """Offer TLS and break it; take mail in clear from who comes back."""
    conversation.say("220 broken.example.net")
    conversation.hello("STARTTLS")
    line = conversation.read_line()
    if line == b"STARTTLS":
        conversation.say("220 go", "this is not TLS")
        return
    conversation.say("250 ok")
    conversation.take_mail()


def late(conversation):
    """Break TLS within the handshake, as old load balancers do."""
    conversation.say("220 late.example.net")
    conversation.hello("STARTTLS")
    line = conversation.read_line()
    if line == b"STARTTLS":
        conversation.say("220 go")
        conversation.sock.recv(1)
        return
    conversation.say("250 ok")
    conversation.take_mail()


def endless(conversation):
    """Never end the banner."""
    for _ in range(100_000):
        conversation.say(*["220-welcome"] * 100)


def wide(conversation):
    """Say a line that does not end."""
    conversation.say("220 hi")
    conversation.read_line()
    for _ in range(10_000):
        conversation.send(b"250-" + b"x" * 1000)


def early(conversation):
    """Say everything before it is asked."""
    conversation.say("220 hi", "250 ok", "250 ok", "250 ok", "354 go", "250 taken")
    conversation.read_to_end()


def mixed(conversation):
    """Answer in two minds."""
    conversation.say("220 hi")
    conversation.read_line()
    conversation.say("250-mx", "550 no")
    conversation.read_to_end()


MUTE = threading.Event()


def mute(conversation):
    """Say nothing."""
    del conversation
    MUTE.wait(60)


PEERS = (smarthost, plain, broken, late, endless, wide, early, mixed, mute)


class World:
    def __init__(self, folder):
        ca = trustme.CA()
        ca.cert_pem.write_to_path(folder / "ca.pem")
        leaf = ca.issue_cert("127.0.0.1")
        self.peers = {talk.__name__: Peer(talk, leaf) for talk in PEERS}
        routes = "".join(f'"{name}.example" = "[127.0.0.1]:{peer.port}"\n' for name, peer in self.peers.items())
        logins = "".join(
            f'[site.destinations."[127.0.0.1]:{self.peers[name].port}"]\ntls = "verify"\ncredential = "relay"\n'
            for name in ("smarthost", "plain")
        )
        self.service = Service(
            folder, node='tls_ca_file = "ca.pem"\n' + NODE, site=SITE + "[site.routes]\n" + routes + logins
        )

    def start(self):
        self.service.start()
        with Control(self.service.control) as operator:
            operator.do(f'credential set relay user {USER} password "{PASSWORD}"')
        return self

    def send(self, name):
        send(self.service.ports["smtp"], "alice@example.org", [f"bob@{name}.example"], HEAD)

    def outcome(self, name, result):
        self.send(name)
        self.service.wait("delivery.done", rcpt=f"bob@{name}.example", result=result)
        with Control(self.service.control) as operator:
            kind = "history" if result == "delivered" else "queue"
            (row, *_) = operator.rows(f"show {kind} where domain={name}.example")
            return row

    def close(self):
        MUTE.set()
        try:
            self.service.close()
        finally:
            for peer in self.peers.values():
                peer.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    try:
        yield world.start()
    finally:
        world.close()


def test_a_smarthost_with_tls_and_scram(world):
    world.peers["smarthost"].messages.clear()
    row = world.outcome("smarthost", "delivered")
    assert row["rcpt"] == "bob@smarthost.example"
    assert row["tls"].startswith("TLSv1.3 TLS_")
    assert row["tls"].endswith(" verified 127.0.0.1 (site)")
    ((sender, content),) = world.peers["smarthost"].messages
    assert sender.startswith(b"MAIL FROM:<alice@example.org> AUTH=<>")
    assert content.endswith(HEAD)
    assert_no_secret(world)


def test_large_content_through_tls(world):
    """More than sockets and TLS hold at a time: the reading of the body waits for the peer."""
    line = b"0123456789" * 7 + CRLF
    content = HEAD + line * 60_000 + b"..two dots" + CRLF
    world.peers["smarthost"].messages.clear()
    send(world.service.ports["smtp"], "alice@example.org", ["large@smarthost.example"], content)
    world.service.wait("delivery.done", rcpt="large@smarthost.example", result="delivered")
    ((_, taken),) = world.peers["smarthost"].messages
    assert taken.endswith(content)
    assert taken.startswith(b"Received: ")


def test_a_wrong_password_defers_and_shows_nothing(world):
    row = world.outcome("plain", "deferred")
    assert (row["status"], row["code"]) == ("4.7.8", None)
    assert "the peer does not take our credential: PLAIN: 535 5.7.8 who is" in row["error"]
    with Control(world.service.control) as operator:
        (attempt,) = operator.rows(f"show message {row['msg']} attempts")
    assert "AUTH PLAIN (" in attempt["transcript"]
    assert PLAIN.decode() not in attempt["transcript"]
    assert_no_secret(world)


def assert_no_secret(world):
    log = "\n".join(world.service.lines)
    assert PASSWORD not in log
    assert PLAIN.decode() not in log
    files = [path.read_bytes() for path in world.service.state.rglob("*") if path.is_file()]
    assert any(b"alice@example.org" in data for data in files)
    assert not any(secret in data for data in files for secret in (PASSWORD.encode(), PLAIN))


def test_broken_tls_is_left_out_once_where_it_is_not_asked_for(world):
    row = world.outcome("late", "delivered")
    assert not row["tls"]
    assert world.peers["late"].connections == 2


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("broken", "4.7.5", "somebody meddles with STARTTLS"),
        ("endless", "4.5.0", "more than 100 lines"),
        ("wide", "4.5.0", "line of more than 2048 octets"),
        ("early", "4.5.0", "a reply nobody asked for"),
        ("mixed", "4.5.0", "with the codes 250 and 550"),
    ],
)
def test_who_means_harm_gets_no_mail(world, name, status, words):
    world.send("mute")  # which delays nobody
    row = world.outcome(name, "deferred")
    assert row["status"] == status
    assert words in row["error"]
    assert world.peers[name].messages == []
