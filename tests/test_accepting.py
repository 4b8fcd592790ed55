"""A port that has no descriptor to accept with."""

import errno
import os
import socket
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from netsvc.accepting import OUTPUT, PAUSE_S, TELL_S, PatientSocket, be_patient, limit_output
from tests.fakes import FakeLogbook


class Listening:
    """A socket whose ``accept`` fails with the errors of ``plan``, in turn, then succeeds."""

    def __init__(self, *plan):
        self.plan = list(plan)
        self.closed = False

    def accept(self):
        if self.plan:
            number = self.plan.pop(0)
            if number:
                raise OSError(number, os.strerror(number))
        return "client", "address"

    def fileno(self):
        return -1 if self.closed else 3

    def getsockname(self):
        return "name"

    def close(self):
        self.closed = True


class Port:
    def __init__(self, listening):
        self.socket = listening
        self.connected = True
        self.reading = True

    def stopReading(self):
        self.reading = False

    def startReading(self):
        self.reading = True


def open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def logbook():
    return FakeLogbook()


def make(logbook, clock, *plan, spares=0):
    port = Port(Listening(*plan))
    be_patient(port, "smtp", logbook, clock, spares=spares)
    assert isinstance(port.socket, PatientSocket)
    return port


def test_it_is_the_socket_in_all_else(logbook, clock):
    port = make(logbook, clock)
    assert port.socket.getsockname() == "name"
    assert port.socket.accept() == ("client", "address")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_t19_it_pauses_and_goes_on(logbook, clock, number):
    port = make(logbook, clock, number, number)
    with pytest.raises(BlockingIOError) as caught:
        port.socket.accept()
    assert caught.value.args[0] == errno.EAGAIN
    assert not port.reading
    clock.advance(PAUSE_S)
    assert port.reading
    with pytest.raises(BlockingIOError):
        port.socket.accept()
    assert len(logbook.named("listener.no_descriptors")) == 1
    clock.advance(TELL_S)
    port.socket._socket.plan = [number]
    with pytest.raises(BlockingIOError):
        port.socket.accept()
    assert len(logbook.named("listener.no_descriptors")) == 2
    port.connected = False
    clock.advance(PAUSE_S)
    assert not port.reading


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EPERM, errno.ECONNABORTED])
def test_other_errors_are_twisteds(logbook, clock, number):
    port = make(logbook, clock, number)
    with pytest.raises(OSError, match=r".") as caught:
        port.socket.accept()
    assert caught.value.errno == number
    assert port.reading
    assert logbook.records == []


def test_operators_come_in_at_the_expense_of_a_spare(logbook, clock):
    before = open_files()
    port = make(logbook, clock, errno.EMFILE, 0, errno.EMFILE, errno.EMFILE, spares=2)
    assert open_files() == before + 2
    assert port.socket.accept() == ("client", "address")
    assert open_files() == before + 1
    with pytest.raises(BlockingIOError):  # somebody else was quicker
        port.socket.accept()
    assert open_files() == before
    clock.advance(PAUSE_S)
    assert open_files() == before + 2
    port.socket.close()
    assert port.socket.fileno() == -1
    assert open_files() == before


def test_spares_wait_for_better_times(logbook, clock, monkeypatch):
    def full(*_):
        raise OSError(errno.EMFILE, "full")

    monkeypatch.setattr(os, "open", full)
    port = make(logbook, clock, errno.EMFILE, 0, spares=1)
    with pytest.raises(BlockingIOError):
        port.socket.accept()


def test_nothing_is_kept_for_a_port_that_is_closed(logbook, clock):
    port = make(logbook, clock, errno.EMFILE, 0, spares=1)
    port.socket.accept()
    port.socket.close()
    before = open_files()
    clock.advance(PAUSE_S)
    assert open_files() == before


def test_other_things_are_left_alone(logbook, clock):
    thing = object()
    be_patient(thing, "x", logbook, clock)
    limit_output(thing)


def test_accepted_connections_inherit_the_limit_of_output():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        limit_output(Port(listening))
        with socket.create_connection(listening.getsockname()):
            client, _ = listening.accept()
            with client:
                assert client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * OUTPUT


def test_a_real_socket_stays_one(logbook, clock):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        port = Port(listening)
        be_patient(port, "smtp", logbook, clock)
        with pytest.raises(BlockingIOError):
            port.socket.accept()
        with socket.create_connection(listening.getsockname()):
            client, _ = port.socket.accept()
            client.close()
