"""XCLIENT: what listed test peers may say of whom they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.mail import reply as r
from netsvc.smtp.events import ClientReplaced, Greeted, Pause, SenderGiven
from netsvc.smtp.grammar import CommandError
from netsvc.smtp.server import ServerSession
from netsvc.smtp.states import State
from netsvc.smtp.terms import Terms
from netsvc.smtp.xclient import KEYWORD, NAMES, named, parse

TERMS = Terms("mx.example.org", xclient=True)


@pytest.mark.parametrize(
    ("line", "given_"),
    [
        (b"XCLIENT ADDR=192.0.2.1", {"ADDR": "192.0.2.1"}),
        (b"xclient addr=IPV6:2001:DB8::1 Port=025", {"ADDR": "2001:db8::1", "PORT": "25"}),
        (b"XCLIENT ADDR=::ffff:192.0.2.1", {"ADDR": "192.0.2.1"}),
        (b"XCLIENT NAME=[UNAVAILABLE] LOGIN=[tempunavail]", {"NAME": "", "LOGIN": ""}),
        (b"XCLIENT LOGIN=a+2Bb+3Dc+20d PROTO=esmtp", {"LOGIN": "a+b=c d", "PROTO": "ESMTP"}),
        (b"XCLIENT HELO=h.example NAME=n.example", {"HELO": "h.example", "NAME": "n.example"}),
        (b"XCLIENT DESTADDR=192.0.2.9 DESTPORT=25 ", {"DESTADDR": "192.0.2.9", "DESTPORT": "25"}),
    ],
)
def test_good_ones(line, given_):
    assert parse(line) == ClientReplaced(given_)


@pytest.mark.parametrize(
    "line",
    [
        b"XCLIENT",
        b"XCLIENT ADDR",
        b"XCLIENT ADDR=",
        b"XCLIENT  ADDR=192.0.2.1",
        b"XCLIENT ADDR=192.0.2.1 ADDR=192.0.2.2",
        b"XCLIENT WHAT=x",
        b"XCLIENT ADDR=host.example",
        b"XCLIENT ADDR=fe80::1%25",
        b"XCLIENT ADDR=[UNAVAILABLE]",
        b"XCLIENT PORT=65536",
        b"XCLIENT PORT=-1",
        b"XCLIENT PORT=123456",
        b"XCLIENT PROTO=HTTP",
        b"XCLIENT HELO=a+20b",
        b"XCLIENT LOGIN=a+0Ab",
        b"XCLIENT LOGIN=a+FFb",
        b"XCLIENT LOGIN=a+2",
        b"XCLIENT LOGIN=a+2b",
        b"XCLIENT LOGIN=a=b",
        b"XCLIENT LOGIN=" + b"x" * 256,
        b"XCLIENT LOGIN=\xff",
    ],
)
def test_bad_ones(line):
    with pytest.raises(CommandError) as caught:
        parse(line)
    assert caught.value.reply.code in (500, 501)


@given(st.binary(max_size=200))
def test_anything_else_is_refused_or_understood(data):
    try:
        event = parse(b"XCLIENT " + data)
    except CommandError:
        return
    assert set(event.given) <= set(NAMES)
    assert named(event.given).isprintable()


def test_an_event_says_something():
    with pytest.raises(ValueError, match="attribute"):
        ClientReplaced({})


def test_named():
    assert named({"ADDR": "192.0.2.1", "NAME": ""}) == "ADDR=192.0.2.1 NAME=-"


def session(terms=TERMS):
    made = ServerSession(terms)
    made.take_output()
    return made


def feed(made, data):
    made.receive_data(data)
    return made.next_event()


def test_it_is_offered_to_listed_peers_alone():
    for terms in (TERMS, Terms("mx.example.org")):
        made = session(terms)
        assert isinstance(feed(made, b"EHLO c\r\n"), Greeted)
        made.send(r.HELLO)
        assert (KEYWORD.encode() in made.take_output()) == terms.xclient


def test_others_have_sent_a_bad_command():
    made = session(Terms("mx.example.org"))
    assert feed(made, b"XCLIENT ADDR=192.0.2.1\r\n") is Pause.NEED_DATA
    assert made.take_output().startswith(b"50")
    assert made.errors == 1


def test_it_leads_to_the_beginning():
    made = session()
    feed(made, b"EHLO c\r\n")
    made.send(r.HELLO)
    made.take_output()
    assert feed(made, b"XCLIENT ADDR=192.0.2.1\r\n") == ClientReplaced({"ADDR": "192.0.2.1"})
    made.send(r.GREETING.fill(hostname="mx.example.org"))
    assert made.take_output() == b"220 mx.example.org ESMTP netsvc\r\n"
    assert made.state is State.CONNECTED
    assert feed(made, b"MAIL FROM:<>\r\n") is Pause.NEED_DATA
    assert made.take_output().startswith(b"503 ")


def test_not_within_a_transaction():
    made = session()
    feed(made, b"EHLO c\r\n")
    made.send(r.HELLO)
    assert isinstance(feed(made, b"MAIL FROM:<>\r\n"), SenderGiven)
    made.send(r.SENDER_OK)
    made.take_output()
    assert feed(made, b"XCLIENT ADDR=192.0.2.1\r\n") is Pause.NEED_DATA
    assert made.take_output().startswith(b"503 ")
    assert made.state is State.MAIL


def test_a_bad_one_changes_nothing():
    made = session()
    assert feed(made, b"XCLIENT ADDR=x\r\n") is Pause.NEED_DATA
    assert made.take_output().startswith(b"501 ")
