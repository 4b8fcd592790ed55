"""RFC 5321: commands, their order, and their replies."""

from tests.smtp.conformance.check import (
    BEGUN,
    DATA,
    EHLO,
    HOST,
    KEPT,
    MAIL,
    MAX_RECIPIENTS,
    NOOP,
    OPEN,
    QUIT,
    RCPT,
    RSET,
    TEXT,
    Stored,
    check,
    content,
    raw,
    say,
)

_MANY = tuple(say("RCPT TO:<bob@example.org>", "250 2.1.5") for _ in range(MAX_RECIPIENTS))

_TO_ALICE = (MAIL, say("RCPT TO:<alice@example.org>", "250 2.1.5"))
_ALICE = Stored(TEXT, ("alice@example.org",), "Return-Path: <carol@example.net>")

HELLO = (
    check(5321, "3.1", "the greeting is 220 and begins with the server's name", NOOP, greeting=f"220 {HOST} ESMTP"),
    check(5321, "4.1.1.1", "EHLO is answered with 250, the name, and a line an extension", say("EHLO c.example", f"250-{HOST}\n(250-[A-Z0-9][^\n]*\n)+250 [A-Z0-9][^\n]*\\Z")),
    check(5321, "4.1.1.1", "HELO is answered with one line", say("HELO c.example", f"250 {HOST}$")),
    check(5321, "3.2", "a client that says HELO can send mail", say("HELO c.example", "250 "), MAIL, RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace=" with SMTP id "),)),
    check(5321, "4.1.1.1", "EHLO without a domain is a syntax error", say("EHLO", "501 5.5.4")),
    check(5321, "4.1.1.1", "HELO without a domain is a syntax error", say("HELO", "501 5.5.4")),
    check(5321, "4.1.3", "EHLO takes an address literal", say("EHLO [192.0.2.1]", "250-"), say("EHLO [IPv6:2001:db8::1]", "250-")),
    check(5321, "4.1.4", "a name that does not match the client's address is no reason to refuse", say("EHLO not-me.example.net", "250-"), MAIL),
    check(5321, "4.1.4", "EHLO may come again, and then forgets the transaction", *BEGUN, say("EHLO again.example", "250-"), say("DATA", "503 5.5.1"), MAIL),
    check(5321, "4.1.4", "a refused EHLO leaves the session as it was", EHLO, say("EHLO", "501"), MAIL),
    check(5321, "4.1.4", "MAIL before EHLO or HELO is out of order", say("MAIL FROM:<carol@example.net>", "503 5.5.1")),
    check(5321, "4.1.4", "NOOP, HELP, EXPN, VRFY and RSET need no EHLO", NOOP, say("HELP", "214"), say("EXPN x", "502"), say("VRFY x", "252"), RSET),
    check(5321, "4.1.1.1", "the name given with EHLO is in the trace", say("EHLO named.example.net", "250-"), MAIL, RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace=r"Received: from named\.example\.net \("),)),
)  # fmt: skip

