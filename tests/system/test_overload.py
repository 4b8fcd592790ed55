"""The real service where something has run out: descriptors, space, a disk that works; and clients passed on by proxies."""

import contextlib
import json
import os
import resource
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from tests import certs
from tests.system.service import NODE, SITE, Service
from tests.system.wire import Smtp, queue_id

BODY = b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n"
SMALL = NODE.replace('max_message_size = "50M"', 'max_message_size = "1M"')
PROXIED = NODE + '\n[listeners.proxied]\nprotocol = "smtp"\nendpoint = "{smtp}"\nproxy_from = ["127.0.0.0/8"]\n'


def rows(service, command):
    answer = service.netsvcctl("--json", command)
    return [each["row"] for each in map(json.loads, answer.stdout.splitlines()) if "row" in each]


def health(service):
    return {row["name"]: row for row in rows(service, "show health")}


def until(look, seconds=10.0):
    """Ask ``look`` until it is true -> how long that took."""
    begun = time.monotonic()
    while not look():
        assert time.monotonic() - begun < seconds
        time.sleep(0.05)
    return time.monotonic() - begun


def mail_from(port):
    with Smtp(port) as smtp:
        smtp.say("EHLO client.example.net")
        return smtp.say("MAIL FROM:<bob@example.net>")


# -- who the client is ------------------------------------------------------------------


def test_proxies_and_stand_ins(make_service):
    node = PROXIED.replace("[listeners.console]", 'xclient_from = ["127.0.0.1/32"]\n\n[listeners.console]')
    service = make_service(node=node).start()
    assert service.events("smtp.xclient_allowed", listener="smtp")
    port = service.ports["proxied"]
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        plain.sendall(b"EHLO client.example.net\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert plain.recv(100) == b""
    service.wait("smtp.proxy_refused", listener="proxied", proxy="127.0.0.1")
    with Passed(port, b"PROXY TCP4 192.0.2.1 192.0.2.9 40000 25\r\n") as smtp:
        replies = (
            smtp.say("EHLO c"),
            smtp.say("MAIL FROM:<bob@example.net>"),
            smtp.say("RCPT TO:<joe@elsewhere.example>"),
        )
        assert [each[:3] for each in replies] == ["250", "250", "550"]  # relay_from has the proxy, not the client
        assert smtp.say("RCPT TO:<alice@example.org>").startswith("250")
        smtp.say("DATA")
        queue_id(smtp.content(BODY))
    service.wait("message.accepted", peer="192.0.2.1")
    assert b"192.0.2.1" in next(iter(service.export("alice@example.org").values()))
    with Smtp(service.ports["smtp"]) as smtp:
        assert "XCLIENT" in smtp.say("EHLO c")
        assert smtp.say("XCLIENT ADDR=192.0.2.2 HELO=x").startswith("220")
        smtp.say("EHLO c")
        smtp.say("MAIL FROM:<bob@example.net>")
        assert smtp.say("RCPT TO:<joe@elsewhere.example>").startswith("550")
    service.wait("smtp.client_replaced", peer="192.0.2.2", by="127.0.0.1")


def test_a_proxy_before_tls(make_service):
    listener = '\n[listeners.submissions]\nprotocol = "smtp"\nendpoint = "{smtp}"\ntls = "implicit"\nproxy_from = ["127.0.0.0/8"]\n'
    service = make_service(node=NODE + listener + '\n[tls]\ncertificate = "cert.pem"\nkey = "cert.key"\n')
    certs.write(service.folder)
    service.start()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", service.ports["submissions"]), 20) as plain:
        plain.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.9 40000 465\r\n")
        with context.wrap_socket(plain) as secure:
            assert secure.recv(100).startswith(b"220 ")
            row = next(row for row in rows(service, "show sessions") if row["kind"] == "smtp-in")
    assert row["peer"] == "192.0.2.1"
    assert row["tls"].startswith("TLSv1")


class Passed(Smtp):
    """A client whose connection begins with a proxy's header."""

    def __init__(self, port, header):
        self.header = header
        super().__init__(port)

    def reply(self):
        header, self.header = self.header, b""
        if header:
            self.send(header)
        return super().reply()


# -- descriptors -------------------------------------------------------------------------


def test_t19_256_descriptors_and_400_clients(make_service):
    service = make_service()
    service.prefix = ["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"]
    service.start()
    port = service.ports["smtp"]
    clients, told = [], []
    for _ in range(400):
        client = socket.create_connection(("127.0.0.1", port), 20)
        client.settimeout(20)
        clients.append(client)
    for client in clients:
        with contextlib.suppress(ConnectionResetError):
            told.append(client.recv(200)[:9])
    served = [client for client, word in zip(clients, told, strict=True) if word.startswith(b"220")]
    assert told.count(b"421 4.3.2") == 400 - len(served)
    assert 40 <= len(served) <= 64
    served[0].sendall(b"EHLO c\r\n")
    assert served[0].recv(20).startswith(b"250")
    seen = health(service)
    assert seen["smtp-sessions"]["state"] == "stressed"
    assert seen["smtp-sessions"]["count"] == 400 - len(served)
    used = service.cpu()
    time.sleep(1)
    assert service.cpu() - used < 0.5  # no spin
    for client in clients:
        client.close()
    until(lambda: health(service)["smtp-sessions"]["state"] == "ok")
    service.wait("smtp.stress_began")
    service.wait("smtp.stress_ended")
    assert mail_from(port).startswith("250")


def test_t19_no_descriptor_is_left(make_service):
    service = make_service().start()
    port, pid = service.ports["smtp"], service.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    few = max(int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()) + 6
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, limits[1]))
    with Smtp(port) as smtp, contextlib.ExitStack() as waiting:
        clients = [waiting.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(20)]
        service.wait("listener.no_descriptors", listener="smtp")
        used = service.cpu()
        time.sleep(1)
        assert service.cpu() - used < 0.5  # it pauses, and does not spin
        assert health(service)["descriptors"]["state"] == "warn"  # operators come in
        smtp.begin("bob@example.net", ["alice@example.org"])
        queue_id(smtp.content(BODY))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        for client in clients:
            assert client.recv(100).startswith(b"220 ")  # who waited is served


