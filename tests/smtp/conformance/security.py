"""STARTTLS, implicit TLS, AUTH, and what users may ask for: RFC 3207, 8314, 4954, 4616, 6409, 4865, 2852, 6710, 8689."""

import base64

from tests.smtp.conformance.check import (
    DATA,
    EHLO,
    HANDSHAKE,
    KEPT,
    MAIL,
    MAX_SIZE,
    NOOP,
    PASSWORD,
    QUIT,
    RCPT,
    RSET,
    SUBMISSION,
    SUBMISSIONS,
    TEXT,
    USER,
    Stored,
    check,
    content,
    raw,
    say,
)


def b64(text):
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


STARTTLS = say("STARTTLS", "220 2.0.0")
TLS = (EHLO, STARTTLS, HANDSHAKE, EHLO)
PLAIN = b64(f"\0{USER}\0{PASSWORD}")
LOGIN = say(f"AUTH PLAIN {PLAIN}", "235 2.7.0")
IN = (*TLS, LOGIN)
OWN = say(f"MAIL FROM:<{USER}>", "250 2.1.0")
_WRONG = b64("\0nobody@example.org\0wrong")
_OFFERED = "250-.*^250[- ]"


def user(rfc, section, says, *turns, **more):
    """A check on the listener for users, inside TLS."""
    return check(rfc, section, says, *TLS, *turns, door=SUBMISSION, **more)


def known(rfc, section, says, *turns, **more):
    """The same, logged in."""
    return check(rfc, section, says, *IN, *turns, door=SUBMISSION, **more)


def mine(parameters, *replies):
    return say(f"MAIL FROM:<{USER}> {parameters}", *(replies or ("250 2.1.0",)))


ENCRYPTION = (
    check(3207, "4", "STARTTLS is offered without a parameter", say("EHLO c.example", _OFFERED + "STARTTLS$")),
    check(3207, "4", "STARTTLS takes no argument", EHLO, say("STARTTLS now", "501 5.5.4"), NOOP),
    check(3207, "4", "STARTTLS is answered with 220, and the handshake follows", *TLS, NOOP, QUIT, ends=True),
    check(3207, "4.2", "inside TLS STARTTLS is not offered and refused", EHLO, STARTTLS, HANDSHAKE, say("EHLO c.example", r"\A(?!.*STARTTLS)250-"), say("STARTTLS", "503 5.5.1")),
    check(3207, "4.2", "what was said before the handshake is forgotten", EHLO, STARTTLS, HANDSHAKE, say("MAIL FROM:<carol@example.net>", "503 5.5.1"), EHLO, MAIL),
    check(3207, "4.2", "a transaction does not go on beyond the handshake", EHLO, MAIL, RCPT, RSET, STARTTLS, HANDSHAKE, EHLO, say("DATA", "503 5.5.1")),
    check(3207, "4", "STARTTLS within a transaction is refused and leaves it as it was", EHLO, MAIL, RCPT, say("STARTTLS", "503 5.5.1"), DATA, content(TEXT), stored=(KEPT,)),
    check(3207, "6", "what comes in clear behind STARTTLS is not obeyed inside", EHLO, raw(b"STARTTLS\r\nMAIL FROM:<evil@example.net>\r\n", "554 5.5.1"), ends=True, glued=True),
    check(3207, "4", "mail may come without STARTTLS where users do not log in", say("EHLO in-clear.example", "250-"), MAIL, RCPT, DATA, content(TEXT), stored=(KEPT,)),
    check(3207, "4", "mail comes inside TLS", *TLS, MAIL, RCPT, DATA, content(TEXT), stored=(KEPT,)),
    check(3848, "1", "with says ESMTPS inside TLS", *TLS, MAIL, RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace=" with ESMTPS id "),)),
    check(3207, "4.1", "a listener for users asks for STARTTLS with 530 before MAIL", EHLO, say("MAIL FROM:<carol@example.net>", "530 5.7.0"), NOOP, QUIT, door=SUBMISSION, ends=True),
    check(8314, "3.3", "where TLS is implicit the greeting comes inside", EHLO, NOOP, door=SUBMISSIONS),
    check(8314, "3.3", "where TLS is implicit STARTTLS is not offered", say("EHLO c.example", r"\A(?!.*STARTTLS)250-"), say("STARTTLS", "503 5.5.1"), door=SUBMISSIONS),
    check(8314, "3.3", "where TLS is implicit users log in and send", EHLO, LOGIN, OWN, RCPT, DATA, content(TEXT), door=SUBMISSIONS, stored=(Stored(TEXT, trace=" with ESMTPSA id "),)),
    check(8689, "2", "REQUIRETLS is offered inside TLS without a parameter", EHLO, STARTTLS, HANDSHAKE, say("EHLO c.example", _OFFERED + "REQUIRETLS$")),
    check(8689, "2", "REQUIRETLS has no value", *TLS, say("MAIL FROM:<carol@example.net> REQUIRETLS=1", "501 5.5.4"), say("MAIL FROM:<carol@example.net> REQUIRETLS", "250")),
    check(8689, "4.1", "a message may be sent with REQUIRETLS", *TLS, say("MAIL FROM:<carol@example.net> REQUIRETLS", "250"), RCPT, DATA, content(TEXT), stored=(KEPT,)),
)  # fmt: skip

