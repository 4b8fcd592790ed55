"""A real Dovecot in a folder of its own: LMTP on a socket and on a loopback port with TLS, IMAP to read what came."""

import imaplib
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.interop.relays import eventually, free_port
from tests.system.wire import Line

PASSWORD = "correct horse"
CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
instance_name = {name}
protocols = lmtp imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:{folder}/mail/%n
mail_plugins = quota
plugin {{
  quota = maildir:User quota
}}
quota_full_tempfail = yes
recipient_delimiter = +
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
passdb {{
  driver = passwd-file
  args = username_format=%n {folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%n {folder}/users
}}
"""


class Dovecot:
    """``users`` maps a name to what it may hold, in Dovecot's words, "" for anything."""

    def __init__(self, program, certificate, key, users):
        self.folder = Path(tempfile.mkdtemp(prefix="netsvc-store-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.program = program("dovecot")
        self.port, self.imap = free_port(), free_port()
        (self.folder / "mail").mkdir()
        shutil.chown(self.folder / "mail", "mail", "mail")
        lines = []
        for name, quota in users.items():
            extra = f" userdb_quota_rule=*:storage={quota}" if quota else ""
            lines.append(f"{name}:{{PLAIN}}{PASSWORD}:8:8::{self.folder}/mail/{name}::{extra}\n")
        (self.folder / "users").write_text("".join(lines))
        (self.folder / "dovecot.conf").write_text(
            CONFIG.format(
                folder=self.folder,
                name=self.folder.name,
                certificate=certificate,
                key=key,
                lmtp=self.port,
                imap=self.imap,
            )
        )
        self.process = None

    def start(self):
        words = [self.program, "-F", "-c", str(self.folder / "dovecot.conf")]
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                words, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
            )
        eventually(self._greets, lambda: f"it does not answer: {self.log()}")
        return self

    def _greets(self):
        assert self.process.poll() is None, self.log()
        try:
            with Line(socket.create_connection(("127.0.0.1", self.port), 5)) as line:
                greeted = line.read_line().startswith(b"220")
                line.send(b"QUIT\r\n")
                return greeted
        except OSError:
            return False

    def mails(self, user):
        """-> what IMAP shows of a user's inbox, byte for byte."""
        with imaplib.IMAP4("127.0.0.1", self.imap) as imap:
            imap.login(user, PASSWORD)
            imap.select("INBOX")
            _, (numbers,) = imap.search(None, "ALL")
            return [imap.fetch(number, "(BODY.PEEK[])")[1][0][1] for number in numbers.split()]

    def log(self):
        return "".join(
            x.read_text("utf-8", "replace") for x in map(self.folder.joinpath, ("output", "log")) if x.exists()
        )

    def complaints(self):
        return [x for x in self.log().splitlines() if "Error" in x or "Warning" in x or "Fatal" in x or "Panic" in x]

    def close(self):
        try:
            if self.process is not None and self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(20)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
