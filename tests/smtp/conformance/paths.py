"""RFC 5321: paths, mailboxes, and who may send to whom."""

from tests.smtp.conformance.check import (
    DATA,
    EHLO,
    KEPT,
    MAIL,
    RCPT,
    TEXT,
    Stored,
    check,
    content,
    say,
)

_LABEL = "b" * 63
_ALICE = Stored(TEXT, ("alice@example.org",))


def sender(path, *replies):
    return say(f"MAIL FROM:<{path}>", *(replies or ("250 2.1.0",)))


def recipient(path, *replies):
    return say(f"RCPT TO:<{path}>", *(replies or ("250 2.1.5",)))


def taken(section, says, path, stored=_ALICE):
    """A check of RFC 5321: a message to one path is kept there."""
    return check(5321, section, says, EHLO, MAIL, recipient(path), DATA, content(TEXT), stored=(stored,))


SENDERS = (
    check(5321, "4.5.5", "the null reverse-path is taken", EHLO, sender(""), RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace="Return-Path: <>"),)),
    check(5321, "4.1.2", "all characters of an atom may be in a local part", EHLO, sender("!#$%&'*+-/=?^_`{|}~@example.net")),
    check(5321, "4.1.2", "a quoted local part may hold spaces and specials", EHLO, sender('"carol of (sales) <x>, @home"@example.net')),
    check(5321, "4.1.2", "a quoted local part may hold quoted pairs", EHLO, sender('"carol\\"s \\\\ box"@example.net')),
    check(5321, "4.1.2", "a quoted string that does not end is refused", EHLO, say('MAIL FROM:<"carol@example.net>', "501 5.")),
    check(5321, "4.1.2", "a dot may not stand first, last or twice in a local part", EHLO, sender(".carol@example.net", "501 5.1.7"), sender("carol.@example.net", "501 5.1.7"), sender("ca..rol@example.net", "501 5.1.7")),
    check(5321, "4.1.2", "unquoted specials are refused in a local part", EHLO, sender("ca rol@example.net", "501 5"), sender("ca(rol)@example.net", "501 5.1.7"), sender("ca,rol@example.net", "501 5.1.7"), sender("a@b@example.net", "501 5.1.7")),
    check(5321, "4.1.2", "a sender has a local part and a domain", EHLO, sender("carol", "501 5.1.7"), sender("@example.net", "501 5.1.7"), sender("carol@", "501 5.1.7")),
    check(5321, "4.1.2", "labels of a domain are letters, digits and hyphens within", EHLO, sender("c@xn--bcher-kva.example"), say("RSET", "250"), sender("c@-x.example", "501 5.1.7"), sender("c@x-.example", "501 5.1.7"), sender("c@x..example", "501 5.1.7"), sender("c@ex*ample", "501 5.1.7")),
    check(5321, "4.1.3", "a domain may be the literal of an IPv4 address", EHLO, sender("carol@[192.0.2.1]"), say("RSET", "250"), sender("carol@[192.0.2.256]", "501 5.1.7"), sender("carol@[192.0.2]", "501 5.1.7")),
    check(5321, "4.1.3", "a domain may be the literal of an IPv6 address", EHLO, sender("carol@[IPv6:2001:db8::1]"), say("RSET", "250"), sender("carol@[IPv6:2001:db8:::1]", "501 5.1.7"), sender("carol@[2001:db8::1]", "501 5.1.7")),
    check(5321, "4.5.3.1.1", "a local part of 64 octets is taken, one of 65 refused", EHLO, sender("a" * 64 + "@example.net"), say("RSET", "250"), sender("a" * 65 + "@example.net", "501 5.1.7")),
    check(5321, "4.5.3.1.3", "a path of 256 octets with its brackets is taken, a longer one refused", EHLO, sender("abc@" + ".".join([_LABEL] * 3 + ["b" * 58])), say("RSET", "250"), sender("abcd@" + ".".join([_LABEL] * 3 + ["b" * 58]), "501 5.1.7")),
    check(1035, "2.3.4", "a label of a domain has 63 octets at most", EHLO, sender(f"c@{_LABEL}.example"), say("RSET", "250"), sender(f"c@b{_LABEL}.example", "501 5.1.7")),
    check(5321, "C", "a source route in a reverse-path is taken and ignored", EHLO, sender("@a.example,@b.example:carol@example.net"), RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace="Return-Path: <carol@example.net>"),)),
    check(5321, "2.4", "the case of a sender's local part is kept", EHLO, sender("CaRoL@example.net"), RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace="Return-Path: <CaRoL@example.net>"),)),
    check(5321, "4.1.2", "a quoted local part may be empty", EHLO, sender('""@example.net'), RCPT, DATA, content(TEXT), stored=(Stored(TEXT, trace='Return-Path: <""@example.net>'),)),
    check(5321, "4.1.3", "a literal of another kind is refused", EHLO, sender("carol@[x-tag:there]", "501 5.1.7"), sender("carol@[]", "501 5.1.7"), MAIL),
    check(5321, "4.5.3.1.2", "a domain of 255 octets is beyond what a path can hold, one of 250 is taken", EHLO, sender("c@" + ".".join([_LABEL] * 3 + ["b" * 58])), say("RSET", "250"), sender("c@" + ".".join([_LABEL] * 4), "501 5.1.7")),
    check(5321, "2.3.5", "a domain has no dot at its end", EHLO, sender("carol@example.net.", "501 5.1.7"), MAIL),
)  # fmt: skip

