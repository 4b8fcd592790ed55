"""What the tests of guests' checks share: a policy from its drop-in, on fakes, and short ways to ask it."""

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from netsvc.mail.address import parse_address
from netsvc.mail.envelope import Envelope, Recipient, SessionFacts
from netsvc.plugins import netsvc_guests
from tests.fakes import FakeDirectory, FakeGround, FakeSite
from tests.zones import FakeResolver

PEER = "192.0.2.7"


class Asked:
    """One policy, made as its drop-in says, with the drop-in's usual settings and ``changes``."""

    def __init__(self, name, zone=None, site=None, **changes):
        self.maker = getattr(netsvc_guests, name)
        self.clock = Clock()
        self.resolver = FakeResolver(zone or {})
        self.site = FakeSite(**(site or {}))
        self.ground = FakeGround(site=self.site, clock=self.clock, resolver=self.resolver, directory=FakeDirectory())
        self.policy = self.maker.make(self.ground)
        self.configure(**changes)

    def configure(self, **changes):
        values = {setting.name: setting.default for setting in self.maker.settings}
        assert set(changes) <= set(values)
        self.policy.configure(values | changes)

    def session(self, peer=PEER, helo="client.example.net", **facts):
        session = SessionFacts("S1", peer, 25, "smtp", "mx1.example.org")
        session.helo = helo
        for name, value in facts.items():
            setattr(session, name, value)
        return session

    def ask(self, stage, session, rcpt="bob@example.org", sender="carol@example.net"):
        recipients = (Recipient(parse_address(rcpt)),) if stage == "rcpt" else ()
        answer = self.policy.check(stage, session, Envelope(session, parse_address(sender), recipients))
        return answer if isinstance(answer, Deferred) else succeed(answer)
