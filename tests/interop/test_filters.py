"""A real rspamd as a milter behind the real service."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.service import SITE, Service
from tests.system.wire import Smtp, send

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
MESSAGE = (
    b"From: Joe <joe@example.com>\r\nTo: alice@example.org\r\nSubject: dinner\r\n"
    b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nWe lost the game.\r\n"
)
CONFIG = """\
lua = "$RULESDIR/rspamd.lua"
modules {{ path = "$PLUGINSDIR"; }}
options {{
  pidfile = "{folder}/rspamd.pid"; tempdir = "{folder}"; hs_cache_dir = "{folder}"; url_tld = "{folder}/tld.dat";
  control_socket = "{folder}/control.sock mode=0600";
  dns {{ nameserver = ["127.0.0.1:{nowhere}"]; timeout = 0.2s; retransmits = 1; }}
}}
logging {{ type = "console"; level = "info"; }}
worker "rspamd_proxy" {{
  bind_socket = "127.0.0.1:{port}"; count = 1; milter = yes; timeout = 20s;
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
milter_headers {{ use = ["x-spamd-bar"]; skip_local = false; skip_authenticated = false; }}
actions {{ reject = 15; add_header = 6; greylist = 4; }}
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def rspamd(program, tmp_path):
    """-> where it listens.  Its folder is outside pytest's, which its account may not enter."""
    folder = Path("/tmp") / f"rspamd-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    port = free_port()
    (folder / "tld.dat").write_text("com\nnet\norg\n")
    config = folder / "rspamd.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, nowhere=free_port()))
    account = ["-u", "_rspamd", "-g", "_rspamd"] if os.geteuid() == 0 else []
    words = [program("rspamd"), "-f", *account, "-c", str(config), f"--var=DBDIR={folder}", f"--var=RUNDIR={folder}"]
    with (tmp_path / "rspamd.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert process.poll() is None, (tmp_path / "rspamd.log").read_text()
                    assert time.monotonic() < end, (tmp_path / "rspamd.log").read_text()
                    time.sleep(0.1)
            yield f"tcp:127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)
            shutil.rmtree(folder, ignore_errors=True)


def test_rspamd_judges_mail(rspamd, tmp_path):
    site = SITE + f'[site.policies.milter]\non = true\nfilters = ["{rspamd}"]\non_failure = "defer"\n'
    service = Service(tmp_path / "node", site=site, covered=False).start()
    try:
        port = service.ports["smtp"]
        for body in (b"", b"more\r\n" * 100_000, b"last\r\n"):
            send(port, "joe@example.com", ["alice@example.org"], MESSAGE + body)
        with Smtp(port) as smtp:
            smtp.begin("joe@example.com", ["bob@example.org"])
            assert smtp.content(MESSAGE + GTUBE + b"\r\n").startswith("554 5.7.1 Gtube pattern")
        exported = service.export("alice@example.org")
        assert len(exported) == 3
        assert all(b"\r\nX-Spamd-Bar: " in text.partition(b"Received:")[0] for text in exported.values())
        assert service.export("bob@example.org") == {}
        assert service.events("policy.failed") == []
    finally:
        service.close()
