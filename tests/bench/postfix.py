"""Postfix beside the service: an instance of its own folder and port, relaying to the sink; what Debian ships, untuned.

It is run as the package sets it up (queue manager, limits, logging) but for what an instance of its own must say:
where it lies, which port it has, where the one relayed domain goes, and no chroot, which it would need files for.
"""

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.bench.processes import free_port

DAEMONS = Path("/usr/lib/postfix/sbin")
PACKAGE_SECONDS = 300

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.bench.example
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
transport_maps = inline:{{ relay.example=smtp:[127.0.0.1]:{sink} }}
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
"""


class NoPostfixError(Exception):
    """Postfix cannot be run here; the words say why."""


def installed():
    """Make sure Postfix is there.  Raises NoPostfixError, in words."""
    if os.geteuid() != 0:
        raise NoPostfixError("only root can run an instance of Postfix")
    if shutil.which("postfix") is None:
        apt = shutil.which("apt-get")
        if apt is None:
            raise NoPostfixError("Postfix is not installed, and there is no apt-get")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update"], ["install", "-y", "--no-install-recommends", "postfix"]):
            try:
                done = subprocess.run(
                    [apt, "-q", *words], env=env, capture_output=True, text=True, check=False, timeout=PACKAGE_SECONDS
                )
            except subprocess.TimeoutExpired:
                raise NoPostfixError(f"apt-get {words[0]} did not end") from None
            if done.returncode:
                raise NoPostfixError(f"apt-get {words[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
    if not (DAEMONS / "master").exists() or not Path("/etc/postfix/master.cf").exists():
        raise NoPostfixError("this Postfix is not laid out as Debian's")


class Postfix:
    """An instance that accepts at ``port`` and relays mail for relay.example to the sink at ``sink``."""

    def __init__(self, sink):
        installed()
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="netsvc-postfix-")
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        self._etc = folder / "etc"
        for name in ("etc", "spool", "data", "log"):
            (folder / name).mkdir()
        owner = pwd.getpwnam("postfix")
        os.chown(folder / "data", owner.pw_uid, owner.pw_gid)
        (self._etc / "main.cf").write_text(MAIN.format(folder=folder, daemons=DAEMONS, sink=sink))
        (self._etc / "master.cf").write_text(self._master(Path("/etc/postfix/master.cf").read_text()))
        try:
            self._command("start")
        except BaseException:
            self.close()
            raise

    def _master(self, packaged):
        """Return the package's services with our port, out of the chroot, with the one that writes the log file."""
        lines = []
        for line in packaged.splitlines():
            fields = line.split()
            if len(fields) >= 8 and not line.startswith(("#", " ", "\t")):
                if fields[:2] == ["smtp", "inet"]:
                    fields[0] = f"127.0.0.1:{self.port}"
                fields[4] = "n"
                lines.append(" ".join(fields))
            elif line and not line.startswith("#"):
                lines.append(line)
        if not any(re.match(r"postlog\s", line) for line in lines):
            lines.append("postlog unix-dgram n - n - 1 postlogd")
        return "\n".join(lines) + "\n"

    def _command(self, word):
        done = subprocess.run(
            ["postfix", "-c", str(self._etc), word], capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode:
            raise NoPostfixError(f"postfix {word} failed: {done.stdout} {done.stderr}")

    @property
    def version(self):
        """What it calls itself."""
        return subprocess.run(
            ["postconf", "-dh", "mail_version"], capture_output=True, text=True, check=True
        ).stdout.strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End it and remove its folder."""
        with contextlib.suppress(NoPostfixError):
            self._command("stop")
        self._folder.cleanup()
