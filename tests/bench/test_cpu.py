"""No input of 100 kB costs a parser more than 50 ms of CPU, whatever it is made of (row T24 of the threats).

CPU time of this process, the best of three: other load on the machine does not count.
"""

import contextlib
import time

import pytest

from netsvc.commands import CommandError
from netsvc.console.filters import parse_where
from netsvc.console.grammar import Grammar
from netsvc.console.reader import MAX_LINE, Reader
from netsvc.mail.address import AddressError, parse_address
from netsvc.mail.header import HeaderScan
from netsvc.mail.reply import OK, RECIPIENT_OK, START_MAIL
from netsvc.patterns import PatternError, compile_glob, compile_regex
from netsvc.policy.auth.dkim import DkimError, read_signature
from netsvc.policy.auth.dmarc import read_dmarc
from netsvc.policy.auth.fields import author_domains, read_header
from netsvc.policy.auth.results import forged
from netsvc.policy.auth.spfrecord import SpfSyntaxError, read_record
from netsvc.policy.milter.codec import MilterError, MilterReader, packet
from netsvc.resolver.packets import MAX_TEXT, StrangePacketError, question
from netsvc.resolver.packets import read as read_answer
from netsvc.sasl.plain import Login, Plain
from netsvc.sasl.scram import Scram
from netsvc.sasl.steps import MalformedError, RefusedError
from netsvc.sasl.verifier import fake_verifier
from netsvc.smtp.events import NEED_DATA, DataRequested, Pause, RecipientGiven, SessionEnded
from netsvc.smtp.proxy import SIGNATURE, ProxyError, ProxyReader
from netsvc.smtp.replies import PeerError, ReplyParser
from netsvc.smtp.server import ServerSession
from netsvc.smtp.terms import Terms
from netsvc.telnet.codec import Codec
from netsvc.telnet.session import TelnetSession

SIZE = 100_000
BUDGET = 0.050
TERMS = Terms("mx1.example.org", 1 << 20)
STAND_IN = Terms("mx1.example.org", 1 << 20, xclient=True)

SEEDS = {
    "a": b"a",
    "paren": b"(",
    "close": b")",
    "quote": b'"',
    "backslash": b"\\",
    "escaped": b'\\"',
    "dot": b".",
    "label": b"a.",
    "at": b"@",
    "angle": b"<",
    "comma": b",",
    "space": b" ",
    "colon": b":",
    "eight": b"\xff",
    "high": b"\xc3\xa9",
    "cr": b"\r",
    "lf": b"\n",
    "crlf": b"\r\n",
    "dot_line": b".\r\n",
    "digits": b"1",
    "percent": b"%",
    "pipe": b"|",
    "not": b"not ",
    "iac": b"\xff\xff",
    "iac_sb": b"\xff\xfa",
    "iac_do": b"\xff\xfd\x01",
    "escape": b"\x1b[",
    "bracket": b"[",
    "star": b"*",
}


def smtp_commands(data):
    session = ServerSession(TERMS)
    session.receive_data(data)
    run(session)


def smtp_text(data):
    session = ServerSession(TERMS)
    session.receive_data(b"EHLO a\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n")
    run(session)
    session.receive_data(data)
    run(session)


def run(session):
    while True:
        session.take_output()
        event = session.next_event()
        if event is NEED_DATA or isinstance(event, SessionEnded):
            return
        if session.asked is not None and not isinstance(event, Pause):
            session.send(
                START_MAIL
                if isinstance(event, DataRequested)
                else RECIPIENT_OK
                if isinstance(event, RecipientGiven)
                else OK
            )


