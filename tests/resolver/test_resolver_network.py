"""The resolver against a real name server on loopback (twisted.names.server), by UDP and TCP."""

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from netsvc.records import NameNotFoundError, NameTemporaryError
from netsvc.resolver.names import server_of
from netsvc.resolver.resolver import Resolver
from tests.zones import ZoneServer

LONG = "v=DKIM1; p=" + "A" * 700
CHAIN = {f"c{n}.example.org": {"CNAME": [f"c{n + 1}.example.org"]} for n in range(12)}
ZONE = {
    "example.org": {
        "A": ["192.0.2.1", "192.0.2.2"],
        "AAAA": ["2001:db8::1"],
        "MX": [[10, "Mx1.Example.ORG"], [20, "mx2.example.org"]],
        "TXT": ["v=spf1 -all"],
    },
    "null.example.org": {"MX": [[0, ""]]},
    "www.example.org": {"CNAME": ["web.example.org"]},
    "web.example.org": {"CNAME": ["example.org"]},
    "loop.example.org": {"CNAME": ["pool.example.org"]},
    "pool.example.org": {"CNAME": ["loop.example.org"]},
    "long.example.org": {"TXT": [LONG]},
    "192.0.2.1": {"PTR": ["Mail.example.org"]},
    "2001:db8::1": {"PTR": ["six.example.org"]},
    "_25._tcp.mx1.example.org": {"TLSA": [[3, 1, 1, "ab" * 32]]},
    "down.example.org": "SERVFAIL",
    "a.below.example.org": {"A": ["192.0.2.9"]},
    **CHAIN,
    "c12.example.org": {"A": ["192.0.2.5"]},
}


class Network(TestCase):
    def setUp(self):
        self.zone = ZoneServer(ZONE)
        self.addCleanup(self.close)
        self.resolver = Resolver([server_of(self.zone.at)], reactor)

    async def close(self):
        self.resolver.stop()
        await self.zone.close()

    async def test_kinds(self):
        resolver = self.resolver
        self.assertEqual(await resolver.a("Example.ORG."), ["192.0.2.1", "192.0.2.2"])
        self.assertEqual(await resolver.aaaa("example.org"), ["2001:db8::1"])
        self.assertEqual(await resolver.mx("example.org"), [(10, "mx1.example.org"), (20, "mx2.example.org")])
        self.assertEqual(await resolver.txt("example.org"), [b"v=spf1 -all"])
        self.assertEqual(await resolver.ptr("192.0.2.1"), ["mail.example.org"])
        self.assertEqual(await resolver.ptr("::ffff:192.0.2.1"), ["mail.example.org"])
        self.assertEqual(await resolver.ptr("2001:db8::1"), ["six.example.org"])
        self.assertEqual(await resolver.mx("null.example.org"), [(0, "")])
        self.assertEqual(await resolver.tlsa("_25._tcp.mx1.example.org"), [(3, 1, 1, b"\xab" * 32)])

    async def test_validated_as_the_server_says(self):
        self.assertFalse((await self.resolver.look("mx", "example.org")).validated)
        self.zone.factory.authentic = True
        found = await self.resolver.look("a", "www.example.org")
        self.assertTrue(found.validated)
        self.assertEqual(found.chain, ("web.example.org", "example.org"))

    async def test_what_does_not_fit_a_datagram_comes_by_tcp(self):
        self.assertEqual(await self.resolver.txt("long.example.org"), [LONG.encode()])
        self.assertEqual(self.resolver.counts.tcp, 1)
        self.assertEqual(await self.resolver.txt("long.example.org"), [LONG.encode()])
        self.assertEqual(self.resolver.counts.queries, 2)
        self.assertEqual(self.resolver.counts.hits, 1)

    async def test_absence_is_told_and_remembered(self):
        for name in ("nowhere.example.org", "below.example.org", "www.example.org"):
            for _ in range(2):
                with self.assertRaises(NameNotFoundError):
                    await self.resolver.txt(name) if name != "www.example.org" else await self.resolver.tlsa(name)
        self.assertEqual(self.resolver.counts.queries, 3)
        self.assertEqual(self.resolver.counts.absent, 6)

    async def test_faults_of_the_server_are_temporary(self):
        with self.assertRaises(NameTemporaryError):
            await self.resolver.a("down.example.org")
        self.assertEqual(self.resolver.counts.queries, 1)
        self.assertEqual(self.resolver.rows()[0]["result"], f"{self.zone.at}: SERVFAIL")

    async def test_aliases_are_followed(self):
        answer = await self.resolver.ask("a", "www.example.org")
        self.assertEqual(answer.values, ("192.0.2.1", "192.0.2.2"))
        self.assertEqual(answer.chain, ("web.example.org", "example.org"))
        self.assertEqual(await self.resolver.a("c4.example.org"), ["192.0.2.5"])

    async def test_loops_and_long_chains_end(self):
        for name in ("loop.example.org", "c0.example.org"):
            with self.assertRaises(NameTemporaryError):
                await self.resolver.a(name)

    async def test_nobody_serves_there(self):
        await self.zone.close()
        with self.assertRaises(NameTemporaryError):
            await self.resolver.a("example.org")
        self.zone = ZoneServer({})  # for close
