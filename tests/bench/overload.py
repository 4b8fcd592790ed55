"""The service under load that is meant to hurt, and what a well-behaved client sees of it meanwhile.

    python -m tests.bench.overload [--quick] [SCENE ...]

Each scene runs its own service and its own processes of hostile clients; a probe, a process apart, delivers a small
message on a connection of its own time and again.  Everything comes from loopback, which the site exempts from limits
by address: what is measured is what is left when those do not help.
"""

import argparse
import json
import multiprocessing
import resource
import selectors
import socket
import ssl
import sys
import time

from tests.bench.processes import MIB, Bench, cpu_seconds, forget_peak, load, memory

RCPT = b"RCPT TO:<load@bench.example>\r\n"
MESSAGE = b"Subject: probe\r\n\r\nx\r\n.\r\n"


# -- the probe ---------------------------------------------------------------------------


def session(port):
    """One session with a message -> (seconds to the greeting, seconds in all)."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 30) as sock, sock.makefile("rb") as lines:

        def reply():
            while True:
                line = lines.readline()
                if line[3:4] != b"-":
                    return line

        assert reply().startswith(b"220"), "no greeting"
        greeted = time.monotonic() - begun
        for command in (
            b"EHLO probe\r\n",
            b"MAIL FROM:<probe@bench.example>\r\n",
            RCPT,
            b"DATA\r\n",
            MESSAGE,
            b"QUIT\r\n",
        ):
            sock.sendall(command)
            answer = reply()
            assert answer[:1] in (b"2", b"3"), answer
    return greeted, time.monotonic() - begun


def probe(port, seconds, gap, out):
    """Run sessions for ``seconds`` and hand their times over."""
    greeted, whole, failed = [], [], 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            first, all_of_it = session(port)
        except (OSError, AssertionError):
            failed += 1
        else:
            greeted.append(first)
            whole.append(all_of_it)
        time.sleep(gap)
    out.put((greeted, whole, failed))


def percentile(times, share):
    return round(sorted(times)[min(int(len(times) * share), len(times) - 1)] * 1000, 1) if times else None


def probed(port, seconds):
    """Probe for ``seconds`` -> figures in ms."""
    out = multiprocessing.Queue()
    process = multiprocessing.Process(target=probe, args=(port, seconds, 0.02, out))
    process.start()
    greeted, whole, failed = out.get(timeout=seconds + 60)
    process.join(10)
    return {
        "probes": len(whole),
        "failed": failed,
        "greeting_p95_ms": percentile(greeted, 0.95),
        "session_p50_ms": percentile(whole, 0.5),
        "session_p95_ms": percentile(whole, 0.95),
        "session_max_ms": percentile(whole, 1.0),
    }


# -- hostile clients: each runs until it is killed ------------------------------------------


class Crowd:
    """``count`` connections, each fed by ``feed(connection)`` whenever it can be written; who is closed comes again."""

    def __init__(self, port, count, feed, *, opening=b"", reads=True):
        self.port, self.feed, self.opening, self.reads = port, feed, opening, reads
        self.selector = selectors.DefaultSelector()
        for _ in range(count):
            self.open()

    def open(self):
        sock = socket.socket()
        if not self.reads:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            sock.connect(("127.0.0.1", self.port))
        except OSError:
            sock.close()
            return
        sock.setblocking(False)
        sock.send(self.opening)
        events = selectors.EVENT_WRITE | (selectors.EVENT_READ if self.reads else 0)
        self.selector.register(sock, events, {"sent": 0})

    def again(self, sock):
        self.selector.unregister(sock)
        sock.close()
        self.open()

    def run(self, pause=0.0):
        while True:
            for key, mask in self.selector.select(1):
                try:
                    if mask & selectors.EVENT_READ and not key.fileobj.recv(65536):
                        self.again(key.fileobj)
                        continue
                    if mask & selectors.EVENT_WRITE:
                        data = self.feed(key.data)
                        if data is None:
                            self.again(key.fileobj)
                        else:
                            key.data["sent"] += key.fileobj.send(data)
                except BlockingIOError:
                    continue
                except OSError:
                    self.again(key.fileobj)
            if pause:
                time.sleep(pause)


OPENING = b"EHLO x\r\nMAIL FROM:<x@x.example>\r\n" + RCPT + b"DATA\r\n"


def slow_readers(port, count):
    """Ask and ask, and read no answer."""
    Crowd(port, count, lambda _: b"EHLO x\r\n" * 50, reads=False).run(0.01)


def slow_writers(port, count):
    """Send content a few octets at a time."""
    Crowd(port, count, lambda _: b"x", opening=OPENING).run(0.1)


def connections(port, count):
    """Connect, and go away."""
    del count
    while True:
        with socket.create_connection(("127.0.0.1", port), 30) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def recipients(port, count):
    """Name recipients nobody knows, many to a packet."""
    many = b"".join(b"RCPT TO:<nobody%d@bench.example>\r\n" % n for n in range(200))
    Crowd(port, count, lambda _: many, opening=b"EHLO x\r\nMAIL FROM:<x@x.example>\r\n").run()


def bad_commands(port, count):
    """Talk nonsense."""
    Crowd(port, count, lambda _: b"nonsense and more of it\r\n" * 30).run()


FLOODS = {
    "slow_readers": (slow_readers, 200, 1),
    "slow_writers": (slow_writers, 500, 1),
    "connections": (connections, 1, 2),
    "recipients": (recipients, 20, 1),
    "bad_commands": (bad_commands, 20, 1),
}


def flood(name, quick):
    """Run one kind of hostile clients and probe meanwhile."""
    attack, count, processes = FLOODS[name]
    seconds = 4 if quick else 15
    with Bench() as bench:
        load(bench.smtp, "-s", "20", "-m", "300", "--size", "4096")
        quiet = probed(bench.smtp, 1)
        before, used = memory(bench.pid)["rss"], cpu_seconds(bench.pid)
        attackers = [multiprocessing.Process(target=attack, args=(bench.smtp, count)) for _ in range(processes)]
        for each in attackers:
            each.start()
        try:
            time.sleep(1)
            figures = probed(bench.smtp, seconds)
        finally:
            for each in attackers:
                each.kill()
                each.join()
        return {
            **figures,
            "quiet_p95_ms": quiet["session_p95_ms"],
            "growth_mib": round((memory(bench.pid)["rss"] - before) / MIB, 1),
            "cpu_share": round((cpu_seconds(bench.pid) - used) / (seconds + 1), 2),
        }


def hold(port, count, ready, tls):
    """Open ``count`` idle sessions, from addresses enough."""
    kept = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for n in range(count):
        sock = socket.socket()
        sock.bind((f"127.0.0.{1 + n // 5000}", 0))
        sock.connect(("127.0.0.1", port))
        kept.append(sock)
        if tls:
            for command in (b"EHLO idle.example\r\n", b"STARTTLS\r\n"):
                sock.recv(1000)
                sock.sendall(command)
            sock.recv(1000)
            kept[-1] = sock = context.wrap_socket(sock)
            sock.sendall(b"EHLO idle.example\r\n")
            sock.recv(1000)
        elif n % 100 == 99:
            for each in kept[-100:]:
                each.recv(1000)
                each.sendall(b"EHLO idle.example\r\n")
                each.recv(1000)
    ready.set()
    while True:
        time.sleep(60)


def idle(quick, *, tls=False):
    """Ten thousand idle sessions: what each costs, and what a new one waits."""
    count = (200 if tls else 1000) if quick else 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 1000), hard))
    with Bench(tls=tls) as bench:
        load(bench.smtp, "-s", "20", "-m", "300", "--size", "4096")
        load(bench.smtp, "idle", "--count", "50", "--hold", "0", "--probes", "5")
        before = memory(bench.pid)
        ready = multiprocessing.Event()
        holder = multiprocessing.Process(target=hold, args=(bench.smtp, count, ready, tls))
        holder.start()
        try:
            assert ready.wait(300), "the sessions were not opened"
            after = memory(bench.pid)
            figures = probed(bench.smtp, 3 if quick else 20)
        finally:
            holder.kill()
            holder.join()
        return {
            "held": count,
            "kib_each": round((after["pss"] - before["pss"]) / 1024 / count, 2),
            "rss_kib_each": round((after["rss"] - before["rss"]) / 1024 / count, 2),
            **figures,
        }


def large(quick):
    """One message of 50 MB: how much more memory it takes than small ones did, at its peak."""
    del quick
    size = 50 * 10**6
    with Bench() as bench:
        load(bench.smtp, "-s", "20", "-m", "1000", "--size", "4096", "--per-connection", "50")
        time.sleep(3)  # what waits in queue.db is moved
        forget_peak(bench.pid)
        before = memory(bench.pid)
        figures = load(bench.smtp, "-s", "1", "-m", "1", "--size", str(size))
        first = memory(bench.pid)["peak"]
        load(bench.smtp, "-s", "1", "-m", "3", "--size", str(size))
        after = memory(bench.pid)
        return {
            "growth_mib": round((first - before["rss"]) / MIB, 1),
            "growth_after_4_mib": round((after["peak"] - before["rss"]) / MIB, 1),
            "stays_mib": round((after["rss"] - before["rss"]) / MIB, 1),
            "base_mib": round(before["rss"] / MIB, 1),
            "mb_per_s": figures.get("mb_per_s"),
        }


def idle_tls(quick):
    """The same inside TLS."""
    return idle(quick, tls=True)


SCENES = {
    "idle": idle,
    "idle_tls": idle_tls,
    "large": large,
    **{name: (lambda quick, name=name: flood(name, quick)) for name in FLOODS},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the short form, as .ci/run has it")
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {' '.join(SCENES)}; all without any")
    options = parser.parse_args()
    for name in options.scenes or SCENES:
        print(name, json.dumps(SCENES[name](options.quick)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
