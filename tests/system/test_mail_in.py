"""Mail in by SMTP, seen from outside: what is taken, what is refused, and that what was taken is kept byte for byte."""

import email
import email.policy
import os
import re
import smtplib
import socket
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.system.contents import HEAD, NASTY
from tests.system.wire import CRLF, Smtp, corpus, queue_id, send, without_trace


def attachments():
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = "Carol <carol@example.net>"
    message["To"] = "alice@example.org"
    message["Subject"] = "Zwei Anlagen"
    message["Message-ID"] = "<two-attachments@example.net>"
    message.set_content("Grüße\n.\n..\n")
    message.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="octet-stream", filename="all.bin")
    message.add_attachment("a,b\n1,2\n", subtype="csv", filename="naïve.csv")
    message.set_boundary("a-boundary-that-stays")
    return message


def contents(service, address):
    return [without_trace(x) for x in service.export(address).values()]


def test_attachments_by_smtplib_come_back_whole(make_service):
    service = make_service().start()
    message = attachments()
    with smtplib.SMTP("127.0.0.1", service.ports["smtp"], timeout=20) as smtp:
        smtp.ehlo("client.example.net")
        assert smtp.has_extn("pipelining")
        assert smtp.has_extn("8bitmime")
        assert smtp.esmtp_features["size"] == str(50 << 20)
        assert smtp.send_message(message) == {}
    (exported,) = service.export("alice@example.org").values()
    trace, content = without_trace(exported)
    assert content == message.as_bytes()
    assert trace.startswith(b"Return-Path: <carol@example.net>\r\nReceived: from client.example.net ([127.0.0.1])")
    assert b"by mx1.example.org" in trace
    parsed = email.message_from_bytes(exported, policy=email.policy.default)
    assert [p.get_filename() for p in parsed.iter_attachments()] == ["all.bin", "naïve.csv"]
    assert len(parsed.get_all("Return-Path")) == 1


def test_an_unknown_user_is_refused_and_the_known_one_gets_it(make_service):
    service = make_service().start()
    with smtplib.SMTP("127.0.0.1", service.ports["smtp"], timeout=20) as smtp:
        refused = smtp.sendmail("c@example.net", ["nobody@example.org", "bob@example.org"], HEAD + b"x\r\n")
        assert refused.keys() == {"nobody@example.org"}
        assert refused["nobody@example.org"][0] == 550
        assert refused["nobody@example.org"][1].startswith(b"5.1.1")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            smtp.sendmail("c@example.net", ["nobody@example.org"], HEAD + b"x\r\n")
    assert len(service.export("bob@example.org")) == 1


def test_an_alias_of_two_mailboxes_is_one_copy_each(make_service):
    service = make_service().start()
    send(service.ports["smtp"], "c@example.net", ["sales@example.org", "ALICE@EXAMPLE.ORG"], HEAD + b"x\r\n")
    assert len(service.export("alice@example.org")) == 1
    assert len(service.export("bob@example.org")) == 1


def test_postmaster_needs_no_domain(make_service):
    service = make_service().start()
    with Smtp(service.ports["smtp"]) as smtp:
        assert smtp.begin("", ["Postmaster"]) == ["250 2.1.5 Recipient ok"]
        queue_id(smtp.content(HEAD + b"to postmaster\r\n"))
    (exported,) = service.export("postmaster@example.org").values()
    assert exported.startswith(b"Return-Path: <>\r\n")


def test_nasty_content_is_kept_byte_for_byte(make_service):
    service = make_service().start()
    sent = {}
    with Smtp(service.ports["smtp"]) as smtp:
        smtp.say("EHLO client.example.net")
        for name, content in NASTY.items():
            smtp.begin("c@example.net", ["alice@example.org"], ehlo=False, parameters=" BODY=8BITMIME")
            sent[queue_id(smtp.content(content))] = name
        assert smtp.say("QUIT").startswith("221")
    exported = service.export("alice@example.org")
    assert len(exported) == len(NASTY)
    for file, data in exported.items():
        name = sent[re.fullmatch(r"\d+-([0-9A-Z]{13})\.eml", file)[1]]
        assert without_trace(data)[1] == NASTY[name], name


