"""SMTP's extensions through the real process: chunks, DSN, SMTPUTF8, BINARYMIME, REQUIRETLS, LMTP, and their way out."""

import email
import email.policy
import json
import smtplib
import ssl

import pytest

from tests import certs
from tests.system.service import NODE, SITE
from tests.system.wire import Smtp, queue_id, without_trace

HEAD = b"From: <a@example.net>\r\nSubject: extended\r\nMessage-ID: <x@example.net>\r\n\r\n"
LMTP = """
[listeners.lmtp]
protocol = "smtp"
endpoint = "tcp:0:interface=127.0.0.1"
service = "lmtp"
"""
LIMITED = NODE.replace('service = "transfer"', 'service = "transfer"\nmax_messages = 3\nmax_recipients = 200')
PARTNER = SITE.replace("example.org", "partner.example")


def relaying(ports):
    """A site whose other domains have hosts here."""
    routes = "".join(f'"{domain}" = "[127.0.0.1]:{port}"\n' for domain, port in ports.items())
    return SITE + f"[site.routes]\n{routes}"


@pytest.fixture
def house(make_service, make_sink):
    """Our service, one of the same kind that it relays to, and a host that knows no extensions."""
    partner = make_service("partner", site=PARTNER).start()
    sink = make_sink()
    ports = {"partner.example": partner.ports["smtp"], "plain.example": sink.port}
    service = make_service("node", node=LIMITED + LMTP, site=relaying(ports)).start()
    service.partner, service.sink = partner, sink
    return service


def session(service, listener="smtp", hello="EHLO client.example.net"):
    smtp = Smtp(service.ports[listener])
    assert smtp.say(hello).startswith("250")
    return smtp


def bdat(smtp, data, *, last=True):
    smtp.send(b"BDAT %d%s\r\n" % (len(data), b" LAST" if last else b"") + data)
    return smtp.reply()


def mailed(service, address):
    """The contents in a mailbox, with the trace fields cut off."""
    return [without_trace(x) for x in service.export(address).values()]


