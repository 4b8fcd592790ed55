"""Parsers of the SMTP wire under fuzz: commands, parameters, chunks, addresses, replies, XCLIENT, PROXY, header scan."""

from __future__ import annotations

import struct

from netsvc.mail.address import AddressError, parse_address, parse_domain, split_address
from netsvc.mail.escape import escape
from netsvc.mail.header import HeaderScan
from netsvc.mail.reply import Reply
from netsvc.smtp import grammar, parameters, xclient
from netsvc.smtp.chunking import MAX_CHUNK, ChunkReceiver, Chunks, chunk_given
from netsvc.smtp.events import ContentReceived, RecipientGiven, SenderGiven
from netsvc.smtp.grammar import CommandError
from netsvc.smtp.lines import LineBuffer
from netsvc.smtp.parameters import OF_MAIL, OF_RCPT, ParameterError
from netsvc.smtp.proxy import SIGNATURE, ProxyError, ProxyReader
from netsvc.smtp.replies import PeerError, ReplyParser
from netsvc.smtp.transparency import ContentReceiver
from tests.fuzz.spoiling import Target, pieces_of, spoiled

COMMANDS = [
    b"EHLO client.example",
    b"HELO [IPv6:2001:db8::1]",
    b"MAIL FROM:<ann@example.org> SIZE=100 BODY=8BITMIME",
    b'RCPT TO:<"a>b \\" c"@example.org>',
    b"RCPT TO:<@a.example,@b.example:ann@[IPv6:2001:db8::1]>",
    b"RCPT TO:<\xc3\xbc@b\xc3\xbccher.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c",
    b"MAIL FROM:<> SIZE=1 RET=HDRS ENVID=a+20b AUTH=<> SMTPUTF8 REQUIRETLS",
    b"MAIL FROM:<a@b> HOLDUNTIL=2030-01-31T12:00:00Z BY=-9;NT MT-PRIORITY=-9",
    b"BDAT 100 LAST",
    b"DATA",
    b"VRFY ann",
]
SIGNS = [
    b"<",
    b">",
    b'"',
    b"\\",
    b"@",
    b":",
    b",",
    b" ",
    b"=",
    b"\r",
    b"\n",
    b"\0",
    b"\xff",
    b"\xc3\xa4",
    b"[",
    b"]",
    b";",
]
SIGNS += [
    b"SIZE=1",
    b"BODY=7BIT",
    b"FROM:",
    b"TO:",
    b"a" * 70,
    b"RCPT",
    b"\x7f",
    b"\x1b[",
    b"+2",
    b"\xe2\x80\xae",
    b"-",
    b"9",
]


def read_command(line):
    try:
        verb, event = grammar.parse(line)
    except CommandError as error:
        reply = error.reply
        assert isinstance(reply, Reply)
        assert reply.permanent
        assert bytes(reply).isascii()
        return False
    assert verb.isascii()
    if isinstance(event, SenderGiven | RecipientGiven):
        assert str(event.path).isprintable()
        assert event.path == grammar.parse(line).event.path
    return True


VALUES = ["FULL", "HDRS", "120;RT", "-9;NT", "2030-01-31T12:00:00Z", "rfc822;a+2Bb@c", "utf-8;\\x{FC}@d", "NEVER"]
VALUES += ["SUCCESS,DELAY,FAILURE", "-9", "60", "x+20y", "8BITMIME", "<>", "99999999999999999999"]
LETTERS = [*"<>;,+-=09aZ .:TZ\\{}\x00\r\n\x7f", "\u00fc", "\u202e", "\ud800", "\u0663", "+2B", "+0A", "\\x{", "9" * 30]
NAMES = sorted(OF_MAIL | OF_RCPT)
READERS = {"SIZE": parameters.size, "BODY": parameters.body, "NOTIFY": parameters.notify}
READERS["ORCPT"] = parameters.original_recipient


def read_parameter(given):
    name, value = given
    try:
        READERS[name](value) if name in READERS else parameters.wishes({name: value})
    except ParameterError:
        return False
    return True


CHUNKS = ["0", "1", "7", "30", "5 LAST", "0 last", "9" * 20, "9" * 21, "12  LAST"]
MARKS = ["-1", "LAST", " ", "\u0663", "x", "+", "3e1", "0x", "0", "7", "\t", "\0"]
OCTETS = b"\r\n.\0a\xff"


def make_chunk(rng):
    data = bytes(rng.choices(OCTETS, k=rng.randrange(60)))
    choice, binary = rng.choice(("reject", "normalize")), rng.random() < 0.2
    return spoiled(rng, CHUNKS, MARKS, 3), pieces_of(rng, data), choice, binary


