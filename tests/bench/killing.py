"""Kill the service while it relays, again and again; count what is lost and explain each message that came twice.

``python -m tests.bench.killing --kills 500`` starts the real service and a sink on loopback, sends to it from several
connections, kills it (SIGKILL) at any moment, and starts it again.  At the end what was acknowledged is compared with
what the sink took.  A message may come twice only where the sink's 250 was on its way, or had come and was not yet in
the store, when the kill fell (RFC 1047): for each one the journal of the sink and the log of the service are laid side
by side.  A copy that followed a delivery the service had told as done is a mistake; so is a message that never came.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.service import SITE, Service
from tests.system.wire import Control, Smtp

CLIENTS = 4
MARK = re.compile(rb"^X-Mark: (\S+)", re.MULTILINE)
QUEUE_ID = re.compile(rb"\(netsvc\)[^;]*? id ([0-9A-Z]{13})")
WINDOW = 2.0  # seconds: a 250 older than this when the kill fell was neither on its way nor waiting to be recorded
AFTER = 0.25  # seconds after the processes were gone in which the sink may still answer what it had read


# -- the sink: a process of its own that writes down what it said, and when -------------------------------------------


async def _talk(reader, writer, journal, number, delay):
    """Serve one connection.  ``A`` a 250 to content, ``N`` the client said something after it, ``C`` it is gone."""

    async def command():
        line = await reader.readline()
        if not line:
            raise ConnectionError
        return line

    told = False
    try:
        writer.write(b"220 sink.example.net ESMTP\r\n")
        while True:
            line = await command()
            if told:
                journal(f"N {number}")
                told = False
            verb = line[:4].upper()
            if verb == b"EHLO":
                writer.write(b"250-sink.example.net\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go\r\n")
                content = bytearray()
                while (line := await command()) != b".\r\n":
                    content += line
                mark, number_in_queue = MARK.search(content), QUEUE_ID.search(content)
                await asyncio.sleep(random.random() * delay)
                writer.write(b"250 2.0.0 taken\r\n")
                journal(f"A {number} {mark[1].decode()} {number_in_queue[1].decode()}")
                told = True
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 bye\r\n")
                return
            else:
                writer.write(b"250 2.0.0 ok\r\n")
    except (OSError, asyncio.IncompleteReadError):
        return
    finally:
        journal(f"C {number}")
        writer.close()


async def _sink(path, delay):
    numbers = iter(range(1 << 40))
    with open(path, "w", buffering=1) as out:  # noqa: PTH123, ASYNC230 - a line a reply, on a disk that nobody waits for

        def journal(text):
            out.write(f"{time.monotonic():.6f} {text}\n")

        async def serve(reader, writer):
            await _talk(reader, writer, journal, next(numbers), delay)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
        print(server.sockets[0].getsockname()[1], flush=True)
        async with server:
            await server.serve_forever()


class Sink:
    """The sink's process."""

    def __init__(self, journal, delay):
        self.journal = Path(journal)
        command = [sys.executable, "-m", "tests.bench.killing", "--sink", str(journal), "--delay", str(delay)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        self.port = int(self.process.stdout.readline())

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


# -- the load ---------------------------------------------------------------------------------------------------------


class Load:
    """Clients that send until they are stopped; each mark is sent once, whatever becomes of it."""

    def __init__(self):
        self.acknowledged = {}
        self.surprises = []
        self._news = threading.Condition()
        self._port = None
        self._stopped = False
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def point_at(self, port):
        with self._news:
            self._port = port
            self._news.notify_all()

    def wait_for(self, more, timeout=60):
        """Wait until ``more`` messages were acknowledged from now on."""
        with self._news:
            goal = len(self.acknowledged) + more
            assert self._news.wait_for(lambda: len(self.acknowledged) >= goal, timeout), self.surprises[:3]

    def stop(self):
        with self._news:
            self._stopped = True
            self._news.notify_all()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number):
        count, used = 0, None
        while True:
            with self._news:
                while not self._stopped and self._port in (None, used):
                    self._news.wait(60)
                if self._stopped:
                    return
                used = self._port
            with suppress(OSError), Smtp(used) as smtp:  # cut by the kill: the next port follows
                smtp.say("EHLO client.example.net")
                while not self._stopped and self._port == used:
                    count += 1
                    self._one(smtp, f"{number}-{count}")

    def _one(self, smtp, mark):
        lines = [f"MAIL FROM:<load@example.net>\r\nRCPT TO:<{mark}@partner.example>\r\nDATA\r\n".encode()]
        smtp.send(lines[0])
        replies = [smtp.reply() for _ in range(3)]
        if not replies[2].startswith("354"):
            self.surprises.append(replies)
            raise ConnectionError(replies)
        body = b"x" * random.randrange(4000)
        reply = smtp.content(b"Subject: load\r\nX-Mark: %s\r\n\r\n%s\r\n" % (mark.encode(), body))
        if not reply.startswith("250"):
            self.surprises.append([*replies, reply])
            return
        with self._news:
            self.acknowledged[mark] = reply.split()[2]
            self._news.notify_all()


