"""Mail on its way out: a sink that answers 250, 450 and 550, what the operator sees of each, reports and folders."""

import email
import email.policy
import socket

from tests.system.contents import NASTY
from tests.system.service import SITE
from tests.system.wire import CRLF, send, without_trace

HEAD = b"From: <a@example.net>\r\nSubject: to partner\r\nMessage-ID: <relay@example.net>\r\n\r\n"


def routed(sink, more=""):
    return SITE + f'[site.routes]\n"partner.example" = "[127.0.0.1]:{sink.port}"\n{more}'


def test_250_450_and_550_are_delivered_deferred_and_reported(make_service, make_sink, control):
    sink = make_sink({"later": "450 4.2.1 mailbox busy, try later", "never": "550 5.1.1 no such\x1b[2Juser"})
    service = make_service(site=routed(sink)).start()
    sent = send(
        service.ports["smtp"],
        "alice@example.org",
        ["good@partner.example", "later@partner.example", "never@partner.example"],
        HEAD + b"..dots\r\n.\r\nend\r\n",
    )
    for rcpt, result in (("good", "delivered"), ("later", "deferred"), ("never", "bounced")):
        service.wait("delivery.done", rcpt=f"{rcpt}@partner.example", result=result)
    ((sender, recipients, content),) = sink.messages
    assert (sender, recipients) == ("alice@example.org", ["good@partner.example"])
    assert content.startswith(b"Received: ")
    assert content.endswith(HEAD + b"..dots\r\n.\r\nend\r\n")
    assert b"Return-Path:" not in content

    operator = control(service)
    (waiting,) = operator.rows("show queue")
    assert waiting["id"] == f"{sent}.2"
    assert (waiting["state"], waiting["rcpt"], waiting["domain"]) == (
        "deferred",
        "later@partner.example",
        "partner.example",
    )
    assert (waiting["code"], waiting["status"], waiting["attempts"]) == (450, "4.2.1", 1)
    assert "mailbox busy, try later" in waiting["error"]
    (reason,) = operator.rows("show queue reasons")
    assert (reason["code"], reason["status"], reason["count"]) == (450, "4.2.1", 1)
    done = {row["rcpt"]: row for row in operator.rows(f"show history where msg={sent}")}
    assert done["good@partner.example"]["result"] == "delivered"
    assert done["never@partner.example"]["result"] == "bounced"
    assert (done["never@partner.example"]["code"], done["never@partner.example"]["status"]) == (550, "5.1.1")
    assert "\x1b" not in done["never@partner.example"]["reply"]
    attempts = operator.rows(f"show message {sent} attempts")
    assert {a["n"] for a in attempts} == {1, 2, 3}

    check_report(service, sent)


def check_report(service, sent):
    """The one report in alice's mailbox is RFC 3464 to Python's parser and names the one recipient that failed."""
    service.wait("delivery.reported")
    (exported,) = service.export("alice@example.org").values()
    assert exported.startswith(b"Return-Path: <>\r\n")
    report = email.message_from_bytes(exported, policy=email.policy.default)
    assert not report.defects
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert report["To"] == "alice@example.org"
    assert report["Auto-Submitted"] == "auto-replied"
    text, status, original = report.iter_parts()
    assert "never@partner.example" in text.get_content()
    assert "good@partner.example" not in text.get_content()
    assert b"\x1b" not in exported
    assert status.get_content_type() == "message/delivery-status"
    about_message, about_recipient = status.get_payload()
    assert about_message["Reporting-MTA"] == "dns; mx1.example.org"
    assert about_recipient["Final-Recipient"] == "rfc822; never@partner.example"
    assert about_recipient["Action"] == "failed"
    assert about_recipient["Status"] == "5.1.1"
    assert about_recipient["Diagnostic-Code"].startswith("smtp; 550")
    assert original.get_content_type() in ("message/rfc822", "text/rfc822-headers")
    assert sent in exported.decode("latin-1") or "relay@example.net" in exported.decode("latin-1")


def test_a_retry_delivers_what_was_deferred(make_service, make_sink, control):
    sink = make_sink({"later": "450 4.2.1 not now"})
    service = make_service(site=routed(sink)).start()
    sent = send(service.ports["smtp"], "alice@example.org", ["later@partner.example"], HEAD + b"x\r\n")
    service.wait("delivery.done", result="deferred")
    sink.plan.clear()
    operator = control(service)
    operator.do(f"retry {sent}.1 expect any")
    sink.wait(lambda messages: len(messages) == 1)
    service.wait("delivery.done", result="delivered")
    assert operator.rows("show queue") == []


def test_a_closed_port_defers_and_names_the_connection(make_service, make_sink, control):
    sink = make_sink()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    site = SITE + f'[site.routes]\n"partner.example" = "[127.0.0.1]:{port}"\n"up.example" = "[127.0.0.1]:{sink.port}"\n'
    service = make_service(site=site).start()
    send(service.ports["smtp"], "alice@example.org", ["x@partner.example"], HEAD + b"x\r\n")
    service.wait("delivery.done", result="deferred")
    (waiting,) = control(service).rows("show queue")
    assert waiting["reason"] == "conn refused"
    send(service.ports["smtp"], "alice@example.org", ["x@up.example"], HEAD + b"x\r\n")
    sink.wait(lambda messages: len(messages) == 1)  # one destination never delays another