def read_chunk(given):
    argument, pieces, choice, binary = given
    chunk = chunk_given(argument)
    if chunk is None:
        return False
    assert 0 <= chunk.size <= MAX_CHUNK
    chunks = Chunks().begin(chunk)
    chunks.receiver = receiver = ChunkReceiver(20, choice, binary=binary)
    lines = LineBuffer()
    size, content = 0, b""
    for piece in pieces:
        lines.push(piece)
        size += len(piece)
        while isinstance(event := chunks.next(lines), ContentReceived):
            content += event.data
    event = chunks.next(lines)
    assert chunks.left == max(chunk.size - size, 0)
    assert len(lines) == max(size - chunk.size, 0)
    assert (event is None) == (chunks.left == 0) or isinstance(event, ContentReceived)
    assert receiver.fault is None or not receiver.fault.positive
    assert binary or b"\0" not in content
    return True


TEXTS = [
    b"A: b\r\n\r\nx\r\n..\r\n.\r\nQUIT\r\n",
    b".\r\n",
    b"a\r\n.\r\n",
    b"\r\n.\r\n.\r\n",
    b"x" * 90 + b"\r\n.\r\nNOOP\r\n",
]
ENDS = [b"\r\n.\r\n", b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r", b"\n", b".", b"..", b"\0", b"\xff", b"\r\n"]


def make_content(rng):
    return pieces_of(rng, spoiled(rng, TEXTS, ENDS, 6), 4), rng.choice(("reject", "normalize"))


def read_content(given):
    """The end is where RFC 5321 4.5.2 has it and nowhere else (smuggling); cutting changes nothing."""
    pieces, choice = given
    receiver = ContentReceiver(60, choice)
    content = rest = b""
    for piece in pieces:
        if receiver.ended:
            rest += piece
            continue
        data, behind = receiver.receive(piece)
        content += data
        rest += behind
    wire = b"".join(pieces)
    at = 0 if wire.startswith(b".\r\n") else wire.find(b"\r\n.\r\n") + 2
    found = at > 1 or wire.startswith(b".\r\n")
    assert receiver.ended == found
    if found:
        assert rest == wire[at + 3 :]
    assert len(content) <= 60
    assert b"\0" not in content
    return receiver.ended and receiver.fault is None


ADDRESSES = [
    "ann@example.org",
    '"a b\\"c"@example.org',
    "a@[IPv6:2001:db8::1]",
    "a@[192.0.2.1]",
    "x@b\u00fccher.example",
]
ADDRESSES += ["a.b+c@x.example", "Postmaster", "@a,@b:c@d"]
CHARACTERS = [
    *'a@."\\[]:<> -\x00\r\n\t\x7f\u00fc\u202e\udc80%!(,;1AZ_',
    "xn--",
    "\u3002",
    "\u200d",
    "\u0130",
    "a" * 70,
    "IPv6:",
]


def read_address(text):
    for parse in (parse_domain, split_address):
        try:
            parse(text)
        except AddressError as error:
            assert str(error).isprintable()
    try:
        address = parse_address(text)
    except AddressError as error:
        assert str(error).isprintable()
        return False
    assert str(address).isascii()
    assert str(address).isprintable()
    assert parse_address(str(address)) == address
    return True


REPLIES = [
    b"250-a\r\n250 b\r\n",
    b"250 2.0.0 ok\r\n",
    b"354 go\r\n",
    b"421 4.3.2 bye\r\n",
    b"550-5.1.1 a\r\n550-5.1.1 b\r\n550 5.1.1\r\n",
]
REPLIES += [b"220\r\n", b"250-" + b"x" * 400 + b"\r\n250 y\r\n", b"503 5.5.1 \xc3\xbc\r\n"]
BREAKS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"-",
    b" ",
    b"0",
    b"9",
    b"250-",
    b"250 ",
    b"\0",
    b"\xff\x1b[",
    b"5.1.1",
    b"x" * 600,
    b"\xe2\x80\xae",
]


def read_reply(pieces):
    parser = ReplyParser()
    whole = 0
    try:
        for piece in pieces:
            parser.feed(piece)
            while (reply := parser.next()) is not None:
                whole += 1
                assert 200 <= reply.code <= 599
                assert escape(reply.words) == reply.words
                assert escape(reply.wire) == reply.wire
                assert reply.status == "" or reply.status[0] == str(reply.code)[0]
    except PeerError as why:
        assert escape(str(why)) == str(why)
        return False
    return whole > 0


STAND_INS = [
    b"XCLIENT ADDR=192.0.2.1 PORT=25 NAME=mx.example PROTO=ESMTP",
    b"XCLIENT ADDR=IPV6:2001:DB8::1 HELO=[UNAVAILABLE] LOGIN=a+2Bb+3Dc+20d",
    b"XCLIENT DESTADDR=192.0.2.9 DESTPORT=25 ADDR=::ffff:192.0.2.1",
    b"xclient name=[TEMPUNAVAIL] addr=0.0.0.0",
]
WORDS = [
    b"=",
    b" ",
    b"+",
    b"+0A",
    b"+2",
    b"ADDR=",
    b"LOGIN=",
    b"[UNAVAILABLE]",
    b"%",
    b":",
    b"::",
    b".",
    b"9",
    b"\xff",
    b"\0",
    b"\xc2\xb2",
]


