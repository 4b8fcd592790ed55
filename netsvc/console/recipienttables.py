"""The rows of the directory: domains, aliases, how an address resolves."""

from __future__ import annotations

from netsvc.commands import Column, Table

C = Column

DOMAIN = Table(
    "domain/1",
    (
        C("domain", "text", "the domain", "DOMAIN", shrink=1),
        C("mailboxes", "int", "mailboxes in it", "MAILBOXES"),
        C("aliases", "int", "aliases in it", "ALIASES"),
        C("alias_of", "text", "the domain it is another name of", "ALIAS OF", shrink=2),
        C("catchall", "text", "where mail for its unknown addresses goes", "CATCH-ALL", shrink=1),
    ),
    "one domain of ours",
)

ALIAS = Table(
    "alias/1",
    (
        C("kind", "enum", "what leads on", "KIND", words=("alias", "catch-all", "domain")),
        C("address", "text", "the address mail comes to; @domain for all of a domain", "ADDRESS", shrink=1),
        C("targets", "list", "where it goes", "TARGETS", shrink=1),
    ),
    "one alias, one catch-all, or one other name of a domain",
)

ADDRESS_STEPS = (
    "elsewhere",
    "domain",
    "mailbox",
    "alias",
    "tag",
    "postmaster",
    "abuse",
    "catch-all",
    "unknown",
    "forward",
    "loop",
    "limit",
    "reply",
)
ADDRESS = Table(
    "address/1",
    (
        C("step", "int", "number", "STEP"),
        C("address", "text", "the address looked for", "ADDRESS", shrink=1),
        C("is", "enum", "what it is", "IS", words=ADDRESS_STEPS),
        C("to", "list", "where it leads", "TO", shrink=1, show="blank"),
        C("note", "text", "in words; of the last step, the reply to RCPT", "NOTE", shrink=2, show="wrap"),
    ),
    "one step of how an address resolves",
)

RECIPIENTS = Table(
    "recipients/1",
    (
        C("quota", "size", "octets a mailbox made without a quota may hold, 0 for any", "QUOTA", show="zero"),
        C("quota_messages", "int", "mails such a mailbox may hold, 0 for any", "MAX", show="zero"),
        C("separator", "text", "what divides a user from a tag, absent for no tags", "SEPARATOR"),
    ),
    "what holds for all recipients",
)
