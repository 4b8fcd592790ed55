"""Checks of the content in the real service: SPF, DKIM and DMARC with a zone on loopback, milters, commands."""

import os
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.milters import Milter
from tests.signing import rsa_key, signed
from tests.system.service import SITE
from tests.system.wire import Smtp, queue_id, send
from tests.zones import ZoneProcess

OPEN_SITE = SITE.replace('relay_from = ["127.0.0.0/8"]', "").replace('limits_exempt = ["127.0.0.0/8", "::1/128"]', "")

MESSAGE = (
    b"From: Joe <joe@example.com>\r\nTo: alice@example.org\r\nSubject: dinner\r\n"
    b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nWe lost the game.\r\n"
)


@pytest.fixture
def zone():
    zone = ZoneProcess(
        {
            "example.com": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"]},
            "s1._domainkey.example.com": {"TXT": [rsa_key()[1]]},
            "_dmarc.example.com": {"TXT": ["v=DMARC1; p=reject"]},
            "far.example.net": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
        }
    )
    yield zone
    zone.close()


@pytest.fixture
def make_milter():
    made = []

    def make(*arguments, **options):
        made.append(Milter(*arguments, **options))
        return made[-1]

    yield make
    for milter in made:
        milter.close()


def only(mailbox):
    (content,) = mailbox.values()
    return content


def test_senders_and_signatures(make_service, zone, control):
    service = make_service(site=OPEN_SITE + f'[site.delivery]\ndns = ["{zone.at}"]\n').start()
    operator = control(service)
    for command in (
        "policy set authentication dmarc obey",
        "policy set authentication spf reject",
        "policy on authentication",
    ):
        operator.do(command)
    port = service.ports["smtp"]

    send(port, "joe@example.com", ["alice@example.org"], signed(MESSAGE))
    text = only(service.export("alice@example.org"))
    head = text.partition(b"Received:")[0].replace(b"\r\n\t", b" ")
    assert b"Authentication-Results: mx1.example.org;" in head
    assert b"spf=pass" in head
    assert b"dkim=pass header.d=example.com header.s=s1" in head
    assert b"dmarc=pass header.from=example.com" in head
    assert text.endswith(signed(MESSAGE)[-len(MESSAGE) :])

    with Smtp(port) as smtp:
        assert smtp.say("EHLO client.example.net").startswith("250")
        assert smtp.say("MAIL FROM:<x@far.example.net>").startswith("250")
        assert smtp.say("RCPT TO:<alice@example.org>").startswith("550 5.7.23")
        assert smtp.say("RCPT TO:<postmaster@example.org>").startswith("250")

    with Smtp(port) as smtp:  # from nowhere in particular, in the name of a domain that is careful
        smtp.begin("", ["bob@example.org"])
        assert smtp.content(MESSAGE).startswith("550 5.7.26")
    with Smtp(port) as smtp:
        smtp.begin("", ["bob@example.org"])
        assert smtp.content(signed(MESSAGE)[:-6] + b"!\r\n").startswith("550 5.7.26")
    assert service.export("bob@example.org") == {}

    big = MESSAGE + b"0123456789 abcdef\t ghijkl  mnopqrst\r\n" * 60_000
    with Smtp(port) as smtp:  # streamed into the store, and read back from there
        smtp.begin("", ["bob@example.org"])
        assert smtp.content(signed(big)).startswith("250")
    assert b"dkim=pass" in only(service.export("bob@example.org"))
    assert service.events("policy.failed") == []
    (row,) = [row for row in operator.rows("show policies") if row["name"] == "authentication"]
    assert (row["reject"], row["failed"]) == (3, 0)


def test_milter(make_service, make_milter, tmp_path):
    def judge(data):
        body = b"".join(milter.said("B"))
        if b"refuse" in body:
            return [(b"y", b"554 5.7.1 not\x1b this\0")]
        if b"odd" in body:
            return [(b"q", b"looks odd\0"), (b"c", b"")]
        return [
            (b"p", b""),
            (b"h", b"X-Spam\0no\n really\0"),
            (b"i", b"\0\0\0\1X-Seen\0yes\0"),
            (b"+", b"<eve@example.org>\0"),
            (b"c", b""),
        ]

    milter = make_milter({"E": judge}, path=tmp_path / "milter.sock")
    site = SITE + f'[site.policies.milter]\non = true\nfilters = ["{milter.at}"]\n'
    service = make_service(site=site).start()
    port = service.ports["smtp"]

    send(port, "joe@example.com", ["alice@example.org"], MESSAGE)
    text = only(service.export("alice@example.org"))
    assert b"\r\nX-Spam: no\r\n really\r\nX-Seen: yes\r\nReceived: from" in text
    assert milter.commands() == "CHMRT" + "L" * 5 + "NBE"
    assert milter.said("M") == [b"<joe@example.com>\0"]
    assert milter.said("L")[1] == b"To\0alice@example.org\0"
    assert milter.said("B") == [b"We lost the game.\r\n"]
    assert service.events("milter.undone")[0]["what"] == "add-recipient 1"

    with Smtp(port) as smtp:
        smtp.begin("joe@example.com", ["bob@example.org"])
        assert smtp.content(MESSAGE + b"refuse\r\n") == "554 5.7.1 not\\x1b this"
        smtp.begin("joe@example.com", ["bob@example.org"], ehlo=False)
        held = queue_id(smtp.content(MESSAGE + b"odd\r\n"))
    assert service.export("bob@example.org") == {}
    assert service.wait("message.held", id=held)["policy"] == "milter"
    assert milter.connections == 1

    milter.close()
    send(port, "joe@example.com", ["bob@example.org"], MESSAGE)  # on_failure = "skip"
    assert service.wait("policy.failed")["policy"] == "milter"
    assert len(service.export("bob@example.org")) == 1


def test_command(make_service, tmp_path):
    script = tmp_path / "judge"
    script.write_text(
        f"#!{sys.executable}\n"
        + textwrap.dedent(
            """
            import os, subprocess, sys, time
            text = sys.stdin.buffer.read()
            assert text.startswith(b"Received: from client.example.net")
            assert "HOME" not in os.environ and os.environ["NETSVC_RECIPIENTS"] == "bob@example.org"
            if b"sleep" in text:
                child = subprocess.Popen(["/bin/sleep", "60"])
                open(sys.argv[1], "w").write(str(child.pid))
                time.sleep(60)
            if b"bad" in text:
                print("no such mail")
                sys.exit(65)
            if b"later" in text:
                sys.exit(75)
            """
        )
    )
    script.chmod(0o755)
    site = SITE + (
        f'[site.policies.command]\non = true\nargv = ["{script}", "{tmp_path}/pid"]\ntimeout = "2s"\non_failure = "defer"\n'
    )
    service = make_service(site=site).start()
    with Smtp(service.ports["smtp"]) as smtp:
        for words, reply in (
            (b"fine", "250 2.0.0"),
            (b"bad", "550 5.7.1 no such mail"),
            (b"later", "451 4.7.1"),
            (b"x" * 400_000 + b"\r\nfine", "250 2.0.0"),
            (b"sleep", "451 4.3.0"),
        ):
            smtp.begin("joe@example.com", ["bob@example.org"])
            assert smtp.content(MESSAGE + words + b"\r\n").startswith(reply), words[:20]
    assert len(service.export("bob@example.org")) == 2
    pid = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 5
    while time.monotonic() < end and _runs(pid):
        os.sched_yield()
    assert not _runs(pid)


def _runs(pid):
    """Whether a process is there and no zombie: nobody may reap it here."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