ORDER = (
    check(5321, "3.3", "MAIL, RCPT and DATA make a transaction whose end is answered with 250", *OPEN, content(TEXT), stored=(KEPT,)),
    check(5321, "3.3", "RCPT before MAIL is out of order", EHLO, say("RCPT TO:<bob@example.org>", "503 5.5.1")),
    check(5321, "3.3", "DATA before MAIL is out of order", EHLO, say("DATA", "503 5.5.1")),
    check(5321, "3.3", "DATA without an accepted recipient is refused", EHLO, MAIL, say("DATA", "503 5.5.1")),
    check(5321, "3.3", "DATA after refused recipients alone is refused", EHLO, MAIL, say("RCPT TO:<nobody@example.org>", "550"), say("DATA", "554 5.5.1")),
    check(5321, "4.1.4", "MAIL within a transaction is out of order and leaves it as it was", *BEGUN, say("MAIL FROM:<x@example.net>", "503 5.5.1"), DATA, content(TEXT), stored=(Stored(TEXT, trace="Return-Path: <carol@example.net>"),)),
    check(5321, "4.1.4", "a refused command leaves the transaction as it was", *BEGUN, say("RCPT TO:<bad", "501"), say("NONSENSE", "500"), DATA, content(TEXT), stored=(KEPT,)),
    check(5321, "3.3", "a recipient that is refused does not harm the others", EHLO, MAIL, say("RCPT TO:<nobody@example.org>", "550 5.1.1"), RCPT, DATA, content(TEXT), stored=(KEPT,)),
    check(5321, "3.3", "a message goes to each recipient", *BEGUN, say("RCPT TO:<alice@example.org>", "250 2.1.5"), DATA, content(TEXT), stored=(Stored(TEXT, ("bob@example.org", "alice@example.org")),)),
    check(5321, "4.1.1.4", "after the content the transaction is over", *OPEN, content(TEXT), say("RCPT TO:<bob@example.org>", "503"), say("DATA", "503"), stored=(KEPT,)),
    check(5321, "3.3", "there may be several transactions in a session", *OPEN, content(TEXT), MAIL, RCPT, DATA, content(TEXT), QUIT, stored=(KEPT, KEPT), ends=True),
    check(5321, "4.1.1.4", "DATA takes no argument", *BEGUN, say("DATA now", "501 5.5.4"), DATA, content(TEXT), stored=(KEPT,)),
    check(5321, "4.1.1.5", "RSET forgets sender and recipients", *BEGUN, RSET, say("DATA", "503"), say("RCPT TO:<bob@example.org>", "503"), MAIL, say("DATA", "503")),
    check(5321, "4.1.1.5", "what RSET has forgotten is in no later message", EHLO, say("MAIL FROM:<x@example.net> BODY=BINARYMIME SMTPUTF8", "250"), RCPT, RSET, *_TO_ALICE, say("RCPT TO:<b\u00f6b@example.org>", "553 5.6.7"), DATA, content(TEXT), stored=(_ALICE,)),
    check(5321, "4.1.1.4", "the recipients of one message do not get the next", *OPEN, content(TEXT), *_TO_ALICE, DATA, content(TEXT), stored=(KEPT, _ALICE)),
    check(5321, "4.1.4", "the recipients before EHLO do not get the next message", *BEGUN, EHLO, *_TO_ALICE, DATA, content(TEXT), stored=(_ALICE,)),
    check(5321, "4.1.1.4", "the recipients of a message that is refused do not get the next", *OPEN, content(b"a\nb\r\n", "550 5.5.2"), *_TO_ALICE, DATA, content(TEXT), stored=(_ALICE,)),
    check(5321, "4.1.1.5", "RSET takes no argument, and then forgets nothing", *BEGUN, say("RSET all", "501 5.5.4"), DATA, content(TEXT), stored=(KEPT,)),
    check(5321, "4.1.1.5", "RSET leaves the greeting standing and the connection open", EHLO, RSET, RSET, MAIL),
    check(5321, "4.1.1.9", "NOOP changes nothing, and its argument means nothing", *BEGUN, NOOP, say("NOOP what ever", "250 2.0.0"), DATA, content(TEXT), stored=(KEPT,)),
    check(5321, "4.1.1.10", "QUIT is answered with 221 and the server closes", EHLO, say("QUIT", f"221 2.0.0 {HOST}"), ends=True),
    check(5321, "4.1.1.10", "QUIT needs no EHLO", QUIT, ends=True),
    check(5321, "4.1.1.10", "QUIT ends a transaction that is under way, and nothing is kept", *BEGUN, QUIT, ends=True),
    check(5321, "4.1.1.10", "QUIT takes no argument", say("QUIT now", "501 5.5.4"), NOOP),
    check(5321, "4.1.1.8", "HELP is answered with 214, whatever its argument", say("HELP", "214"), say("HELP MAIL", "214")),
    check(5321, "3.5.3", "VRFY of a mailbox that is not told of is answered with 252", EHLO, say("VRFY bob", "252 2.0.0"), say("VRFY bob@example.org", "252 2.0.0")),
    check(5321, "7.3", "VRFY tells nobody which mailboxes there are", EHLO, say("VRFY bob", "252 2.0.0 Cannot verify"), say("VRFY nobody", "252 2.0.0 Cannot verify")),
    check(5321, "3.5.2", "EXPN that is not offered is answered with 502", EHLO, say("EXPN staff", "502 5.5.1")),
    check(5321, "4.1.1.6", "VRFY changes no transaction", *BEGUN, say("VRFY x", "252"), DATA, content(TEXT), stored=(KEPT,)),
)  # fmt: skip

