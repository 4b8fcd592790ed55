"""What is measured and with what: the service, the sink, the load generator, and their CPU and memory as the kernel counts them."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import certs
from tests.system.service import NODE, Service

HERE = Path(__file__).parent
MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")

TLS_NODE = NODE.replace('service = "transfer"', 'service = "transfer"\ntls = "starttls"') + (
    '\n[tls]\ncertificate = "cert.pem"\nkey = "cert.key"\n'
)

SITE = """
[site]
domains = ["bench.example"]
mailboxes = ["load@bench.example"]
limits_exempt = ["127.0.0.0/8", "::1/128"]
relay_from = ["127.0.0.0/8"]
[site.routes]
"relay.example" = "[127.0.0.1]:{sink}"
"""


def free_port():
    """A port nobody listens on now; the sink wants to be told one."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


class Sink:
    """smtpsink.py as a process, with ``options`` of its own."""

    def __init__(self, *options):
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "smtpsink.py"), "-p", str(self.port), *options], stdout=subprocess.DEVNULL
        )
        end = time.monotonic() + 20
        while True:
            try:
                self.stat()
                return
            except OSError:
                if time.monotonic() > end:
                    self.close()
                    raise
                time.sleep(0.02)

    def stat(self, wait_messages=0, timeout=300):
        """The sink's counters, once it has taken ``wait_messages``."""
        end = time.monotonic() + timeout
        while True:
            with socket.create_connection(("127.0.0.1", self.port), 10) as sock, sock.makefile("rb") as lines:
                lines.readline()
                sock.sendall(b"XSTAT\r\n")
                counted = json.loads(lines.readline()[4:])
                # The sink has to end the connection: when it reads our end instead, its allocator keeps the large
                # buffer from then on, and it is two to three times as fast as a sink that nobody asked.
                sock.sendall(b"QUIT\r\n")
                while lines.readline():
                    pass
            if counted["messages"] >= wait_messages:
                return counted
            if time.monotonic() > end:
                raise TimeoutError(f"{counted['messages']} of {wait_messages} messages came to the sink")
            time.sleep(0.05)

    def close(self):
        self.process.terminate()
        self.process.wait(10)


class Bench:
    """A service and a sink on a folder of their own; ``tls``: its listener offers STARTTLS."""

    def __init__(self, *, tls=False):
        self.folder = tempfile.TemporaryDirectory(prefix="netsvc-bench-")
        self.sink = Sink()
        self.service = Service(
            Path(self.folder.name) / "node",
            site=SITE.replace("{sink}", str(self.sink.port)),
            covered=False,
            node=TLS_NODE if tls else NODE,
        )
        if tls:
            certs.write(self.service.folder)
        try:
            self.service.start()
        except BaseException:
            self.sink.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.service.close()
        finally:
            self.sink.close()
            self.folder.cleanup()

    @property
    def smtp(self):
        return self.service.ports["smtp"]

    @property
    def pid(self):
        return self.service.process.pid


def load(port, *options, to="load@bench.example", check=True):
    """Run smtpload.py against ``port`` -> its result; every message must have been acknowledged."""
    done = subprocess.run(
        [sys.executable, str(HERE / "smtpload.py"), *_mode(options), "-p", str(port), "--to", to, "--compact"],
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise RuntimeError(f"smtpload {options} ended with {done.returncode}: {done.stdout} {done.stderr}")
    return json.loads(done.stdout)


def _mode(options):
    return options if options and options[0] == "idle" else ("send", *options)


def end_in_order():
    """Have SIGTERM end this program as an exit does, so that the processes it has started end with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def cpu_seconds(pid):
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid):
    """-> {"rss", "peak", "pss"} in octets."""
    found = {}
    for name, file in (("VmRSS", "status"), ("VmHWM", "status"), ("Pss", "smaps_rollup")):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(name + ":"):
                found[name] = int(line.split()[1]) * 1024
    return {"rss": found["VmRSS"], "peak": found["VmHWM"], "pss": found["Pss"]}


def forget_peak(pid):
    """Begin counting VmHWM anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def fdatasync_ms(folder):
    """Median time of one fdatasync of 4 KiB on the disk under ``folder``."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(200):
            file.write(b"x" * 4096)
            file.flush()
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    return round(sorted(times)[100] * 1000, 3)
