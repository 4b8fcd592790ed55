"""The way to a client's first transaction under fuzz: STARTTLS and AUTH with servers that say anything."""

from __future__ import annotations

import base64

from netsvc.sasl.client import ExchangeError, KeyWanted, ScramClient, choose, exchange
from netsvc.smtp.client import ClientSession
from netsvc.smtp.clientevents import Authenticated, Challenged, Ended, NotAuthenticated, Ready, TlsBegins, TlsRefused
from netsvc.smtp.replies import PeerError
from tests.fuzz.spoiling import Target, pieces_of, spoiled

CLEAR = [
    b"250-mx\r\n250-STARTTLS\r\n250-XCLEAR\r\n250 AUTH PLAIN\r\n",
    b"250-mx\r\n250-XCLEAR 1\r\n250 STARTTLS\r\n",
    b"250-mx\r\n250-XCLEAR\r\n250 AUTH LOGIN\r\n",
]
INSIDE = [
    b"250-mx\r\n250 AUTH PLAIN LOGIN\r\n",
    b"250-mx\r\n250-SIZE 5\r\n250-AUTH LOGIN\r\n250 AUTH=LOGIN\r\n",
    b"250-mx\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n",
    b"250-mx\r\n250 AUTH GSSAPI\r\n",
    b"250 mx\r\n",
]
SALT = base64.b64encode(b"r=ours%server,s=c2FsdHNhbHQ=,i=4096")
LATER = [
    b"334 VXNlcm5hbWU6\r\n",
    b"334 UGFzc3dvcmQ6\r\n",
    b"334 " + SALT + b"\r\n",
    b"334 " + base64.b64encode(b"v=" + b"A" * 43 + b"=") + b"\r\n",
    b"334 \r\n",
    b"235 2.7.0 ok\r\n",
    b"535 5.7.8 no\r\n",
    b"454 4.7.0 later\r\n",
    b"421 bye\r\n",
]
BREAKS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"-",
    b" ",
    b"2",
    b"220 go\r\n",
    b"334 ",
    b"=",
    b"\0",
    b"\xff",
    b"\x16\x03\x01",
    b"x" * 600,
]
MESSAGES = [b"r=ours%server,s=c2FsdHNhbHQ=,i=4096", b"r=oursx,s=YQ==,i=99999,m=x", b"e=other-error"]
PARTS = [b",", b"=", b"r=", b"s=", b"i=", b"ours", b"9" * 12, b"0", b"\0", b"\xff", b"\xc3\xbc", b"m=1,", b"a" * 500]


def server(rng):
    """Return what a server says in clear, as its answer to STARTTLS, inside TLS, and how each is cut."""
    later = rng.choice(([LATER[5]], [*LATER[:2], LATER[5]], rng.choices(LATER, k=3)))
    said = [b"220 mx\r\n", rng.choice(CLEAR)], [b"220 go\r\n"], [rng.choice(INSIDE), *later]
    if rng.random() < 0.7:
        group = rng.choice(said)
        at = rng.randrange(len(group))
        group[at] = spoiled(rng, [group[at]], BREAKS, 3)
    return [[piece for line in group for piece in pieces_of(rng, line, 2)] for group in said]


class Driver:
    """Opens a session as delivery does; TLS is taken wherever it begins."""

    def __init__(self):
        self.session = ClientSession("mx1.example.org")
        self.exchange = None
        self.shaking = self.over = self.tried = False
        self.said = b""

    def hear(self, data):
        for event in self.session.receive(data):
            self.meet(event)
        self.said += self.session.data_to_send()

    def meet(self, event):
        session = self.session
        if isinstance(event, TlsBegins):
            assert session.state == "handshake"
            self.shaking = True
        elif isinstance(event, TlsRefused | Ended | Authenticated):
            self.over = True
        elif isinstance(event, Ready):
            self.ready()
        elif isinstance(event, Challenged):
            try:
                response = self.exchange.receive(event.data)
                session.respond(self.exchange.key(b"k" * 32) if isinstance(response, KeyWanted) else response)
            except ExchangeError:
                session.cancel()
        else:
            assert isinstance(event, NotAuthenticated)
            assert event.reply.negative

    def ready(self):
        session = self.session
        if not session.tls:
            if "STARTTLS" in session.extensions:
                session.start_tls()
            return
        assert "XCLEAR" not in session.extensions, "something said in clear is believed inside TLS"
        found = choose(session.mechanisms, clear=True)
        if found and not self.tried:
            self.tried = True
            self.exchange = exchange(found[0], "ann", "secret", "ours")
            session.authenticate(found[0], self.exchange.initial)


def read_server(groups):
    """PeerError or events; secrets only inside TLS, and never in the record."""
    driver = Driver()
    session = driver.session
    try:
        for place, group in enumerate(groups):
            if place == 2:
                if not driver.shaking:
                    return False
                session.secured()
                driver.shaking = False
                driver.said += session.data_to_send()
            for piece in group:
                driver.hear(piece)
    except PeerError as why:
        assert str(why).isprintable()
        return False
    finally:
        secret = base64.b64encode(b"secret"), base64.b64encode(b"\0ann\0secret")
        before = driver.said.partition(b"STARTTLS\r\n")[0]
        assert not any(word in before for word in secret)
    assert not session.authenticated or session.tls
    return session.authenticated


def message(rng):
    return spoiled(rng, MESSAGES, PARTS, 4), spoiled(rng, [b"v=" + b"A" * 43 + b"=", b"e=invalid-proof"], PARTS, 3)


def read_message(given):
    """ExchangeError or an answer; nobody proves anything who does not know the password."""
    first, final = given
    client = ScramClient("ann", "secret", "ours")
    try:
        wanted = client.receive(first)
    except ExchangeError as why:
        assert str(why).isprintable()
        return False
    assert isinstance(wanted, KeyWanted)
    assert client.key(b"k" * 32).startswith(b"c=biws,r=ours")
    try:
        client.receive(final)
    except ExchangeError:
        assert not client.proven
        return True
    raise AssertionError("a forged signature was taken")


TARGETS = [
    Target("client opening", server, read_server, (0.02, 0.9)),
    Target("SASL client", message, read_message, (0.05, 0.9)),
]
