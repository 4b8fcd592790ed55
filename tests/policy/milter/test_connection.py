"""One connection to a filter: back-pressure, deadlines and ends."""

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.policy.milter.codec import Answer, MilterError, packet
from netsvc.policy.milter.connection import MilterConnection


class Connection(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.connection = MilterConnection(self.clock, 10)
        self.transport = StringTransport()
        self.connection.makeConnection(self.transport)

    def test_promise(self):
        assert verifyObject(IPushProducer, self.connection)
        assert self.transport.producer is self.connection
        assert self.transport.streaming

    def test_back_pressure(self):
        assert self.successResultOf(self.connection.drained()) is None
        self.connection.pauseProducing()
        drained = self.connection.drained()
        self.assertNoResult(drained)
        self.connection.resumeProducing()
        assert self.successResultOf(drained) is None
        self.connection.resumeProducing()
        self.connection.stopProducing()

    def test_back_pressure_and_the_end(self):
        self.connection.pauseProducing()
        drained = self.connection.drained()
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(drained, MilterError)
        self.failureResultOf(self.connection.drained(), MilterError)
        self.connection.send(b"x")
        self.connection.close(b"x")
        assert self.transport.value() == b""

    def test_a_wait_that_is_given_up(self):
        self.connection.pauseProducing()
        drained = self.connection.drained()
        drained.cancel()
        self.failureResultOf(drained, CancelledError)
        self.connection.resumeProducing()
        asked = self.connection.event()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.connection.dataReceived(packet(b"c"))
        assert self.successResultOf(self.connection.event()) == Answer("continue")
        assert self.clock.getDelayedCalls() == []

    def test_deadline_and_progress(self):
        asked = self.connection.event()
        self.clock.advance(9)
        self.connection.dataReceived(packet(b"p"))
        self.clock.advance(9)
        self.assertNoResult(asked)
        self.clock.advance(1)
        self.failureResultOf(asked, MilterError)
        assert self.transport.disconnected or self.transport.disconnecting

    def test_progress_nobody_waits_for(self):
        self.connection.dataReceived(packet(b"p") * 10_000)
        self.assertNoResult(self.connection.event())

    def test_what_was_said_before_the_end_is_heard(self):
        self.connection.dataReceived(packet(b"a"))
        self.connection.connectionLost(Failure(ConnectionDone()))
        assert self.successResultOf(self.connection.event()) == Answer("accept")
        self.failureResultOf(self.connection.event(), MilterError)

    def test_closing(self):
        self.connection.close(packet(b"Q"))
        assert self.transport.value() == packet(b"Q")
        assert self.transport.disconnecting
        self.connection.lose()

    def test_lost_before_it_was_made(self):
        connection = MilterConnection(self.clock, 10)
        connection.lose()
        self.failureResultOf(connection.event(), MilterError)
