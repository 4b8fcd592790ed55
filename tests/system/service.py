"""The real service as a child process: its configuration, its log as it comes, its end.

``Service`` starts ``twistd -n netsvc --config FILE`` on ports the kernel chooses, learns them from the log's
``listener.serving`` lines, and keeps every line.  Nothing here sleeps: whoever waits is woken by the next log line.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

BIN = Path(sys.executable).parent
COVERED = [sys.executable, str(Path(__file__).with_name("covered.py"))]
DEADLINE = 30.0  # seconds for what takes one or two

NODE = """\
hostname = "mx1.example.org"
state = "state"
control_socket = "state/console.sock"
store = "{store}"

[listeners.smtp]
protocol = "smtp"
endpoint = "{smtp}"
service = "transfer"
max_message_size = "50M"

[listeners.console]
protocol = "telnet"
endpoint = "{console}"
"""

SITE = """
[site]
domains = ["example.org"]
mailboxes = ["alice@example.org", "bob@example.org", "postmaster@example.org"]
limits_exempt = ["127.0.0.0/8", "::1/128"]
relay_from = ["127.0.0.0/8"]
[site.aliases]
"sales@example.org" = ["alice@example.org", "bob@example.org"]
"""

LOOPBACK = "tcp:0:interface=127.0.0.1"


NO_SERVER = 'dns = ["127.0.0.1:9"]\n'
"""A name server that is not there: what the network of whoever runs the tests would answer is of no concern."""


def _without_names(site):
    """Return a site that asks no name server, where it says nothing of them itself: mail by MX waits."""
    if "[site]" not in site or "\ndns = " in site:
        return site
    head = "[site.delivery]\n"
    return site.replace(head, head + NO_SERVER) if head in site else f"{site}\n{head}{NO_SERVER}"


class NotReadyError(AssertionError):
    """The service ended, or said nothing, before it was ready; holds its log."""


class Service:
    """One service on a folder of its own.  ``start`` and ``stop`` or ``kill``, any number of times."""

    def __init__(self, folder, *, store="sqlite", site=SITE, node=NODE, covered=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "netsvc.toml"
        self.store = store
        self.state = self.folder / "state"
        self.control = self.state / "console.sock"
        self.smtp = self.console = LOOPBACK
        self.covered = bool(os.environ.get("NETSVC_COVERAGE")) if covered is None else covered
        self.process = None
        self.ports = {}
        self.lines = []
        self.env = {}
        self.prefix = []
        self._news = threading.Condition()
        self._ended = True
        self.write_config(node, site)

    def write_config(self, node=NODE, site=SITE):
        text = node.replace("{store}", self.store).replace("{smtp}", self.smtp).replace("{console}", self.console)
        self.config.write_text(text + _without_names(site))

    # -- its life -----------------------------------------------------------

    def command(self, script, *arguments):
        return [*COVERED, script, *arguments] if self.covered else [str(BIN / script), *arguments]

    def spawn(self, *options):
        """Start the process without waiting for anything."""
        self.ports = {}
        self._ended = False
        self.process = subprocess.Popen(
            self.prefix + self.command("twistd", "-n", "--pidfile=", "netsvc", "--config", str(self.config), *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env={**os.environ, **self.env},
        )
        self._first = len(self.lines)
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream):
        with stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip("\n")
                with self._news:
                    self.lines.append(line)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def start(self, *options, timeout=DEADLINE):
        """Start it and wait until it says that it serves."""
        self.spawn(*options)
        if self.wait("service.started", timeout=timeout, fail=False) is None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self._reader.join(5)
            raise NotReadyError(f"the service did not start (exit {self.process.returncode}):\n" + self.log())
        for event in self.events("listener.serving", since=self._first):
            port = str(event.get("address", "")).rpartition(":")[2]
            if port.isdigit():
                self.ports[event["listener"]] = int(port)
        return self

    def wait_exit(self, timeout=DEADLINE):
        """Wait for the process to end by itself -> its exit status."""
        status = self.process.wait(timeout)
        self._reader.join(5)
        return status

    def stop(self, timeout=DEADLINE):
        """SIGTERM, and wait -> exit status."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            return self.wait_exit(timeout)
        return None

    def kill(self):
        """SIGKILL: no last words."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self._reader.join(5)

    def close(self):
        """End it in time, and fail on a traceback anywhere in its log."""
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the service did not end on SIGTERM:\n" + self.log()) from None
        assert not self.tracebacks(), "\n".join(self.tracebacks())

    def cpu(self):
        """Seconds of processor time it has used."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    # -- its log ------------------------------------------------------------

    def log(self):
        return "\n".join(self.lines[-200:])

    def tracebacks(self):
        return [x for x in self.lines if "Traceback" in x or "Unhandled" in x]

    def events(self, name, since=0, **fields):
        """-> the logged events called ``name`` whose fields hold ``fields``."""
        found = []
        for line in self.lines[since:]:
            if f'"{name}"' in line and line.startswith("{"):
                record = json.loads(line)
                if record.get("event") == name and all(record.get(k) == v for k, v in fields.items()):
                    found.append(record)
        return found

    def wait(self, name, *, count=1, timeout=DEADLINE, fail=True, **fields):
        """Wait until ``count`` such events were logged since the last start -> the last of them."""
        end = time.monotonic() + timeout
        with self._news:
            while True:
                found = self.events(name, since=self._first, **fields)
                if len(found) >= count:
                    return found[count - 1]
                left = end - time.monotonic()
                if left <= 0 or (self._ended and not self._reader.is_alive()):
                    break
                if self._ended:
                    break
                self._news.wait(left)
        if fail:
            raise AssertionError(f"no {name} {fields} in the log:\n" + self.log())
        return None

    # -- its operator ---------------------------------------------------------

    def netsvcctl(self, *arguments, check=True, data=None):
        """Run the real netsvcctl on this node -> CompletedProcess with text."""
        done = subprocess.run(
            self.command("netsvcctl", "--config", str(self.config), *arguments),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            input=data,
            cwd=self.folder,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert not check or done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def export(self, address):
        """Export a mailbox -> {file name: bytes}."""
        folder = self.folder / f"export-{address}-{time.monotonic_ns()}"
        self.netsvcctl("export-mailbox", address, str(folder))
        return {p.name: p.read_bytes() for p in sorted(folder.iterdir())} if folder.exists() else {}

    def password(self):
        """The first operator's password, as the first start left it."""
        return (self.state / "initial-password").read_text().split()[-1]