# -- the kills --------------------------------------------------------------------------------------------------------


@dataclass
class Record:
    """What a run came to."""

    kills: list = field(default_factory=list)  # (when each fell, when all processes were gone) by the monotonic clock
    done: dict = field(default_factory=dict)  # queue id: number of kills that had fallen when it was told as delivered
    acknowledged: dict = field(default_factory=dict)
    starts: list = field(default_factory=list)  # seconds to readiness
    surprises: list = field(default_factory=list)
    tracebacks: list = field(default_factory=list)
    held: int = 0


class Victim(Service):
    """The service with its writer process, in a group of its own that dies together."""

    def digest(self, record, fallen):
        """Move what the log says of deliveries into ``record`` (``fallen`` kills before), and forget the log."""
        for event in self.events("delivery.done", result="delivered"):
            record.done.setdefault(event["msg"], fallen)
        record.tracebacks += self.tracebacks()
        self.lines.clear()
        self._first = 0

    def children(self):
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()] if path.exists() else []

    def kill_all(self):
        """SIGKILL to the writer process and the service, in any order."""
        pids = [self.process.pid, *self.children()]
        random.shuffle(pids)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        self._reader.join(10)


def torment(service, load, kills, record):
    """Kill the service ``kills`` times in the midst of its load; let it end its work after the last one."""
    for n in range(kills):
        begun = time.monotonic()
        service.start(timeout=120)
        record.starts.append(time.monotonic() - begun)
        load.point_at(service.ports["smtp"])
        load.wait_for(random.randrange(1, 80))
        time.sleep(random.random() * 0.3)
        fell = time.monotonic()
        if n % 2:
            service.kill()  # its writer process finishes what it has begun
        else:
            service.kill_all()
        record.kills.append((fell, time.monotonic()))
        service.digest(record, n)
    service.start(timeout=120)
    load.point_at(service.ports["smtp"])
    load.wait_for(5)
    load.stop()
    record.acknowledged, record.surprises = dict(load.acknowledged), load.surprises


def drain(service, record, timeout=300):
    """Release what was put on hold because the kills kept falling on it, and wait until the queue is empty."""
    control = Control(service.control)
    end = time.monotonic() + timeout
    try:
        while time.monotonic() < end:
            rows = control.rows("show queue limit 100")
            held = [row["id"] for row in rows if row["state"] == "hold"]
            record.held += len(held)
            if held:
                control.do(f'release {" ".join(held)} reason "the kills fell on it" expect {len(held)}')
            if not rows:
                return
            time.sleep(0.2)
        facts = [control.rows(f"show {what}") for what in ("queue summary", "destinations", "health")]
        raise AssertionError(f"the queue does not become empty: {rows[:3]} {facts}\n{service.log()}")
    finally:
        control.close()


