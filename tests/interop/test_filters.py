"""Real filters behind the real service: rspamd and opendkim."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import dkim
import pytest

from tests.signing import rsa_key
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


OPENDKIM = """\
Socket inet:{port}@127.0.0.1
Domain example.com
Selector s1
KeyFile {folder}/key.pem
RequireSafeKeys false
Mode s
Canonicalization simple/simple
InternalHosts 127.0.0.1
PidFile {folder}/pid
Background no
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(port, process):
    """Wait until somebody listens."""
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        else:
            return


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
            wait_for(port, process)
            yield f"tcp:127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)
            shutil.rmtree(folder, ignore_errors=True)


def test_opendkim_signs_mail(program, tmp_path):
    """Its signature, put on top by us, is valid to yet another library: nothing was changed on the way."""
    port = free_port()
    (tmp_path / "key.pem").write_bytes(rsa_key()[0])
    (tmp_path / "conf").write_text(OPENDKIM.format(folder=tmp_path, port=port))
    process = subprocess.Popen([program("opendkim"), "-f", "-x", str(tmp_path / "conf")], stdin=subprocess.DEVNULL)
    site = SITE + f'[site.policies.milter]\non = true\nfilters = ["tcp:127.0.0.1:{port}"]\non_failure = "defer"\n'
    service = Service(tmp_path / "node", site=site, covered=False).start()
    try:
        wait_for(port, process)
        for _ in range(2):
            send(service.ports["smtp"], "joe@example.com", ["alice@example.org"], MESSAGE)
        exported = service.export("alice@example.org")
        assert len(exported) == 2
        for text in exported.values():
            message = text[text.index(b"DKIM-Signature:") :]
            assert dkim.verify(message, dnsfunc=lambda name, timeout=5: rsa_key()[1].encode())
        assert service.events("policy.failed") == []
    finally:
        process.terminate()
        process.wait(30)
        service.close()


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