LOGINS = (
    check(4954, "3", "AUTH is offered inside TLS with the mechanisms", EHLO, STARTTLS, HANDSHAKE, say("EHLO c.example", _OFFERED + "AUTH( SCRAM-SHA-256-PLUS)? SCRAM-SHA-256 PLAIN LOGIN$"), door=SUBMISSION),
    check(4954, "4", "AUTH is not offered outside TLS, and refused with 538", say("EHLO c.example", r"\A(?!.*AUTH)250-"), say(f"AUTH PLAIN {_WRONG}", "538 5.7.11"), NOOP, door=SUBMISSION),
    check(4954, "4", "AUTH is refused where nobody may log in", say("EHLO c.example", r"\A(?!.*AUTH)250-"), say(f"AUTH PLAIN {_WRONG}", "50[23] 5.5.1")),
    check(4954, "4", "AUTH with an initial response succeeds with 235", *IN, door=SUBMISSION),
    user(4954, "4", "AUTH without an initial response is asked for it with 334", say("AUTH PLAIN", "334 $"), say(PLAIN, "235 2.7.0")),
    user(4954, "4", "names of mechanisms may be in any case", say(f"auth plain {PLAIN}", "235 2.7.0")),
    user(4954, "4", "a mechanism that is not offered is refused with 504", say("AUTH CRAM-MD5", "504 5.5.4"), say("AUTH XTOKEN abcd", "504 5.5.4"), NOOP),
    user(4954, "4", "AUTH without a mechanism is a syntax error", say("AUTH", "501 5.5.4"), NOOP),
    user(4954, "4", "the client cancels with * and gets 501", say("AUTH PLAIN", "334"), say("*", "501 5.7.0"), say("AUTH LOGIN", "334"), say("*", "501 5.7.0"), NOOP, LOGIN),
    user(4954, "4", "what is no base64 is refused with 501", say("AUTH PLAIN", "334"), say("not base64!", "501 5.5.2"), say("AUTH PLAIN a=b", "501 5.5.2"), say("AUTH PLAIN AGEAYg=", "501 5.5.2"), LOGIN),
    user(4954, "4", "= stands for an initial response that is empty", say("AUTH PLAIN =", "501"), LOGIN),
    user(4954, "4", "a response of 12288 octets is read, a longer one refused with 500", say("AUTH PLAIN", "334"), raw(b"A" * 13000 + b"\r\n", "500 5.5.6"), NOOP, LOGIN),
    check(4954, "4", "AUTH is out of order before EHLO", EHLO, STARTTLS, HANDSHAKE, say(f"AUTH PLAIN {PLAIN}", "503 5.5.1"), EHLO, LOGIN, door=SUBMISSION),
    known(4954, "4", "after success AUTH is refused with 503", say(f"AUTH PLAIN {PLAIN}", "503 5.5.1"), OWN),
    known(4954, "4", "within a transaction AUTH is refused with 503", OWN, say("AUTH PLAIN", "503 5.5.1"), RCPT),
    user(4954, "6", "wrong credentials are refused with 535 5.7.8, whoever it is", say(f"AUTH PLAIN {_WRONG}", "535 5.7.8 Authentication credentials invalid$"), LOGIN),
    user(4954, "6", "MAIL before AUTH is refused with 530", say(f"MAIL FROM:<{USER}>", "530 5.7.0"), LOGIN, OWN),
    known(4954, "5", "MAIL takes AUTH= once AUTH is offered", mine("AUTH=<>"), RSET, mine("AUTH=alice@example.org"), RSET, mine("AUTH=e+3Dmc2@example.com"), RCPT, DATA, content(TEXT), stored=(KEPT,)),
    known(4954, "5", "AUTH= is a mailbox in xtext, or <>", mine("AUTH=", "501"), mine("AUTH=e+ZZ@example.com", "501 5.5.4"), mine("AUTH=<", "501 5.5.4"), OWN),
    check(4954, "5", "AUTH= is not known where AUTH is not offered", EHLO, say("MAIL FROM:<carol@example.net> AUTH=<>", "555 5.5.4"), MAIL),
    user(4616, "2", "PLAIN with an authorization identity that is the user's own succeeds", say("AUTH PLAIN " + b64(f"{USER}\0{USER}\0{PASSWORD}"), "235")),
    user(4616, "2", "PLAIN without its two NULs is refused", say("AUTH PLAIN " + b64(USER), "501"), say("AUTH PLAIN " + b64(f"\0{USER}"), "501"), LOGIN),
    user(4954, "4", "LOGIN asks for a name and a password", say("AUTH LOGIN", "334 VXNlcm5hbWU6$"), say(b64(USER), "334 UGFzc3dvcmQ6$"), say(b64(PASSWORD), "235 2.7.0")),
    known(3848, "1", "with says ESMTPSA inside TLS and logged in", OWN, RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace=" with ESMTPSA id "),)),
    known(4954, "4", "EHLO behind AUTH leaves the user logged in", EHLO, OWN, RSET, say(f"AUTH PLAIN {PLAIN}", "503 5.5.1")),
    user(4954, "4", "a response within 12288 octets is read to its end", say("AUTH PLAIN", "334"), say(b64("\0nobody@example.org\0" + "w" * 9100), "535 5.7.8"), NOOP),
    user(4954, "4", "an empty response where one is asked for is no success", say("AUTH PLAIN", "334"), say("", "501"), NOOP),
    user(4954, "4", "nothing may follow the initial response", say(f"AUTH PLAIN {PLAIN} more", "501"), say(f"MAIL FROM:<{USER}>", "530 5.7.0")),
    user(4954, "4", "commands within an exchange are responses", say("AUTH PLAIN", "334"), say("QUIT", "501"), NOOP),
    known(6531, "4.3", "with says UTF8SMTPSA inside TLS and logged in", mine("SMTPUTF8"), RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace=" with UTF8SMTPSA id "),)),
)  # fmt: skip