def report(content):
    """Parse a report as Python's email package reads it -> (fields of the message, of its first recipient, the last part)."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    _, status, original = message.iter_parts()
    whole, one = status.get_payload()
    return whole, one, original


def test_what_is_offered(house):
    with Smtp(house.ports["smtp"]) as smtp:
        reply = smtp.say("EHLO client.example.net")
        assert reply.split("\n")[1:] == [
            "250-PIPELINING",
            "250-SIZE 52428800",
            "250-8BITMIME",
            "250-BINARYMIME",
            "250-CHUNKING",
            "250-SMTPUTF8",
            "250-DSN",
            "250-LIMITS RCPTMAX=200 MAILMAX=3",
            "250 ENHANCEDSTATUSCODES",
        ]
        assert smtp.say("MAIL FROM:<a@example.net> HOLDFOR=60").startswith("555 5.5.4")
        assert smtp.say("MAIL FROM:<a@example.net> REQUIRETLS").startswith("555 5.5.4")
        assert smtp.say("EXPN list").startswith("502")
        for _ in range(3):
            assert smtp.say("MAIL FROM:<a@example.net>").startswith("250")
            assert smtp.say("RSET").startswith("250")
        assert smtp.say("MAIL FROM:<a@example.net>").startswith("421")


def test_chunks_binary_content_and_utf8_go_the_whole_way(house):
    """In by BDAT, on by BDAT to a second service, byte for byte; a host that cannot take them gets nothing."""
    binary = HEAD + b"\0\r\n.\r\n\n\xff" * 100_000
    with session(house) as smtp:
        assert smtp.say("MAIL FROM:<a\u00fc@example.net> BODY=BINARYMIME SMTPUTF8".encode().decode("latin-1"))
        assert smtp.say("MAIL FROM:<alice@example.org> BODY=BINARYMIME").startswith("503")
        assert smtp.say("RSET").startswith("250")
        assert smtp.say("MAIL FROM:<alice@example.org> BODY=BINARYMIME").startswith("250")
        for rcpt in ("bob@example.org", "alice@partner.example", "x@plain.example"):
            assert smtp.say(f"RCPT TO:<{rcpt}>").startswith("250")
        assert bdat(smtp, binary[:500_000], last=False) == "250 2.0.0 500000 octets received"
        assert smtp.say("DATA").startswith("503")
        sent = queue_id(bdat(smtp, binary[500_000:]))
        utf8 = "Subject: Gr\u00fc\u00dfe\r\n\r\nText.\r\n".encode()
        assert smtp.say("MAIL FROM:<alice@example.org> SMTPUTF8").startswith("250")
        for rcpt in ("bob@example.org", "alice@partner.example", "x@plain.example"):
            assert smtp.say(f"RCPT TO:<{rcpt}>").startswith("250")
        second = queue_id(bdat(smtp, utf8))
    assert [content for _, content in mailed(house, "bob@example.org")] == [binary, utf8]
    house.wait("delivery.done", rcpt="alice@partner.example", result="delivered", count=2)
    for _, content in mailed(house.partner, "alice@partner.example"):
        assert content.endswith((binary, utf8))
        assert content.startswith(b"Received: ")
    assert b" with UTF8SMTP id " in b"".join(trace for trace, _ in mailed(house, "bob@example.org"))
    house.wait("delivery.reported", count=2)
    statuses = set()
    for _, content in mailed(house, "alice@example.org"):
        _, one, _ = report(content)
        assert one["Action"] == "failed"
        assert one["Final-Recipient"] == "rfc822; x@plain.example"
        statuses.add(one["Status"])
    assert statuses == {"5.6.3", "5.6.7"}
    assert house.sink.messages == []
    assert sent != second


def test_reports_by_smtplib(house):
    """NOTIFY, ORCPT, ENVID and RET by a client that is not ours (RFC 3461)."""
    mail = ["RET=FULL", "ENVID=QQ+2B314"]
    content = (HEAD + b"Text.\r\n").decode()
    with smtplib.SMTP("127.0.0.1", house.ports["smtp"], timeout=20) as smtp:
        smtp.ehlo("client.example.net")
        assert smtp.has_extn("dsn")
        rcpt = ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;bob+2Bx@example.org"]
        assert smtp.sendmail("alice@example.org", ["bob@example.org"], content, mail, rcpt) == {}
        house.wait("delivery.reported")
        for to in ("x@plain.example", "nobody@partner.example"):
            assert smtp.sendmail("alice@example.org", [to], content, mail, ["NOTIFY=SUCCESS,FAILURE"]) == {}
        house.wait("delivery.reported", count=3)
    with smtplib.SMTP("127.0.0.1", house.ports["smtp"], timeout=20) as smtp:
        never = ["nobody@partner.example"]
        assert smtp.sendmail("alice@example.org", never, content, mail, ["NOTIFY=NEVER"]) == {}
        house.wait("delivery.done", rcpt=never[0], result="bounced", count=2)
        assert smtp.sendmail("alice@example.org", ["alice@partner.example"], content, mail, ["NOTIFY=SUCCESS"]) == {}
        house.wait("delivery.done", rcpt="alice@partner.example", result="delivered")
    found = {}
    for _, content in mailed(house, "alice@example.org"):
        whole, one, original = report(content)
        assert whole["Original-Envelope-Id"] == "QQ+314"
        found[one["Final-Recipient"].split()[1]] = (one["Action"], one["Status"], original.get_content_type())
        if one["Action"] == "delivered":
            assert one["Original-Recipient"] == "rfc822;bob+x@example.org"
    assert found == {
        "bob@example.org": ("delivered", "2.0.0", "text/rfc822-headers"),
        "x@plain.example": ("relayed", "2.0.0", "text/rfc822-headers"),
        "nobody@partner.example": ("failed", "5.1.1", "message/rfc822"),
    }
    assert len(mailed(house, "bob@example.org")) == 1
    # the partner was told, and reports itself: by way of nobody, since it knows no way back
    house.partner.wait("delivery.done", rcpt="alice@partner.example", result="delivered")


def test_lmtp_answers_for_each_recipient(house, control):
    """RFC 2033: LHLO alone, and a reply for each recipient after the content; nobody hears twice of a refusal."""
    operator = control(house)
    operator.do("mailbox quota bob@example.org 1k")
    with Smtp(house.ports["lmtp"]) as lmtp:
        assert lmtp.greeting == "220 mx1.example.org LMTP netsvc"
        assert lmtp.say("EHLO client.example.net").startswith("500")
        assert "CHUNKING" in lmtp.say("LHLO client.example.net")
        for command in ("MAIL FROM:<a@example.net>", "RCPT TO:<bob@example.org>", "RCPT TO:<alice@example.org>"):
            assert lmtp.say(command).startswith("250")
        assert lmtp.say("RCPT TO:<nobody@example.org>").startswith("550")
        assert lmtp.say("DATA").startswith("354")
        replies = [lmtp.content(HEAD + b"x" * 2000 + b"\r\n"), lmtp.reply()]
        assert replies[0].startswith("552 5.2.2 ")
        sent = queue_id(replies[1])
        assert lmtp.say("MAIL FROM:<a@example.net>").startswith("250")
        assert lmtp.say("DATA").startswith("503")
        assert lmtp.say("RCPT TO:<bob@example.org>").startswith("250")
        assert bdat(lmtp, HEAD + b"x" * 2000 + b"\r\n").startswith("552 5.2.2 ")
        assert lmtp.say("NOOP").startswith("250")
    (trace, _) = mailed(house, "alice@example.org")[0]
    assert f" with LMTP id {sent}".encode() in trace
    assert mailed(house, "bob@example.org") == []
    assert operator.rows("show queue") == []
    with Smtp(house.ports["smtp"]) as smtp:
        assert smtp.say("LHLO client.example.net").startswith("502")


SUBMISSION = """
[tls]
certificate = "cert.pem"
key = "cert.key"

