"""Mail that ends the process each time it is tried, clocks that jump, and what is known of mail that has left."""

import sqlite3
import threading

import pytest

from tests.system.service import SITE
from tests.system.wire import send

YEARS = 10 * 365 * 86_400_000
CONTENT = b"From: <a@example.net>\r\nSubject: x\r\n\r\nx\r\n"


def routed(sink):
    return SITE + f'[site.routes]\n"partner.example" = "[127.0.0.1]:{sink.port}"\n[site.delivery]\nretry = ["1h"]\n'


class Deadly(dict):
    """Replies to recipients; while it is armed, asking for ``poison`` ends the service before it gets one."""

    def __init__(self):
        super().__init__(later="450 4.2.1 busy, try later")
        self.victim = None
        self.fell = threading.Event()

    def get(self, name, usual=None):
        if name == "poison" and self.victim is not None:
            victim, self.victim = self.victim, None
            victim.process.kill()
            self.fell.set()
        return super().get(name, usual)


def test_poison_is_put_on_hold_after_three_attempts_and_others_go_on(make_service, make_sink, control):
    plan = Deadly()
    sink = make_sink(plan)
    service = make_service(site=routed(sink), covered=False).start()
    plan.victim = service
    poison = send(service.ports["smtp"], "alice@example.org", ["poison@partner.example"], CONTENT)
    for crash in (1, 2, 3):
        assert plan.fell.wait(20), crash
        service.wait_exit(10)
        plan.fell.clear()
        plan.victim = service if crash < 3 else None
        service.start()
    assert service.wait("store.poison")["msg"] == poison
    good = send(service.ports["smtp"], "alice@example.org", ["good@partner.example"], CONTENT)
    service.wait("delivery.done", msg=good, result="delivered")
    operator = control(service)
    (held,) = operator.rows("show queue hold")
    assert (held["id"], held["held_by"]) == (f"{poison}.1", "netsvc")
    assert held["held_why"] == "three attempts ended the process"
    assert held["attempts"] == 3
    health = {row["name"]: row for row in operator.rows("show health")}
    assert (health["poison"]["state"], health["poison"]["value"]) == ("warn", 1)
    operator.do(f'release {poison}.1 reason "it was not to blame" expect 1')
    service.wait("delivery.done", msg=poison, result="delivered")
    assert operator.rows("show queue") == []


@pytest.mark.parametrize("jump", [YEARS, -YEARS])
def test_a_clock_that_jumps_returns_nothing_and_tries_each_once(make_service, make_sink, control, jump):
    sink = make_sink({"later": "450 4.2.1 busy, try later"})
    service = make_service(site=routed(sink), covered=False).start()
    sent = [send(service.ports["smtp"], "alice@example.org", ["later@partner.example"], CONTENT) for _ in range(5)]
    service.wait("delivery.done", count=5, result="deferred")
    service.stop()
    with sqlite3.connect(service.state / "queue.db") as db:  # as if all of it had been written by another clock
        db.execute("UPDATE node SET heartbeat_at = heartbeat_at - ?", (jump,))
        db.execute("UPDATE message SET received_at = received_at - ?1, expires_at = expires_at - ?1", (jump,))
        db.execute("UPDATE delivery SET due_at = due_at - ?1, last_at = last_at - ?1", (jump,))
        db.execute("UPDATE dest_head SET next_due = next_due - ?", (jump,))
    db.close()
    service.start()
    assert abs(service.wait("store.clock_gap")["ms"] - jump) < 60_000
    if jump > 0:
        service.wait("delivery.done", count=5, result="deferred")
    operator = control(service)
    rows = operator.rows("show queue")
    assert sorted(row["msg"] for row in rows) == sorted(sent)
    assert {row["attempts"] for row in rows} == {2 if jump > 0 else 1}
    assert len(operator.rows("show queue where due>50m")) == 5
    assert operator.rows("show queue where due>70m") == []
    assert operator.rows("show history") == []
    assert service.export("alice@example.org") == {}


def test_attempts_and_dialogues_stay_when_mail_has_left(make_service, make_sink, control):
    sink = make_sink({"never": "550 5.1.1 no such user here"})
    service = make_service(site=routed(sink)).start()
    recipients = ["good@partner.example", "never@partner.example"]
    sent = send(service.ports["smtp"], "alice@example.org", recipients, CONTENT)
    service.wait("delivery.reported")
    operator = control(service)
    assert operator.rows("show queue") == []
    good, never = sorted(operator.rows(f"show message {sent} attempts"), key=lambda row: row["n"])
    assert (good["outcome"], good["code"], good["addr"]) == ("delivered", 250, "127.0.0.1")
    assert (never["outcome"], never["code"], never["status"]) == ("bounced", 550, "5.1.1")
    assert never["reply"] == "no such user here"
    assert never["reason"] == "no such user here"
    for row in (good, never):
        assert row["ms"] >= 0
        assert "RCPT TO:<never@partner.example>" in row["transcript"]
        assert "550 5.1.1 no such user here" in row["transcript"]
    (reason,) = operator.rows("show history reasons where sender=alice@example.org")
    assert (reason["reason"], reason["count"], reason["code"]) == ("no such user here", 1, 550)
    assert operator.rows("show history where reason~such")[0]["rcpt"] == "never@partner.example"
