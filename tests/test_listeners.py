"""Listeners: bound early, served late, and every fault one clear line."""

import errno
import os
import shutil
import socket
import tempfile

import pytest
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from netsvc import listeners
from netsvc.config.endpoint import Endpoint, check_endpoint
from netsvc.config.listener import ListenerConfig
from netsvc.listeners import Gate, Listener, ListenerError, show_address
from netsvc.logbook import Logbook
from netsvc.records import DoorRule
from tests.fakes import FakeDoors, FakeLogbook

LOOPBACK = "tcp:0:interface=127.0.0.1"


class Greeter(Protocol):
    def connectionMade(self):
        self.transport.write(b"hello")
        self.transport.loseConnection()


class Door(Factory):
    protocol = Greeter
    noisy = False

    def __init__(self):
        self.starts = self.stops = self.ended = 0

    def startFactory(self):
        self.starts += 1

    def stopFactory(self):
        self.stops += 1

    def stop(self):
        self.ended += 1
        return succeed(None)


class Listening(Protocol):
    def __init__(self):
        self.heard = b""
        self.lost = Deferred()

    def dataReceived(self, data):
        self.heard += data

    def connectionLost(self, reason):
        self.lost.callback(self.heard)


class Case(TestCase):
    def setUp(self):
        self.seen = []
        self.book = Logbook("debug", self.seen.append)

    def listener(self, endpoint=LOOPBACK, **settings):
        config = ListenerConfig("smtp", "smtp", check_endpoint(endpoint), settings)
        return Listener(config, self.book, reactor)

    def names(self):
        return [event["netsvc_record"]["event"] for event in self.seen]

    async def test_connections_wait_until_there_is_a_door(self):
        listener = self.listener()
        assert listener.address == LOOPBACK
        listener.bind()
        port = int(listener.address.rpartition(":")[2])
        client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Listening())
        assert not client.heard
        door = Door()
        listener.serve(door)
        assert await client.lost == b"hello"
        assert door.starts == 1
        await listener.stopService()
        assert (door.stops, door.ended) == (1, 1)
        assert self.names() == ["listener.bound", "listener.serving", "listener.closed"]
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), 5)

    async def test_a_taken_port_is_told_with_the_option_that_helps(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listener = self.listener(f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1")
            with pytest.raises(
                ListenerError, match=r"listener smtp: cannot bind tcp:.*in use.*--listen smtp="
            ) as caught:
                listener.bind()
        assert "\n" not in str(caught.value)
        await listener.stopService()
        assert not self.names()

    async def test_an_address_that_is_not_ours_is_told(self):
        with pytest.raises(ListenerError, match="no such address"):
            self.listener("tcp:2525:interface=192.0.2.77").bind()

    async def test_a_socket_file_is_served_and_removed(self):
        folder = tempfile.mkdtemp(prefix="netsvc-")
        self.addCleanup(shutil.rmtree, folder)
        path = f"{folder}/smtp.sock"
        listener = self.listener(f"unix:{path}:mode=600")
        listener.bind()
        assert listener.address == path
        listener.serve(Door())
        client = await connectProtocol(UNIXClientEndpoint(reactor, path), Listening())
        assert await client.lost == b"hello"
        await listener.stopService()
        with pytest.raises(FileNotFoundError):
            os.stat(path)  # noqa: PTH116 - Path has no business in a coroutine

    async def test_systemd_that_passed_no_socket_is_told(self):
        with pytest.raises(ListenerError, match="FileDescriptorName"):
            self.listener("systemd:domain=INET:name=smtp").bind()

    async def test_clear_text_passwords_for_others_are_refused_where_only_the_socket_tells(self):
        listener = self.listener("tcp:0:interface=0.0.0.0", allow_cleartext_from=())
        with pytest.raises(ListenerError, match="clear text"):
            listener.bind()
        allowed = self.listener("tcp:0:interface=0.0.0.0", allow_cleartext_from=("192.0.2.0/24",))
        allowed.bind()
        await allowed.stopService()
        local = self.listener(LOOPBACK, allow_cleartext_from=())
        local.bind()
        await local.stopService()

    async def test_a_door_that_cannot_stop_does_not_keep_the_others(self):
        class Stuck(Door):
            def stop(self):
                raise RuntimeError("stuck")

        listener = self.listener()
        listener.bind()
        listener.serve(Stuck())
        await listener.stopService()
        assert self.names() == ["listener.bound", "listener.serving", "service.failed", "listener.closed"]

    async def test_a_listener_bound_and_never_served_is_given_back(self):
        listener = self.listener()
        listener.bind()
        await listener.unbind()
        await listener.unbind()
        await listener.stopService()
        assert self.names() == ["listener.bound"]


class Strange:
    """A stranger's endpoint kind."""

    def __init__(self, result):
        self.result = result

    def listen(self, factory):
        return self.result


class WithoutSockets(SynchronousTestCase):
    def listener(self, endpoint=None, clock=None):
        config = ListenerConfig("x", "smtp", endpoint or Endpoint("odd:x", "odd"), {})
        return Listener(config, Logbook(publisher=lambda event: None), clock or MemoryReactorClock())

    def test_many_connections_may_wait(self):
        clock = MemoryReactorClock()
        for text, backlog in (("tcp:25", listeners.BACKLOG), ("tcp:25:backlog=7", 7)):
            self.listener(check_endpoint(text), clock).bind()
            assert clock.tcpServers[-1][2] == backlog
        self.listener(check_endpoint("tcp:25:127.0.0.1"), clock).bind()
        assert clock.tcpServers[-1][2:4] == (listeners.BACKLOG, "127.0.0.1")

    def test_an_endpoint_that_does_not_listen_at_once_is_refused(self):
        self.patch(listeners, "serverFromString", lambda *args: Strange(Deferred(lambda d: d.callback(None))))
        with pytest.raises(ListenerError, match="at once"):
            self.listener().bind()

    def test_faults_are_explained(self):
        for error, words in (
            (
                CannotListenError("", 25, OSError(errno.EACCES, "x")),
                "permission denied; start as root with twistd --uid",
            ),
            (CannotListenError("", 25, OSError(errno.EMFILE, "Too many open files")), "Too many open files; choose"),
            (ValueError("odd words"), "odd words; choose"),
            (ValueError(), "ValueError; choose"),
        ):
            self.patch(listeners, "serverFromString", lambda *args, error=error: Strange(failing(error)))
            with pytest.raises(ListenerError) as caught:
                self.listener().bind()
            assert f"listener x: cannot bind odd:x: {words}" in str(caught.value)

    def gate(self, name="smtp", **settings):
        config = ListenerConfig(name, "smtp", Endpoint("tcp:25", "tcp"), settings)
        self.clock = Clock()
        self.logged = FakeLogbook()
        return Gate(config, lambda: "127.0.0.1:25", self.logged, self.clock)

    def test_who_is_kept_out_is_turned_away_before_anything_else(self):
        gate = self.gate(tls="implicit")
        door = Door()
        words = []
        gate.open(door)
        gate.doors = FakeDoors()
        peer = IPv4Address("TCP", "192.0.2.7", 4711)
        assert gate.buildProtocol(peer) is not None
        gate.doors.rules["192.0.2.7"] = DoorRule("block", "192.0.2.0/24", "spam", "op", 1)
        assert gate.buildProtocol(peer) is None
        door.turn_away = lambda rule, host: words.append((rule.key, host)) or "a last word"
        assert gate.buildProtocol(peer) == "a last word"
        assert gate.buildProtocol(UNIXAddress(None)) is not None
        assert words == [("192.0.2.0/24", "192.0.2.7")]
        assert (gate.accepted, gate.refused, gate.tls, gate.address) == (2, 2, "implicit", "127.0.0.1:25")
        assert [f["count"] for f in self.logged.named("peer.turned_away")] == [1]
        self.clock.advance(60)
        gate.buildProtocol(peer)
        assert [f["count"] for f in self.logged.named("peer.turned_away")] == [1, 2]

    def test_a_pause_is_for_everybody_a_block_never_for_operators(self):
        gate = self.gate("console")
        door = Door()
        door.for_operators = True
        gate.open(door)
        gate.doors = FakeDoors()
        peer = IPv4Address("TCP", "192.0.2.7", 4711)
        gate.doors.rules["192.0.2.7"] = DoorRule("block", "192.0.2.7/32", "spam", "op", 1)
        assert gate.buildProtocol(peer) is not None
        gate.doors.rules["console"] = DoorRule("pause", "mx1/console", "upgrade", "op", 1)
        assert gate.buildProtocol(peer) is None
        assert gate.buildProtocol(UNIXAddress(None)) is None

    def test_refusals_are_counted_apart(self):
        gate = self.gate()
        door = Door()
        gate.open(door)
        door.buildProtocol = lambda addr: None
        gate.buildProtocol(None)
        refusal = Protocol()
        refusal.refusal = True
        door.buildProtocol = lambda addr: refusal
        gate.buildProtocol(None)
        assert (gate.accepted, gate.refused) == (0, 2)

    def test_before_there_is_a_door_nobody_is_let_in(self):
        gate = self.gate()
        gate.doStart()
        assert gate.buildProtocol(None) is None
        gate.doStop()
        door = Door()
        gate.open(door)
        assert door.starts == 0
        assert gate.buildProtocol(None) is not None

    def test_addresses_are_shown(self):
        assert show_address(IPv4Address("TCP", "127.0.0.1", 25)) == "127.0.0.1:25"
        assert show_address(IPv6Address("TCP", "::1", 25)) == "[::1]:25"
        assert show_address(UNIXAddress(b"/run/x")) == "/run/x"
        assert show_address("odd") == "odd"


def failing(error):
    result = Deferred()
    result.errback(error)
    return result
