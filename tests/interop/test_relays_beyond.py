"""A real Postfix and Exim behind a real HAProxy, and as the hosts that the service sends mail to."""

import subprocess

import pytest

from tests.interop.relayed import CONTENTS, House
from tests.interop.relays import USER, Exim, Postfix, eventually, free_port
from tests.system.wire import Smtp, queue_id, send, without_trace

HAPROXY = """\
global
  maxconn 50
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen first
  bind 127.0.0.1:{first}
  server netsvc 127.0.0.1:{behind} send-proxy
listen second
  bind 127.0.0.1:{second}
  server netsvc 127.0.0.1:{behind} send-proxy-v2
"""


@pytest.fixture
def ended():
    """Close what is put in, the last first."""
    things = []
    yield things
    for thing in reversed(things):
        thing.close()


class Haproxy:
    """It speaks version 1 of the PROXY protocol for ``first``, version 2 for ``second``."""

    def __init__(self, program, folder, behind):
        self.first, self.second = free_port(), free_port()
        config = folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(first=self.first, second=self.second, behind=behind))
        self.process = subprocess.Popen([program("haproxy"), "-q", "-db", "-f", str(config)], stdin=subprocess.DEVNULL)
        eventually(self._serves, "haproxy does not serve")

    def _serves(self):
        assert self.process.poll() is None
        try:
            with Smtp(self.second) as smtp:
                return smtp.say("QUIT").startswith("221")
        except OSError:
            return False

    def close(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.mark.parametrize("kind", [Postfix, Exim])
def test_through_haproxy(program, tmp_path, ended, kind):
    """Who the client is, is what HAProxy says; the relays' mail comes through it whole."""
    house = House()
    ended.append(house)
    house.start()
    proxy = Haproxy(program, tmp_path, house.ports["behind"])
    ended.append(proxy)
    for port in (proxy.first, proxy.second):
        with Smtp(port, source="127.0.0.9") as smtp:
            smtp.begin("a@example.net", ["two@proxied.example"])
            queue_id(smtp.content(CONTENTS[0]))
    for text in house.export("two@proxied.example").values():
        assert b"Received: from client.example.net (" in text
        assert b"[127.0.0.9])" in text
    relay = kind(program, house, house.authority)
    ended.append(relay)
    relay.start(proxied=proxy.second)
    seen = len(relay.complaints())
    relay.hand(USER, ["box@proxied.example"], CONTENTS)
    relay.has_delivered()
    assert relay.complaints()[seen:] == []
    found = [without_trace(x)[1] for x in house.export("box@proxied.example").values()]
    assert all(any(text.endswith(sent) for text in found) for sent in CONTENTS)
    assert len(found) == len(CONTENTS)
    assert house.events("smtp.proxy_refused") == []


@pytest.mark.parametrize("kind", [Postfix, Exim])
def test_the_way_out(program, ended, kind):
    """What they take they have as it was sent; what they refuse goes back, what they put off waits."""
    port = free_port()
    house = House(partner=port)
    ended.append(house)
    house.start()
    relay = kind(program, house, house.authority)
    ended.append(relay)
    relay.port = port
    relay.start()
    three = [f"{x}@partner.example" for x in ("all", "later", "never")]
    sent = send(house.ports["smtp"], "box@clear.example", three, CONTENTS[0])
    for rcpt, result, code in zip(three, ("delivered", "deferred", "bounced"), (250, 450, 550), strict=True):
        done = house.wait("delivery.done", rcpt=rcpt, result=result)
        assert done["code"] == (451 if (kind, code) == (Exim, 450) else code)
    (waiting,) = house.rows("show queue")
    assert (waiting["id"], waiting["status"]) == (f"{sent}.2", "4.2.1")
    for content in CONTENTS:
        send(house.ports["smtp"], "box@clear.example", ["good@partner.example"], content)
    house.wait("delivery.done", rcpt="good@partner.example", result="delivered", count=len(CONTENTS))
    relay.has_delivered()
    found = relay.kept("good")
    assert len(found) == len(CONTENTS)
    assert all(any(text.endswith(x.replace(b"\r\n", b"\n")) for text in found) for x in CONTENTS)
    assert len(relay.kept("all")) == 1
    house.wait("delivery.reported")
    ((_, report),) = [without_trace(x) for x in house.export("box@clear.example").values()]
    assert b"Final-Recipient: rfc822; never@partner.example\r\n" in report
    assert b"Status: 5.1.1\r\n" in report
