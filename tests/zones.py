"""A name server for tests: zones as plain data, served by twisted.names.server on loopback.

Records are ``{name: {KIND: [values]}}`` with KIND of A AAAA MX TXT PTR CNAME TLSA: text for most, ``[preference, name]``
for MX, text or bytes for TXT (longer ones are cut into strings of 255).  Instead of records a name may have
``"SERVFAIL"`` or ``"SILENT"`` (never answered).  A name without records that has names below it has no data; others do
not exist.  PTR records are written under the address: ``{"192.0.2.1": {"PTR": ["mx.example.org"]}}``.

``ZoneServer`` runs on the reactor of a test, ``ZoneProcess`` beside a service under test; ``authentic`` ones say that they
validated what they answer:

    zone = ZoneProcess({"example.org": {"TXT": ["v=spf1 -all"]}})
    ... dns = ["127.0.0.1:{zone.port}"] under [site.delivery] ...
    zone.close()

``FakeResolver`` answers from the same data with no network at all.
"""

import ipaddress
import json
import subprocess
import sys

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.names import common, dns, server
from zope.interface import implementer

from netsvc.interfaces import IResolver
from netsvc.records import Found, NameNotFoundError, NameTemporaryError

TTL = 300


def _name(text):
    """Return a key of a zone: lower case, no final dot; an address becomes its reverse name."""
    try:
        return ipaddress.ip_address(text).reverse_pointer
    except ValueError:
        return text.lower().rstrip(".")


def normal(zone):
    return {
        _name(name): records if isinstance(records, str) else {kind.upper(): values for kind, values in records.items()}
        for name, records in zone.items()
    }


def _text(value):
    return value if isinstance(value, bytes) else value.encode()


def _txt(value, ttl):
    octets = _text(value)
    return dns.Record_TXT(*[octets[n : n + 255] for n in range(0, len(octets), 255)] or [b""], ttl=ttl)


RECORDS = {
    "A": dns.Record_A,
    "AAAA": dns.Record_AAAA,
    "CNAME": lambda value, ttl: dns.Record_CNAME(value, ttl=ttl),
    "PTR": lambda value, ttl: dns.Record_PTR(value, ttl=ttl),
    "MX": lambda value, ttl: dns.Record_MX(value[0], value[1].rstrip("."), ttl=ttl),
    "TXT": _txt,
    "TLSA": lambda value, ttl: dns.UnknownRecord(bytes(value[:3]) + bytes.fromhex(value[3]), ttl=ttl),
}
TYPES = {"A": 1, "CNAME": 5, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "TLSA": 52}


class _Zone(common.ResolverBase):
    """Answers from the data; ``asked`` are the questions as (name, type)."""

    def __init__(self, records, ttl):
        common.ResolverBase.__init__(self)
        self.records = normal(records)
        self.ttl = ttl
        self.asked = []

    def _lookup(self, name, cls, number, timeout):
        text = name.decode("ascii", "replace").lower().rstrip(".")
        self.asked.append((text, number))
        answers = []
        while True:
            found = self.records.get(text)
            if found == "SERVFAIL":
                return fail(dns.DNSServerError())
            if found == "SILENT":
                return Deferred()
            if found is None:
                below = any(name.endswith("." + text) for name in self.records)
                return self._absent(answers, dns.OK if below or answers else dns.ENAME)
            kind = next((kind for kind, code in TYPES.items() if code == number), "")
            records = [RECORDS[kind](value, ttl=self.ttl) for value in found.get(kind, ())]
            answers += [dns.RRHeader(text, number, dns.IN, self.ttl, record, auth=True) for record in records]
            if records:
                return succeed((answers, [], []))
            alias = found.get("CNAME")
            if not alias or len(answers) > 20:
                return self._absent(answers, dns.OK)
            record = dns.Record_CNAME(alias[0], ttl=self.ttl)
            answers.append(dns.RRHeader(text, dns.CNAME, dns.IN, self.ttl, record, auth=True))
            text = alias[0].lower().rstrip(".")
            if text not in self.records:
                return succeed((answers, [], []))  # elsewhere: to be asked for

    def _absent(self, answers, code):
        soa = dns.Record_SOA("ns.example.org", "hostmaster.example.org", 1, 1, 1, 1, minimum=self.ttl, ttl=self.ttl)
        authority = [dns.RRHeader("example.org", dns.SOA, dns.IN, self.ttl, soa, auth=True)]
        return succeed((answers, authority, code))


class _Factory(server.DNSServerFactory):
    authentic = False

    def gotResolverResponse(self, response, protocol, message, address):
        answers, authority, code = response
        reply = self._responseFromMessage(
            message=message, rCode=code or dns.OK, answers=answers, authority=authority, additional=[]
        )
        reply.authenticData = int(self.authentic)
        reply.maxSize = 512 if address is not None else 0  # by UDP: cut and marked, so that TCP is tried
        self.sendReply(protocol, reply, address)

    def gotResolverError(self, failure, protocol, message, address):
        self.sendReply(protocol, self._responseFromMessage(message=message, rCode=dns.ESERVER), address)


