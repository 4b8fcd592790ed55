"""Mail users with real clients: openssl, swaks and curl."""

import json
import subprocess

import pytest

from tests import certs
from tests.system.service import SITE, Service

PASSWORD = "correct horse"
NODE = """
hostname = "mx1.example.org"
state = "state"
control_socket = "state/console.sock"
store = "{store}"
[tls]
certificate = "cert.pem"
key = "cert.key"
[listeners.smtp]
endpoint = "{smtp}"
tls = "starttls"
[listeners.submission]
endpoint = "tcp:0:interface=127.0.0.1"
service = "submission"
tls = "starttls"
[listeners.submissions]
protocol = "smtp"
endpoint = "tcp:0:interface=127.0.0.1"
service = "submission"
tls = "implicit"
[listeners.console]
endpoint = "tcp:0:interface=127.0.0.1"
tls = "implicit"
"""


@pytest.fixture(scope="module")
def mailhouse(tmp_path_factory):
    folder = tmp_path_factory.mktemp("submission")
    certs.write(folder)
    service = Service(folder, node=NODE, site=SITE.replace('relay_from = ["127.0.0.0/8"]\n', ""), covered=False)
    try:
        service.start()
        service.netsvcctl("--json", data=f"user add alice@example.org mailbox password {json.dumps(PASSWORD)}\n")
        yield service
    finally:
        service.close()


def run(*words, **options):
    return subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=60, check=False, **options)


def test_openssl_sees_the_certificate(mailhouse, program):
    for listener, more in (("submissions", ()), ("submission", ("-starttls", "smtp")), ("smtp", ("-starttls", "smtp"))):
        where = f"127.0.0.1:{mailhouse.ports[listener]}"
        done = run(program("openssl"), "s_client", "-connect", where, "-brief", *more, input="QUIT\r\n")
        assert "TLSv1.3" in done.stderr, done.stderr
        assert "CN = mx1.example.org" in done.stderr.replace("CN=", "CN = ")


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(mailhouse, program, version):
    where = f"127.0.0.1:{mailhouse.ports['submissions']}"
    done = run(program("openssl"), "s_client", "-connect", where, version, "-cipher", "ALL:@SECLEVEL=0", input="")
    assert done.returncode != 0


def test_the_console_by_openssl(mailhouse, program):
    where = f"127.0.0.1:{mailhouse.ports['console']}"
    typed = f"admin\n{mailhouse.password()}\nwhoami\nexit\n"
    done = run(program("openssl"), "s_client", "-quiet", "-crlf", "-connect", where, input=typed)
    assert "role" in done.stdout.lower(), done.stdout


@pytest.mark.parametrize("how", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize(("listener", "tls"), [("submission", "--tls"), ("submissions", "--tls-on-connect")])
def test_swaks_logs_in(mailhouse, program, how, listener, tls):
    done = run(
        program("swaks"), "--server", f"127.0.0.1:{mailhouse.ports[listener]}", tls, "--auth", how,
        "--auth-user", "alice@example.org", "--auth-password", PASSWORD,
        "--from", "alice@example.org", "--to", "bob@example.org", "--header", f"Subject: {how} {listener}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    newest = list(mailhouse.export("bob@example.org").values())[-1].decode()
    assert f"Subject: {how} {listener}" in newest
    assert "with ESMTPSA id" in newest


def test_swaks_with_a_wrong_password(mailhouse, program):
    done = run(
        program("swaks"), "--server", f"127.0.0.1:{mailhouse.ports['submission']}", "--tls", "--auth", "PLAIN",
        "--auth-user", "alice@example.org", "--auth-password", "wrong", "--to", "bob@example.org",
    )  # fmt: skip
    assert done.returncode == 28
    assert "535 5.7.8" in done.stdout


def test_curl_chooses_a_mechanism_by_itself(mailhouse, program, tmp_path):
    message = tmp_path / "mail.eml"
    message.write_bytes(b"Subject: from curl\r\n\r\nText\r\n")
    done = run(
        program("curl"), "-sS", "--insecure", f"smtps://127.0.0.1:{mailhouse.ports['submissions']}/c.example.net",
        "--user", f"alice@example.org:{PASSWORD}", "--mail-from", "alice@example.org", "--mail-rcpt", "bob@example.org",
        "--upload-file", str(message),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert mailhouse.events("auth.ok", user="alice@example.org")
