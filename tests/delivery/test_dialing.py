"""Addresses raced, on a network made of nothing."""

import pytest
from twisted.internet import error
from twisted.internet.defer import CancelledError

from netsvc.delivery.dialing import HEAD_START, MOST_TROUBLES, TROUBLE, Dialer, Troubles
from netsvc.delivery.faults import AttemptError
from netsvc.delivery.transcript import Transcript
from netsvc.delivery.wire import Deadlines, WireFactory
from netsvc.mail.outcome import Fault
from tests.delivery.fakes import Network

REFUSED = error.ConnectionRefusedError()


class Case:
    def __init__(self):
        self.net = Network()
        self.dialer = Dialer(
            self.net, WireFactory("mx1.example.org", Deadlines(self.net, self.net.seconds)), self.net.seconds
        )

    def dial(self, *addresses):
        self.record = Transcript(self.net.seconds)
        self.race = self.dialer.dial(addresses, 25, self.record)
        return self.race.won

    @property
    def asked(self):
        """The addresses to which a connection was begun."""
        return [client[0] for client in self.net.tcpClients]

    def fault(self, won):
        why = won.result.value
        won.addErrback(lambda _: None)
        return why


def test_one_address():
    case = Case()
    won = case.dial("192.0.2.1")
    assert case.net.getDelayedCalls() == []  # nothing to wait for
    far = case.net.accept()
    assert won.result is far.wire
    assert case.race.tried == ["192.0.2.1"]
    assert b"connecting to [192.0.2.1]:25" in bytes(case.record)


def test_the_next_one_begins_a_moment_later():
    case = Case()
    won = case.dial("2001:db8::1", "192.0.2.1", "192.0.2.2")
    assert case.asked == ["2001:db8::1"]
    case.net.advance(HEAD_START)
    assert case.asked == ["2001:db8::1", "192.0.2.1"]
    case.net.taken = 1  # the first says nothing
    far = case.net.accept()
    assert won.result is far.wire
    assert case.race.tried == ["192.0.2.1"]
    case.net.advance(10 * HEAD_START)
    assert case.asked == ["2001:db8::1", "192.0.2.1"]
    assert all(connector.stoppedConnecting for connector in case.net.connectors[:1])


def test_the_next_one_begins_at_once_where_one_fails():
    case = Case()
    won = case.dial("192.0.2.1", "192.0.2.2", "192.0.2.3")
    case.net.refuse(REFUSED)
    assert case.asked == ["192.0.2.1", "192.0.2.2"]
    case.net.advance(HEAD_START)
    assert case.asked == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert not won.called
    case.net.refuse(error.TimeoutError())
    assert not won.called
    case.net.refuse(error.ConnectError(osError=113, string="No route to host"))
    why = case.fault(won)
    assert (why.fault, why.status) == (Fault.CONNECT_FAILED, "4.4.1")
    assert case.race.tried == case.asked
    assert why.words == "cannot connect: No route to host"
    assert b"[192.0.2.1]: connection refused" in bytes(case.record)


@pytest.mark.parametrize(
    ("failure", "fault"), [(REFUSED, Fault.CONNECT_REFUSED), (error.TimeoutError(), Fault.CONNECT_TIMEOUT)]
)
def test_faults(failure, fault):
    case = Case()
    won = case.dial("192.0.2.1")
    case.net.refuse(failure)
    assert case.fault(won).fault is fault


def test_a_mistake_of_ours_is_not_hidden():
    case = Case()
    won = case.dial("192.0.2.1")
    case.net.refuse(ZeroDivisionError("ours"))
    assert isinstance(case.fault(won), ZeroDivisionError)


def test_giving_up_leaves_nothing_behind():
    case = Case()
    won = case.dial("192.0.2.1", "192.0.2.2", "192.0.2.3")
    case.net.advance(HEAD_START)
    won.cancel()
    assert isinstance(case.fault(won), CancelledError)
    assert case.net.getDelayedCalls() == []
    assert all(connector.stoppedConnecting for connector in case.net.connectors)


def test_what_failed_lately_is_tried_last():
    case = Case()
    won = case.dial("192.0.2.1", "192.0.2.2")
    case.net.refuse(REFUSED)
    case.net.accept()
    assert won.called
    case.dial("192.0.2.1", "192.0.2.2")
    assert case.asked[2:] == ["192.0.2.2"]
    case.net.advance(TROUBLE)
    case.dial("192.0.2.1", "192.0.2.2")
    assert case.asked[4:] == ["192.0.2.1"]


WHY = AttemptError(Fault.CONNECT_REFUSED, "connection refused", "4.4.1")


def test_troubles_are_bounded_and_end():
    now = [0.0]
    troubles = Troubles(lambda: now[0])
    troubles.worked("192.0.2.1", 25)
    troubles.failed("192.0.2.1", 25, WHY)
    assert troubles.lately("192.0.2.1", 25)
    told = troubles.why("192.0.2.1", 25)
    assert (told.fault, told.words, told.status) == (WHY.fault, WHY.words, WHY.status)
    assert not troubles.lately("192.0.2.1", 26)
    troubles.worked("192.0.2.1", 25)
    assert not troubles.lately("192.0.2.1", 25)
    for n in range(MOST_TROUBLES + 1):
        troubles.failed(f"a{n}", 25, WHY)
    assert len(troubles._until) == 1
    now[0] = TROUBLE / 2
    for n in range(1, MOST_TROUBLES):
        troubles.failed(f"a{n}", 25, WHY)
    now[0] = TROUBLE
    troubles.failed("b", 25, WHY)
    assert not troubles.lately(f"a{MOST_TROUBLES}", 25)
    assert troubles.lately("a1", 25)
    assert len(troubles._until) == MOST_TROUBLES