def read_stand_in(line):
    try:
        event = xclient.parse(line)
    except CommandError as error:
        assert bytes(error.reply).isascii()
        return False
    assert set(event.given) <= set(xclient.NAMES)
    assert xclient.named(event.given).isprintable()
    return True


FOUR = bytes([192, 0, 2, 1, 192, 0, 2, 9]) + struct.pack("!HH", 40000, 25)
SIX = bytes.fromhex("20010db8" + "0" * 23 + "1" + "20010db8" + "0" * 23 + "2") + struct.pack("!HH", 1, 2)
PROXIED = [
    b"PROXY TCP4 192.0.2.1 192.0.2.9 40000 25\r\nEHLO",
    b"PROXY TCP6 2001:db8::1 2001:DB8::2 65535 0\r\n",
    b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n",
    b"PROXY UNKNOWN ffff::1 what ever\r\n",
]
PROXIED += [
    SIGNATURE + bytes((command, family)) + struct.pack("!H", len(data)) + data + b"EHLO"
    for command, family, data in (
        (0x21, 0x11, FOUR),
        (0x21, 0x21, SIX),
        (0x21, 0x11, FOUR + b"\x04\0\x03abc"),
        (0x20, 0, b""),
        (0x20, 0x11, FOUR),
        (0x21, 0x31, bytes(216)),
    )
]
BITS = [
    b"\r\n",
    b"\n",
    b" ",
    b"\0",
    b"\xff",
    b"\x21",
    b"\x11",
    b"\x31",
    b"TCP4",
    b"%1",
    b":",
    b"0",
    b"65536",
    b"\xc2\xb2",
    b"PROXY ",
]


def read_proxy(pieces):
    def outcome(parts):
        reader = ProxyReader()
        for at, part in enumerate(parts):
            header = reader.feed(part)
            if header is not None:
                return header, reader.rest + b"".join(parts[at + 1 :])
        return None

    try:
        told = outcome(pieces)
    except ProxyError as why:
        assert str(why).isprintable()
        return False
    assert told == outcome([b"".join(pieces)])
    if told is None:
        return False
    header, rest = told
    assert b"".join(pieces).endswith(rest)
    assert header.source.isprintable()
    assert 0 <= header.port <= 65535
    return True


SECTIONS = [
    b"Received: from a by b\r\n\twith c; d\r\nSubject: =?utf-8?q?a=C3=BC?= =?iso-8859-1?b?/A==?=\r\nMessage-ID: <a@b>\r\n\r\nx",
    b"Date: x\r\nsubject: a\r\n b\r\n\tc\r\n\r\n",
    b"Subject: =?gb18030?b?xOM=?= =?x-none?q?a?=\r\nReceived: x\r\nReceived: y\r\nMessage-Id:\r\n <c@d>\r\n",
]
FOLDS = [
    b"\r\n",
    b"\r\n ",
    b"\r\n\t",
    b"\r\n\r\n",
    b"=?utf-8?b?",
    b"?=",
    b"=",
    b"_",
    b"=?",
    b"\0",
    b"\xff",
    b"\x1b[2J",
    b":",
]
FOLDS += [
    b"Subject:",
    b"Message-ID:",
    b"Received:",
    b"=?utf-7?q?+AG?=",
    b"=?idna?q?a?=",
    b"\xe2\x80\xae",
    b" =?\r\n =?big5?b?_?=",
]


def read_section(pieces):
    scan = HeaderScan(keep=True)
    for piece in pieces:
        scan.feed(piece)
    scan.close()
    assert escape(scan.subject) == scan.subject
    assert escape(scan.msgid) == scan.msgid
    whole = HeaderScan(keep=True)
    whole.feed(b"".join(pieces))
    whole.close()
    for name in ("subject", "msgid", "hops", "dated", "identified", "header"):
        assert getattr(whole, name) == getattr(scan, name), name
    return bool(scan.subject)


def cut_of(seeds, pieces, most=4):
    """Return what makes an input of ``seeds``, cut anywhere."""
    return lambda rng: pieces_of(rng, spoiled(rng, seeds, pieces, most))


TARGETS = [
    Target("command grammar", lambda rng: spoiled(rng, COMMANDS, SIGNS), read_command, (0.2, 0.9)),
    Target(
        "parameters", lambda rng: (rng.choice(NAMES), spoiled(rng, VALUES, LETTERS, 3)), read_parameter, (0.02, 0.7)
    ),
    Target("BDAT", make_chunk, read_chunk, (0.2, 0.95)),
    Target("content", make_content, read_content, (0.1, 0.9)),
    Target("address parser", lambda rng: spoiled(rng, ADDRESSES, CHARACTERS), read_address, (0.1, 0.9)),
    Target("client reply parser", cut_of(REPLIES, BREAKS), read_reply, (0.1, 0.95)),
    Target("XCLIENT", lambda rng: spoiled(rng, STAND_INS, WORDS), read_stand_in, (0.1, 0.9)),
    Target("PROXY", cut_of(PROXIED, BITS), read_proxy, (0.1, 0.95)),
    Target("header scan", cut_of(SECTIONS, FOLDS), read_section, (0.3, 1.0)),
]
