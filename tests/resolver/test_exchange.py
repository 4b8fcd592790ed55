"""One question to one server: strange packets, silence, servers that break off; on loopback."""

from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from netsvc.resolver.exchange import MAX_STRANGE, Exchange, NoAnswerError
from netsvc.resolver.names import Server
from netsvc.resolver.packets import Reading, StrangePacketError

GOOD = Reading(values=("x",))


def read(packet):
    if packet != b"good":
        raise StrangePacketError("strange")
    return GOOD


class Echo(DatagramProtocol):
    """Answers with ``packets``."""

    def __init__(self, *packets):
        self.packets = packets

    def datagramReceived(self, datagram, addr):
        for packet in self.packets:
            self.transport.write(packet, addr)


class Answering(Protocol):
    """Sends ``pieces`` when asked, then goes."""

    pieces = ()

    def dataReceived(self, data):
        for piece in self.pieces:
            self.transport.write(piece)
        self.transport.loseConnection()


class Exchanging(TestCase):
    def setUp(self):
        self.exchange = Exchange(reactor)

    def udp(self, *packets, host="127.0.0.1"):
        port = reactor.listenUDP(0, Echo(*packets), interface=host)
        self.addCleanup(port.stopListening)
        return self.exchange.udp(Server(host, port.getHost().port), b"q", read, 0.2)

    def tcp(self, *pieces):
        factory = Factory.forProtocol(type("P", (Answering,), {"pieces": pieces}))
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return self.exchange.tcp(Server("127.0.0.1", port.getHost().port), b"q", read, 5)

    async def refused(self, asking, why):
        with self.assertRaises(NoAnswerError) as caught:
            await asking
        self.assertIn(why, str(caught.exception))

    async def test_strange_packets_are_passed_over(self):
        self.assertIs(await self.udp(b"bad", b"worse", b"good", b"good"), GOOD)

    async def test_but_not_a_flood(self):
        await self.refused(self.udp(*[b"bad"] * (MAX_STRANGE + 5), b"good"), "flooded")

    async def test_silence(self):
        await self.refused(self.udp(), "no answer in 0.2 s")

    async def test_nobody_there(self):
        port = reactor.listenUDP(0, DatagramProtocol(), interface="127.0.0.1")
        server = Server("127.0.0.1", port.getHost().port)
        await port.stopListening()
        await self.refused(self.exchange.udp(server, b"q", read, 5), "refused")
        await self.refused(self.exchange.tcp(server, b"q", read, 5), "no connection: ConnectionRefusedError")

    async def test_a_stream_in_pieces(self):
        self.assertIs(await self.tcp(b"\0", b"\4go", b"od", b"more"), GOOD)

    async def test_streams_that_are_no_answer(self):
        await self.refused(self.tcp(b"\0\3bad"), "strange")
        await self.refused(self.tcp(b"\xff\xff", b"x"), "65535 octets")
        await self.refused(self.tcp(b"\0\4go"), "connection lost")

    async def test_no_way_there(self):
        await self.refused(self.exchange.udp(Server("255.255.255.255"), b"q", read, 0.2), "ermission denied")


class WithoutSockets(SynchronousTestCase):
    def test_ipv6_servers_are_asked_by_ipv6(self):
        memory = MemoryReactorClock()
        memory.listenUDP = lambda port, protocol, interface: self.interfaces.append(interface) or 1 / 0
        self.interfaces = []
        from twisted.internet.defer import Deferred

        for host in ("::1", "127.0.0.1"):
            self.failureResultOf(
                Deferred.fromCoroutine(Exchange(memory).udp(Server(host), b"q", read, 1)), ZeroDivisionError
            )
        self.assertEqual(self.interfaces, ["::", "0.0.0.0"])
        asking = Deferred.fromCoroutine(Exchange(memory).tcp(Server("::1"), b"q", read, 1))
        self.assertEqual(memory.tcpClients[0][0], "::1")
        asking.cancel()
        self.failureResultOf(asking, NoAnswerError)

    def test_no_socket_left(self):
        from twisted.internet.defer import Deferred
        from twisted.internet.error import CannotListenError

        clock = Clock()

        def full(port, protocol, interface):
            raise CannotListenError(interface, port, OSError(24, "Too many open files"))

        clock.listenUDP = full
        failure = self.failureResultOf(Deferred.fromCoroutine(Exchange(clock).udp(Server("127.0.0.1"), b"q", read, 1)))
        self.assertIn("Too many open files", str(failure.value))
