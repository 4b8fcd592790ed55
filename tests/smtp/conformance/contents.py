"""RFC 5321 and 5322: content, how it ends, what is added to it; RFC 5598 and 3848."""

from tests.smtp.conformance.check import (
    BEGUN,
    DATA,
    EHLO,
    KEPT,
    LMTP,
    MAIL,
    MAX_SIZE,
    NOOP,
    OPEN,
    RCPT,
    TEXT,
    Stored,
    check,
    content,
    raw,
    say,
)

HEAD = b"Subject: check\r\n\r\n"
_LINE = b"x" * 998 + b"\r\n"
_LARGE = (b"y" * 1022 + b"\r\n") * (MAX_SIZE // 1024 + 1)
_HOPS = b"Received: from a.example by b.example; Thu, 1 Jan 2026 00:00:00 +0000\r\n"


def kept(rfc, section, says, octets, wire=None, **more):
    """A check that content is kept as it is; ``wire`` is what is sent for it."""
    stored = (Stored(HEAD + octets, **more),)
    return check(rfc, section, says, *OPEN, content(HEAD + (octets if wire is None else wire)), NOOP, stored=stored)


def no_end(section, says, octets):
    """A check that ``octets`` end no data: the message is refused once, at its end, and none of it is obeyed."""
    wire = HEAD + b"a" + octets + b"RSET\r\nQUIT\r\n"
    return check(5321, section, says, *OPEN, content(wire, "550 5.5.2"), NOOP, say("DATA", "503"))


ENDS = (
    kept(5321, "4.5.2", "a dot before a line that begins with one is taken away", b".one\r\n..two\r\n", b"..one\r\n...two\r\n"),
    kept(5321, "4.5.2", "a line of one dot within the text arrives as such", b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n"),
    kept(5321, "4.5.2", "a dot at the beginning of a line is taken away whatever follows", b"bare\r\n", b".bare\r\n"),
    check(5321, "4.5.2", "the first line may begin with a dot", *OPEN, content(b"..first\r\n"), stored=(Stored(b".first\r\n"),)),
    check(5321, "4.1.1.4", "content may be empty", *OPEN, content(b""), NOOP, stored=(Stored(b""),)),
    kept(5321, "4.1.1.4", "what looks like a command within content is text", b"QUIT\r\nRSET\r\nMAIL FROM:<x@y>\r\n"),
    no_end("4.1.1.4", "LF . LF ends no data", b"\n.\n"),
    no_end("4.1.1.4", "LF . CR LF ends no data", b"\n.\r\n"),
    no_end("4.1.1.4", "CR LF . LF ends no data", b"\r\n.\n"),
    no_end("4.1.1.4", "CR LF . CR ends no data", b"\r\n.\r"),
    no_end("4.1.1.4", "CR . CR ends no data", b"\r.\r"),
    no_end("4.1.1.4", "CR . CR LF ends no data", b"\r.\r\n"),
    no_end("2.3.8", "a bare LF in the text is refused, not made a line end", b"\nb\r\n"),
    no_end("2.3.8", "a bare CR in the text is refused, not made a line end", b"\rb\r\n"),
    no_end("2.3.8", "CR CR LF is no line end", b"\r\r\n"),
    no_end("4.5.2", "a NUL in the text is refused", b"\0b\r\n"),
    kept(5321, "2.3.8", "other characters that end lines elsewhere are text", b"a\x0bb\x0cc\x1cd\x1ee\x85f\xe2\x80\xa8.\r\n"),
    check(5321, "4.5.3.1.6", "text lines of 1000 octets with their CR LF are taken", *OPEN, content(HEAD + _LINE * 3), stored=(Stored(HEAD + _LINE * 3),)),
    kept(5321, "4.5.3.1.6", "a longer text line is kept whole, and none of it is a command", b"x" * 3000 + b"\r\n"),
    check(5321, "4.5.3.1.10", "content over the limit is read to its end and refused with 552", *OPEN, content(_LARGE, "552 5.3.4"), MAIL, RCPT, DATA, content(TEXT), stored=(KEPT,)),
    check(5321, "6.3", "a message that has passed more than 100 hosts is refused as looping", *OPEN, content(_HOPS * 101 + TEXT, "554 5.4.6"), NOOP, alive=True),
    check(5321, "6.3", "a message that has passed a few hosts is not", *OPEN, content(_HOPS * 20 + TEXT), stored=(Stored(_HOPS * 20 + TEXT),)),
    check(5321, "6.1", "the 250 behind content says by what name the message is kept", *OPEN, content(TEXT, "250 2.0.0 [0-9A-Z]{13} queued$"), stored=(KEPT,)),
)  # fmt: skip

FORMAT = (
    kept(5322, "2.1.1", "lines of 998 characters are taken", b"z" * 998 + b"\r\n"),
    check(5322, "2.2.3", "folded fields stay folded", *OPEN, content(b"Subject: one\r\n two\r\n\tthree\r\n\r\nx\r\n"), stored=(Stored(b"Subject: one\r\n two\r\n\tthree\r\n\r\nx\r\n"),)),
    check(5322, "3.6", "the order of fields is kept, and repeated ones too", *OPEN, content(b"X-B: 1\r\nX-A: 2\r\nX-B: 3\r\n\r\nx\r\n"), stored=(Stored(b"X-B: 1\r\nX-A: 2\r\nX-B: 3\r\n\r\nx\r\n"),)),
    check(5322, "2.1", "a message may have no body", *OPEN, content(b"Subject: alone\r\n"), stored=(Stored(b"Subject: alone\r\n"),)),
    check(5322, "2.1", "a message may have no header", *OPEN, content(b"\r\nText.\r\n"), stored=(Stored(b"\r\nText.\r\n"),)),
    check(5322, "4", "what is no message by the book is carried all the same", *OPEN, content(b"no field\r\n: \r\nA:\r\n \r\n"), stored=(Stored(b"no field\r\n: \r\nA:\r\n \r\n"),)),
    kept(5322, "2.2", "trace fields stand above all others", b"x\r\n", trace=r"\AReturn-Path: <carol@example\.net>\r\nReceived: "),
    check(5598, "4.3.2", "a relay adds trace and changes nothing else", *OPEN, content(b"Received: from x by y; Thu, 1 Jan 2026 00:00:00 +0000\r\nReturn-Path: <old@example.net>\r\nBcc: secret@example.net\r\n\r\n  x \t\r\n\r\n\r\n"), stored=(Stored(b"Received: from x by y; Thu, 1 Jan 2026 00:00:00 +0000\r\nReturn-Path: <old@example.net>\r\nBcc: secret@example.net\r\n\r\n  x \t\r\n\r\n\r\n"),)),
)  # fmt: skip

TRACE = (
    kept(5321, "4.4", "Received says who gave the message and from which address", b"x\r\n", trace=r"\r\nReceived: from client\.example\.net \(.*\[127\.0\.0\.1\]\)\r\n"),
    kept(5321, "4.4", "Received says who took it, how, and by what id", b"x\r\n", trace=r"\tby mx1\.example\.org \(netsvc\) with ESMTP id [0-9A-Z]{13}\r\n"),
    kept(5321, "4.4", "Received ends with the date and time", b"x\r\n", trace=r"; (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{1,2} [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d \+0000\r\n\Z"),
    kept(5321, "4.4", "final delivery puts the reverse-path into Return-Path", b"x\r\n", trace=r"\AReturn-Path: <carol@example\.net>\r\n"),
    kept(5321, "4.4", "Received names the recipient where there is one", b"x\r\n", trace=r"for <bob@example\.org>; "),
    check(5321, "7.6", "Received names none of several recipients", *BEGUN, say("RCPT TO:<alice@example.org>", "250"), DATA, content(TEXT), stored=(Stored(TEXT, ("bob@example.org", "alice@example.org"), r"\A(?!.*for <).*\Z"),)),
    check(5321, "4.4", "a name given with EHLO cannot add a field", raw(b"EHLO a\rX-Evil: 1\r\n", "501"), EHLO, MAIL, RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace=r"\A(?!.*X-Evil)"),)),
    check(3848, "1", "with says ESMTP after EHLO", *OPEN, content(TEXT), stored=(Stored(TEXT, trace=" with ESMTP id "),)),
    check(3848, "1", "with says LMTP after LHLO", say("LHLO client.example.net", "250-"), MAIL, RCPT, DATA, content(TEXT), door=LMTP, stored=(Stored(TEXT, trace=" with LMTP id "),)),
)  # fmt: skip

CHECKS = ENDS + FORMAT + TRACE
