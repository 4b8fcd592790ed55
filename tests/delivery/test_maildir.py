"""Maildir delivery: what ends up on the disk, what must not, and what a repeat does."""

import errno
import pathlib
import stat
import tempfile

import pytest
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from netsvc.delivery.maildir import MaildirFile, UnfitAddressError, place
from netsvc.delivery.maildiragent import MaildirAgent
from netsvc.delivery.targets import parse_target
from netsvc.interfaces import IDeliveryAgent
from netsvc.mail.ids import show_id
from netsvc.mail.message import Hop, Kind, Result
from netsvc.mail.outcome import Fault
from tests.delivery.fakes import FakeQueue, ground
from tests.delivery.rows import row

HEAD = b"Return-Path: <alice@example.org>\nReceived: here\n"


def where(folder, one=None, path="{domain}/{local}"):
    return place(
        parse_target(f"maildir:{folder}/{path}" if path else f"maildir:{folder}"), one or row(), "mx1.example.org"
    )


def deliver(at, *pieces, repeated=False):
    file = MaildirFile(at)
    try:
        if file.begin(repeated=repeated):
            for piece in pieces:
                file.write(piece)
            file.commit()
    finally:
        file.abort()


def mails(box):
    return {p.name: p.read_bytes() for p in (box / "new").iterdir()}


def test_a_repeat_by_another_node_is_the_same_mail(tmp_path):
    target = parse_target(f"maildir:{tmp_path}/box")
    deliver(place(target, row(), "mx1.example.org"), b"a\r\n")
    deliver(place(target, row(), "mx2.example.org"), b"a\r\n", repeated=True)
    deliver(place(target, row(id=5001), "mx2.example.org"), b"b\r\n", repeated=True)
    assert sorted(mails(tmp_path / "box").values()) == [b"a\n", b"b\n"]


def test_place():
    at = where("/var/mail", row(rcpt="Bob+x@Example.NET"))
    assert (at.prefix, at.parts) == ("/var/mail", ("example.net", "bob+x"))
    assert at.name == f"1790000000.{show_id(5000)}.mx1.example.org"
    odd = place(parse_target("maildir:/m"), row(), "a/b:c,d")
    assert odd.name.endswith(".a_b_c_d")


@pytest.mark.parametrize(
    "rcpt",
    [
        "..@example.net",
        ".bob@example.net",
        "a/b@example.net",
        '"a b"@example.net',
        "bob@[192.0.2.1]",
        "{domain}@x",
        "é@x",
        "@x",
    ],
)
def test_addresses_that_cannot_name_a_folder(rcpt):
    with pytest.raises(UnfitAddressError):
        where("/var/mail", row(rcpt=rcpt))
    assert where("/var/mail", row(rcpt=rcpt), "all").parts == ()


def test_delivery(tmp_path):
    deliver(where(tmp_path), b"a\r\nb\r", b"\n\rc\r\n\r", b"x\r")
    box = tmp_path / "example.net" / "bob"
    [(name, content)] = mails(box).items()
    assert content == b"a\nb\n\rc\n\rx\r"
    assert name.startswith("1790000000.")
    assert list((box / "tmp").iterdir()) == []
    assert stat.S_IMODE((box / "new" / name).stat().st_mode) == 0o600
    assert {p.name for p in box.iterdir()} == {"cur", "new", "tmp"}
    assert stat.S_IMODE(box.stat().st_mode) == 0o700


def test_a_folder_without_placeholders_is_made(tmp_path):
    deliver(where(tmp_path / "box", path=""), b"a")
    assert list(mails(tmp_path / "box").values()) == [b"a"]


def test_a_missing_prefix_is_made_in_its_folder_only(tmp_path):
    deliver(where(tmp_path / "mail"), b"a")
    assert list(mails(tmp_path / "mail" / "example.net" / "bob").values()) == [b"a"]
    with pytest.raises(FileNotFoundError):
        deliver(where(tmp_path / "missing" / "mail"), b"a")
    assert not (tmp_path / "missing").exists()


def test_a_repeat_overwrites(tmp_path):
    deliver(where(tmp_path), b"first")
    deliver(where(tmp_path), b"first", repeated=True)
    deliver(where(tmp_path), b"again")
    box = tmp_path / "example.net" / "bob"
    assert list(mails(box).values()) == [b"again"]
    [name] = mails(box)
    (box / "new" / name).rename(box / "cur" / (name + ":2,S"))
    deliver(where(tmp_path), b"thrice", repeated=True)
    assert mails(box) == {}


