"""The policy ``milter`` talking to a milter of the tests' own over sockets."""

import struct

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from netsvc.interfaces import IPolicy
from netsvc.mail.address import Address
from netsvc.mail.envelope import Envelope, Recipient, SessionFacts
from netsvc.plugins.netsvc_content import milter as maker
from netsvc.policy.milter import dialogue as dialogue_module
from netsvc.policy.milter import policy as policy_module
from netsvc.policy.milter import pool as pool_module
from netsvc.policy.milter.codec import MilterError
from netsvc.policy.milter.policy import milters
from netsvc.policy.milter.pool import milter_endpoint
from tests.fakes import FakeGround
from tests.milters import Milter
from tests.policy.auth.contents import FakeContent

MESSAGE = b"From: joe@example.com\r\nSubject: a\r\n  b\r\n\r\nWe lost the game.\r\n"
SEEN = (b"h", b"X-Seen\0yes\0")


class Case(TestCase):
    timeout = 30

    def setUp(self):
        self.made = []
        self.ground = FakeGround(clock=reactor)
        self.policy = milters(self.ground)

    def tearDown(self):
        for _, pool in self.policy._filters:
            pool.stop()
        self.policy._run.stop()
        for milter in self.made:
            milter.close()
        return self.turn()

    def turn(self):
        """Let connections that were closed be gone."""
        later = Deferred()
        reactor.callLater(0.01, later.callback, None)
        return later

    def milter(self, plan=None, **options):
        self.made.append(Milter(plan, **options))
        return self.made[-1]

    def configure(self, *filters, **values):
        filters = tuple(each if isinstance(each, str) else each.at for each in filters)
        self.policy.configure({s.name: s.default for s in maker.settings} | {"filters": filters} | values)

    def ask(self, stage="content", message=MESSAGE, to=("bob",), **facts):
        session = SessionFacts("S1", "192.0.2.1", 25, "smtp", "mx1.example.org", helo="client.example.net", **facts)
        recipients = tuple(Recipient(Address(name, "example.org")) for name in to)
        content = FakeContent(message) if stage == "content" else None
        envelope = Envelope(session, Address("joe", "example.com"), recipients, size=99, content=content)
        return self.policy.check(stage, session, envelope)

    def undone(self):
        return [fields["what"] for fields in self.ground.logbook.named("milter.undone")]


class Telling(Case):
    def test_promise(self):
        assert verifyObject(IPolicy, self.policy)
        assert self.policy.stages == ("content",)
        self.configure("tcp:127.0.0.1:9", recipients=True)
        assert self.policy.stages == maker.stages
        assert maker.make(self.ground).name == maker.name

    async def test_everything_is_told(self):
        milter = self.milter()
        self.configure(milter)
        verdict = await self.ask(to=("bob", "ann"), rdns="client.example.net", tls="TLSv1.3 X", user="joe")
        assert (verdict.action, verdict.header) == ("pass", b"")
        assert milter.commands() == "CHMRRTLLNBE"
        assert milter.said("C") == [b"client.example.net\x004" + struct.pack("!H", 25) + b"192.0.2.1\0"]
        assert milter.said("H") == [b"client.example.net\0"]
        assert milter.said("M") == [b"<joe@example.com>\0SIZE=99\0"]
        assert milter.said("R") == [b"<bob@example.org>\0", b"<ann@example.org>\0"]
        assert milter.said("L") == [b"From\0joe@example.com\0", b"Subject\0a\n  b\0"]
        assert milter.said("B") == [b"We lost the game.\r\n"]
        macros = b"".join(milter.said("D"))
        for words in (
            b"Cj\0mx1.example.org\0",
            b"{client_addr}\x00192.0.2.1\0",
            b"{tls_version}\0TLSv1.3\0",
            b"{auth_authen}\0joe\0",
        ):
            assert words in macros

    async def test_only_what_it_wants(self):
        everything = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x200
        milter = self.milter(steps=everything)
        self.configure(milter)
        assert (await self.ask()).action == "pass"
        assert milter.commands() == "E"

    async def test_what_it_does_not_answer_is_not_waited_for(self):
        mute = 0x80 | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x40000 | 0x80000
        quiet = {letter: [] for letter in "CHMRTLNB"}
        milter = self.milter(quiet, steps=mute | 0x100000)
        self.configure(milter)
        assert (await self.ask(message=MESSAGE + b"0123456789\r\n" * 60_000)).action == "pass"
        assert milter.said("L")[0] == b"From\0 joe@example.com\0"
        assert sum(map(len, milter.said("B"))) == 19 + 720_000
        assert max(map(len, milter.said("B"))) <= 65535

    async def test_it_may_have_read_enough(self):
        milter = self.milter({"B": [(b"s", b"")]})
        self.configure(milter)
        await self.ask(message=MESSAGE + b"0123456789\r\n" * 60_000)
        assert len(milter.said("B")) == 1

    async def test_a_content_that_ends_early(self):
        milter = self.milter()
        self.configure(milter)
        short = FakeContent(MESSAGE)
        short.size += 100
        self.patch(dialogue_module, "PIECE", 5)
        session = SessionFacts("S1", "local", 0, "smtp", "mx1.example.org")
        envelope = Envelope(session, Address("joe", "example.com"), (), content=short)
        assert (await self.policy.check("content", session, envelope)).action == "pass"
        assert milter.said("C") == [b"localhost\0U"]
        assert b"".join(milter.said("B")) == b"We lost the game.\r\n"

    async def test_nothing_is_hidden_behind_what_is_no_field(self):
        milter = self.milter()
        self.configure(milter)
        await self.ask(message=b"A: b\r\nno field\r\nB: c\r\n\r\nbody\r\n")
        assert milter.said("L") == [b"A\0b\0"]
        assert milter.said("B") == [b"no field\r\nB: c\r\n\r\nbody\r\n"]
        self.patch(policy_module, "MAX_FIELDS", 2)
        with pytest.raises(MilterError, match="more than 2 header fields"):
            await self.ask(message=b"A: b\r\n" * 3 + b"\r\nbody\r\n")