# -- space --------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", folder], check=False).returncode
    ):
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(path, leave):
    """Fill the file system of ``path`` up to ``leave`` octets."""
    free = shutil.disk_usage(path.parent).free
    with path.open("wb") as stream:
        stream.write(bytes(max(free - leave, 0)))


def test_t31_a_disk_that_is_full(small_disk):
    service = Service(small_disk / "node", node=SMALL, site=SITE)
    try:
        service.start()
        port, filler = service.ports["smtp"], small_disk / "filler"
        with Smtp(port) as smtp:
            smtp.begin("bob@example.net", ["alice@example.org"])
            smtp.send(b"Subject: large\r\n\r\n" + b"x" * 400_000 + b"\r\n")
            fill(filler, 8192)
            smtp.send(b"x" * 500_000 + b"\r\n.\r\n")
            assert smtp.reply()[:9] == "452 4.3.1"
            assert smtp.say("RSET").startswith("250")
            assert smtp.say("MAIL FROM:<bob@example.net>")[:9] == "452 4.3.1"
            service.wait("store.disk_low")
            assert health(service)["disk-free"]["state"] == "full"
            filler.unlink()
            assert until(lambda: smtp.say("MAIL FROM:<bob@example.net>").startswith("250")) <= 2.5
            assert smtp.say("RCPT TO:<alice@example.org>").startswith("250")
            smtp.say("DATA")
            queue_id(smtp.content(BODY))
        assert len(service.events("store.disk_low")) == 1
        assert len(service.events("store.disk_ok")) == 1
        assert next(iter(service.export("alice@example.org").values())).endswith(BODY)
        fill(filler, 1 << 20)
        until(lambda: mail_from(port)[:9] == "452 4.3.1")  # before anything has failed
        filler.unlink()
        until(lambda: mail_from(port).startswith("250"))
    finally:
        service.close()


# -- a disk that fails ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """The library that makes writes fail."""
    made = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    source = Path(__file__).with_name("failing_disk.c")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made


@pytest.mark.parametrize("fault", ["FSYNC", "EIO"])
def test_t32_a_disk_that_fails(make_service, shim, tmp_path, fault):
    service = make_service()
    plan = tmp_path / "fault"
    service.env = {"LD_PRELOAD": str(shim), "NETSVC_DISK_FAULT": str(plan)}
    service.start()
    port = service.ports["smtp"]
    with Smtp(port) as smtp:
        smtp.begin("bob@example.net", ["alice@example.org"])
        plan.write_text(fault)
        assert smtp.content(BODY)[:9] == "451 4.3.0"
        assert smtp.say("MAIL FROM:<bob@example.net>")[:9] == "451 4.3.0"
        service.wait("store.unwell")
        row = health(service)["store"]
        assert (row["state"], row["why"][:29]) == ("failed", "mail is refused with 451: not")
        plan.unlink()
        until(lambda: smtp.say("MAIL FROM:<bob@example.net>").startswith("250"))
        smtp.say("RCPT TO:<alice@example.org>")
        smtp.say("DATA")
        taken = queue_id(smtp.content(BODY))
    service.wait("store.well")
    assert len(service.events("store.unwell")) == 1
    service.kill()
    service.start()
    assert [name.partition("-")[2].partition(".")[0] for name in service.export("alice@example.org")] == [taken]