def stand_in(data):
    session = ServerSession(STAND_IN)
    session.receive_data(b"XCLIENT LOGIN=" + data[: SIZE // 2] + b"\r\n")
    run(session)


def proxy_header(data):
    for start in (b"", b"PROXY TCP4 ", SIGNATURE + b"\x21\x11\x0f\xf0", SIGNATURE + b"\x20\x00"):
        reader = ProxyReader()
        try:
            for at in range(0, len(start + data), 1000):
                if reader.feed((start + data)[at : at + 1000]) is not None:
                    break
        except ProxyError:
            continue


def sasl_responses(data):
    named = Login()
    named.receive(b"ann")
    begun = Scram("n", {}, plus=False, plus_offered=False)
    begun.receive(b"n,,n=ann,r=abc")
    begun.begin(fake_verifier(b"s", "ann"))
    fresh = Scram("n", {}, plus=False, plus_offered=False)
    for exchange in (Plain(), Login(), named, fresh, begun):
        for response in (data, b"n,,n=" + data + b",r=a"):
            with contextlib.suppress(MalformedError, RefusedError, AssertionError):
                exchange.receive(response)


def smtp_chunks(data):
    session = ServerSession(TERMS)
    session.receive_data(b"EHLO a\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<a@b.example>\r\n")
    session.receive_data(b"BDAT %d LAST\r\n" % len(data) + data + b"BDAT " + data)
    run(session)


def milter_answers(data):
    for start in (b"", packet(b"y", data), packet(b"h", data), packet(b"i", b"\0\0\0\1" + data), packet(b"+", data)):
        with contextlib.suppress(MilterError):
            MilterReader().feed(start + data)


def dns_answer(data):
    asked = question(b"a.example", "txt", 7)
    head = b"\0\x07\x81\x80\0\x01\0\x63\0\x63\0\0" + asked[12:-11]  # all of the question but EDNS0
    for packet_ in (data, head + data, (head + data)[: 16 << 10]):
        with contextlib.suppress(StrangePacketError):
            read_answer(packet_, asked, "a.example", "txt")


def spf_and_dmarc(data):
    with contextlib.suppress(SpfSyntaxError):
        read_record((b"v=spf1 a:" + data)[:MAX_TEXT])
    read_dmarc("a.example", [(b"v=DMARC1; p=" + data)[:MAX_TEXT]])


def header_fields(data):
    for start in (b"", b"From: ", b"Authentication-Results: ", b"DKIM-Signature: b="):
        section = read_header(start + data)
        author_domains(section)
        forged(section, "mx1.example.org")
        for field in section.named(b"dkim-signature"):
            with contextlib.suppress(DkimError):
                read_signature(field, 0)


def peer_reply(data):
    parser = ReplyParser()
    try:
        parser.feed(data)
        while parser.next():
            pass
    except PeerError:
        return


def address(data):
    try:
        parse_address(data.decode("latin-1"))
    except AddressError:
        return


def header(data):
    for start in (b"", b"Subject: ", b"Subject: =?utf-8?q?"):
        scan = HeaderScan()
        scan.feed(start + data)
        scan.close()


def telnet_codec(data):
    Codec().receive(data)


def telnet_session(data):
    session = TelnetSession()
    session.open()
    session.receive(data)
    session.take()


def console_line(data):
    text = data.decode("latin-1")
    for line in (text, text[: MAX_LINE - 100]):
        try:
            Grammar([]).parse(line, 0)
        except CommandError:
            continue


def console_filter(data):
    text = data.decode("latin-1")
    for line in (text, text[: MAX_LINE - 100], ("rcpt=" + text)[:MAX_LINE], ("not (" + text)[:MAX_LINE]):
        try:
            parse_where(Reader(line), "queue", 0)
        except CommandError:
            continue


def pattern(data):
    text = data.decode("latin-1")[:MAX_LINE]
    for make in (compile_regex, compile_glob):
        try:
            make(text)
        except PatternError:
            continue


PARSERS = [
    smtp_commands,
    sasl_responses,
    smtp_text,
    smtp_chunks,
    milter_answers,
    dns_answer,
    spf_and_dmarc,
    header_fields,
    stand_in,
    proxy_header,
    peer_reply,
    address,
    header,
    telnet_codec,
    telnet_session,
    console_line,
    console_filter,
    pattern,
]


def cost(parser, data):
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        parser(data)
        best = min(best, time.process_time() - start)
        if best < BUDGET / 2:
            break
    return best


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
def test_no_input_of_100_kb_is_expensive(parser):
    dear = {}
    for name, seed in SEEDS.items():
        whole = (seed * (SIZE // len(seed) + 1))[:SIZE]
        for shape, data in (
            ("", whole),
            (" ended", whole + b"\r\n"),
            (" in the middle", b"MAIL FROM:<" + whole + b">\r\n"),
        ):
            seconds = cost(parser, data)
            if seconds > BUDGET:
                dear[name + shape] = round(seconds * 1000)
    assert not dear, f"ms of CPU: {dear}"