class Judging(Case):
    async def answer(self, *answers, at="E", **words):
        milter = self.milter({at: list(answers)})
        self.configure(milter, **words)
        return await self.ask()

    async def test_refusals(self):
        for answer, action, code, status, text in (
            ((b"r", b""), "reject", 550, "5.7.1", "Message refused"),
            ((b"t", b""), "defer", 451, "4.7.1", "Try again later"),
            ((b"f", b""), "defer", 451, "4.7.1", "Try again later"),
            ((b"4", b""), "defer", 451, "4.7.1", "Try again later"),
            ((b"y", b"554 5.7.9 spam\x07\0"), "reject", 554, "5.7.9", "spam\\x07"),
            ((b"y", b"450 4.2.1 wait\0"), "defer", 450, "4.2.1", "wait"),
            ((b"y", b"421 go\0"), "defer", 451, "4.7.1", "go"),
            ((b"y", b"550\0"), "reject", 550, "5.7.1", "Message refused"),
            ((b"y", b"450\0"), "defer", 450, "4.7.1", "Try again later"),
        ):
            verdict = await self.answer(answer)
            found = verdict.reply
            assert (verdict.action, found.code, found.status, found.text) == (action, code, status, text)
            assert verdict.why.startswith("tcp:127.0.0.1:")

    async def test_refusals_at_every_step(self):
        for step in "CHMTLNB":
            assert (await self.answer((b"r", b""), at=step)).action == "reject", step
            assert (await self.answer((b"a", b""), at=step)).action == "pass", step

    async def test_fields_on_top(self):
        verdict = await self.answer(SEEN, (b"i", b"\0\0\0\0X-Two\0a\n b\0"), (b"h", b"no name\0x\0"), (b"a", b""))
        assert (verdict.action, verdict.header) == ("pass", b"X-Seen: yes\r\nX-Two: a\r\n b\r\n")

    async def test_quarantine_and_discard_are_holds(self):
        verdict = await self.answer(SEEN, (b"q", b"odd\0"), (b"c", b""))
        assert (verdict.action, verdict.tags, verdict.header) == ("hold", ("quarantine",), b"X-Seen: yes\r\n")
        assert verdict.why.endswith(": odd")
        assert (await self.answer((b"q", b"\0"), (b"c", b""))).why.endswith(": no reason given")
        verdict = await self.answer((b"d", b""))
        assert (verdict.action, verdict.tags) == ("hold", ("discard",))
        assert (await self.answer((b"d", b""), discard="reject")).action == "reject"

    async def test_what_is_not_done_is_told(self):
        await self.answer(
            (b"+", b"<a@b>\0"), (b"+", b"<c@b>\0"), (b"-", b"<a@b>\0"), (b"b", b"new"), (b"e", b"<x@y>\0"),
            (b"m", b"\0\0\0\1From\0x\0"), (b"c", b""),
        )  # fmt: skip
        assert self.undone() == ["add-recipient 2, body 1, change-header 1, remove-recipient 1, sender 1"]

    async def test_recipients(self):
        milter = self.milter({"R": lambda data: [(b"r" if b"bob" in data else b"c", b"")]})
        self.configure(milter)
        assert (await self.ask()).action == "reject"
        assert (await self.ask(to=("bob", "ann"))).action == "pass"
        assert self.undone() == ["refuse a recipient after RCPT 1"]
        assert self.policy.stages == ("content",)
        self.configure(milter, recipients=True)
        assert (await self.ask("rcpt")).action == "reject"
        assert (await self.ask("rcpt", to=("ann",))).action == "pass"
        while milter.commands() != "CHMRA":
            await self.turn()
        self.configure(self.milter({"R": [(b"a", b"")]}), recipients=True)
        assert (await self.ask("rcpt")).action == "pass"

    async def test_many_filters(self):
        first = self.milter({"E": [SEEN, (b"q", b"odd\0"), (b"c", b"")]})
        second = self.milter({"E": [(b"h", b"X-Two\x002\0"), (b"c", b"")]})
        third = self.milter({"E": [(b"r", b"")]})
        self.configure(first, second)
        verdict = await self.ask()
        assert (verdict.action, verdict.header) == ("hold", b"X-Seen: yes\r\nX-Two: 2\r\n")
        self.configure(second, third, first)
        assert (await self.ask()).action == "reject"
        assert len(first.told) == 1