USERS = (
    known(6409, "3.3", "who has logged in may send to elsewhere", OWN, say("RCPT TO:<x@elsewhere.example>", "250 2.1.5"), RSET),
    known(6409, "6.1", "a sender that is not the user's is refused", say("MAIL FROM:<bob@example.org>", "55[03] 5.7.1"), OWN),
    known(6409, "3.2", "bounces may be sent by users", say("MAIL FROM:<>", "250"), RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace="Return-Path: <>"),)),
    known(6409, "8.2", "a missing Date is added", OWN, RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace=r"\r\nDate: [A-Z][a-z]{2}, \d"),)),
    known(6409, "8.3", "a missing Message-ID is added", OWN, RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace=r"\r\nMessage-ID: <[^<>@\s]+@mx1\.example\.org>\r\n"),)),
    known(6409, "8.2", "Date and Message-ID that are there stay alone", OWN, RCPT, DATA, content(b"DATE: Thu, 1 Jan 2026 00:00:00 +0000\r\nmessage-id: <a@b>\r\n" + TEXT), stored=(Stored(b"DATE: Thu, 1 Jan 2026 00:00:00 +0000\r\nmessage-id: <a@b>\r\n" + TEXT, trace=r"\A(?!.*\r\n(Date|Message-ID):)"),)),
    check(6409, "8", "between servers neither is added", EHLO, MAIL, RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace=r"\A(?!.*\r\n(Date|Message-ID):)"),)),
    check(4865, "3", "FUTURERELEASE is offered with its two limits", EHLO, STARTTLS, HANDSHAKE, say("EHLO c.example", _OFFERED + r"FUTURERELEASE \d+ \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"), door=SUBMISSION),
    known(4865, "3", "HOLDFOR takes seconds within the limit", mine("HOLDFOR=3600"), RSET, mine("HOLDFOR=999999999", "501 5.5.4"), mine("HOLDFOR=soon", "501 5.5.4"), OWN),
    known(4865, "3", "HOLDUNTIL takes a date and time in UTC or with its offset", mine("HOLDUNTIL=2001-01-01T00:00:00Z"), RSET, mine("HOLDUNTIL=2001-01-01T02:00:00+02:00"), RSET, mine("HOLDUNTIL=2001-13-01T00:00:00Z", "501 5.5.4"), mine("HOLDUNTIL=tomorrow", "501 5.5.4")),
    known(4865, "3", "HOLDFOR and HOLDUNTIL do not go together", mine("HOLDFOR=60 HOLDUNTIL=2001-01-01T00:00:00Z", "501 5.5.4"), OWN),
    check(2852, "4", "DELIVERBY is offered", EHLO, STARTTLS, HANDSHAKE, say("EHLO c.example", _OFFERED + "DELIVERBY"), door=SUBMISSION),
    known(2852, "4", "BY is seconds, a mode R or N, and T for a trace", mine("BY=120;R"), RSET, mine("BY=-60;N"), RSET, mine("BY=60;nt"), RSET, mine("BY=60", "501 5.5.4"), mine("BY=60;X", "501 5.5.4")),
    known(2852, "4", "BY with mode R has a positive time", mine("BY=0;R", "501 5.5.4"), mine("BY=-5;R", "501 5.5.4"), mine("BY=0;N")),
    check(6710, "3", "MT-PRIORITY is offered", EHLO, STARTTLS, HANDSHAKE, say("EHLO c.example", _OFFERED + "MT-PRIORITY( MIXER)?$"), door=SUBMISSION),
    known(6710, "4", "MT-PRIORITY is a number from -9 to 9", mine("MT-PRIORITY=9"), RSET, mine("MT-PRIORITY=-9"), RSET, mine("MT-PRIORITY=0"), RSET, mine("MT-PRIORITY=10", "501 5.5.4"), mine("MT-PRIORITY=high", "501 5.5.4")),
    known(1870, "6.1", "the limit of size holds for users too", mine(f"SIZE={MAX_SIZE + 1}", "552 5.3.4"), OWN),
)  # fmt: skip

CHECKS = ENCRYPTION + LOGINS + USERS
