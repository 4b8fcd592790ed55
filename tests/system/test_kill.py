"""SIGKILL at any moment: nothing acknowledged is lost, nothing is in a mailbox twice, and the rest goes on.

NETSVC_KILLS says how often (default 4); the long run is made by hand with 50 and more.
"""

import os
import random
import re
import threading
from collections import Counter

import pytest

from tests.system.service import SITE
from tests.system.wire import Smtp, send

KILLS = int(os.environ.get("NETSVC_KILLS", "4"))
CLIENTS = 8
pytestmark = pytest.mark.timeout(120 + 20 * KILLS)
MARK = re.compile(rb"^X-Mark: (\S+)", re.MULTILINE)


class Load:
    """Eight clients that send until they are stopped; what was acknowledged is remembered, nothing is sent twice."""

    def __init__(self, recipient):
        self.recipient = recipient
        self.acknowledged = []
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

    def wait_for(self, more):
        """Wait until ``more`` messages were acknowledged from now on."""
        with self._news:
            goal = len(self.acknowledged) + more
            assert self._news.wait_for(lambda: len(self.acknowledged) >= goal, 30), self.surprises

    def stop(self):
        with self._news:
            self._stopped = True
            self._news.notify_all()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _run(self, number):
        count = 0
        used = None
        while True:
            with self._news:
                while not self._stopped and self._port in (None, used):
                    self._news.wait(30)
                if self._stopped:
                    return
                port = used = self._port
            try:
                with Smtp(port) as smtp:
                    smtp.say("EHLO client.example.net")
                    while not self._stopped:
                        count += 1
                        self._one(smtp, f"{number}-{count}")
            except (OSError, AssertionError):
                # A connection cut by the kill: the message under way was never acknowledged.  The next port follows.
                continue

    def _one(self, smtp, mark):
        replies = [smtp.say(c) for c in ("MAIL FROM:<load@example.net>", f"RCPT TO:<{self.recipient}>", "DATA")]
        reply = smtp.content(
            b"Subject: load\r\nX-Mark: %s\r\n\r\n" % mark.encode() + b"x" * random.randrange(6000) + b"\r\n"
        )
        with self._news:
            if reply.startswith("250"):
                self.acknowledged.append(mark)
                self._news.notify_all()
            else:
                self.surprises.append((replies, reply))


def torment(service, load):
    """Kill the service KILLS times in the midst of its load, each time after another number of messages."""
    for _ in range(KILLS):
        service.start()
        load.point_at(service.ports["smtp"])
        load.wait_for(random.randrange(1, 200))
        service.kill()
    service.start()
    load.point_at(service.ports["smtp"])
    load.wait_for(10)
    load.stop()


def test_nothing_acknowledged_is_lost_and_nothing_is_twice_in_a_mailbox(make_service):
    service = make_service(covered=False)
    load = Load("alice@example.org")
    torment(service, load)
    found = Counter(MARK.search(data)[1].decode() for data in service.export("alice@example.org").values())
    lost = set(load.acknowledged) - found.keys()
    assert not lost, f"{len(lost)} of {len(load.acknowledged)} acknowledged messages are lost"
    assert max(found.values()) == 1, [mark for mark, n in found.items() if n > 1]
    assert not load.surprises, load.surprises[:3]
    print(f"{KILLS} kills: {len(load.acknowledged)} acknowledged, 0 lost, 0 twice")


def test_acknowledged_mail_is_relayed_at_least_once(make_service, make_sink):
    sink = make_sink()
    site = SITE + f'[site.routes]\n"partner.example" = "[127.0.0.1]:{sink.port}"\n'
    service = make_service(site=site, covered=False)
    load = Load("x@partner.example")
    torment(service, load)
    wanted = set(load.acknowledged)

    def all_came(messages):
        return wanted <= {MARK.search(content)[1].decode() for _, _, content in messages}

    sink.wait(all_came, timeout=60)


def test_queue_holds_and_jobs_outlive_a_kill(make_service, control):
    service = make_service(covered=False).start()
    ids = [
        send(service.ports["smtp"], "s@example.net", [f"r{n}@q{n}.queue.example"], b"Subject: x\r\n\r\nx\r\n")
        for n in range(4)
    ]
    service.wait("delivery.done", count=4, result="deferred")
    operator = control(service)
    operator.do(f'hold {ids[0]}.1 reason "keep it" expect 1')
    operator.do(f'delete {ids[1]}.1 reason "gone" expect 1')
    before = operator.rows("show queue")
    jobs = operator.rows("show jobs")
    service.kill()
    service.start()
    operator = control(service)
    steady = ("id", "state", "rcpt", "held_by", "held_why", "attempts", "reason", "next", "queued")
    assert [[r[k] for k in steady] for r in operator.rows("show queue")] == [[r[k] for k in steady] for r in before]
    assert [j["id"] for j in operator.rows("show jobs")] == [j["id"] for j in jobs]
    operator.do(f"undelete {ids[1]}.1 expect 1")
    assert len(operator.rows("show queue")) == 4
