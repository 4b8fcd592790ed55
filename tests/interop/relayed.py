"""The service that real relays deliver to, and how what they delivered is looked at."""

import json
import shutil
import tempfile
from pathlib import Path

from tests.interop import authority
from tests.interop.relays import PASSWORD, USER
from tests.system.contents import HEAD, NASTY
from tests.system.service import Service

WAYS = (
    "clear",
    "starttls",
    "submission",
    "submissions",
    "login",
    "scram",
    "lmtp",
    "lmtps",
    "socket",
    "nochunks",
    "proxied",
)
NODE = """\
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
[listeners.lmtp]
protocol = "smtp"
endpoint = "tcp:0:interface=127.0.0.1"
service = "lmtp"
[listeners.lmtps]
protocol = "smtp"
endpoint = "tcp:0:interface=127.0.0.1"
service = "lmtp"
tls = "starttls"
[listeners.socket]
protocol = "smtp"
endpoint = "unix:lmtp.sock:mode=666"
service = "lmtp"
[listeners.behind]
protocol = "smtp"
endpoint = "tcp:0:interface=127.0.0.1"
proxy_from = ["127.0.0.1/32"]
"""
BOXES = ("box", "two", "three", "big", "burst", "third", "lazy", "late")
# What both relays hand on as they got it.  Left out is what they mend: a header section that is none or nothing else, Return-Path.
PASSED_ON = (
    "dots", "only_dots_at_end", "eight_bit", "utf8", "invalid_utf8", "controls", "other_line_ends", "line_998", "line_1000",
    "line_4097", "line_300k", "header_line_20k", "from_line", "smtp_inside", "trailing_blanks", "ends_in_empty_lines",
    "iac", "one_mebibyte",
)  # fmt: skip
CONTENTS = [NASTY[name] for name in PASSED_ON]
assert all(x.startswith((HEAD, b"X-Long")) for x in CONTENTS)


def site(partner=None):
    domains = [f"{way}.example" for way in WAYS] + ["users.example", "b\u00fccher.example"]
    boxes = [f"{box}@{domain}" for domain in domains for box in BOXES] + [USER, "postmaster@users.example"]
    text = f"""
[site]
domains = {json.dumps(domains, ensure_ascii=False)}
mailboxes = {json.dumps(boxes, ensure_ascii=False)}
limits_exempt = ["127.0.0.0/8"]
"""
    text += 'relay_from = ["127.0.0.0/8"]\n[site.routes]\n' if partner else ""
    text += f'"partner.example" = "[127.0.0.1]:{partner}"\n' if partner else ""
    return text


class House(Service):
    """The service with a listener of each kind, in a folder that the accounts of mail servers may enter."""

    def __init__(self, partner=None):
        folder = Path(tempfile.mkdtemp(prefix="netsvc-house-", dir="/tmp"))
        folder.chmod(0o755)
        self.authority = authority.write(folder)
        self.authority.chmod(0o644)
        super().__init__(folder, node=NODE, site=site(partner), covered=False)

    def start(self, *options, **more):
        super().start(*options, **more)
        self.netsvcctl("--json", data=f"user add {USER} mailbox password {json.dumps(PASSWORD)}\n")
        return self

    def close(self):
        try:
            super().close()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def rows(self, command):
        done = self.netsvcctl("--json", data=command + "\n")
        records = [json.loads(line) for line in done.stdout.splitlines()]
        return [x.get("row", x) for x in records if x.get("end") is None and "hello" not in x]