def test_what_a_crash_left_is_replaced(tmp_path):
    at = where(tmp_path)
    file = MaildirFile(at)
    file.begin(repeated=False)
    file.write(b"half")
    file._close()  # the process has gone
    deliver(at, b"whole", repeated=True)
    assert list(mails(tmp_path / "example.net" / "bob").values()) == [b"whole"]


def test_nothing_is_left_of_an_aborted_delivery(tmp_path):
    file = MaildirFile(where(tmp_path))
    before = len(list(pathlib.Path("/proc/self/fd").iterdir()))
    file.begin(repeated=False)
    file.write(b"half")
    file.abort()
    file.abort()
    box = tmp_path / "example.net" / "bob"
    assert [list((box / d).iterdir()) for d in ("new", "tmp")] == [[], []]
    assert len(list(pathlib.Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("link", ["example.net", "example.net/bob", "example.net/bob/new", "example.net/bob/tmp"])
def test_links_are_not_followed(tmp_path, link):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = tmp_path / "root"
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"links|directory") as caught:
        deliver(where(root), b"a")
    assert caught.value.errno in {errno.ELOOP, errno.ENOTDIR}
    assert list(elsewhere.iterdir()) == []


def test_a_prefix_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    deliver(where(tmp_path / "link"), b"a")
    assert (tmp_path / "real" / "example.net").is_dir()


class AgentTest(TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.spool = FakeQueue()
        self.ground = ground(self.spool, reactor)
        self.agent = MaildirAgent(self.ground)

    def attempt(self, *rows, path="{domain}/{local}"):
        text = f"maildir:{self.root}/{path}"
        return self.agent.attempt(Hop(Kind.MAILDIR, f"maildir:{self.root}", "example.net", text), rows[0], rows, None)

    def read(self, name="bob"):
        return list(mails(self.root / "example.net" / name).values())

    async def test_delivery(self):
        verifyObject(IDeliveryAgent, self.agent)
        outcomes = await self.attempt(row(id=1), row(id=2, rcpt="eve@example.net"), row(id=3, rcpt=".x@example.net"))
        self.assertEqual(
            [(o.delivery_id, o.result, o.status) for o in outcomes],
            [(1, Result.DELIVERED, ""), (2, Result.DELIVERED, ""), (3, Result.BOUNCED, "5.1.3")],
        )
        self.assertEqual(self.read(), [HEAD + b"Subject: hi\n\n.text\n"])
        self.assertEqual(self.read("eve"), self.read())
        self.assertTrue(all(reader.closed for reader in self.spool.readers))

    async def test_large_content(self):
        self.spool.bodies[1] = [b"a\r", b"\nb\r\n", b"c"]
        await self.attempt(row())
        self.assertEqual(self.read(), [HEAD + b"a\nb\nc"])
        await self.attempt(row(attempts=2))
        self.assertEqual(len(self.read()), 1)
        [name] = mails(self.root / "example.net" / "bob")
        box = self.root / "example.net" / "bob"
        (box / "new" / name).rename(box / "cur" / name)
        [outcome] = await self.attempt(row(attempts=2))
        self.assertIs(outcome.result, Result.DELIVERED)
        self.assertEqual(self.read(), [])

    async def test_null_and_odd_senders(self):
        await self.attempt(row(id=1, sender=""), row(id=2, sender="not an address", rcpt="eve@example.net"))
        self.assertTrue(self.read()[0].startswith(b"Return-Path: <>\n"))
        self.assertTrue(self.read("eve")[0].startswith(b"Return-Path: <>\n"))

    async def test_faults_of_the_disk(self):
        (self.root / "example.net").write_bytes(b"a file")
        [outcome] = await self.attempt(row())
        self.assertEqual((outcome.result, outcome.fault, outcome.status), (Result.DEFERRED, Fault.LOCAL, "4.3.0"))
        self.assertIn("Not a directory", outcome.reply)
        self.assertEqual(len(self.ground.logbook.named("delivery.fault")), 1)
        self.spool.body_error = OSError(errno.ENOSPC, "No space left on device")
        [outcome] = await self.attempt(row())
        self.assertEqual(outcome.status, "4.2.2")

    async def test_a_route_that_is_none(self):
        hop = Hop(Kind.MAILDIR, "maildir:x", "example.net", "maildir:x")
        [outcome] = await self.agent.attempt(hop, row(), [row()], None)
        self.assertIs(outcome.fault, Fault.ROUTING)

    async def test_many_at_once(self):
        ds = [self.attempt(row(id=n, rcpt=f"u{n}@example.net")) for n in range(20)]
        found = await gatherResults(ds)
        self.assertTrue(all(o.result is Result.DELIVERED for [o] in found))
        self.assertEqual(len(list((self.root / "example.net").iterdir())), 20)