REPLIES = (
    check(5321, "2.4", "commands and keywords may be in any case", say("eHlO c.example", "250-"), say("mail from:<carol@example.net>", "250 2.1.0"), say("Rcpt To:<bob@example.org>", "250 2.1.5"), say("data", "354 "), content(TEXT), say("quit", "221"), stored=(KEPT,), ends=True),
    check(5321, "4.2.4", "a command nobody knows is answered with 500", say("XYZZY", "500 5.5.2"), say("EHLOX c", "500 5.5.2")),
    check(5321, "4.2.4", "a command that is known and not offered is answered with 502", EHLO, say("EXPN staff", "502 5.5.1"), say("ETRN example.org", "502 5.5.1")),
    check(5321, "F.6", "SEND, SOML and SAML are not offered", EHLO, say("SEND FROM:<a@b>", "502"), say("SOML FROM:<a@b>", "502"), say("SAML FROM:<a@b>", "502")),
    check(5321, "F.1", "TURN is not offered", EHLO, say("TURN", "502")),
    check(5321, "4.2.4", "an empty line is a syntax error and nothing more", EHLO, say("", "500 5.5.2"), MAIL),
    check(5321, "4.2", "a multi-line reply has the code on each line, a hyphen on all but the last", say("EHLO c.example", "(250-[!-~ ]+\n)+250 [!-~ ]+$")),
    check(5321, "4.1.1", "spaces at the end of a command are tolerated", say("EHLO c.example  ", "250-"), say("MAIL FROM:<carol@example.net> ", "250"), say("RSET ", "250"), say("NOOP ", "250")),
    check(5321, "2.3.8", "a line ends with CR LF alone: a bare LF ends no command", raw(b"NOOP\nNOOP\r\n", "50[01] 5.5.[24]"), NOOP),
    check(5321, "2.3.8", "a bare CR ends no command", raw(b"NOOP\rNOOP\r\n", "50[01] 5.5.[24]"), NOOP),
    check(5321, "4.1.2", "a control character in a command is refused", EHLO, raw(b"MAIL FROM:<a\x01b@example.net>\r\n", "501 5.1.7"), raw(b"RCPT TO:<a\x00@example.org>\r\n", "50[13] 5")),
    check(5321, "2.4", "an octet beyond ASCII in a command is refused", raw(b"EHLO caf\xe9.example\r\n", "501"), raw(b"\xc3\xa9\r\n", "500"), NOOP),
    check(5321, "4.1.1.11", "a parameter that is not known is answered with 555", EHLO, say("MAIL FROM:<carol@example.net> NOVEL=1", "555 5.5.4"), MAIL, say("RCPT TO:<bob@example.org> NOVEL", "555 5.5.4"), RCPT),
    check(5321, "4.1.1.11", "keywords of parameters may be in any case", EHLO, say("MAIL FROM:<carol@example.net> size=100 Body=8bitmime", "250 2.1.0")),
    check(5321, "4.1.2", "a parameter without a value behind = is a syntax error", EHLO, say("MAIL FROM:<carol@example.net> SIZE=", "501"), say("MAIL FROM:<carol@example.net> =1", "501")),
    check(5321, "4.1.2", "a parameter that comes twice is refused", EHLO, say("MAIL FROM:<carol@example.net> SIZE=1 SIZE=2", "501 5.5.4")),
    check(5321, "4.3.2", "20 refused commands do not end a session before a 421 says so", *(say("NONSENSE", "500") for _ in range(19)), say("NONSENSE", "421 4.7.0"), ends=True),
    check(5321, "3.8", "the server closes only after QUIT or with a 421", EHLO, say("MAIL", "501"), say("DATA", "503"), say("RCPT", "50[13]"), NOOP, QUIT, ends=True),
    check(5321, "4.1.1.2", "MAIL needs FROM: and a path in angle brackets", EHLO, say("MAIL", "501"), say("MAIL FROM", "501"), say("MAIL FROM:carol@example.net", "501 5.5.4"), say("MAIL TO:<carol@example.net>", "501"), say("MAIL FROM:<carol@example.net", "501")),
    check(5321, "4.1.1.3", "RCPT needs TO: and a path in angle brackets", EHLO, MAIL, say("RCPT", "501"), say("RCPT bob", "501"), say("RCPT TO:bob@example.org", "501 5.5.4"), say("RCPT FROM:<bob@example.org>", "501")),
    check(5321, "4.1.1.2", "nothing but parameters may follow a path", EHLO, say("MAIL FROM:<carol@example.net>SIZE=1", "501"), say("MAIL FROM:<carol@example.net> <x>", "501")),
    check(5321, "D.1", "the scenario of a typical transaction", say("EHLO bar.com", "250-"), say("MAIL FROM:<Smith@bar.com>", "250"), say("RCPT TO:<bob@example.org>", "250"), say("RCPT TO:<Green@example.org>", "550"), say("RCPT TO:<alice@example.org>", "250"), DATA, content(b"Blah blah blah...\r\n...etc. etc. etc.\r\n".replace(b"\r\n.", b"\r\n..")), QUIT, ends=True, stored=(Stored(b"Blah blah blah...\r\n...etc. etc. etc.\r\n", ("bob@example.org", "alice@example.org")),)),
    check(5321, "D.2", "the scenario of an aborted transaction", say("EHLO bar.com", "250-"), say("MAIL FROM:<Smith@bar.com>", "250"), RCPT, say("RCPT TO:<Green@example.org>", "550"), RSET, QUIT, ends=True),
    check(5321, "D.4", "the scenario of verifying and sending", say("EHLO bar.com", "250-"), say("VRFY Crispin", "25[02]"), say("MAIL FROM:<EAK@bar.com>", "250"), RCPT, DATA, content(b"Blah blah blah...\r\n"), QUIT, ends=True, stored=(Stored(b"Blah blah blah...\r\n"),)),
)  # fmt: skip

LIMITS = (
    check(5321, "4.5.3.1.4", "a command line of 512 octets is taken", say("NOOP " + "x" * 505, "250")),
    check(5321, "4.5.3.1.5", "no line of a reply is longer than 512 octets", EHLO, say("MAIL FROM:<" + "a" * 64 + "@" + ".".join(["b" * 63] * 3) + ">", "[^\n]{4,510}$"), say("MAIL FROM:<a@b> " + "N" * 1000 + "=1", "[^\n]{4,510}$")),
    check(5321, "4.5.3.1.9", "a command line that is too long is answered with 500, once, and none of it is obeyed", say("NOOP " + "x" * 3000 + " QUIT", "500 5.5.2"), NOOP),
    check(5321, "4.5.3.1.8", "100 recipients are taken", EHLO, MAIL, *_MANY, RSET),
    check(5321, "4.5.3.1.10", "a recipient beyond the limit is put off with 452, and those before it get the message", EHLO, MAIL, *_MANY, say("RCPT TO:<alice@example.org>", "452 4.5.3"), DATA, content(TEXT), stored=(KEPT,)),
)  # fmt: skip

CHECKS = HELLO + ORDER + REPLIES + LIMITS
