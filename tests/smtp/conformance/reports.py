"""LMTP (RFC 2033), and what senders ask to be told: RFC 3461 to 3464."""

from tests.smtp.conformance.check import (
    DATA,
    EHLO,
    KEPT,
    LMTP,
    MAIL,
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
    say,
)

_QUEUED = "250 2.0.0 \\w+ queued"
_LHLO = say("LHLO client.example.net", "250-")
_ALICE = say("RCPT TO:<alice@example.org>", "250 2.1.5")
_BOTH = Stored(TEXT, ("bob@example.org", "alice@example.org"))
_LARGE = (b"y" * 1022 + b"\r\n") * (MAX_SIZE // 1024 + 1)


def lmtp(section, says, *turns, **more):
    return check(2033, section, says, *turns, door=LMTP, **more)


def mail(parameters, *replies):
    return say(f"MAIL FROM:<carol@example.net> {parameters}", *(replies or ("250 2.1.0",)))


def rcpt(parameters, *replies):
    return say(f"RCPT TO:<bob@example.org> {parameters}", *(replies or ("250 2.1.5",)))


def reported(rfc, section, says, number, *patterns, to="NOTIFY=SUCCESS", more="RET=HDRS"):
    """A check that the report of a delivery has the patterns in it, or that there is none."""
    envid = f"conformance-{number}"
    begin = say(f"MAIL FROM:<alice@example.org> ENVID={envid} {more}", "250")
    turns = (EHLO, begin, rcpt(to), DATA, content(TEXT))
    return check(rfc, section, says, *turns, stored=(KEPT,), envid=envid, reports=patterns)


LOCAL = (
    lmtp("4.1", "LHLO takes the place of EHLO and HELO", say("EHLO c.example", "500 5.5."), say("HELO c.example", "500 5.5."), _LHLO, MAIL, greeting="220 mx1.example.org LMTP"),
    check(2033, "4.1", "LHLO is not for SMTP", say("LHLO c.example", "50[02] 5.5."), EHLO),
    lmtp("4.1", "LHLO is answered as EHLO is", say("LHLO c.example", "250-mx1.example.org\n.*^250-PIPELINING$.*^250 ENHANCEDSTATUSCODES$")),
    lmtp("4.2", "the content is answered once for each accepted recipient", _LHLO, MAIL, RCPT, say("RCPT TO:<nobody@example.org>", "550"), _ALICE, DATA, content(TEXT, _QUEUED, _QUEUED), NOOP, stored=(_BOTH,)),
    lmtp("4.2", "DATA without an accepted recipient is refused with 503", _LHLO, MAIL, say("RCPT TO:<nobody@example.org>", "550"), say("DATA", "503 5.5.1"), RCPT),
    lmtp("4.2", "content that is refused is refused for each recipient", _LHLO, MAIL, RCPT, _ALICE, DATA, content(_LARGE, "552 5.3.4", "552 5.3.4"), NOOP),
    lmtp("4.2", "one recipient has one answer", _LHLO, MAIL, RCPT, DATA, content(TEXT, _QUEUED), QUIT, stored=(KEPT,), ends=True),
    lmtp("4.2", "a chunk that is LAST is answered once for each recipient, the others once", _LHLO, MAIL, RCPT, _ALICE, chunk(TEXT[:9], "250 2.0.0 9 "), chunk(TEXT[9:], _QUEUED, _QUEUED, last=True), NOOP, stored=(_BOTH,)),
    lmtp("4.3", "PIPELINING and ENHANCEDSTATUSCODES are offered", say("LHLO c.example", "250-.*^250-PIPELINING$.*^250 ENHANCEDSTATUSCODES$")),
    check(6531, "4.3", "with says UTF8LMTP", _LHLO, mail("SMTPUTF8"), RCPT, DATA, content(TEXT), door=LMTP, stored=(Stored(TEXT, trace=" with UTF8LMTP id "),)),
    lmtp("4.2", "what stands where no chunk may is answered once, and its octets are not obeyed", _LHLO, MAIL, chunk(b"NOOP\r\n", "503 5.5.1", last=True), RCPT),
    lmtp("5", "nothing is sent on: a mailbox that is not here is refused", _LHLO, MAIL, say("RCPT TO:<x@elsewhere.example>", "550 5.7.1"), NOOP),
)  # fmt: skip

ASKED = (
    check(3461, "4", "DSN is offered without a parameter", say("EHLO c.example", "250-.*^250[- ]DSN$")),
    check(3461, "4.1", "NOTIFY is NEVER, or any of SUCCESS, FAILURE and DELAY", EHLO, MAIL, rcpt("NOTIFY=NEVER"), rcpt("NOTIFY=SUCCESS"), rcpt("NOTIFY=FAILURE,DELAY"), rcpt("notify=delay,success,failure")),
    check(3461, "4.1", "NEVER stands alone", EHLO, MAIL, rcpt("NOTIFY=NEVER,SUCCESS", "501 5.5.4"), rcpt("NOTIFY=FAILURE,NEVER", "501 5.5.4"), RCPT),
    check(3461, "4.1", "NOTIFY of other words is refused", EHLO, MAIL, rcpt("NOTIFY=ALWAYS", "501 5.5.4"), rcpt("NOTIFY", "501 5.5.4"), rcpt("NOTIFY=SUCCESS,", "501 5.5.4"), RCPT),
    check(3461, "4.1", "NOTIFY is not for MAIL", EHLO, mail("NOTIFY=NEVER", "555 5.5.4"), MAIL),
    check(3461, "4.2", "ORCPT is an address type and an address in xtext", EHLO, MAIL, rcpt("ORCPT=rfc822;bob+2Bx@example.org"), rcpt("ORCPT=x400;/c+3Dus/"), rcpt("ORCPT=bob@example.org", "501 5.5.4"), rcpt("ORCPT=rfc822;", "501 5.5.4")),
    check(3461, "4.2", "ORCPT of 500 characters is taken, a longer one refused", EHLO, MAIL, rcpt("ORCPT=rfc822;" + "a" * 493), rcpt("ORCPT=rfc822;" + "a" * 494, "501 5.5.4")),
    check(3461, "4", "xtext has + only before two hexadecimal digits in capitals", EHLO, MAIL, rcpt("ORCPT=rfc822;a+b@example.org", "501 5.5.4"), rcpt("ORCPT=rfc822;a+2b@example.org", "501 5.5.4"), rcpt("ORCPT=rfc822;a+2Bb@example.org")),
    check(3461, "4.3", "RET is FULL or HDRS", EHLO, mail("RET=FULL"), RSET, mail("RET=hdrs"), RSET, mail("RET=NONE", "501 5.5.4"), mail("RET", "501 5.5.4"), MAIL),
    check(3461, "4.3", "RET and ENVID are not for RCPT", EHLO, MAIL, rcpt("RET=FULL", "555 5.5.4"), rcpt("ENVID=x", "555 5.5.4"), RCPT),
    check(3461, "4.4", "ENVID is xtext of 100 characters at most", EHLO, mail("ENVID=QQ314159"), RSET, mail("ENVID=" + "a" * 100), RSET, mail("ENVID=" + "a" * 101, "501 5.5.4"), mail("ENVID=a+0", "501 5.5.4"), mail("ENVID", "501 5.5.4")),
    check(3461, "4.4", "an ENVID cannot bring a control character into a report", EHLO, mail("ENVID=a+0D+0AX-Evil:+201", "501 5.5.4"), MAIL),
    check(3461, "4", "a parameter that comes twice is refused", EHLO, mail("RET=FULL RET=FULL", "501"), MAIL, rcpt("NOTIFY=NEVER NOTIFY=NEVER", "501"), RCPT),
)  # fmt: skip

TOLD = (
    reported(3461, "5.2.2", "NOTIFY=SUCCESS brings a report of the delivery", 1, "Action: delivered\r\n"),
    reported(3461, "5.2.2", "NOTIFY=NEVER brings none", 2, to="NOTIFY=NEVER"),
    reported(3461, "5.2.2", "NOTIFY=FAILURE brings none of a delivery", 3, to="NOTIFY=FAILURE"),
    reported(3461, "5.2.2", "without NOTIFY no delivery is reported", 4, to="ORCPT=rfc822;bob@example.org"),
    reported(3461, "6.1", "a report is sent by the null reverse-path", 5, r"\AReturn-Path: <>\r\n"),
    reported(3461, "6.2", "RET=HDRS returns the header, without the text", 6, r"\A(?!.*\r\nText\.)", "Subject: check\r\n", "Content-Type: text/rfc822-headers"),
    reported(3461, "6.2", "RET=FULL of a delivery that succeeded returns the header alone", 7, r"\A(?!.*\r\nText\.)", "Subject: check\r\n", more="RET=FULL"),
    reported(3462, "1", "a report is multipart/report of delivery-status", 9, r'Content-Type: multipart/report;(\s+boundary="?[^\r\n]+"?;?)?\s+report-type="?delivery-status"?'),
    reported(3462, "1", "its parts are text for people, the status, and the message returned", 10, r"Content-Type: text/plain.*Content-Type: message/delivery-status.*Content-Type: (text/rfc822-headers|message/rfc822)"),
    reported(3464, "2.2.2", "Reporting-MTA is there with its type", 11, r"\r\nReporting-MTA: dns; ?mx1\.example\.org\r\n"),
    reported(3464, "2.3.1", "Original-Recipient is ORCPT, decoded", 12, r"\r\nOriginal-Recipient: rfc822; ?bob\+x@example\.org\r\n", to="NOTIFY=SUCCESS ORCPT=rfc822;bob+2Bx@example.org"),
    reported(3464, "2.3.2", "Final-Recipient is there with its type", 13, r"\r\nFinal-Recipient: rfc822; ?bob@example\.org\r\n"),
    reported(3464, "2.3.4", "Status is there, of the class that fits the action", 14, r"\r\nStatus: 2\.\d+\.\d+"),
    reported(3464, "2.3.3", "Action is delivered where the report comes from the last host", 15, r"\r\nAction: delivered\r\n"),
)  # fmt: skip

CHECKS = LOCAL + ASKED + TOLD
