"""Policies of a whole service: limits, and a stranger's policy that has mail held until an operator releases it."""

from tests.system.contents import HEAD
from tests.system.service import SITE
from tests.system.wire import Smtp, send

LIMITED = (
    SITE.replace('limits_exempt = ["127.0.0.0/8", "::1/128"]\n', "").replace('relay_from = ["127.0.0.0/8"]\n', "")
    + """
[site.policies.limits]
exempt_loopback = false
connections = 2
unknown = 2
unknown_slow = 0
messages = 3
"""
)
SUSPICION = """
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer
from netsvc.commands import Setting
from netsvc.interfaces import IPolicy, IPolicyMaker
from netsvc.records import PASS, Verdict

@implementer(IPolicy)
class Suspicion:
    name = "suspicion"
    stages = ("content",)
    def configure(self, values):
        self.word = values["word"].encode()
    def check(self, stage, session, envelope):
        return Deferred.fromCoroutine(self.look(envelope.content))
    async def look(self, content):
        if b"Subject: boom" in content.header:
            raise OSError("boom")
        at = 0
        while piece := await content.read(at, 65536):
            if self.word in piece:
                return Verdict("hold", why="the word", tags=("odd",), header=b"X-Suspicion: yes\\r\\n")
            at += len(piece)
        return PASS

@implementer(IPlugin, IPolicyMaker)
class Maker:
    name, stages, usual, order, deadline, help = "suspicion", ("content",), False, 400, 2000, "holds mail with a word"
    settings = (Setting("word", "str", "casino", help="the word"),)
    def make(self, ground):
        return Suspicion()

maker = Maker()
"""


def test_limits_are_kept_shown_and_changed_without_a_restart(make_service, control):
    service = make_service(site=LIMITED).start()
    port = service.ports["smtp"]
    operator = control(service)

    with Smtp(port) as one, Smtp(port) as two:
        assert (one.greeting[:3], two.greeting[:3]) == ("220", "220")
        with Smtp(port) as three:
            assert three.greeting == "421 4.7.0 mx1.example.org too many connections"
            assert three.read_to_end() == b""
        rows = {row["name"]: row for row in operator.rows("show limits")}
        assert rows["limits.connections"]["key"] == "127.0.0.1"
        assert rows["limits.connections"]["limit"] == 2
        one.say("EHLO c.example")
        one.say("MAIL FROM:<c@example.net>")
        for _ in range(2):
            assert one.say("RCPT TO:<nobody@example.org>").startswith("550 5.1.1")
        assert one.say("RCPT TO:<bob@example.org>").startswith("421 4.7.0 mx1.example.org too many unknown")
        assert one.read_to_end() == b""
    for _ in range(2):
        send(port, "c@example.net", ["bob@example.org"], HEAD + b"x\r\n")

    def mail():
        with Smtp(port) as client:
            client.say("EHLO c.example")
            return client.say("MAIL FROM:<c@example.net>")

    assert mail().startswith("450 4.7.1 Too much mail")
    for limit in ("limits.connections", "limits.messages"):
        service.wait("limit.reached", limit=limit)
    operator.do("limit clear limits.messages 127.0.0.1")
    assert mail().startswith("250 ")
    operator.do("policy set limits messages 1")
    assert mail().startswith("450 ")
    operator.do("limits exempt add 127.0.0.0/8")
    assert mail().startswith("250 ")
    operator.do("limits exempt delete 127.0.0.0/8")
    assert mail().startswith("450 ")
    operator.do("policy off limits")
    assert mail().startswith("250 ")
    (row,) = [row for row in operator.rows("show policies") if row["name"] == "limits"]
    assert row["on"] is False
    assert row["defer"] >= 4
    said = service.netsvcctl("policy", "on", "dnsbl", check=False)
    assert said.returncode
    assert "dnsbl cannot work so: lists: none is named. Nothing was changed" in said.stdout + said.stderr
    (row,) = [row for row in operator.rows("show policies") if row["name"] == "dnsbl"]
    assert (row["on"], row["error"]) == (False, None)

    service.stop()
    service.start()
    settings = {row["key"]: row for row in control(service).rows("show policy limits")}
    assert (settings["messages"]["value"], settings["on"]["value"]) == ("1", "false")


def test_a_strangers_policy_has_mail_held_until_it_is_released(make_service, control, tmp_path):
    place = tmp_path / "theirs" / "netsvc" / "plugins"
    place.mkdir(parents=True)
    (place / "their_suspicion.py").write_text(SUSPICION)
    service = make_service(site=SITE)
    service.env["PYTHONPATH"] = str(tmp_path / "theirs")
    service.start()
    port = service.ports["smtp"]
    operator = control(service)
    operator.do("policy on suspicion")

    send(port, "c@example.net", ["alice@example.org"], HEAD + b"nothing\r\n")
    body = HEAD + b"word " * 200_000 + b"\r\nthe casino\r\n"
    held = send(port, "c@example.net", ["bob@example.org", "alice@example.org"], body)
    rows = operator.rows("show queue hold")
    assert {(row["rcpt"], row["tag"], row["held_by"], row["held_why"]) for row in rows} == {
        ("bob@example.org", "odd", "suspicion", "the word"),
        ("alice@example.org", "odd", "suspicion", "the word"),
    }
    assert operator.rows("show queue where tag=odd | count")[0]["count"] == 2
    assert {row["msg"] for row in rows} == {held}
    operator.do("release where tag=odd expect 2")
    service.wait("delivery.done", count=2, result="delivered")
    (message,) = service.export("bob@example.org").values()
    assert b"\r\nX-Suspicion: yes\r\nReceived: " in message
    assert message.endswith(body)

    boom = HEAD.replace(b"Subject: ", b"Subject: boom ", 1)
    send(port, "c@example.net", ["bob@example.org"], boom + b"x\r\n")
    (row,) = [row for row in operator.rows("show policies") if row["name"] == "suspicion"]
    assert (row["hold"], row["pass"], row["failed"], row["error"]) == (1, 1, 1, "OSError: boom")
    operator.do("policy set suspicion on_failure defer")
    with Smtp(port) as client:
        client.say("EHLO c.example")
        client.say("MAIL FROM:<c@example.net>")
        client.say("RCPT TO:<bob@example.org>")
        client.say("DATA")
        client.send(boom + b"x\r\n.\r\n")
        assert client.reply().startswith("451 4.3.0")
    service.wait("policy.failed", policy="suspicion")
