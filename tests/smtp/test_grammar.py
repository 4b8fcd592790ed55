"""Command lines: what is taken, and with which words the rest is refused."""

import pytest

from netsvc.mail.address import NULL, Address
from netsvc.smtp import grammar
from netsvc.smtp.events import DataRequested, Greeted, RecipientGiven, SenderGiven
from netsvc.smtp.grammar import CommandError, Line, parse

ANN = Address("ann", "example.org")


def outcome(line):
    """Return what the line says, or the refusal."""
    try:
        return parse(line)
    except CommandError as e:
        return e.reply


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        (b"EHLO client.example", Line("EHLO", Greeted("client.example", True))),
        (b"ehlo [192.0.2.1]  ", Line("EHLO", Greeted("[192.0.2.1]", True))),
        (b"HELO under_score", Line("HELO", Greeted("under_score", False))),
        (b"HELO [IPv6:2001:db8::1]", Line("HELO", Greeted("[IPv6:2001:db8::1]", False))),
        (b"MAIL FROM:<ann@example.org>", Line("MAIL", SenderGiven(ANN))),
        (b"mail from:<ann@Example.ORG> ", Line("MAIL", SenderGiven(ANN))),
        (b"MAIL FROM: <ann@example.org>", Line("MAIL", SenderGiven(ANN))),
        (b"MAIL FROM:<>", Line("MAIL", SenderGiven(NULL))),
        (b"MAIL FROM:<@a.example,@b.example:ann@example.org>", Line("MAIL", SenderGiven(ANN))),
        (b"MAIL FROM:<> SIZE=10", Line("MAIL", SenderGiven(NULL, 10, "7BIT", {"SIZE": "10"}))),
        (
            b"MAIL FROM:<ann@example.org> body=8bitmime size=0",
            Line("MAIL", SenderGiven(ANN, 0, "8BITMIME", {"BODY": "8bitmime", "SIZE": "0"})),
        ),
        (b'MAIL FROM:<"a>b"@example.org>', Line("MAIL", SenderGiven(Address('"a>b"', "example.org")))),
        (b'MAIL FROM:<@x.example:"a>b"@example.org>', Line("MAIL", SenderGiven(Address('"a>b"', "example.org")))),
        (b'MAIL FROM:<"ann"@example.org>', Line("MAIL", SenderGiven(ANN))),
        (b"RCPT TO:<ann@example.org>", Line("RCPT", RecipientGiven(ANN))),
        (b"RCPT TO:<Postmaster>", Line("RCPT", RecipientGiven(Address("Postmaster", "")))),
        (b"rcpt to: <POSTMASTER>", Line("RCPT", RecipientGiven(Address("POSTMASTER", "")))),
        (b"RCPT TO:<@a.example:ann@example.org>", Line("RCPT", RecipientGiven(ANN))),
        (b"RCPT TO:<ann@[192.0.2.1]>", Line("RCPT", RecipientGiven(Address("ann", "[192.0.2.1]")))),
        (b"DATA", Line("DATA", DataRequested())),
        (b"data ", Line("DATA", DataRequested())),
        (b"RSET", Line("RSET")),
        (b"QUIT", Line("QUIT")),
        (b"NOOP", Line("NOOP")),
        (b"NOOP any words", Line("NOOP")),
        (b"HELP MAIL", Line("HELP")),
        (b"VRFY ann", Line("VRFY")),
        (b"EXPN list", Line("EXPN")),
        (b"GET / HTTP/1.1", Line("GET")),
        (b"", Line("")),
        (b" NOOP", Line("")),
    ],
)
def test_taken(line, parsed):
    assert parse(line) == parsed


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"EHLO", "501 5.5.4 Syntax: EHLO domain"),
        (b"HELO ", "501 5.5.4 Syntax: HELO domain"),
        (b"EHLO two words", "501 5.5.4 Syntax"),
        (b"EHLO a(b)", "501 5.5.4 Syntax"),
        (b"EHLO " + b"a" * 256, "501 5.5.4 Syntax"),
        (b"EHLO caf\xe9", "501 5.5.4 the command is not ASCII"),
        (b"EHLO a\tb", "501 5.5.4 control character"),
        (b"EHLO a\x1b[2J", "501 5.5.4 control character"),
        (b"MAIL", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        (b"MAIL FROM", "501 5.5.4 Syntax"),
        (b"MAIL TO:<a@b>", "501 5.5.4 Syntax"),
        (b"MAIL FROM:a@b", "501 5.5.4 Syntax"),
        (b"MAIL FROM:  <a@b>", "501 5.5.4 Syntax"),
        (b"MAIL FROM:<a@b", "501 5.5.4 Syntax"),
        (b'MAIL FROM:<"a@b>', "501 5.5.4 Syntax"),
        (b"MAIL FROM:<a@b>x", "501 5.5.4 Syntax"),
        (b"MAIL FROM:<a@b>SIZE=1", "501 5.5.4 Syntax"),
        (b"MAIL FROM:<a@b> SIZE", "501 5.5.4 SIZE is a number"),
        (b"MAIL FROM:<a@b> SIZE=", "501 5.5.4 Syntax"),
        (b"MAIL FROM:<a@b> SIZE=-1", "501 5.5.4 SIZE is a number"),
        (b"MAIL FROM:<a@b> SIZE=" + b"9" * 21, "501 5.5.4 SIZE is a number"),
        (b"MAIL FROM:<a@b> SIZE=1 SIZE=2", "501 5.5.4 Syntax"),
        (b"MAIL FROM:<a@b> SIZE=1=2", "501 5.5.4 Syntax"),
        (b"MAIL FROM:<a@b>  SIZE=1", "501 5.5.4 Syntax"),
        (b"MAIL FROM:<a@b> BODY=9BIT", "501 5.5.4 BODY is 7BIT, 8BITMIME or BINARYMIME"),
        (b"MAIL FROM:<a@b> SMTPUTF8=yes", "501 5.5.4 SMTPUTF8 has no value"),
        (b"MAIL FROM:<a@b> X-OTHER=1", "555 5.5.4 Parameter X-OTHER not recognized"),
        (b"MAIL FROM:<a@b> NOTIFY=NEVER", "555 5.5.4 Parameter NOTIFY"),
        (b"MAIL FROM:<a@b> <c@d>", "501 5.5.4 Syntax"),
        (b"MAIL FROM:<Postmaster>", "501 5.1.7 Bad sender address syntax: an address is local-part@domain"),
        (b"MAIL FROM:<a b@c>", "501 5.1.7"),
        (b"MAIL FROM:<a@b_c>", "501 5.1.7"),
        (b"MAIL FROM:<@a.example>", "501 5.1.7"),
        (b"MAIL FROM:<@a.example,b.example:x@y>", "501 5.1.7"),
        (b"MAIL FROM:<@a_b:x@y>", "501 5.1.7"),
        (b"MAIL FROM:<" + b"a" * 65 + b"@b>", "501 5.1.7"),
        (b"MAIL FROM:<" + b"a@" + b"b." * 140 + b"c>", "501 5.1.7"),
        (b"MAIL FROM:<a\x00@b>", "501 5.1.7"),
        (b"MAIL FROM:<a\r@b>", "501 5.1.7"),
        (b"MAIL FROM:<a@b>\nRCPT TO:<c@d>", "501 5.1.7"),
        (b"MAIL FROM:<\xc3\xa4@b>", "553 5.6.7"),
        (b"MAIL FROM:<\xff@b>", "553 5.6.7"),
        (b"RCPT TO:<>", "501 5.1.3"),
        (b"RCPT TO:<a\x1b@b>", "501 5.1.3"),
        (b"RCPT TO:<a@b\xe4>", "553 5.6.7"),
        (b"RCPT TO:<\xe2\x80\xae@b>", "553 5.6.7"),
        (b"RCPT TO:<a@b> RET=FULL", "555 5.5.4 Parameter RET"),
        (b"RCPT FROM:<a@b>", "501 5.5.4 Syntax: RCPT TO:<address>"),
        (b"DATA now", "501 5.5.4 Syntax: DATA"),
        (b"RSET x", "501 5.5.4 Syntax: RSET"),
        (b"QUIT x", "501 5.5.4 Syntax: QUIT"),
        (b"N\xc3\x96\xc3\x96P", "500 5.5.2"),
        (b"X\x00", "500 5.5.2"),
        (b"\x16\x03\x01", "500 5.5.2"),
    ],
)
def test_refused(line, words):
    with pytest.raises(CommandError) as caught:
        parse(line)
    reply = caught.value.reply
    assert f"{reply.code} {reply.status} {reply.text}".startswith(words)


def test_long_lines_are_not_remembered():
    before = grammar._remembered.cache_info().currsize
    line = b"NOOP " + b"x" * 1000
    assert parse(line) == Line("NOOP")
    assert grammar._remembered.cache_info().currsize == before


@pytest.mark.parametrize("letter", [b"a", b"(", b'"\\', b'"', b"<", b"@", b",@a", b" a=", b"=", b">", b"a>"])
@pytest.mark.parametrize("start", [b"", b"EHLO ", b"MAIL FROM:<", b'MAIL FROM:<"', b"RCPT TO:<@", b"MAIL FROM:<> "])
def test_t24_long_lines_are_parsed_at_once(start, letter):
    # Far beyond what LineBuffer lets through; work that grew with the square of the length would take minutes.
    line = start + letter * (300_000 // len(letter))
    result = outcome(line)
    assert isinstance(result, Line) or len(bytes(result)) < 600
