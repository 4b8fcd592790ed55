"""The life of a node: order, refusals, and that everything is taken down again."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from netsvc import node as node_module
from netsvc.config.endpoint import check_endpoint
from netsvc.config.listener import ListenerConfig
from netsvc.config.node import NodeConfig
from netsvc.logbook import Logbook
from netsvc.node import NodeService, StartError, Undo
from netsvc.notify import notify
from netsvc.records import StoreError
from tests.fakes import FakeDoors


class Door(Factory):
    protocol = Protocol
    noisy = False

    def __init__(self, order):
        self.order = order

    def stop(self):
        self.order.append("sessions end")
        return succeed(None)


class Maker:
    name = "smtp"
    default_endpoint = "tcp:25"
    settings = ()

    def __init__(self, order, make=None):
        self.order = order
        self.wanted = make

    def make(self, house, settings):
        if self.wanted is not None:
            return self.wanted(house, settings)
        self.order.append(f"door {settings['listener']}")
        return Door(self.order)


class MemoryReactor(MemoryReactorClock):
    def callWhenRunning(self, call, *args):
        call(*args)

    def stop(self):
        self.order.append("reactor stops")


class Case(SynchronousTestCase):
    def setUp(self):
        self.order, self.seen, self.said, self.statuses = [], [], [], []
        self.clock = MemoryReactor()
        self.clock.order = self.order
        self.patch(node_module, "exit_later", self.statuses.append)
        self.patch(node_module, "raise_file_limit", lambda: None)
        self.patch(node_module, "notify", lambda *words: self.order.append(words[0]))

    async def opening(self, config, logbook, clock, undo):
        self.order.append("house opens")
        undo.push("store", lambda: self.order.append("store closes"))
        undo.push("delivery", lambda: self.order.append("delivery stops"))
        return SimpleNamespace(mailbox_service=SimpleNamespace(doors=FakeDoors()))

    def node(self, opening=None, make=None, endpoints=("tcp:25", "tcp:26")):
        config = NodeConfig(
            hostname="mx1.example.org",
            state=Path("/nowhere"),
            control_socket=Path("/nowhere/console.sock"),
            store="sqlite",
            auth=("store",),
            listeners=tuple(
                ListenerConfig(f"l{n}", "smtp", check_endpoint(text), {"listener": f"l{n}"})
                for n, text in enumerate(endpoints)
            ),
        )
        maker = Maker(self.order, make)
        service = NodeService(config, {"smtp": maker}, opening or self.opening, self.book(), self.clock)
        service.say_failure = self.said.append
        service.before_giving_up = lambda why: self.order.append("tidied")
        return service

    def book(self):
        return Logbook(publisher=self.seen.append)

    def names(self):
        return [event["netsvc_record"]["event"] for event in self.seen]

    def test_the_whole_life_in_order(self):
        service = self.node()
        service.privilegedStartService()
        assert len(self.clock.tcpServers) == 2
        assert not self.order
        service.startService()
        assert self.order == ["house opens", "door l0", "door l1", "READY=1"]
        self.order.clear()
        self.successResultOf(service.stopService())
        assert self.order == ["STOPPING=1", "sessions end", "sessions end", "delivery stops", "store closes"]
        assert self.names() == [
            "service.starting",
            "listener.serving",
            "listener.serving",
            "service.started",
            "service.stopping",
            "listener.closed",
            "listener.closed",
            "service.stopped",
        ]
        assert not service.failed
        assert not self.said

    def test_the_house_that_cannot_be_opened_stops_the_process_with_a_status(self):
        for error in (StartError("state: cannot be written"), StoreError("is of a newer version"), KeyError("bug")):

            async def opening(config, logbook, clock, undo, error=error):
                undo.push("store", lambda: self.order.append("store closes"))
                raise error

            self.order.clear(), self.said.clear(), self.seen.clear()
            service = self.node(opening)
            service.privilegedStartService()
            service.startService()
            assert service.failed
            assert self.statuses.pop() == 1
            assert self.order == ["reactor stops"]
            assert len(self.said) == 1
            assert str(error.args[0]) in self.said[0]
            self.successResultOf(service.stopService())
            assert "store closes" in self.order
            assert "service.started" not in self.names()

    def test_a_reactor_that_stops_already_is_left_alone(self):
        def stop():
            raise ReactorNotRunning

        self.clock.stop = stop
        service = self.node(lambda *args: failing(StartError("no")))
        service.privilegedStartService()
        service.startService()
        assert service.failed

    def test_a_door_that_cannot_be_made_stops_the_start(self):
        for make, words in (
            (raising(ValueError("max_errors is odd")), "listener l0: max_errors is odd"),
            (raising(RuntimeError("oops")), "the plugin for smtp failed: RuntimeError: oops"),
            (lambda house, settings: object(), "made no IProtocolFactory"),
        ):
            self.said.clear()
            service = self.node(make=make)
            service.privilegedStartService()
            service.startService()
            assert words in self.said[0]
            self.successResultOf(service.stopService())
        assert "plugin.broken" in self.names()

    def test_stopping_while_the_house_opens_waits_for_it_and_serves_nobody(self):
        ready = Deferred()

        async def opening(config, logbook, clock, undo):
            undo.push("store", lambda: self.order.append("store closes"))
            await ready
            return object()

        service = self.node(opening)
        service.privilegedStartService()
        service.startService()
        stopping = service.stopService()
        self.assertNoResult(stopping)
        ready.callback(None)
        self.successResultOf(stopping)
        assert "READY=1" not in self.order
        assert self.order[-1] == "store closes"

    def test_an_opening_that_hangs_does_not_keep_us_from_stopping(self):
        service = self.node(lambda *args: hanging())
        service.privilegedStartService()
        service.startService()
        stopping = service.stopService()
        self.clock.advance(node_module.STOP_SECONDS + 1)
        self.successResultOf(stopping)

    def test_a_service_that_was_never_started_can_be_stopped(self):
        service = self.node()
        service.privilegedStartService()
        self.successResultOf(service.stopService())

    def test_what_fails_or_hangs_while_stopping_is_told_and_the_rest_goes_on(self):
        clock = Clock()
        undo = Undo(self.book(), clock)
        undo.push("first", lambda: self.order.append("first"))
        undo.push("failing", lambda: fail(RuntimeError("x")))
        undo.push("hanging", Deferred)
        running = Deferred.fromCoroutine(undo.run())
        self.assertNoResult(running)
        clock.advance(node_module.STOP_SECONDS + 1)
        self.successResultOf(running)
        assert self.order == ["first"]
        assert [event["netsvc_record"]["stage"] for event in self.seen] == ["stopping hanging", "stopping failing"]


def raising(error):
    def make(house, settings):
        raise error

    return make


async def failing(error):
    raise error


async def hanging():
    await Deferred()


class Ports(TestCase):
    def test_a_port_that_cannot_be_bound_leaves_nothing_bound(self):
        said, order = [], []
        with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
            free.close()
            config = NodeConfig(
                hostname="mx1.example.org",
                state=Path("/nowhere"),
                control_socket=Path("/nowhere/s"),
                store="sqlite",
                auth=("store",),
                listeners=(
                    ListenerConfig("a", "smtp", check_endpoint(f"tcp:{port}:interface=127.0.0.1"), {}),
                    ListenerConfig(
                        "b", "smtp", check_endpoint(f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"), {}
                    ),
                ),
            )
            service = NodeService(config, {}, None, Logbook(publisher=order.append), reactor)
            service.say_failure = said.append
            service.before_giving_up = lambda why: order.append("tidied")
            with pytest.raises(SystemExit) as caught:
                service.privilegedStartService()
        assert caught.value.code == 1
        assert order[-1] == "tidied"
        (line,) = said
        assert line.startswith("listener b: cannot bind")
        return service.stopService()


def test_open_files_are_raised_to_what_we_are_allowed(monkeypatch):
    asked = []
    limits = {"now": (256, 4096)}
    monkeypatch.setattr(node_module.resource, "getrlimit", lambda which: limits["now"])
    monkeypatch.setattr(node_module.resource, "setrlimit", lambda which, pair: asked.append(pair))
    node_module.raise_file_limit()
    limits["now"] = (1024, node_module.resource.RLIM_INFINITY)
    node_module.raise_file_limit()
    limits["now"] = (4096, 4096)
    node_module.raise_file_limit()
    assert asked == [(4096, 4096), (65536, node_module.resource.RLIM_INFINITY)]


def test_complaints_go_to_the_standard_error_we_began_with(monkeypatch, tmp_path):
    file = (tmp_path / "err").open("w+")
    monkeypatch.setattr(node_module.sys, "__stderr__", file)
    node_module.complain_on_stderr("a\nb")
    monkeypatch.setattr(node_module.sys, "__stderr__", None)
    node_module.complain_on_stderr("nobody is there")
    file.seek(0)
    assert file.read() == "netsvc: a\\x0ab\n"
    file.close()


def test_the_exit_status_is_set_when_the_process_ends(monkeypatch):
    registered, left = [], []
    monkeypatch.setattr(node_module.atexit, "register", registered.append)
    monkeypatch.setattr(node_module.os, "_exit", left.append)
    node_module.exit_later(3)
    registered[0]()
    assert left == [3]


@pytest.mark.parametrize("form", ["path", "abstract"])
def test_systemd_is_told(monkeypatch, tmp_path, form):
    path = str(tmp_path / "notify") if form == "path" else f"@netsvc-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0" + path[1:] if path.startswith("@") else path)
        ear.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        assert notify("READY=1", "STATUS=serving")
        assert ear.recv(100) == b"READY=1\nSTATUS=serving"


def test_where_nobody_listens_nothing_is_told(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "odd")
    assert not notify("READY=1")