@pytest.mark.parametrize(
    "stray",
    [
        b"a\nb\r\n",
        b"a\rb\r\n",
        b"a\0b\r\n",
        b"a\n.\r\nQUIT\r\n",
        b"a\n.\nb\r\n",
        b"a\r.\r\n",
        b"a\r.\rb\r\n",
        b"a\r\r\n",
    ],
)
def test_stray_line_ends_are_refused_once_at_the_real_end(house, stray):
    with Smtp(house.ports["smtp"]) as smtp:
        smtp.begin("c@example.net", ["bob@example.org"])
        smtp.send(HEAD + stray + b"\r\n.\r\nNOOP\r\n")
        assert smtp.reply().startswith("550 5.5.2")
        assert smtp.reply().startswith("250")  # to NOOP: nothing of the text was run
        smtp.begin("c@example.net", ["bob@example.org"], ehlo=False)
        queue_id(smtp.content(HEAD + b"clean\r\n"))


@pytest.mark.parametrize("cut", [1, 2, 3, 7])
def test_a_dialogue_cut_into_pieces_says_the_same(house, cut):
    dialogue = (
        b"EHLO client.example.net\r\nMAIL FROM:<c@example.net>\r\nRCPT TO:<bob@example.org>\r\n"
        b"RCPT TO:<nobody@example.org>\r\nDATA\r\n"
    )
    text = HEAD + b"..stuffed\r\n.\r\nRSET\r\nNOPE\r\nQUIT\r\n"
    with Smtp(house.ports["smtp"]) as smtp:
        smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(dialogue), cut):
            smtp.send(dialogue[i : i + cut])
        codes = [smtp.reply()[:9] for _ in range(5)]
        for i in range(0, len(text), cut):
            smtp.send(text[i : i + cut])
        codes += [smtp.reply()[:9] for _ in range(4)]
    assert [c.split()[0][:3] for c in codes] == ["250", "250", "250", "550", "354", "250", "250", "500", "221"]


def test_relaying_is_denied_to_strangers(make_service):
    node = make_service(
        site='[site]\ndomains=["example.org"]\nmailboxes=["alice@example.org"]\nrelay_domains=["partner.example"]\n'
    ).start()
    with Smtp(node.ports["smtp"]) as smtp:
        smtp.say("EHLO client.example.net")
        smtp.say("MAIL FROM:<c@example.net>")
        assert smtp.say("RCPT TO:<x@elsewhere.example>").startswith("550 5.7.1")
        assert smtp.say("RCPT TO:<x@partner.example>").startswith("250 2.1.5")
        assert smtp.say("RCPT TO:<x%elsewhere.example@example.org>").startswith("550 5.")
        assert smtp.say("RCPT TO:<elsewhere.example!x@example.org>").startswith("550 5.")
        assert smtp.say('RCPT TO:<"x@elsewhere.example"@example.org>').startswith("550 5.")
        assert smtp.say("RCPT TO:<@example.org:x@elsewhere.example>").startswith("550 5.7.1")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("RCPT TO:<../../etc/passwd@example.org>", "501"),
        ('RCPT TO:<"../../etc/passwd"@example.org>', "550 5.1.1"),
        ("RCPT TO:<|touch@example.org>", "550 5.1.1"),
        ("RCPT TO:<' OR 1=1 -- @example.org>", "501"),
        ("RCPT TO:<'OR'1'='1@example.org>", "550 5.1.1"),
        ("RCPT TO:<$(id)@example.org>", "501"),
        ("RCPT TO:<alice@example.org\x00>", "501"),
        ("RCPT TO:<alice\x1b[2J@example.org>", "501"),
        ("RCPT TO:<alice@example.org> NONSENSE=1", "555"),
        ("RCPT TO: alice@example.org", "501"),
        ("RCPT alice", "501"),
        ("VRFY alice", "252"),
        ("VRFY nobody", "252"),
        ("EXPN staff", "502"),
        ("ETRN example.org", "50"),
        ("STARTTLS", "50"),
        ("AUTH PLAIN AGEAYg==", "50"),
        ("BDAT 6 LAST\r\nQUIT", "503"),
        ("NOOP what ever", "250"),
        ("HELP", "214"),
        ("x" * 5000, "500 5.5.2"),
        ("\xff\xfd\x03", "500"),
        ("", "500"),
    ],
)
def test_what_a_client_may_try(house, line, code):
    with Smtp(house.ports["smtp"]) as smtp:
        smtp.say("EHLO client.example.net")
        smtp.say("MAIL FROM:<c@example.net>")
        assert smtp.say(line).startswith(code)
        assert smtp.say("RCPT TO:<bob@example.org>").startswith("250")


