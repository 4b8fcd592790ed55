"""Reverse DNS: has the client's address a name, and does that name lead back to the address (RFC 1912 2.1, RFC 8601 3).

A name that does is kept with the session, and stands in Received.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from netsvc.deferreds import at_once
from netsvc.interfaces import IPolicy
from netsvc.mail import reply
from netsvc.policy.guests import Guests, Remembered, for_postmaster, verdict
from netsvc.records import PASS, NameNotFoundError, NameTemporaryError, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from netsvc.interfaces import IPolicyGround, IResolver
    from netsvc.mail.envelope import Envelope, SessionFacts

REMEMBER = 300.0
MAX_NAMES = 10
"""Names of one address that are looked at (RFC 7208 5.5 has the same limit)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an address stands: ``state`` confirmed, unnamed, unconfirmed or unknown (not to be looked up now).

    ``name`` is the confirmed name, else the first the address has, else "".
    """

    state: str
    name: str = ""


async def standing_of(ip: str, resolver: IResolver) -> Standing:
    """Look up how an address stands -> Standing; it never fails for what the DNS does."""
    try:
        names = await resolver.ptr(ip)
    except NameNotFoundError:
        return Standing("unnamed")
    except NameTemporaryError:
        return Standing("unknown")
    address = ipaddress.ip_address(ip.partition("%")[0])
    state = "unconfirmed"
    for name in names[:MAX_NAMES]:
        try:
            there = await (resolver.a(name) if address.version == 4 else resolver.aaaa(name))
        except NameNotFoundError:
            continue
        except NameTemporaryError:
            state = "unknown"
            continue
        if any(ipaddress.ip_address(each) == address for each in there):
            return Standing("confirmed", name)
    return Standing(state, names[0])


@implementer(IPolicy)
class ReverseDns:
    """See the module."""

    name = "reverse_dns"
    stages = ("connect", "rcpt")

    def __init__(self, ground: IPolicyGround) -> None:
        """Look at nobody yet."""
        resolver = ground.resolver
        self._guests = Guests(ground.site)
        self._standings: Remembered[str, Standing] = Remembered(
            lambda peer: standing_of(peer, resolver), ground.clock, REMEMBER
        )
        self._actions: dict[str, str] = {}

    def configure(self, values: Mapping[str, Any]) -> None:
        """See IPolicy."""
        self._guests.exempt(values["exempt"])
        self._actions = {state: values[state] for state in ("unnamed", "unconfirmed", "unknown")}

    def check(self, stage: str, session: SessionFacts, envelope: Envelope) -> Verdict | Deferred[Verdict]:
        """Look the address up at connect, for whoever connects; judge guests at rcpt."""
        if session.peer == "local":
            return PASS
        asked = self._standings.get(session.peer)
        if stage == "connect":
            session.rdns = ""  # a client behind a proxy comes here twice
            asked.addCallback(_keep, session, session.peer).addErrback(_told_later)
            return PASS
        if session not in self._guests or for_postmaster(envelope):
            asked.addErrback(_told_later)
            return PASS
        known = at_once(asked, Standing)
        if known is not None:
            return self._judge(known, session)
        return asked.addCallback(self._judge, session)

    def _judge(self, standing: Standing, session: SessionFacts) -> Verdict:
        action = self._actions.get(standing.state)
        if action is None:
            session.rdns = standing.name
            return PASS
        why = {
            "unnamed": "its address has no name",
            "unconfirmed": f"the name of its address, {standing.name}, does not lead back to it",
            "unknown": "the name of its address cannot be looked up now",
        }[standing.state]
        words = {"ip": session.peer, "why": why}
        refusals = (reply.NO_REVERSE_NAME.fill(**words), reply.NO_REVERSE_NAME_NOW.fill(**words))
        return verdict(action, refusals, why, "rdns-" + standing.state)


def _keep(standing: Standing, session: SessionFacts, peer: str) -> None:
    if standing.state == "confirmed" and session.peer == peer:
        session.rdns = standing.name


def _told_later(failure: Failure) -> None:
    del failure
