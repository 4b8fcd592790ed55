"""Mail users: TLS, logging in and sending, through the real process."""

import base64
import hashlib
import hmac
import json
import re
import secrets
import smtplib
import socket
import ssl
import time

import pytest

from tests import certs
from tests.system.service import SITE, Service
from tests.system.wire import Line, Smtp, queue_id

LISTEN = """
hostname = "mx1.example.org"
state = "state"
control_socket = "state/console.sock"
store = "{store}"

[tls]
certificate = "cert.pem"
key = "cert.key"

[tls.names."mx2.example.org"]
certificate = "other.pem"
key = "other.key"

[listeners.smtp]
endpoint = "{smtp}"
tls = "starttls"
service = "transfer"

[listeners.submission]
protocol = "smtp"
endpoint = "tcp:0:interface=127.0.0.1"
service = "submission"
tls = "starttls"

[listeners.submissions]
protocol = "smtp"
endpoint = "tcp:0:interface=127.0.0.1"
service = "submission"
tls = "implicit"

[listeners.console]
protocol = "telnet"
endpoint = "{console}"

[listeners.telnets]
protocol = "telnet"
endpoint = "tcp:0:interface=127.0.0.1"
tls = "implicit"
"""
STRICT = SITE.replace('relay_from = ["127.0.0.0/8"]\n', "")
PASSWORD = "correct horse"


def trusting():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.fixture(scope="module")
def mailhouse(tmp_path_factory):
    folder = tmp_path_factory.mktemp("submission")
    certs.write(folder, names=("mx1.example.org",))
    certs.write(folder, "other", names=("mx2.example.org",))
    service = Service(folder, node=LISTEN, site=STRICT)
    try:
        service.start()
        commands = f"user add alice@example.org mailbox password {json.dumps(PASSWORD)}\n"
        commands += f"user add ops role operator password {json.dumps(PASSWORD)}\n"
        done = service.netsvcctl("--json", data=commands)
        assert '"status":"ok"' in done.stdout.replace(" ", ""), done.stdout
        yield service
    finally:
        service.close()


def client(service, listener="submission"):
    port = service.ports[listener]
    if listener == "submissions":
        smtp = smtplib.SMTP_SSL("127.0.0.1", port, timeout=60, context=trusting())
    else:
        smtp = smtplib.SMTP("127.0.0.1", port, timeout=60)
        smtp.starttls(context=trusting())
    smtp.ehlo("laptop.example.net")
    return smtp


MESSAGE = "Subject: hello\r\nFrom: alice@example.org\r\n\r\nText.\r\n"


