"""SIZE, PIPELINING, 8BITMIME, CHUNKING, BINARYMIME, SMTPUTF8, LIMITS, enhanced status codes: RFC by RFC."""

from tests.smtp.conformance.check import (
    BEGUN,
    DATA,
    EHLO,
    KEPT,
    MAIL,
    MAX_MESSAGES,
    MAX_RECIPIENTS,
    MAX_SIZE,
    NOOP,
    QUIT,
    RCPT,
    RSET,
    TEXT,
    Stored,
    check,
    chunk,
    content,
    raw,
    say,
)

_LARGE = (b"y" * 1022 + b"\r\n") * (MAX_SIZE // 1024 + 1)
_EIGHT = b"Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\n\x80\xff\xe9\r\n"
_BINARY = b"Subject: binary\r\n\r\n\x00\r\n.\r\n\n\r\xff" * 20
_HALF = len(TEXT) // 2
_ASKED = say("MAIL FROM:<carol@example.net> SMTPUTF8", "250 2.1.0")
_IN_BINARY = say("MAIL FROM:<carol@example.net> BODY=BINARYMIME", "250 2.1.0")


def offers(rfc, section, says, line, **more):
    return check(rfc, section, says, say("EHLO c.example", f"250-.*^250[- ]{line}$"), **more)


def mail(parameters, *replies):
    return say(f"MAIL FROM:<carol@example.net> {parameters}", *(replies or ("250 2.1.0",)))


SIZES = (
    offers(1870, "4", "SIZE is offered with the limit", f"SIZE {MAX_SIZE}"),
    check(1870, "6.1", "a declared size within the limit is taken", EHLO, mail(f"SIZE={MAX_SIZE}")),
    check(1870, "6.1", "a declared size over the limit is refused at MAIL with 552", EHLO, mail(f"SIZE={MAX_SIZE + 1}", "552 5.3.4"), MAIL),
    check(1870, "4", "a size of 0 is taken", EHLO, mail("SIZE=0")),
    check(1870, "4", "a size has 20 digits at most", EHLO, mail("SIZE=" + "9" * 20, "552 5.3.4"), mail("SIZE=" + "0" * 21, "501 5.5.4")),
    check(1870, "4", "a size is a number", EHLO, mail("SIZE=many", "501 5.5.4"), mail("SIZE=-1", "501 5.5.4"), mail("SIZE=0x10", "501 5.5.4")),
    check(1870, "6.3", "more than was declared is taken within the limit", EHLO, mail("SIZE=1"), RCPT, DATA, content(TEXT), stored=(KEPT,)),
    check(1870, "6.3", "content over the limit is refused at its end whatever was declared", EHLO, mail("SIZE=1"), RCPT, DATA, content(_LARGE, "552 5.3.4"), NOOP),
    check(1870, "6.4", "less than was declared is taken", EHLO, mail("SIZE=60000"), RCPT, DATA, content(TEXT), stored=(KEPT,)),
)  # fmt: skip

STATUSES = (
    offers(2034, "3", "ENHANCEDSTATUSCODES is offered", "ENHANCEDSTATUSCODES"),
    check(2034, "4", "greeting, HELO, EHLO and 354 have no status", say("HELO c", "250 (?!2\\.)"), EHLO, MAIL, RCPT, say("DATA", "354 (?!3\\.)"), content(TEXT), greeting="220 (?!2\\.)", stored=(KEPT,)),
    check(2034, "4", "success has a status of class 2", EHLO, say("MAIL FROM:<carol@example.net>", "250 2\\.\\d+\\.\\d+ "), say("RCPT TO:<bob@example.org>", "250 2\\.\\d+\\.\\d+ "), say("RSET", "250 2\\.\\d+\\.\\d+ "), say("VRFY x", "252 2\\.\\d+\\.\\d+ "), say("QUIT", "221 2\\.\\d+\\.\\d+ "), ends=True),
    check(2034, "4", "permanent failure has a status of class 5", say("NONSENSE", "500 5\\.\\d+\\.\\d+ "), say("MAIL FROM:<a@b>", "503 5\\.\\d+\\.\\d+ "), say("EHLO", "501 5\\.\\d+\\.\\d+ "), say("EXPN x", "502 5\\.\\d+\\.\\d+ ")),
    check(2034, "4", "each line of a multi-line reply has the status", say("HELP", "214-2\\.0\\.0 [^\n]*\n214 2\\.0\\.0 ")),
    check(3463, "3.2", "5.1.1 says that there is no such mailbox", EHLO, MAIL, say("RCPT TO:<nobody@example.org>", "550 5.1.1 ")),
    check(3463, "3.2", "5.1.3 and 5.1.7 say that an address is no address", EHLO, say("MAIL FROM:<a..b@example.net>", "501 5.1.7 "), MAIL, say("RCPT TO:<a..b@example.org>", "501 5.1.3 ")),
    check(3463, "3.4", "5.3.4 says that a message is too big", EHLO, mail(f"SIZE={MAX_SIZE + 1}", "552 5.3.4 ")),
    check(3463, "3.6", "5.5.1, 5.5.2 and 5.5.4 say what is wrong with a command", EHLO, say("DATA", "503 5.5.1 "), say("NONSENSE", "500 5.5.2 "), say("RSET x", "501 5.5.4 ")),
    check(3463, "3.8", "5.7.1 says that it is not allowed", EHLO, MAIL, say("RCPT TO:<x@elsewhere.example>", "550 5.7.1 ")),
)  # fmt: skip

PIPELINES = (
    offers(2920, "3", "PIPELINING is offered without a parameter", "PIPELINING"),
    check(2920, "3.2", "a group of commands is answered in its order", EHLO, raw(b"MAIL FROM:<carol@example.net>\r\nRCPT TO:<nobody@example.org>\r\nRCPT TO:<bob@example.org>\r\nNOOP\r\nVRFY x\r\nDATA\r\n", "250 2.1.0", "550 5.1.1", "250 2.1.5", "250 2.0.0", "252", "354 "), content(TEXT), stored=(KEPT,)),
    check(2920, "3.2", "commands behind the end of data are kept and answered", EHLO, MAIL, RCPT, DATA, raw(TEXT + b".\r\nMAIL FROM:<carol@example.net>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n", "250 2.0.0", "250 2.1.0", "250 2.1.5", "354 "), content(TEXT), QUIT, stored=(KEPT, KEPT), ends=True),
    check(2920, "3.2", "DATA gets no 354 where all recipients of the group were refused", EHLO, raw(b"MAIL FROM:<carol@example.net>\r\nRCPT TO:<nobody@example.org>\r\nRCPT TO:<x@elsewhere.example>\r\nDATA\r\nRSET\r\n", "250", "550", "550", "554 5.5.1", "250")),
    check(2920, "3.2", "where MAIL is refused the rest of the group is refused too", EHLO, raw(b"MAIL FROM:<a..b@example.net>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nNOOP\r\n", "501", "503", "503", "250")),
    check(2920, "3.2", "what comes behind QUIT is not obeyed", EHLO, raw(b"QUIT\r\nNOOP\r\n", "221"), ends=True, glued=True),
)  # fmt: skip

EIGHT_BITS = (
    offers(6152, "2", "8BITMIME is offered", "8BITMIME"),
    check(6152, "3", "8-bit content is kept octet by octet", EHLO, mail("BODY=8BITMIME"), RCPT, DATA, content(_EIGHT), stored=(Stored(_EIGHT),)),
    check(6152, "2", "BODY=7BIT is taken", EHLO, mail("BODY=7BIT"), RCPT, DATA, content(TEXT), stored=(KEPT,)),
    check(6152, "2", "BODY of another value is refused", EHLO, mail("BODY=9BIT", "501 5.5.4"), mail("BODY", "501 5.5.4"), MAIL),
)  # fmt: skip

CHUNKS = (
    offers(3030, "2", "CHUNKING is offered without a parameter", "CHUNKING"),
    check(3030, "2", "one chunk that is LAST is a message", *BEGUN, chunk(TEXT, "250 2.0.0 \\w+ queued", last=True), stored=(KEPT,)),
    check(3030, "2", "several chunks are one message, each answered with 250", *BEGUN, chunk(TEXT[:_HALF], f"250 2.0.0 {_HALF} "), chunk(TEXT[_HALF:], "250"), chunk(b"", "250 2.0.0 \\w+ queued", last=True), stored=(KEPT,)),
    check(3030, "2", "BDAT 0 LAST ends a message", *BEGUN, chunk(TEXT, "250"), chunk(b"", "250 2.0.0 \\w+ queued", last=True), NOOP, stored=(KEPT,)),
    check(3030, "2", "dots are not stuffed in chunks, and CR LF . CR LF ends nothing", *BEGUN, chunk(TEXT + b".\r\n..\r\n.x\r\n", "250", last=True), stored=(Stored(TEXT + b".\r\n..\r\n.x\r\n"),)),
    check(3030, "2", "a command may follow the octets of a chunk at once", *BEGUN, raw(b"BDAT %d\r\n%sBDAT 0 LAST\r\nNOOP\r\n" % (len(TEXT), TEXT), "250", "250 2.0.0 \\w+ queued", "250"), stored=(KEPT,)),
    check(3030, "2", "DATA may not follow BDAT in a transaction", *BEGUN, chunk(TEXT, "250"), say("DATA", "503 5.5.1"), chunk(b"", "250", last=True), stored=(KEPT,)),
    check(3030, "2", "MAIL and RCPT may not come between chunks", *BEGUN, chunk(TEXT, "250"), say("MAIL FROM:<x@example.net>", "503"), say("RCPT TO:<alice@example.org>", "503"), chunk(b"", "250", last=True), stored=(KEPT,)),
    check(3030, "2", "RSET forgets the chunks that came", *BEGUN, chunk(b"half", "250"), RSET, MAIL, RCPT, chunk(TEXT, "250", last=True), stored=(KEPT,)),
    check(3030, "2", "after LAST the transaction is over", *BEGUN, chunk(TEXT, "250", last=True), chunk(b"more\r\n", "503 5.5.1", last=True), stored=(KEPT,)),
    check(3030, "2", "BDAT without a transaction is refused, and its octets are not obeyed", EHLO, chunk(b"NOOP\r\nQUIT\r\n", "503 5.5.1", last=True), NOOP),
    check(3030, "2", "BDAT without an accepted recipient is refused, and its octets are not obeyed", EHLO, MAIL, say("RCPT TO:<nobody@example.org>", "550"), chunk(b"RSET\r\nQUIT\r\n", "554 5.5.1", last=True), RCPT, chunk(TEXT, "250", last=True), stored=(KEPT,)),
    check(3030, "2", "LAST may be in any case", *BEGUN, raw(b"bdat %d last\r\n%s" % (len(TEXT), TEXT), "250 2.0.0 \\w+ queued"), stored=(KEPT,)),
    check(3030, "2", "a chunk whose size cannot be understood ends the session", *BEGUN, say("BDAT many", "501 5.5.4"), ends=True),
    check(3030, "2", "chunks over the limit are refused with 552", *BEGUN, say(f"BDAT {MAX_SIZE + 1} LAST", "552 5.3.4"), ends=True),
    check(3030, "2", "text in chunks is held to CR LF", *BEGUN, chunk(b"Subject: x\r\n\r\na\nb\r\n", "550 5.5.2", last=True), NOOP),
    offers(3030, "3", "BINARYMIME is offered with CHUNKING", "BINARYMIME"),
    check(3030, "3", "binary content is kept octet by octet", EHLO, _IN_BINARY, RCPT, chunk(_BINARY[:100], "250"), chunk(_BINARY[100:], "250", last=True), stored=(Stored(_BINARY),)),
    check(3030, "3", "DATA is refused with 503 for BODY=BINARYMIME", EHLO, _IN_BINARY, RCPT, say("DATA", "503 5.5.1"), chunk(_BINARY, "250", last=True), stored=(Stored(_BINARY),)),
    check(3030, "4.2", "the pipelined scenario with BINARYMIME", EHLO, raw(b"MAIL FROM:<ned@example.net> BODY=BINARYMIME\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<alice@example.org>\r\nBDAT 100\r\n" + b"z" * 100 + b"BDAT 24 LAST\r\n" + b"\n" * 24, "250", "250", "250", "250 .*100 octets", "250"), QUIT, ends=True, stored=(Stored(b"z" * 100 + b"\n" * 24, ("bob@example.org", "alice@example.org")),)),
    check(3030, "2", "what follows the size is LAST or nothing", *BEGUN, say("BDAT 5 FIRST", "501 5.5.4"), ends=True),
    check(3030, "2", "a size of more digits than any message has is refused", *BEGUN, say("BDAT 18446744073709551621 LAST", "552 5.3.4"), ends=True),
    check(3030, "2", "a NUL in chunks that are not BINARYMIME is refused at the end", *BEGUN, chunk(b"a\0b\r\n", "250"), chunk(b"", "550 5.5.2", last=True), NOOP),
    check(3030, "2", "a CR and an LF in two chunks are one line end", *BEGUN, chunk(TEXT[:-1], "250"), chunk(b"\n", "250", last=True), stored=(KEPT,)),
    check(3030, "2", "a CR that ends the last chunk is a bare CR", *BEGUN, chunk(TEXT, "250"), chunk(b"x\r", "550 5.5.2", last=True), NOOP),
    check(3030, "2", "the recipients of one message in chunks do not get the next", *BEGUN, chunk(TEXT, "250", last=True), MAIL, say("RCPT TO:<alice@example.org>", "250"), chunk(TEXT, "250", last=True), stored=(KEPT, Stored(TEXT, ("alice@example.org",)))),
    check(3030, "2", "EHLO between chunks forgets them", *BEGUN, chunk(b"half", "250"), EHLO, MAIL, RCPT, chunk(TEXT, "250", last=True), stored=(KEPT,)),
    check(3030, "2", "QUIT between chunks keeps nothing", *BEGUN, chunk(TEXT, "250"), QUIT, ends=True),
)  # fmt: skip

UTF8 = (
    offers(6531, "3.1", "SMTPUTF8 is offered without a parameter", "SMTPUTF8"),
    offers(6531, "3.1", "8BITMIME is offered with it", "8BITMIME$.*^250[- ]SMTPUTF8"),
    check(6531, "3.3", "with SMTPUTF8 a sender may go beyond ASCII", EHLO, say("MAIL FROM:<c\u00e4rol@b\u00fccher.example> SMTPUTF8", "250 2.1.0"), RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace="Return-Path: <c\u00e4rol@"),)),
    check(6531, "3.5", "without SMTPUTF8 a sender beyond ASCII is refused", EHLO, say("MAIL FROM:<c\u00e4rol@example.net>", "55[03] 5.6.7"), MAIL),
    check(6531, "3.5", "without SMTPUTF8 a recipient beyond ASCII is refused", EHLO, MAIL, say("RCPT TO:<b\u00f6b@example.org>", "55[03] 5.6.7"), RCPT),
    check(6531, "3.3", "with SMTPUTF8 a recipient beyond ASCII is looked for", EHLO, _ASKED, say("RCPT TO:<b\u00f6b@example.org>", "550 5.1.1"), RCPT),
    check(6531, "3.4", "SMTPUTF8 has no value", EHLO, mail("SMTPUTF8=yes", "501 5.5.4")),
    check(6531, "3.4", "SMTPUTF8 may be asked for with ASCII addresses", EHLO, _ASKED, RCPT, DATA, content(_EIGHT), stored=(Stored(_EIGHT),)),
    check(6531, "3.3", "an address that is not UTF-8 is refused", EHLO, raw(b"MAIL FROM:<c\xe4rol@example.net> SMTPUTF8\r\n", "55[03] 5.6.7"), raw(b"MAIL FROM:<c\xc0\xafl@example.net> SMTPUTF8\r\n", "55[03] 5.6.7"), raw(b"MAIL FROM:<c\xed\xa0\x80l@example.net> SMTPUTF8\r\n", "55[03] 5.6.7"), MAIL),
    check(6531, "3.7.1", "the name given with EHLO is ASCII", say("EHLO b\u00fccher.example", "501"), EHLO),
    check(6531, "3.7.3", "with says UTF8SMTP", EHLO, _ASKED, RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace=" with UTF8SMTP id "),)),
    check(6531, "3.7.4.2", "VRFY and EXPN take SMTPUTF8", EHLO, say("VRFY bob SMTPUTF8", "252"), say("EXPN staff SMTPUTF8", "502")),
    check(6532, "3.2", "fields in UTF-8 are kept octet by octet", EHLO, _ASKED, RCPT, DATA, content(b"From: \xc3\xbc@b\xc3\xbccher.example\r\n" + TEXT), stored=(Stored(b"From: \xc3\xbc@b\xc3\xbccher.example\r\n" + TEXT),)),
    check(6533, "3", "ORCPT of type utf-8 takes UTF-8 with SMTPUTF8, and its escapes without", EHLO, _ASKED, say("RCPT TO:<bob@example.org> ORCPT=utf-8;b\u00f6b@example.org", "250"), RSET, MAIL, say("RCPT TO:<bob@example.org> ORCPT=utf-8;b\u00f6b@example.org", "55[03] 5.6.7"), say("RCPT TO:<bob@example.org> ORCPT=utf-8;b\\x{F6}b@example.org", "250")),
)  # fmt: skip