def test_a_domain_whose_hosts_cannot_be_looked_up_waits(make_service, control):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    service = make_service(site=SITE + f'[site.delivery]\ndns = ["127.0.0.1:{port}"]\n').start()
    send(service.ports["smtp"], "alice@example.org", ["x@elsewhere.example"], HEAD + b"x\r\n")
    service.wait("delivery.done", result="deferred")
    (waiting,) = control(service).rows("show queue")
    assert (waiting["state"], waiting["status"]) == ("deferred", "4.4.3")
    assert "the mail hosts of elsewhere.example cannot be looked up" in waiting["error"]


def test_what_is_relayed_is_byte_exact(make_service, make_sink):
    sink = make_sink()
    service = make_service(site=routed(sink)).start()
    for content in NASTY.values():
        send(service.ports["smtp"], "alice@example.org", ["x@partner.example"], content)
    sink.wait(lambda messages: len(messages) == len(NASTY))

    def ended(content):
        return content if not content or content.endswith(CRLF) else content + CRLF

    came = sorted(without_received(content) for _, _, content in sink.messages)
    assert came == sorted(ended(c) for c in NASTY.values())


def without_received(content):
    return without_trace(b"Return-Path: <>\r\n" + content)[1]


def test_a_maildir_route_writes_one_file_a_message(make_service, tmp_path):
    site = SITE + f'[site.routes]\n"folder.example" = "maildir:{tmp_path}/mail/{{domain}}/{{local}}"\n'
    service = make_service(site=site).start()
    sent = {
        name: send(service.ports["smtp"], "c@example.net", ["ann@folder.example"], content)
        for name, content in NASTY.items()
    }
    service.wait("delivery.done", count=len(sent), result="delivered")
    files = list((tmp_path / "mail" / "folder.example" / "ann" / "new").iterdir())
    assert len(files) == len(NASTY)
    assert not list((tmp_path / "mail" / "folder.example" / "ann" / "tmp").iterdir())
    kept = sorted(without_trace(as_crlf(p.read_bytes()))[1] for p in files)
    assert kept == sorted(NASTY.values())
    assert all(p.stat().st_mode & 0o077 == 0 for p in files)


def as_crlf(data):
    """A Maildir's files may end lines in LF; none of NASTY holds a stray one."""
    return data if CRLF in data else data.replace(b"\n", CRLF)


def test_a_maildir_route_takes_no_path_from_an_address(make_service, tmp_path, control):
    site = SITE + f'[site.routes]\n"folder.example" = "maildir:{tmp_path}/mail/{{domain}}/{{local}}"\n'
    service = make_service(site=site).start()
    for local in ('"../../up"', '".hidden"', "a/b", "a|b"):
        send(service.ports["smtp"], "alice@example.org", [f"{local}@folder.example"], HEAD + b"x\r\n")
    service.wait("delivery.done", count=4, result="bounced")
    assert not [p for p in tmp_path.rglob("*") if p.name in ("up", ".hidden", "b", "a|b")]
    assert len(service.export("alice@example.org")) == 4


def test_expired_mail_is_reported(make_service, make_sink):
    sink = make_sink({"later": "450 4.2.1 not now"})
    site = routed(sink, '[site.delivery]\nretry = ["1s"]\nexpire = "3s"\nwarn = "1s"\n')
    service = make_service(site=site).start()
    send(service.ports["smtp"], "alice@example.org", ["later@partner.example"], HEAD + b"x\r\n")
    service.wait("delivery.done", result="deferred")
    service.wait("delivery.done", result="expired", timeout=20)
    service.wait("delivery.reported", count=2)
    reports = [
        email.message_from_bytes(data, policy=email.policy.default)
        for data in service.export("alice@example.org").values()
    ]
    about = {}
    for report in reports:
        assert not report.defects
        _, status, _ = report.iter_parts()
        fields = status.get_payload()[1]
        about[fields["Action"]] = fields["Status"]
    assert about.keys() == {"delayed", "failed"}
    assert about["failed"][0] in "45"


def test_no_report_about_a_report(make_service, make_sink, control):
    sink = make_sink({"never": "550 5.1.1 no"})
    service = make_service(site=routed(sink)).start()
    send(service.ports["smtp"], "", ["never@partner.example"], HEAD + b"x\r\n")
    service.wait("delivery.done", result="bounced")
    assert not service.events("delivery.reported")
    assert control(service).rows("show queue") == []


def test_a_connection_is_reused(make_service, make_sink):
    sink = make_sink()
    service = make_service(site=routed(sink)).start()
    for _ in range(20):
        send(service.ports["smtp"], "alice@example.org", ["x@partner.example"], HEAD + b"x\r\n")
    sink.wait(lambda messages: len(messages) == 20)
    assert sink.connections < 20


def test_a_session_that_ends_in_data_is_tried_again(make_service, make_sink, control):
    sink = make_sink()
    sink.reply_to_data = "421 4.3.2 going down"
    service = make_service(site=routed(sink)).start()
    send(service.ports["smtp"], "alice@example.org", ["x@partner.example"], HEAD + b"x\r\n")
    service.wait("delivery.done", result="deferred")
    (waiting,) = control(service).rows("show queue")
    assert waiting["code"] == 421
