"""Mail from real SMTP clients: swaks and curl."""

import subprocess

from tests.system.wire import without_trace


def run(words, **options):
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, **options)


def test_swaks_with_an_attachment(house, program, tmp_path):
    attached = tmp_path / "all.bin"
    attached.write_bytes(bytes(range(256)) * 20)
    before = set(house.export("alice@example.org"))
    done = run(
        [
            program("swaks"),
            "--server",
            f"127.0.0.1:{house.ports['smtp']}",
            "--from",
            "c@example.net",
            "--to",
            "alice@example.org",
            "--attach",
            f"@{attached}",
            "--header",
            "Subject: from swaks",
            "--pipeline",
        ]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    exported = house.export("alice@example.org")
    (new,) = set(exported) - before
    assert b"Subject: from swaks\r\n" in without_trace(exported[new])[1]


def test_swaks_to_nobody(house, program):
    done = run(
        [
            program("swaks"),
            "--server",
            f"127.0.0.1:{house.ports['smtp']}",
            "--to",
            "nobody@example.org",
            "--from",
            "c@example.net",
        ]
    )
    assert done.returncode == 24  # no recipient was taken
    assert "550 5.1.1" in done.stdout


def test_curl_sends_mail(house, program, tmp_path):
    message = tmp_path / "mail.eml"
    content = b"Subject: from curl\r\n\r\n.dot\r\n..\r\n.\r\nlast\r\n"
    message.write_bytes(content)
    done = run(
        [
            program("curl"),
            "-sS",
            f"smtp://127.0.0.1:{house.ports['smtp']}/client.example.net",
            "--mail-from",
            "c@example.net",
            "--mail-rcpt",
            "bob@example.org",
            "--upload-file",
            str(message),
        ]
    )
    assert done.returncode == 0, done.stderr
    (exported,) = house.export("bob@example.org").values()
    assert without_trace(exported)[1] == content