@pytest.mark.parametrize("listener", ["submission", "submissions"])
@pytest.mark.parametrize("method", ["auth_plain", "auth_login"])
def test_smtplib_logs_in_and_sends(mailhouse, listener, method):
    with client(mailhouse, listener) as smtp:
        assert {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"} == set(smtp.esmtp_features["auth"].split())
        assert "starttls" not in smtp.esmtp_features
        smtp.user, smtp.password = "alice@example.org", PASSWORD
        code, _ = smtp.auth(method[5:].upper(), getattr(smtp, method))
        assert code == 235
        assert smtp.sendmail("alice@example.org", ["bob@example.org"], MESSAGE) == {}
    newest = list(mailhouse.export("bob@example.org").values())[-1].decode()
    assert re.search(r"with ESMTPSA id \w{13}", newest)
    assert re.search(
        r"\r\nDate: \w{3}, .* \+0000\r\nMessage-ID: <\w{13}@mx1.example.org>\r\nSubject: hello\r\n", newest
    )
    assert mailhouse.events("auth.ok", user="alice@example.org")[-1]["tls"].startswith("TLSv1.3 ")


def test_a_date_and_an_id_that_are_there_stay_alone(mailhouse):
    with client(mailhouse) as smtp:
        smtp.login("alice@example.org", PASSWORD)
        own = "Message-ID: <mine@example.org>\r\nDATE: Thu, 1 Jan 2026 00:00:00 +0000\r\n" + MESSAGE
        smtp.sendmail("alice@example.org", ["bob@example.org"], own)
    newest = list(mailhouse.export("bob@example.org").values())[-1].decode()
    assert newest.lower().count("\r\ndate:") == newest.lower().count("\r\nmessage-id:") == 1


def test_nothing_is_said_before_logging_in(mailhouse):
    with Smtp(mailhouse.ports["submission"]) as smtp:
        assert "STARTTLS" in smtp.say("EHLO c.example.net")
        assert smtp.say("MAIL FROM:<alice@example.org>") == "530 5.7.0 Must issue a STARTTLS command first"
        assert smtp.say("AUTH PLAIN AGEAYg==").startswith("538 5.7.11")
    with client(mailhouse) as smtp:
        assert smtp.mail("alice@example.org")[0] == 530
        assert smtp.docmd("AUTH", "CRAM-MD5")[0] == 504
        assert smtp.docmd("STARTTLS")[0] == 503


def test_senders_use_what_is_theirs(mailhouse):
    with client(mailhouse) as smtp:
        smtp.login("alice@example.org", PASSWORD)
        for sender, code in {
            "alice@example.org": 250,
            "ALICE@EXAMPLE.ORG": 250,
            "alice+lists@example.org": 250,
            "sales@example.org": 250,
            "": 250,
            "bob@example.org": 553,
            "alice@elsewhere.example": 553,
            "nobody@example.org": 553,
        }.items():
            assert smtp.mail(sender)[0] == code, sender
            assert smtp.rset()[0] == 250
        assert smtp.mail("alice@example.org")[0] == 250
        assert smtp.rcpt("somebody@elsewhere.example")[0] == 250
        assert smtp.docmd("AUTH", "PLAIN")[0] == 503
        smtp.rset()
        assert smtp.docmd("AUTH", "PLAIN")[0] == 503
        mailhouse.netsvcctl("user grant alice@example.org bob@example.org")
        mailhouse.netsvcctl("user grant alice@example.org @partner.example")
        assert smtp.mail("bob@example.org")[0] == 250
        smtp.rset()
        assert smtp.mail("any@partner.example")[0] == 250
        smtp.rset()
        mailhouse.netsvcctl("user revoke alice@example.org bob@example.org")
        assert smtp.mail("bob@example.org")[0] == 553


def test_wrong_logins_all_sound_the_same(mailhouse):
    with client(mailhouse) as smtp:

        def plain(name, password):
            token = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
            return smtp.docmd("AUTH", f"PLAIN {token}")

        said = {plain("alice@example.org", "wrong"), plain("nobody@example.org", "wrong"), plain("ops", PASSWORD)}
        assert said == {(535, b"5.7.8 Authentication credentials invalid")}
        began = time.monotonic()
        assert plain("a\x1bb", "wrong")[0] == 535
        assert time.monotonic() - began >= 1
    log = "\n".join(mailhouse.lines)
    assert "wrong" not in "".join(json.dumps(e) for e in mailhouse.events("auth.failed")).replace("wrong name", "")
    assert PASSWORD not in log


def test_exchanges_are_kept_to_their_grammar(mailhouse):
    with client(mailhouse) as smtp:
        for first, then, code in [
            ("PLAIN", "*", 501),
            ("PLAIN", "not base64!", 501),
            ("PLAIN =", None, 501),
            ("PLAIN AGEAYg=", None, 501),
            ("LOGIN", "*", 501),
            ("PLAIN", "A" * 20000, 500),
            ("SCRAM-SHA-256", "AAAA", 501),
            ("SCRAM-SHA-256", base64.b64encode(b"y,,n=a,r=b").decode(), 535),
        ]:
            reply = smtp.docmd("AUTH", first)
            if then is not None:
                assert reply[0] == 334
                reply = smtp.docmd(then)
            assert reply[0] == code, (first, then, reply)
        smtp.login("alice@example.org", PASSWORD)


# -- SCRAM, by a client of its own --------------------------------------------------------------


def scram(smtp, name, password, binding=None):
    """-> (code, server's last words); ``binding``: (type, octets)."""
    mechanism = "SCRAM-SHA-256" + ("-PLUS" if binding else "")
    header = f"p={binding[0]},," if binding else "n,,"
    nonce = secrets.token_hex(8)
    bare = f"n={name},r={nonce}"
    code, data = smtp.docmd("AUTH", f"{mechanism} " + base64.b64encode((header + bare).encode()).decode())
    if code != 334:
        return code, data
    first = base64.b64decode(data).decode()
    r, s, i = (part[2:] for part in first.split(","))
    assert r.startswith(nonce)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(s), int(i))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    bound = header.encode() + (binding[1] if binding else b"")
    final = f"c={base64.b64encode(bound).decode()},r={r}"
    signed = f"{bare},{first},{final}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True))).decode()
    code, data = smtp.docmd(base64.b64encode(f"{final},p={proof}".encode()).decode())
    if code != 334:
        return code, data
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    expected = base64.b64encode(hmac.digest(server_key, signed, "sha256")).decode()
    assert base64.b64decode(data).decode() == f"v={expected}"
    return smtp.docmd("")


