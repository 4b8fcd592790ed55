"""A real Postfix and a real Exim, each in a folder of its own: queue, configuration and log; both on high loopback ports.

Each delivers mail for ``WAY.example`` to the service in the way of that name, and keeps what the service sends it for
``partner.example`` in a maildir, where the users ``later`` and ``never`` are answered 450 and 550.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.system.wire import Smtp

DEADLINE = 30.0
PASSWORD = "correct horse"
USER = "alice@users.example"
UNKNOWN = re.compile(
    r"warning|fatal|panic|error|malformed|unexpected|lost connection|timed out|refused|failed|protocol", re.IGNORECASE
)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def eventually(test, why):
    """Wait until ``test()`` holds for a program that tells nobody when it does -> its value."""
    end = time.monotonic() + DEADLINE
    while not (value := test()):
        assert time.monotonic() < end, why() if callable(why) else why
        time.sleep(0.05)
    return value


class Relay:
    """What is the same of both: ``start`` it, ``hand`` it mail, wait until it ``has_delivered``, ``close`` it."""

    queue_folders: tuple[str, ...]

    def __init__(self, program, house, authority):
        # Outside pytest's folders, which the accounts of mail servers may not enter.
        self.folder = Path(tempfile.mkdtemp(prefix="netsvc-relay-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.program = program
        self.house = house
        self.authority = authority
        self.port = free_port()
        self.process = None

    def run(self, words, **options):
        """Start it in a process group of its own, and wait until it greets."""
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                words, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True, **options
            )
        eventually(self._greets, lambda: f"it does not answer: {self.log()}")
        return self

    def _greets(self):
        assert self.process.poll() is None, self.log()
        try:
            with Smtp(self.port) as smtp:
                return smtp.say("QUIT").startswith("221")
        except OSError:
            return False

    def hand(self, sender, recipients, contents, mail="", rcpt=""):
        """Give it messages in one session; ``mail`` and ``rcpt`` are ESMTP parameters, each with its blank."""
        with Smtp(self.port) as smtp:
            assert smtp.say("EHLO client.example.net").startswith("250")
            for content in contents:
                assert smtp.say(f"MAIL FROM:<{sender}>{mail}").startswith("250")
                for recipient in recipients:
                    assert smtp.say(f"RCPT TO:<{recipient}>{rcpt}".encode().decode("latin-1")).startswith("250")
                assert smtp.say("DATA").startswith("354")
                assert smtp.content(content).startswith("250")
            assert smtp.say("QUIT").startswith("221")

    def has_delivered(self):
        """Wait until its queue is empty."""
        # A message goes through the folders in their order; a report may be made behind our back, so look twice.
        eventually(lambda: not self._queued() and not self._queued(), lambda: f"{self._queued()} {self.log()[-5000:]}")
        assert self.queue() == ""

    def _queued(self):
        return [x for name in self.queue_folders for x in (self.folder / name).rglob("*") if self.is_message(x)]

    @staticmethod
    def is_message(path):
        return path.is_file()

    def kept(self, local):
        """-> the messages that it took for one user of partner.example, in the line ends of its host."""
        return [x.read_bytes() for x in sorted((self.folder / "kept" / local / "new").glob("*"))]

    def complaints(self, usual=r"^$"):
        """-> lines of its log that find fault with something, other than ``usual`` ones."""
        return [x for x in self.log().splitlines() if UNKNOWN.search(x) and not re.search(usual, x)]

    def close(self):
        try:
            if self.process is not None and self.process.poll() is None:
                leader = self.leader()
                os.kill(leader, signal.SIGTERM)
                self.process.wait(20)
                self._end_group(leader)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def leader(self):
        """-> the process that leads the group of all others, and ends them when it ends."""
        return self.process.pid

    @staticmethod
    def _end_group(leader):
        try:
            os.killpg(leader, signal.SIGKILL)
        except ProcessLookupError:
            return


MAIN_CF = """\
compatibility_level = 3.6
maillog_file = /dev/stdout
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.example.net
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access texthash:{folder}/access, permit_mynetworks, reject
alias_maps =
local_header_rewrite_clients =
transport_maps = texthash:{folder}/transport
virtual_mailbox_domains = partner.example
virtual_mailbox_maps = inline:{{ good@partner.example=good/, all@partner.example=all/ }}
virtual_mailbox_base = {folder}/kept
virtual_uid_maps = static:{account}
virtual_gid_maps = static:{account}
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
message_size_limit = 50000000
mailbox_size_limit = 0
smtp_line_length_limit = 0
lmtp_line_length_limit = 0
smtputf8_enable = yes
smtpd_client_connection_rate_limit = 0
smtp_tls_CAfile = {authority}
smtp_tls_secure_cert_match = mx1.example.org
smtp_tls_loglevel = 1
smtp_sasl_security_options = noanonymous
smtp_sasl_tls_security_options = noanonymous
smtp_sasl_password_maps = inline:{{ {{ [127.0.0.1]:{submission} = {user}:{password} }}, {{ [127.0.0.1]:{submissions} = {user}:{password} }} }}
smtp_bind_address = 127.0.0.1
lmtp_tls_CAfile = {authority}
lmtp_tls_secure_cert_match = mx1.example.org
lmtp_tls_loglevel = 1
"""
SECURE = "-o smtp_tls_security_level=secure"
LOGIN = f"{SECURE} -o smtp_sasl_auth_enable=yes -o smtp_sasl_mechanism_filter="
MASTER_CF = f"""\
127.0.0.1:{{port}} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
smtp      unix  - - n - - smtp
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
clear     unix  - - n - - smtp
starttls  unix  - - n - - smtp {SECURE}
submission unix - - n - - smtp {LOGIN}plain
login     unix  - - n - - smtp {LOGIN}login
scram     unix  - - n - - smtp {LOGIN}scram-sha-256
submissions unix - - n - - smtp {LOGIN}plain -o smtp_tls_wrappermode=yes
lmtp      unix  - - n - - lmtp
lmtps     unix  - - n - - lmtp -o lmtp_tls_security_level=secure
"""


POSTFIX_WAYS = {
    "clear": "smtp", "starttls": "smtp", "submission": "submission", "login": "submission", "scram": "submission",
    "submissions": "submissions", "lmtp": "lmtp", "lmtps": "lmtps", "proxied": "proxied",
}  # fmt: skip


class Postfix(Relay):
    """Postfix; it starts as root and gives up what it can."""

    queue_folders = ("queue/maildrop", "queue/incoming", "queue/active", "queue/deferred")

    def start(self, **ports):
        """Start it; ``ports`` says where a way leads, where that is not the listener of the service."""
        assert os.geteuid() == 0, "Postfix is started by root"
        for name in ("queue", "data", "kept"):
            (self.folder / name).mkdir()
        account = int(subprocess.run(["id", "-u", "postfix"], capture_output=True, check=True).stdout)
        for name in ("data", "kept"):
            os.chown(self.folder / name, account, account)
        house = {**self.house.ports, **ports}
        places = {way: f"{way}:[127.0.0.1]:{house[to]}" for way, to in POSTFIX_WAYS.items() if to in house}
        if "proxied" in house:
            places["proxied"] = f"clear:[127.0.0.1]:{house['proxied']}"
        names = {**places, "users": places["clear"], "b\u00fccher": places["starttls"]}
        self._write("transport", "".join(f"{name}.example {place}\n" for name, place in names.items()))
        self._write("access", "later@partner.example 450 4.2.1 busy\nnever@partner.example 550 5.1.1 nobody\n")
        self._write("master.cf", MASTER_CF.format(port=self.port))
        values = {"folder": self.folder, "account": account, "authority": self.authority}
        house = {key: house[key] for key in ("submission", "submissions")}
        self._write("main.cf", MAIN_CF.format(**values, **house, user=USER, password=PASSWORD))
        return self.run([self.program("postfix"), "-c", str(self.folder), "start-fg"])

    def _write(self, name, text):
        (self.folder / name).write_text(text)

    def leader(self):
        return int((self.folder / "queue" / "pid" / "master.pid").read_text())

    def log(self):
        return (self.folder / "output").read_text(errors="replace")

    def flush(self):
        """Have it try again now."""
        subprocess.run([self.program("postqueue"), "-c", str(self.folder), "-f"], check=True, timeout=DEADLINE)

    def queue(self):
        words = [self.program("postqueue"), "-c", str(self.folder), "-j"]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=DEADLINE).stdout


EXIM = """\
primary_hostname = exim.example.net
exim_path = {program}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
log_selector = +smtp_protocol_error +smtp_syntax_error +smtp_confirmation +tls_certificate_verified +tls_cipher -retry_defer
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts =
chunking_advertise_hosts = *
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
smtp_accept_max = 100
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
message_size_limit = 50M
host_lookup =

