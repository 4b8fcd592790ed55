"""SIGKILL while mail is put into folders and mailboxes of ours: each message is there, and once.

NETSVC_KILLS says how often (default 2 here).
"""

import os
import random
import time
from collections import Counter

import pytest

from tests.system.service import SITE
from tests.system.test_kill import MARK, Load
from tests.system.wire import Control, Smtp, queue_id

KILLS = int(os.environ.get("NETSVC_KILLS", "2"))
pytestmark = pytest.mark.timeout(120 + 20 * KILLS)


def emptied(service):
    """Wait until nothing is queued."""
    end = time.monotonic() + 30
    with Control(service.control) as operator:
        while operator.rows("show queue limit 1"):
            assert time.monotonic() < end, service.log()
            time.sleep(0.05)


def test_a_folder_gets_each_message_once(make_service, tmp_path):
    site = SITE + f'[site.routes]\n"folder.example" = "maildir:{tmp_path}/mail/{{local}}"\n'
    service = make_service(site=site, covered=False)
    load = Load("ann@folder.example")
    box = tmp_path / "mail" / "ann"
    for _ in range(KILLS):
        service.start()
        load.point_at(service.ports["smtp"])
        load.wait_for(random.randrange(1, 100))
        service.wait("delivery.done", result="delivered")
        service.kill()
        for path in random.sample(sorted((box / "new").iterdir()), 1):  # its reader takes one meanwhile
            path.rename(box / "cur" / f"{path.name}:2,S")
    service.start()
    load.point_at(service.ports["smtp"])
    load.wait_for(10)
    load.stop()
    emptied(service)
    found = Counter()
    for path in (*(box / "new").iterdir(), *(box / "cur").iterdir()):
        found[MARK.search(path.read_bytes())[1].decode()] += 1
    lost = set(load.acknowledged) - found.keys()
    assert not lost, f"{len(lost)} of {len(load.acknowledged)} acknowledged messages are lost"
    assert max(found.values()) == 1, [mark for mark, n in found.items() if n > 1]
    assert not load.surprises, load.surprises[:3]
    print(f"{KILLS} kills: {len(load.acknowledged)} acknowledged, 0 lost, 0 twice")


def test_a_mailbox_gets_what_waited_once(make_service):
    """Mail that waited for room in a mailbox of the database is put there by the unit of work that settles it."""
    count = 150
    site = SITE + '[site.quotas.mailboxes]\n"bob@example.org" = { bytes = 1 }\n'
    service = make_service(site=site, covered=False).start()
    with Smtp(service.ports["smtp"]) as smtp:
        for n in range(count):
            smtp.begin("a@example.net", ["alice@example.org", "bob@example.org"], ehlo=n == 0)
            queue_id(smtp.content(b"X-Mark: m%d\r\n\r\nx\r\n" % n))
    with Control(service.control) as operator:
        assert len(operator.rows("show queue limit 1000")) == count
        operator.do("mailbox quota bob@example.org none")
    done = 0
    for _ in range(KILLS):
        with Control(service.control) as operator:
            operator.send(b"retry all expect any\n")
            wanted = random.randrange(1, 20)
            service.wait("delivery.done", count=wanted, rcpt="bob@example.org", timeout=2, fail=False)
            service.kill()
        done += len(service.events("delivery.done", since=service._first, rcpt="bob@example.org"))
        service.start()
    assert done
    with Control(service.control) as operator:
        operator.ask("retry all expect any")
    emptied(service)
    found = Counter(MARK.search(data)[1].decode() for data in service.export("bob@example.org").values())
    assert len(found) == count
    assert set(found.values()) == {1}