def end_point(smtp):
    return "tls-server-end-point", hashlib.sha256(smtp.sock.getpeercert(binary_form=True)).digest()


def test_scram(mailhouse):
    with client(mailhouse) as smtp:
        assert scram(smtp, "alice@example.org", "wrong")[0] == 535
        assert scram(smtp, "alice@example.org", PASSWORD) == (235, b"2.7.0 Authentication succeeded")
        smtp.sendmail("alice@example.org", ["bob@example.org"], MESSAGE)
    with client(mailhouse, "submissions") as smtp:
        assert scram(smtp, "alice@example.org", PASSWORD, ("tls-server-end-point", b"x" * 32))[0] == 535
        assert scram(smtp, "alice@example.org", PASSWORD, end_point(smtp))[0] == 235


def test_scram_tells_nobody_who_exists(mailhouse):
    def salt(name):
        with client(mailhouse) as smtp:
            first = base64.b64encode(f"n,,n={name},r=abc".encode()).decode()
            _, data = smtp.docmd("AUTH", f"SCRAM-SHA-256 {first}")
            words = base64.b64decode(data).decode().split(",")
            smtp.docmd("*")
            return words[1:]

    assert salt("nobody@example.org") == salt("NOBODY@example.org") != salt("other@example.org")
    assert salt("alice@example.org")[1] == salt("nobody@example.org")[1]
    assert len(salt("alice@example.org")[0]) == len(salt("nobody@example.org")[0])


# -- TLS ------------------------------------------------------------------------------------------


def test_t3_nothing_behind_starttls_is_obeyed(mailhouse):
    for glued in (b"EHLO evil.example\r\n", b"x", b"MAIL FROM:<a@example.net>\r\nRCPT TO:<bob@example.org>\r\n"):
        with Smtp(mailhouse.ports["smtp"]) as smtp:
            smtp.say("EHLO c.example.net")
            smtp.send(b"STARTTLS\r\n" + glued)
            assert smtp.reply().startswith("554 5.5.1")
            assert smtp.read_to_end() == b""
    mailhouse.wait("smtp.starttls_injection", count=3)


def test_t3_what_comes_behind_the_220_in_clear_ends_it(mailhouse):
    with Smtp(mailhouse.ports["smtp"]) as smtp:
        smtp.say("EHLO c.example.net")
        assert smtp.say("STARTTLS").startswith("220 2.0.0")
        smtp.send(b"EHLO evil.example\r\n")
        assert b"250" not in smtp.read_to_end()


def test_starttls_forgets(mailhouse):
    with Smtp(mailhouse.ports["smtp"]) as smtp:
        smtp.say("EHLO c.example.net")
        smtp.say("STARTTLS")
        smtp.sock = trusting().wrap_socket(smtp.sock)
        smtp.buffer = b""
        assert smtp.say("MAIL FROM:<c@example.net>").startswith("503 5.5.1")
        said = smtp.say("EHLO again.example.net")
        assert "STARTTLS" not in said
        assert "AUTH" not in said
        assert smtp.say("MAIL FROM:<c@example.net>").startswith("250")
        rows = [
            json.loads(x)["row"]
            for x in mailhouse.netsvcctl("--json", "show sessions").stdout.splitlines()
            if '"row"' in x
        ]
        assert any((row["tls"] or "").startswith("TLSv1.3 TLS_") for row in rows)
        assert smtp.say("RCPT TO:<bob@example.org>").startswith("250")
        assert smtp.say("DATA").startswith("354")
        queue_id(smtp.content(b"Subject: x\r\n\r\nx\r\n"))
    assert "with ESMTPS id" in list(mailhouse.export("bob@example.org").values())[-1].decode()


