"""A real Dovecot that the service hands mail over to: by LMTP on a socket and on a port with TLS, and as Maildir."""

import shutil
import time

import pytest

from tests.interop import authority
from tests.interop.dovecot import Dovecot
from tests.system.contents import NASTY
from tests.system.service import NODE, SITE, Service
from tests.system.wire import Control, send

HEAD = b"From: <a@example.net>\r\nSubject: for the store\r\n\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def store(folder, program):
    ca = authority.write(folder, "store.example.net")
    made = Dovecot(
        program, folder / "cert.pem", folder / "cert.key", {"ann": "", "bob": "", "eve": "", "small": "20K", "box": ""}
    )
    try:
        made.authority = ca
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def house(folder, store):
    routes = f"""
[site.routes]
"socket.example" = "lmtp:unix:{store.folder}/lmtp"
"port.example" = "lmtp:[127.0.0.1]:{store.port}"
"box.example" = "maildir:{store.folder}/mail/{{local}}"
[site.delivery]
maildir_quota = "10M"
"""
    service = Service(folder / "node", site=SITE + routes, node=NODE, covered=False)
    try:
        yield service.start()
    finally:
        service.close()


def done(house, sent, count):
    house.wait("delivery.done", count=count, msg=sent)
    return {x["rcpt"].split("@")[0]: x for x in house.events("delivery.done", msg=sent)}


@pytest.mark.parametrize("way", ["socket", "port"])
def test_each_recipient_gets_dovecots_own_answer(house, store, way):
    names = ("ann+work", "small", "nobody", "eve")
    content = HEAD + b"".join(b"%05d %s\r\n" % (n, b"x" * 60) for n in range(600))
    sent = send(house.ports["smtp"], "alice@example.org", [f"{x}@{way}.example" for x in names], content)
    ends = done(house, sent, len(names))
    assert {name: each["result"] for name, each in ends.items()} == {
        "ann+work": "delivered",
        "eve": "delivered",
        "small": "deferred",
        "nobody": "bounced",
    }
    assert (ends["small"]["code"], ends["small"]["status"]) == (452, "4.2.2")
    assert (ends["nobody"]["code"], ends["nobody"]["status"]) == (550, "5.1.1")
    assert store.mails("eve")[-1].endswith(content)
    with Control(house.control) as operator:
        attempts = {x["n"]: x for x in operator.rows(f"show message {sent} attempts")}
    tls = attempts[1]["tls"] or ""
    assert tls.startswith("TLSv1.") == (way == "port"), attempts[1]


@pytest.mark.parametrize("way", ["socket", "port"])
def test_what_dovecot_shows_is_what_came(house, store, way):
    chosen = ("dots", "only_dots_at_end", "eight_bit", "utf8", "line_1000", "line_300k", "own_trace", "one_mebibyte")
    before = len(store.mails("bob"))
    ids = [send(house.ports["smtp"], "s@example.net", [f"bob@{way}.example"], NASTY[name]) for name in chosen]
    for sent in ids:
        assert done(house, sent, 1)["bob"]["result"] == "delivered"
    shown = store.mails("bob")[before:]
    for name in chosen:
        (found,) = [mail for mail in shown if mail.endswith(NASTY[name])]
        assert found.startswith(b"Return-Path: <s@example.net>\r\n")
        assert b"Received: from " in found


def test_dovecot_reads_our_maildir_and_its_quota(house, store):
    names = ("dots", "eight_bit", "line_300k", "one_mebibyte")
    for name in names:
        sent = send(house.ports["smtp"], "s@example.net", ["box@box.example"], NASTY[name])
        assert done(house, sent, 1)["box"]["result"] == "delivered", name
    box = store.folder / "mail" / "box"
    lines = (box / "maildirsize").read_text().splitlines()
    files = [*(box / "new").iterdir(), *(box / "cur").iterdir()]
    assert lines[0] == f"{10 << 20}S"
    assert sum(int(line.split()[0]) for line in lines[1:]) == sum(x.stat().st_size for x in files)
    for path in [box, *box.rglob("*")]:  # the service runs as root here, Dovecot's user must read what it wrote
        shutil.chown(path, "mail", "mail")
    shown = store.mails("box")
    assert len(shown) == len(names)
    assert all(any(mail.endswith(NASTY[name]) for mail in shown) for name in names)


def test_dovecot_finds_no_fault_with_us(store):
    assert [x for x in store.complaints() if "Quota exceeded" not in x] == []


def test_a_store_that_was_away_gets_its_mail(house, store):
    store.process.terminate()
    store.process.wait(20)
    sent = send(house.ports["smtp"], "s@example.net", ["eve@socket.example"], HEAD + b"late\r\n")
    assert done(house, sent, 1)["eve"]["result"] == "deferred"
    store.start()
    with Control(house.control) as operator:
        operator.do(f"retry {sent} expect any")
        house.wait("delivery.done", msg=sent, result="delivered")
    for _ in range(100):
        if store.mails("eve")[-1].endswith(HEAD + b"late\r\n"):
            return
        time.sleep(0.05)
    pytest.fail("it did not come")