[listeners.submissions]
protocol = "smtp"
endpoint = "tcp:0:interface=127.0.0.1"
service = "submission"
tls = "implicit"
"""
PASSWORD = "correct horse"


def test_what_users_may_ask_for(make_service, make_sink, control):
    """REQUIRETLS, FUTURERELEASE, DELIVERBY and MT-PRIORITY: inside TLS, for who has logged in."""
    sink = make_sink({"later": "450 4.2.1 busy"})
    service = make_service(node=NODE + SUBMISSION, site=relaying({"plain.example": sink.port}))
    certs.write(service.folder, names=("mx1.example.org",))
    service.start()
    service.netsvcctl("--json", data=f"user add alice@example.org mailbox password {json.dumps(PASSWORD)}\n")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP_SSL("127.0.0.1", service.ports["submissions"], timeout=20, context=context) as smtp:
        smtp.ehlo("laptop.example.net")
        assert {"requiretls", "futurerelease", "deliverby", "mt-priority"} <= smtp.esmtp_features.keys()
        smtp.login("alice@example.org", PASSWORD)
        content = "From: alice@example.org\r\nSubject: asked\r\n\r\nText.\r\n"
        sender = "alice@example.org"
        assert smtp.sendmail(sender, ["x@plain.example"], content, ["REQUIRETLS"]) == {}
        report_of = service.wait("delivery.done", rcpt="x@plain.example", result="bounced")
        assert report_of["status"] == "5.7.30"
        assert smtp.sendmail(sender, ["bob@example.org"], content, ["HOLDFOR=3600", "MT-PRIORITY=3"]) == {}
        assert smtp.sendmail(sender, ["later@plain.example"], content, ["BY=1;R", "RET=HDRS"]) == {}
        assert smtp.sendmail(sender, ["postmaster@example.org"], content, ["HOLDFOR=1"]) == {}
        assert smtp.mail(sender, ["HOLDFOR=99999999"])[0] == 501
        assert smtp.mail(sender, ["HOLDUNTIL=2001-01-01T00:00:00Z"])[0] == 250
    service.wait("delivery.done", rcpt="later@plain.example", result="bounced")
    service.wait("delivery.done", rcpt="postmaster@example.org", result="delivered")
    assert len(mailed(service, "postmaster@example.org")) == 1
    operator = control(service)
    (held,) = operator.rows("show queue")
    assert held["rcpt"] == "bob@example.org"
    assert mailed(service, "bob@example.org") == []
    service.wait("delivery.reported", count=2)
    found = {}
    for _, content in mailed(service, "alice@example.org"):
        whole, one, _ = report(content)
        found[one["Status"]] = whole["Deliver-By-Date"]
    assert found.keys() == {"5.7.30", "5.3.3"}
    assert found["5.3.3"] is not None


def test_a_mailbox_beyond_ascii(house, control):
    """RFC 6531: found in whatever case and composition, only by who asked for SMTPUTF8."""
    control(house).do("mailbox create B\u00fccher@example.org")
    content = "From: \u00fc@example.net\r\nSubject: Gr\u00fc\u00dfe\r\n\r\nText.\r\n"
    with smtplib.SMTP("127.0.0.1", house.ports["smtp"], timeout=20) as smtp:
        smtp.ehlo("client.example.net")
        assert smtp.has_extn("smtputf8")
        asked = ["SMTPUTF8", "BODY=8BITMIME"]
        assert smtp.sendmail("\u00fc@example.net", ["bu\u0308cher@example.org"], content.encode(), asked) == {}
        assert smtp.docmd("MAIL", "FROM:<a@example.net>")[0] == 250
        smtp.command_encoding = "utf-8"
        code, words = smtp.docmd("RCPT", "TO:<b\u00fccher@example.org>")
        assert (code, words[:5]) == (553, b"5.6.7")
    ((trace, taken),) = mailed(house, "b\u00fccher@example.org")
    assert taken == content.encode()
    assert trace.decode().startswith("Return-Path: <\u00fc@example.net>\r\nReceived: from client.example.net")