def test_too_many_errors_end_the_session(house):
    with Smtp(house.ports["smtp"]) as smtp:
        smtp.say("EHLO client.example.net")
        replies = []
        while not replies or not replies[-1].startswith("421"):
            replies.append(smtp.say("NONSENSE"))
            assert len(replies) < 100
        assert replies[-1].startswith("421 4.7.0")
        assert smtp.read_to_end() == b""


def test_http_is_turned_away(house):
    with Smtp(house.ports["smtp"]) as smtp:
        smtp.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<a@example.net>\r\n")
        assert smtp.reply().startswith("554 5.5.1")
        assert b"250" not in smtp.read_to_end()


def test_a_message_over_the_limit_is_told_early_and_late(make_service):
    service = make_service()
    service.write_config(node=service.config.read_text().partition("[site]")[0].replace("50M", "64K"))
    service.start()
    with Smtp(service.ports["smtp"]) as smtp:
        assert f"SIZE {64 << 10}" in smtp.say("EHLO client.example.net")
        assert smtp.say("MAIL FROM:<c@example.net> SIZE=99999").startswith("552 5.3.4")
        smtp.begin("c@example.net", ["alice@example.org"], ehlo=False)
        assert smtp.content(HEAD + (b"x" * 70 + CRLF) * 1500).startswith("552 5.3.4")
        smtp.begin("c@example.net", ["alice@example.org"], ehlo=False)
        queue_id(smtp.content(HEAD + b"small\r\n"))
    assert len(service.export("alice@example.org")) == 1


def test_a_looping_message_is_refused(house):
    with Smtp(house.ports["smtp"]) as smtp:
        smtp.begin("c@example.net", ["bob@example.org"])
        looped = b"Received: from a by b; never\r\n" * 101 + HEAD + b"x\r\n"
        assert smtp.content(looped).startswith("554 5.4.6")


def test_a_thousand_recipients_are_taken_and_the_rest_put_off(make_service):
    service = make_service().start()
    with Smtp(service.ports["smtp"]) as smtp:
        smtp.say("EHLO client.example.net")
        smtp.say("MAIL FROM:<c@example.net>")
        count = 1100
        smtp.send(b"".join(b"RCPT TO:<u%d@elsewhere.example>\r\n" % i for i in range(count)))
        replies = [smtp.reply() for _ in range(count)]
        taken = [r for r in replies if r.startswith("250")]
        assert len(taken) >= 1000
        assert all(r.startswith("452 4.5.3") for r in replies[len(taken) :])
        assert smtp.say("DATA").startswith("354")
        queue_id(smtp.content(HEAD + b"to many\r\n"))


if "NETSVC_CORPUS" in os.environ:

    def test_the_corpus_is_kept_byte_for_byte(make_service):
        service = make_service().start()
        wanted = {}
        refused = []
        with Smtp(service.ports["smtp"]) as smtp:
            smtp.say("EHLO client.example.net")
            for name, content, clean in corpus(os.environ["NETSVC_CORPUS"]):
                smtp.begin("c@example.net", ["alice@example.org"], ehlo=False)
                reply = smtp.content(content)
                if clean:
                    ends = content if not content or content.endswith(CRLF) else content + CRLF
                    wanted[queue_id(reply)] = (name, ends)
                else:
                    assert reply.startswith("550 5.5.2"), (name, reply)
                    refused.append(name)
        exported = service.export("alice@example.org")
        assert len(exported) == len(wanted)
        for file, data in exported.items():
            name, content = wanted[file.partition("-")[2].removesuffix(".eml")]
            assert without_trace(data)[1] == content, name
        print(f"{len(wanted)} messages kept byte for byte, {len(refused)} refused with 550")


def test_t15_twenty_large_messages_at_once_are_streamed(make_service):
    service = make_service().start()

    def memory(name):
        lines = Path(f"/proc/{service.process.pid}/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) >> 10

    content = HEAD + (b"x" * 998 + CRLF) * 10_500
    send(service.ports["smtp"], "c@example.net", ["bob@example.org"], HEAD + b"x\r\n")
    before = memory("VmRSS")
    with ThreadPoolExecutor(20) as clients:
        sent = [
            clients.submit(send, service.ports["smtp"], "c@example.net", ["alice@example.org"], content)
            for _ in range(20)
        ]
        for one in sent:
            one.result(60)
    assert memory("VmHWM") - before <= 64
