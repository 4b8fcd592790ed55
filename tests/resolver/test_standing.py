"""Servers that say nothing, as the log and show health hear of it."""

import pytest
from twisted.internet.task import Clock

from netsvc.records import NameTemporaryError
from netsvc.resolver.exchange import NoAnswerError
from netsvc.resolver.names import Server
from netsvc.resolver.packets import Reading
from netsvc.resolver.resolver import Resolver
from netsvc.resolver.standing import UNANSWERED, Standing
from tests.fakes import FakeLogbook
from tests.resolver.test_resolver import FOUND, Servers


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log():
    return FakeLogbook()


def test_down_after_some_in_a_row_told_once_a_minute_and_up_again(clock, log):
    standing = Standing(clock, log)
    standing.unanswered("silent")
    standing.answered()
    for _ in range(UNANSWERED - 1):
        standing.unanswered("silent")
        clock.advance(1)
    assert standing.rows()[0]["state"] == "ok"
    assert log.records == []
    standing.unanswered("192.0.2.1:53: silent")
    (row,) = standing.rows()
    assert (row["name"], row["state"], row["count"]) == ("resolver", "failed", UNANSWERED + 1)
    assert "192.0.2.1:53: silent" in row["why"]
    for _ in range(4):
        clock.advance(20)
        standing.unanswered("silent")
    assert [fields["n"] for fields in log.named("dns.down")] == [UNANSWERED, 3]
    standing.answered()
    standing.answered()
    assert [fields["took_ms"] for fields in log.named("dns.up")] == [82_000]
    assert standing.rows()[0]["state"] == "ok"


def test_without_a_logbook(clock):
    standing = Standing(clock)
    for _ in range(UNANSWERED):
        standing.unanswered("silent")
    standing.answered()
    assert standing.count == UNANSWERED


def test_the_resolver_tells_of_silence_and_of_that_alone(clock, log):
    servers = Servers(clock)
    resolver = Resolver((Server("192.0.2.1"), Server("192.0.2.2")), clock, log, servers)

    def ask(n):
        asked = resolver.a(f"h{n}.example.org")
        for _ in range(60):
            clock.advance(0.5)
        failures = []
        asked.addErrback(lambda failure: failures.append(failure.trap(NameTemporaryError)))
        return failures

    assert all(ask(n) for n in range(UNANSWERED))
    assert resolver.standing.rows()[0]["state"] == "failed"
    assert len(log.named("dns.down")) == 1
    servers.answers = [Reading(5, why="REFUSED"), Reading(2, why="SERVFAIL")]
    assert ask(50)
    assert resolver.standing.rows()[0]["state"] == "ok"
    assert len(log.named("dns.up")) == 1
    servers.answers = [FOUND]
    assert ask(51) == []


def test_one_server_that_is_gone_at_once(clock, log):
    resolver = Resolver((Server("192.0.2.1"),), clock, log, Servers(clock, *[NoAnswerError("refused")] * 9))
    for n in range(UNANSWERED):
        resolver.a(f"h{n}.example.org").addErrback(lambda failure: None)
    assert log.named("dns.down")[0]["why"] == "192.0.2.1:53: refused"
