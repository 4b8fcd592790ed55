"""The house: built of the real rooms on a store in memory."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from netsvc import house as house_module
from netsvc.config.node import NodeConfig
from netsvc.house import House, WholeAudit, keeping, open_house
from netsvc.interfaces import IAudit, IConsole, IHouse, IMailboxService, IOperator, ITlsPolicies
from netsvc.logbook import Logbook
from netsvc.node import StartError, Undo
from netsvc.settings import SiteSettings
from tests import certs


class Building(TestCase):
    def setUp(self):
        self.seen = []
        self.book = Logbook(publisher=self.seen.append)
        self.undo = Undo(self.book, reactor)
        self.state = tempfile.mkdtemp(prefix="netsvc-")
        self.addCleanup(shutil.rmtree, self.state)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.undo.run()))

    def config(self, **changes):

        facts = {
            "hostname": "mx1.example.org",
            "state": Path(self.state) / "state",
            "control_socket": Path(self.state) / "run" / "c.sock",
            "store": "memory",
            "auth": ("store",),
            "listeners": (),
        }
        return NodeConfig(**{**facts, **changes})

    def names(self):
        return [event["netsvc_record"]["event"] for event in self.seen]

    async def open(self, **changes):
        return await open_house(self.config(**changes), self.book, reactor, self.undo)

    async def test_the_house_keeps_its_promises(self):
        house = await self.open()
        assert isinstance(house, House)
        assert verifyObject(IHouse, house)
        assert verifyObject(IMailboxService, house.mailbox_service)
        assert IConsole.providedBy(house.console)
        assert {"site.seeded", "operator.created", "delivery.started", "control.serving"} <= set(self.names())
        boxes = await house.mailbox_service.mail.mailboxes()
        assert [row["address"] for row in boxes] == ["admin@mx1.example.org", "postmaster@mx1.example.org"]

    async def test_the_first_operator_can_log_in_and_is_in_the_audit_trail(self):
        house = await self.open()
        path = self.config().state / "initial-password"
        password = path.read_text().strip()
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600  # noqa: PTH116
        _, operator, _ = await house.portal.login(UsernamePassword(b"admin", password.encode()), None, IOperator)
        assert (operator.name, operator.role) == ("admin", "admin")
        page = await house.mailbox_service.audit.page()
        assert [row["verb"] for row in page.rows] == ["user add", "load site"]
        assert password not in str(page.rows)
        assert password not in str([event["netsvc_record"] for event in self.seen])

    async def test_a_used_store_is_not_seeded_again(self):
        site = SiteSettings(domains=("example.org",), mailboxes=("alice@example.org",))
        config = self.config(site=site)
        store = await house_module.open_store(
            "memory", config.state, reactor=None, node_name="x", version="1", memory=True
        )
        await house_module.first_contents(config, store, self.book)
        await house_module.first_contents(config, store, self.book)
        await house_module.first_contents(self.config(), store, self.book)
        await store.close()
        assert self.names() == ["site.seeded", "site.seed_ignored"]

    async def test_a_password_file_alone_makes_no_operator(self):
        path = f"{self.state}/pw"
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:  # noqa: ASYNC230
            file.write("")
        await self.open(auth=(f"passwd:{path}",))
        assert "operator.created" not in self.names()

    async def test_a_password_file_that_others_can_read_is_refused(self):
        path = f"{self.state}/pw"
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o644)) as file:  # noqa: ASYNC230
            file.write("")
        with pytest.raises(StartError, match=r"auth: .*chmod 600"):
            await self.open(auth=(f"passwd:{path}",))

    async def test_a_control_socket_that_cannot_be_is_refused(self):
        for path, words in ((f"{self.state}/file/c.sock", "its folder"), (f"{self.state}", "no socket")):
            Path(f"{self.state}/file").write_text("")  # noqa: ASYNC240
            with pytest.raises(StartError, match=f"control_socket .*{words}"):
                await self.open(control_socket=Path(path))
            await self.undo.run()

    async def test_authorities_that_cannot_be_read_are_refused(self):
        Path(f"{self.state}/ca.pem").write_text("no certificate")  # noqa: ASYNC240
        for name, words in (("none.pem", "No such file"), ("ca.pem", "no certificate")):
            with pytest.raises(StartError, match=f"tls_ca_file .*{words}"):
                await self.open(tls_ca_file=Path(self.state) / name)
            await self.undo.run()

    async def test_a_sites_own_authorities_are_trusted_besides(self):
        certificate, _, _ = certs.make()
        Path(f"{self.state}/ca.pem").write_bytes(certificate)  # noqa: ASYNC240
        house = await self.open(tls_ca_file=Path(self.state) / "ca.pem")
        assert verifyObject(ITlsPolicies, house.mailbox_service.tls_policies)

    async def test_a_first_password_that_cannot_be_written_is_told(self):
        async def refuse(*args):
            raise OSError(28, "No space left on device")

        self.patch(house_module, "first_operator", refuse)
        with pytest.raises(StartError, match="No space left"):
            await self.open()


@implementer(IAudit)
class SlowAudit:
    def __init__(self):
        self.writing = []

    def record(self, *row):
        self.writing.append(Deferred())
        return self.writing[-1]

    def page(self, after=None, limit=50, where=None):
        return succeed(None)

    def verify(self):
        return succeed((0, 0))


class Auditing(SynchronousTestCase):
    def test_the_trail_is_whole_when_all_that_was_handed_in_is_written_or_failed(self):
        slow = SlowAudit()
        audit = WholeAudit(slow)
        assert verifyObject(IAudit, audit)
        self.successResultOf(Deferred.fromCoroutine(audit.written()))
        rows = [audit.record("a", "admin", "s", "logout", "a", "", 1, "ok") for _ in range(3)]
        whole = Deferred.fromCoroutine(audit.written())
        slow.writing[1].callback(2)
        slow.writing[0].errback(RuntimeError("x"))
        self.failureResultOf(rows[0], RuntimeError)
        self.assertNoResult(whole)
        slow.writing[2].callback(3)
        self.successResultOf(whole)
        assert self.successResultOf(rows[1]) == 2

    def test_what_does_not_keep_its_promise_stops_the_start(self):
        with pytest.raises(TypeError, match="does not provide IAudit"):
            keeping(IAudit, object())
