"""What becomes of a session whose peer stands for somebody else (XCLIENT)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.mail.escape import escape
from netsvc.mail.marks import UNMARKED
from netsvc.mail.reply import Reply
from netsvc.smtp.xclient import named
from netsvc.smtpd.proxied import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.interfaces import ISessionEntry
    from netsvc.logbook import Logbook
    from netsvc.mail.envelope import SessionFacts


def replace_client(facts: SessionFacts, entry: ISessionEntry, given: Mapping[str, str], logbook: Logbook) -> None:
    """Have the session be that of the client ``given`` names: in policies, registry and log alike.

    What is not given stays as it was, but for the greeting, which begins anew.
    """
    by = facts.proxy or facts.peer
    facts.proxy = by
    if "ADDR" in given:
        facts.peer = given["ADDR"]
        facts.loopback = is_loopback(facts.peer)
        facts.port = 0
    if "PORT" in given:
        facts.port = int(given["PORT"])
    facts.helo = entry.helo = escape(given.get("HELO", ""))
    facts.extended = given.get("PROTO") == "ESMTP"
    if "LOGIN" in given:
        facts.user = entry.user = given["LOGIN"]
    facts.standing = facts.marks = UNMARKED
    entry.move(facts.peer, facts.port)
    logbook.event("smtp.client_replaced", session=entry.id, peer=facts.peer, by=by, given=named(given))


def greeted_anew(welcome: Reply, greeting: Reply) -> Reply:
    """Return the answer to XCLIENT when policies have said what they think of the other client."""
    if welcome.positive:
        return greeting
    return Reply(421, f"4{welcome.status[1:]}", welcome.lines)