def run(kills, folder, *, delay=0.005):
    """Make a whole run in ``folder`` -> (Record, the sink's journal)."""
    sink = Sink(Path(folder) / "journal", delay)
    site = SITE + f'[site.routes]\n"partner.example" = "[127.0.0.1]:{sink.port}"\n'
    service = Victim(Path(folder) / "node", site=site, covered=False)
    record = Record()
    load = Load()
    try:
        torment(service, load, kills, record)
        drain(service, record)
        service.stop()
        service.digest(record, kills)
    finally:
        load.stop()
        if service.process is not None and service.process.poll() is None:
            service.kill_all()
        sink.close()
    return record, sink.journal


# -- the account ------------------------------------------------------------------------------------------------------


def read_journal(path):
    """-> ({mark: [(when its 250 was said, connection, queue id)]}, {connection: [when it said something after a 250]})."""
    copies, nexts = defaultdict(list), defaultdict(list)
    for line in path.read_text().splitlines():
        at, what, connection, *rest = line.split()
        if what == "A":
            copies[rest[0]].append((float(at), connection, rest[1]))
        elif what == "N":
            nexts[connection].append(float(at))
    return copies, nexts


def explain(record, copies, nexts):
    """-> ([explanations], [what has none]) of the messages that came more than once."""
    explained, mistakes = [], []
    for mark, taken in sorted(copies.items()):
        for (at, connection, number), (again, _, number_again) in itertools.pairwise(taken):
            fell = [n for n, (_, gone) in enumerate(record.kills) if at <= gone + AFTER and gone <= again]
            line = {"mark": mark, "id": number, "kill": fell[0] + 1 if fell else 0}
            if not fell or number_again != number:
                mistakes.append({**line, "why": "no kill between the copies"})
                continue
            begun, told = record.kills[fell[0]][0], record.done.get(number)
            line["ms before the kill"] = round((begun - at) * 1000, 1)
            read = any(at < moment for moment in nexts[connection])
            line["why"] = "its 250 had been read, and was not yet in the store" if read else "its 250 was in flight"
            if told is not None and told <= fell[0]:
                mistakes.append({**line, "why": "the service had told it as delivered before the kill"})
            elif begun - at > WINDOW:
                mistakes.append({**line, "why": "the kill fell long after its 250"})
            else:
                explained.append(line)
    return explained, mistakes


def account(record, journal):
    """-> what the run came to, as a row; ``lost`` and ``mistakes`` must be empty."""
    copies, nexts = read_journal(journal)
    explained, mistakes = explain(record, copies, nexts)
    lost = sorted(set(record.acknowledged) - copies.keys())
    waits = sorted(line["ms before the kill"] for line in explained)
    starts = sorted(record.starts)
    return {
        "kills": len(record.kills),
        "acknowledged": len(record.acknowledged),
        "came": len(copies),
        "lost": lost,
        "twice": len(explained),
        "why": dict(Counter(line["why"] for line in explained)),
        "ms_before_the_kill": {"median": waits[len(waits) // 2], "most": waits[-1]} if waits else {},
        "mistakes": mistakes,
        "held_by_the_kills": record.held,
        "ready_s": {"median": round(starts[len(starts) // 2], 2), "most": round(starts[-1], 2)},
        "surprises": record.surprises[:3],
        "tracebacks": record.tracebacks[:3],
        "explained": explained,
    }


def main():
    """Run, print the account; exit 1 on any loss or mistake."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.killing", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--delay", type=float, default=0.005, help="seconds, at most, before the sink's 250")
    parser.add_argument("--folder", help="where the service and the journal live (default: a temporary folder)")
    parser.add_argument("--sink", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sink:
        asyncio.run(_sink(options.sink, options.delay))
        return 0
    with tempfile.TemporaryDirectory(prefix="netsvc-killing-") as made:
        found = account(*run(options.kills, options.folder or made, delay=options.delay))
    for line in found.pop("explained"):
        print(json.dumps(line))
    print(json.dumps(found, indent=1))
    return 1 if found["lost"] or found["mistakes"] or found["tracebacks"] else 0


if __name__ == "__main__":
    sys.exit(main())
