"""Names that nobody answers do not delay others: the resolver on a clock, and servers that are silent of some names."""

import resource

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from netsvc.records import NameTemporaryError
from netsvc.resolver import seats as seats_module
from netsvc.resolver.exchange import NoAnswerError
from netsvc.resolver.names import Server
from netsvc.resolver.packets import Reading
from netsvc.resolver.resolver import DEADLINE, FAILURE, WAITS, Resolver
from netsvc.resolver.seats import OUT_AT_ONCE, SILENT, Seats, allowed
from tests.fakes import FakeLogbook

FOUND = Reading(values=((10, "mx.example"),), ttl=60)
KEY = (b"a.example", "mx")


class Servers:
    """Silent of names that begin with ``silent``; of others they tell after 0.1 s.  Counts sockets and questions."""

    def __init__(self, clock):
        self.clock = clock
        self.open = self.most = self.asked = 0

    async def udp(self, server, packet, read, seconds):
        silent = b"silent" in packet
        answer = Deferred()
        self.clock.callLater(seconds if silent else 0.1, answer.callback, None)
        self.open += 1
        self.asked += 1
        self.most = max(self.most, self.open)
        try:
            await answer
        finally:
            self.open -= 1
        if silent:
            raise NoAnswerError("silent")
        return FOUND


class Case:
    def __init__(self, files=1 << 16):
        self.clock = Clock()
        self.servers = Servers(self.clock)
        self.resolver = Resolver([Server("192.0.2.1")], self.clock, FakeLogbook(), self.servers)
        self.resolver._seats = Seats(self.clock, files)

    def silent(self, n):
        asked = [self.resolver.look("mx", f"silent{at}.example") for at in range(n)]
        for each in asked:
            each.addErrback(lambda failure: failure.trap(NameTemporaryError))
        return asked

    def took(self, name):
        """How long a healthy name takes, in seconds."""
        started, asked = self.clock.seconds(), self.resolver.look("mx", name)
        while not asked.called:
            self.clock.advance(0.1)
        assert asked.result.values == FOUND.values
        return self.clock.seconds() - started

    def wait(self, seconds):
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)


def test_a_few_silent_names_delay_nobody():
    case = Case()
    case.silent(OUT_AT_ONCE)
    assert case.took("a.example") <= WAITS[0] + 0.5  # nobody was prompt, yet the first round is soon over
    assert case.took("b.example") < 0.5


def test_thousands_of_silent_names_delay_others_for_a_round_and_only_once():
    case = Case()
    asked = case.silent(2000)
    assert case.took("a.example") < 2000 / OUT_AT_ONCE * (WAITS[0] + 0.1) + 1  # 13 s; it was 5 minutes
    case.wait(3 * DEADLINE + FAILURE)
    assert all(each.called for each in asked)
    case.silent(2000)
    assert case.took("b.example") < 2
    case.wait(3)
    assert case.took("c.example") < 2


def test_sockets_have_an_end():
    case = Case(files=1024)
    asked = case.silent(1000)
    case.wait(60)
    assert all(each.called for each in asked)
    assert case.servers.most <= 2 * 64 + 2 * 64
    assert case.servers.open == 0
    seats = case.resolver._seats
    assert (seats.prompt._reserved, seats.patient._reserved) == (64, 64)  # all were given back


def test_a_name_whose_servers_are_back_is_no_longer_doubted():
    seats = Seats(Clock(), 1024)
    seats.silent(KEY)
    assert seats.doubts(KEY)
    seats.answered(KEY)
    assert not seats.doubts(KEY)


def test_doubts_have_an_end():
    clock = Clock()
    seats = Seats(clock, 1024)
    seats.silent(KEY)
    clock.advance(SILENT)
    assert not seats.doubts(KEY)
    seats.silent(KEY)
    seats.forget()
    assert not seats.doubts(KEY)


def test_memory_of_silence_has_an_end(monkeypatch):
    monkeypatch.setattr(seats_module, "MOST_SILENT", 2)
    seats = Seats(Clock(), 1024)
    for name in (b"a", b"b", b"c"):
        seats.silent((name, "mx"))
    assert [seats.doubts((name, "mx")) for name in (b"a", b"b", b"c")] == [False, True, True]


def test_what_open_files_allow():
    assert [allowed(256, files) for files in (256, 4096, 1 << 20, resource.RLIM_INFINITY)] == [64, 128, 256, 256]