class Connections(Case):
    async def test_kept_and_used_again(self):
        milter = self.milter()
        self.configure(milter)
        for _ in range(3):
            await self.ask()
        assert (milter.connections, len(milter.told), len(milter.offers)) == (1, 3, 1)
        self.configure(milter, keep=False)
        for _ in range(2):
            await self.ask()
        assert milter.connections == 3

    async def test_a_kept_one_that_is_gone(self):
        milter = self.milter()
        self.configure(milter)
        await self.ask()
        for client in milter._open:
            client.shutdown(2)
        assert (await self.ask()).action == "pass"  # whether that was seen before or only now
        assert milter.connections == 2

    async def test_one_that_takes_no_second_client(self):
        asked = []

        def connect(data):
            asked.append(data)
            return "close" if len(asked) == 2 else [(b"c", b"")]

        milter = self.milter({"C": connect})
        self.configure(milter)
        await self.ask()
        assert (await self.ask()).action == "pass"
        assert (milter.connections, len(asked)) == (2, 3)

    async def test_used_up_and_expired(self):
        self.patch(pool_module, "MAX_USES", 2)
        milter = self.milter()
        self.configure(milter)
        for _ in range(3):
            await self.ask()
        assert milter.connections == 2
        self.patch(pool_module, "IDLE_SECONDS", 0.0)
        await self.ask()
        await self.ask()
        await self.turn()
        assert (milter.connections, self.policy._filters[0][1]._idle) == (3, [])

    async def test_so_many_at_a_time(self):
        milter = self.milter()
        self.configure(milter, connections=2, keep=False)
        await gatherResults([self.ask() for _ in range(6)])
        assert milter.connections == 6
        assert len(milter.told) == 6

    async def test_failures(self):
        silent = self.milter({"C": []})
        for filters, why in (
            ([self.milter({"M": "close"})], "closed the connection"),
            ([self.milter({"E": [SEEN] * 1001})], "more than 1000 changes"),
            ([self.milter({"E": [SEEN] * 20_000})], "more than anybody asked for"),
            ([self.milter({"M": [(b"z", b"")]})], "unknown answer"),
            ([self.milter({"M": [SEEN]})], "a change before the end"),
            ([self.milter({"E": [(b"O", b"\0" * 12)]})], "terms in the middle"),
            ([self.milter(version=1)], "version 1"),
            (["tcp:127.0.0.1:1"], "cannot be reached"),
        ):
            self.configure(*filters)
            with pytest.raises(MilterError, match=why):
                await self.ask()
        self.configure(silent, timeout=100)
        with pytest.raises(MilterError, match=r"no answer within 0\.1 s"):
            await self.ask()

    async def test_first_words_that_are_no_terms(self):
        odd = self.milter()
        odd.terms = b"short"
        self.configure(odd)
        with pytest.raises(MilterError, match="too short"):
            await self.ask()

    async def test_an_answer_instead_of_terms(self):
        odd = self.milter()
        odd.first = b"c"
        self.configure(odd)
        with pytest.raises(MilterError, match="no terms came first"):
            await self.ask()

    async def test_progress_is_time(self):
        self.configure(self.milter({"E": [(b"p", b"")] * 3 + [(b"c", b"")]}))
        assert (await self.ask()).action == "pass"

    async def test_given_up_in_the_middle(self):
        milter = self.milter({"E": []})
        self.configure(milter)
        asked = self.ask()
        while not (milter.told and milter.commands().endswith("E")):
            await self.turn()
        asked.cancel()
        with pytest.raises(CancelledError):
            await asked
        assert self.policy._filters[0][1]._idle == []


class Settings(Case):
    def test_endpoints(self):
        assert milter_endpoint("unix:/run/x", reactor) is not None
        assert milter_endpoint("tcp:[::1]:99", reactor) is not None
        for text in ("", "unix:x", "tcp:localhost", "tcp::99", "tcp:a:0", "tcp:a:65536", "tcp:a:b", "http://x"):
            with pytest.raises(ValueError, match="is no filter"):
                milter_endpoint(text, reactor)

    def test_none_is_a_mistake(self):
        with pytest.raises(ValueError, match="there is none"):
            self.configure()

    def test_a_mistake_changes_nothing(self):
        self.configure(self.milter())
        before = self.policy._filters
        with pytest.raises(ValueError, match="is no filter"):
            self.configure("nothing")
        assert self.policy._filters is before
        return succeed(None)