never_users =
deliver_drop_privilege = true
acl_smtp_rcpt = to
keep_environment =
remote_max_parallel = 4
begin acl
to:
  warn control = dkim_disable_verify
  deny domains = partner.example
    local_parts = never
    message = 5.1.1 nobody
  defer domains = partner.example
    local_parts = later
    message = 4.2.1 busy
  accept
begin routers
kept:
  driver = accept
  domains = partner.example
  local_parts = good : all
  transport = kept
{routers}
begin transports
kept:
  driver = appendfile
  directory = {folder}/kept/$local_part_data
  maildir_format
  create_directory
  user = {account}
lmtpsocket:
  driver = lmtp
  socket = {socket}
  batch_max = 100
  user = {account}
{transports}
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{user}^{password}
begin retry
* * F,1h,1s
"""
ROUTER = """\
{way}:
  driver = manualroute
  domains = {domains}
  route_list = * 127.0.0.1::{port}
  self = send
  transport = {way}
"""
TRANSPORT = """\
{way}:
  driver = smtp
  allow_localhost
  message_linelength_limit = 10000000
  {options}
"""
PLAIN = "hosts_avoid_tls = *"
VERIFIED = (
    "hosts_require_tls = *\n  tls_verify_certificates = {authority}\n  tls_verify_hosts = *\n"
    "  tls_verify_cert_hostnames = *\n  tls_sni = mx1.example.org"
)
AUTH = "\n  hosts_require_auth = *"


EXIM_WAYS = {
    "clear": ("smtp", PLAIN), "starttls": ("smtp", VERIFIED), "submission": ("submission", VERIFIED + AUTH),
    "submissions": ("submissions", VERIFIED + AUTH + "\n  protocol = smtps"),
    "lmtp": ("lmtp", PLAIN + "\n  protocol = lmtp\n  port = 24"), "nochunks": ("smtp", PLAIN + "\n  hosts_try_chunking ="),
    "proxied": ("proxied", PLAIN),
}  # fmt: skip


class Exim(Relay):
    """Exim, run by its own account from the first moment on."""

    queue_folders = ("spool/input",)

    @staticmethod
    def is_message(path):
        return path.name.endswith(("-H", "-D"))

    def start(self, **ports):
        house = {**self.house.ports, **ports}
        words = [self.program("exim4")]
        account = {"user": "Debian-exim", "group": "Debian-exim", "extra_groups": []} if os.geteuid() == 0 else {}
        for name in ("spool", "log", "kept"):
            (self.folder / name).mkdir()
            if account:
                shutil.chown(self.folder / name, "Debian-exim", "Debian-exim")
        ways = {way: to for way, to in EXIM_WAYS.items() if to[0] in house}
        routers = [
            ROUTER.format(
                way=way, domains=f"{way}.example" + (" : users.example" if way == "clear" else ""), port=house[to]
            )
            for way, (to, _) in ways.items()
        ]
        routers.append("socket:\n  driver = accept\n  domains = socket.example\n  transport = lmtpsocket\n")
        transports = [
            TRANSPORT.format(way=way, options=options.format(authority=self.authority))
            for way, (_, options) in ways.items()
        ]
        self.config = self.folder / "exim.conf"
        self.config.write_text(
            EXIM.format(
                program=words[0], folder=self.folder, port=self.port, routers="\n".join(routers), transports="\n".join(transports),
                user=USER, password=PASSWORD, account="Debian-exim", socket=self.house.folder / "lmtp.sock",
            )
        )  # fmt: skip
        self.words, self.account = [*words, "-C", str(self.config)], account
        return self.run([*self.words, "-bdf", "-q1s", "-oP", str(self.folder / "log" / "pid")], **account)

    def log(self):
        return "".join(
            x.read_text(errors="replace") for x in [self.folder / "output", *(self.folder / "log").glob("*log")]
        )

    def flush(self):
        """It tries again each second."""

    def queue(self):
        done = subprocess.run(
            [*self.words, "-bp"], capture_output=True, text=True, check=True, timeout=DEADLINE, **self.account
        )
        return done.stdout