class ZoneServer:
    """A name server on the reactor.  ``at`` is ``127.0.0.1:port``; ``asked`` the questions; ``records`` may change."""

    def __init__(self, records, *, ttl=TTL, reactor=None, authentic=False):
        if reactor is None:
            from twisted.internet import reactor
        self.zone = _Zone(records, ttl)
        self.factory = _Factory(clients=[self.zone])
        self.factory.authentic = authentic
        for _ in range(20):  # the port must be free for both
            self._udp = reactor.listenUDP(0, dns.DNSDatagramProtocol(self.factory), interface="127.0.0.1")
            self.port = self._udp.getHost().port
            try:
                self._tcp = reactor.listenTCP(self.port, self.factory, interface="127.0.0.1")
            except CannotListenError:
                self._udp.stopListening()
            else:
                break
        self.at = f"127.0.0.1:{self.port}"

    @property
    def asked(self):
        return self.zone.asked

    @property
    def records(self):
        return self.zone.records

    async def close(self):
        """Stop; await it at the end of a test."""
        for protocol in list(self.factory.connections):
            protocol.transport.abortConnection()
        await self._tcp.stopListening()
        await self._udp.stopListening()


class ZoneProcess:
    """The same in a process of its own.  ``at`` is ``127.0.0.1:port``."""

    def __init__(self, records, *, ttl=TTL, authentic=False):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.zones"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._say({"records": records, "ttl": ttl, "authentic": authentic})
        self.port = int(self._process.stdout.readline())
        self.at = f"127.0.0.1:{self.port}"

    def _say(self, words):
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def serve(self, records):
        """Serve ``records`` from now on."""
        self._say({"records": records})
        self._process.stdout.readline()

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


@implementer(IResolver)
class FakeResolver:
    """IResolver over the same data, each answer there at once; ``hold`` leaves questions waiting in ``waiting``.

    ``validated``: whether ``look`` says so of answers, True, False or the names of which it does.
    """

    def __init__(self, records=(), *, validated=False):
        self.records = normal(dict(records))
        self.validated = validated
        self.asked = []
        self.hold = False
        self.waiting = []

    def _values(self, kind, name):
        self.asked.append((kind, name))
        asked = Deferred()
        self.waiting.append((asked, kind, name))
        if not self.hold:
            self.release()
        return asked

    def release(self):
        """Answer what waits."""
        waiting, self.waiting = self.waiting, []
        for asked, kind, name in waiting:
            if not asked.called:
                self._answer(asked, kind, _name(name))

    def _answer(self, asked, kind, name):
        for _ in range(9):
            found = self.records.get(name, {})
            if isinstance(found, str):
                asked.errback(NameTemporaryError(found))
                return
            if kind in found or "CNAME" not in found:
                break
            name = _name(found["CNAME"][0])
        values = found.get(kind, [])
        if not values:
            asked.errback(NameNotFoundError(f"no {kind}"))
        elif kind == "TXT":
            asked.callback([_text(value) for value in values])
        elif kind == "MX":
            asked.callback([(preference, host.rstrip(".").lower()) for preference, host in values])
        else:
            asked.callback(list(values))

    def a(self, name):
        return self._values("A", name)

    def aaaa(self, name):
        return self._values("AAAA", name)

    def ptr(self, ip):
        return self._values("PTR", ip)

    def txt(self, name):
        return self._values("TXT", name)

    def mx(self, name):
        return self._values("MX", name)

    def tlsa(self, name):
        return self._values("TLSA", name)

    def look(self, kind, name):
        chain, at = [], _name(name)
        while isinstance(self.records.get(at), dict) and "CNAME" in self.records[at] and len(chain) < 9:
            at = _name(self.records[at]["CNAME"][0])
            chain.append(at)
        validated = self.validated if isinstance(self.validated, bool) else _name(name) in self.validated
        return self._values(kind.upper(), name).addCallback(
            lambda values: Found(tuple(values), validated, tuple(chain))
        )

    def status(self):
        return {"servers": [], "lookups": len(self.asked)}

    def rows(self, name=""):
        return []

    def flush(self, name=""):
        return 0


def _main():
    """Serve what standard input says, a line of JSON at a time, until it ends; print the port, then a line for each."""
    from twisted.internet import reactor, stdio
    from twisted.protocols.basic import LineOnlyReceiver

    class Orders(LineOnlyReceiver):
        delimiter = b"\n"
        MAX_LENGTH = 1 << 20
        served = None

        def lineReceived(self, line):
            words = json.loads(line)
            if self.served is None:
                Orders.served = ZoneServer(
                    words["records"], ttl=words["ttl"], reactor=reactor, authentic=words["authentic"]
                )
                self.sendLine(b"%d" % self.served.port)
            else:
                self.served.zone.records = normal(words["records"])
                self.sendLine(b"served")

        def connectionLost(self, reason):
            if reactor.running:
                reactor.stop()

    stdio.StandardIO(Orders())
    reactor.run()


if __name__ == "__main__":
    _main()