RECIPIENTS = (
    check(5321, "4.5.1", "Postmaster without a domain is taken, in any case", EHLO, MAIL, recipient("Postmaster"), recipient("POSTMASTER"), DATA, content(TEXT), stored=(Stored(TEXT, ("postmaster@example.org",)),)),
    taken("4.5.1", "postmaster of a domain of ours is taken", "postmaster@example.org", Stored(TEXT, ("postmaster@example.org",))),
    check(5321, "4.1.1.3", "the null path is no recipient", EHLO, MAIL, recipient("", "501 5.1.3")),
    check(5321, "4.1.1.3", "a recipient without a domain other than Postmaster is refused", EHLO, MAIL, recipient("bob", "501 5.1.3")),
    taken("2.4", "domains are compared without regard to case", "alice@EXAMPLE.Org"),
    taken("4.1.2", "a quoted local part is the same mailbox as an unquoted one", '"alice"@example.org'),
    taken("4.1.2", "a quoted pair is the same as its character", '"al\\ice"@example.org'),
    taken("3.6.1", "a source route in a forward-path is ignored", "@hop.example,@example.org:alice@example.org"),
    check(5321, "3.6.1", "a source route that is none is refused", EHLO, MAIL, recipient("@hop.example alice@example.org", "501 5"), recipient("@hop.example", "501 5.1.3"), recipient("hop.example:alice@example.org", "501 5.1.3")),
    check(5321, "3.3", "a mailbox that does not exist is refused with 550", EHLO, MAIL, recipient("nobody@example.org", "550 5.1.1")),
    check(5321, "3.6.2", "mail for elsewhere is not relayed for strangers", EHLO, MAIL, recipient("x@elsewhere.example", "550 5.7.1")),
    check(5321, "3.6.1", "a source route is no way around that", EHLO, MAIL, recipient("@example.org:x@elsewhere.example", "550 5.7.1")),
    check(5321, "2.3.11", "what stands in a local part is no route", EHLO, MAIL, recipient("x%elsewhere.example@example.org", "550 5.1.1"), recipient("elsewhere.example!x@example.org", "550 5.1.1"), recipient('"x@elsewhere.example"@example.org', "550 5.1.1")),
    check(5321, "4.1.2", "a dot may not stand first, last or twice in a recipient", EHLO, MAIL, recipient(".bob@example.org", "501 5.1.3"), recipient("bob.@example.org", "501 5.1.3"), recipient("b..ob@example.org", "501 5.1.3")),
    check(5321, "4.5.3.1.1", "a recipient's local part of 65 octets is refused as syntax", EHLO, MAIL, recipient("a" * 64 + "@example.org", "550 5.1.1"), recipient("a" * 65 + "@example.org", "501 5.1.3")),
    check(5321, "4.1.1.3", "the same recipient twice gets the message once", EHLO, MAIL, RCPT, RCPT, DATA, content(TEXT), stored=(KEPT,)),
)  # fmt: skip

CHECKS = SENDERS + RECIPIENTS