def test_sni_and_versions(mailhouse):
    def names(asked):
        context = trusting()
        sock = socket.create_connection(("127.0.0.1", mailhouse.ports["submissions"]), 20)
        with context.wrap_socket(sock, server_hostname=asked) as wrapped:
            return wrapped.getpeercert(binary_form=True)

    assert names("mx1.example.org") == names("unknown.example.net") == names(None)
    assert names("MX2.example.org") != names("mx1.example.org")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", mailhouse.ports["submissions"]), 20) as sock,
        pytest.raises(ssl.SSLError),
    ):
        old.wrap_socket(sock)


def test_t6_garbage_is_dropped(mailhouse):
    with socket.create_connection(("127.0.0.1", mailhouse.ports["submissions"]), 20) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        line = Line(sock)
        assert b"220" not in line.read_to_end()


def test_certificates_are_read_again(mailhouse):
    def served():
        with (
            socket.create_connection(("127.0.0.1", mailhouse.ports["submissions"]), 20) as sock,
            trusting().wrap_socket(sock) as inside,
        ):
            return inside.getpeercert(binary_form=True)

    folder = mailhouse.folder
    before = served()
    with client(mailhouse) as smtp:
        (folder / "cert.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nhalf")
        mailhouse.wait("tls.certificate_refused", timeout=60)
        assert served() == before
        shown = mailhouse.netsvcctl("--json", "show tls-certificates").stdout
        row = next(json.loads(x)["row"] for x in shown.splitlines() if '"row"' in x)
        assert row["error"]
        certs.write(folder, names=("new.example.org",), days=3)
        mailhouse.wait("tls.certificate_read", timeout=60)
        mailhouse.wait("tls.certificate_expires", timeout=60)
        assert served() != before
        assert smtp.noop()[0] == 250


def test_the_console_inside_tls(mailhouse):
    sock = socket.create_connection(("127.0.0.1", mailhouse.ports["telnets"]), 20)
    with Line(trusting().wrap_socket(sock)) as line:
        line.send(b"ops\r\n" + PASSWORD.encode() + b"\r\nwhoami\r\nexit\r\n")
        assert b"operator" in line.read_to_end()


def test_a_start_without_its_key_says_which(make_service, tmp_path):
    service = make_service(node=LISTEN)
    certs.write(service.folder)
    certs.write(service.folder, "other")
    (service.folder / "other.key").write_bytes(certs.make()[1])
    service.spawn()
    assert service.wait_exit() == 1
    assert "other.key: is not the key of the first certificate in" in service.log()
    checked = service.process.args[:-2]
    assert checked


def test_who_is_locked_out_is_seen_and_let_in_again(mailhouse):
    commands = f"user add carol@example.org mailbox password {json.dumps(PASSWORD)}\n"
    mailhouse.netsvcctl("--json", data="mailbox create carol@example.org\n" + commands)

    def login(password):
        with client(mailhouse) as smtp:
            return smtp.docmd("AUTH PLAIN", base64.b64encode(f"\0carol@example.org\0{password}".encode()).decode())[0]

    def locked(schema):
        lines = mailhouse.netsvcctl("--json", f"show {schema}").stdout.splitlines()
        return [row for line in lines if (row := json.loads(line).get("row")) and "carol" in row["name"]]

    assert login(PASSWORD) == 235
    for _ in range(10):
        assert login("wrong") == 535
    assert login(PASSWORD) == 535
    (lock,) = locked("locks")
    assert (lock["door"], lock["name"], lock["source"]) == ("mail", "carol@example.org", "127.0.0.1")
    assert locked("users")[0]["locked_until"] == lock["until"]
    assert "1 lock lifted" in mailhouse.netsvcctl("user unlock carol@example.org").stdout
    assert login(PASSWORD) == 235
    assert locked("locks") == []
    assert mailhouse.netsvcctl("user unlock carol@example.org", check=False).returncode == 6