LIMITS = (
    offers(9422, "3", "LIMITS says what the limits are", f"LIMITS RCPTMAX={MAX_RECIPIENTS} MAILMAX={MAX_MESSAGES}"),
    check(9422, "4.1", "as many transactions as MAILMAX says may be begun", EHLO, *(MAIL, RSET) * MAX_MESSAGES, NOOP),
    check(9422, "4.1", "one more ends the session with 421", EHLO, *(MAIL, RSET) * MAX_MESSAGES, say("MAIL FROM:<carol@example.net>", "421 4.7.0"), ends=True),
    check(9422, "4.2", "as many recipients as RCPTMAX says are taken, one more is put off", EHLO, MAIL, *(RCPT,) * MAX_RECIPIENTS, say("RCPT TO:<alice@example.org>", "452 4.5.3"), RSET),
)  # fmt: skip

REQUIRING = (
    check(8689, "2", "REQUIRETLS is not offered outside TLS", say("EHLO c.example", r"\A(?!.*REQUIRETLS)250-")),
    check(8689, "2", "REQUIRETLS outside TLS is refused", EHLO, mail("REQUIRETLS", "555 5.5.4"), MAIL),
    check(2852, "4", "DELIVERBY is not for mail between servers here", say("EHLO c.example", r"\A(?!.*DELIVERBY)250-"), mail("BY=60;R", "555 5.5.4")),
    check(6710, "3", "MT-PRIORITY is not for mail between servers here", say("EHLO c.example", r"\A(?!.*MT-PRIORITY)250-"), mail("MT-PRIORITY=3", "555 5.5.4")),
    check(4865, "3", "FUTURERELEASE is for submission alone", say("EHLO c.example", r"\A(?!.*FUTURERELEASE)250-"), mail("HOLDFOR=60", "555 5.5.4")),
)  # fmt: skip

CHECKS = SIZES + STATUSES + PIPELINES + EIGHT_BITS + CHUNKS + UTF8 + LIMITS + REQUIRING
