"""Greylisting: who comes for the first time is asked to come again (RFC 6647).

The key is (client network, sender, recipient), kept in the store and shared by
all nodes.  Who comes again after ``delay`` and before ``window`` is over is let
through, and known for ``keep``; a network that was let through ``passes`` times
is known as a whole.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from netsvc.deferreds import at_once
from netsvc.interfaces import IPolicy
from netsvc.mail import reply
from netsvc.mail.message import Resolution
from netsvc.policy.guests import Guests, for_postmaster
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.interfaces import ICounters, IDirectory, IPolicyGround
    from netsvc.mail.address import Address
    from netsvc.mail.envelope import Envelope, SessionFacts

REMEMBER = 60.0
"""Seconds in which a triplet that was let through is not looked up again by this node."""
MAX_KNOWN = 20_000

Triplet = tuple[str, str, str]


def network_of(peer: str, prefixes: tuple[int, int]) -> str:
    """Return the network of a client, by its prefix lengths for IPv4 and IPv6: servers of one farm take turns."""
    address = ipaddress.ip_address(peer.partition("%")[0])
    return str(ipaddress.ip_network(f"{address}/{prefixes[address.version == 6]}", strict=False))


@implementer(IPolicy)
class Greylist:
    """See the module."""

    name = "greylist"
    stages = ("rcpt",)

    def __init__(self, ground: IPolicyGround) -> None:
        """Know nobody yet."""
        self._counters: ICounters = ground.counters
        self._directory: IDirectory = ground.directory
        self._clock = ground.clock
        self._guests = Guests(ground.site)
        self._known: OrderedDict[Triplet, float] = OrderedDict()
        self._delay = 0
        self._times = (0, 0, 0)
        self._prefixes = (24, 64)

    def configure(self, values: Mapping[str, Any]) -> None:
        """See IPolicy."""
        if values["window"] <= values["delay"]:
            raise ValueError("window: it is over before delay is")
        self._guests.exempt(values["exempt"])
        self._delay = values["delay"]
        self._times = (values["window"], values["keep"], values["passes"])
        self._prefixes = (values["network_v4"], values["network_v6"])
        self._known.clear()

    def check(self, stage: str, session: SessionFacts, envelope: Envelope) -> Deferred[Verdict]:
        """Ask guests to come again, for recipients that would be taken."""
        del stage
        if session not in self._guests or for_postmaster(envelope):
            return succeed(PASS)
        address = envelope.recipients[-1].address
        triplet = (network_of(session.peer, self._prefixes), str(envelope.reverse_path).lower(), str(address).lower())
        until = self._known.get(triplet)
        if until is not None and until > self._clock.seconds():
            return succeed(PASS)
        asked = self._directory.resolve(address)
        resolution = at_once(asked, Resolution)
        if resolution is not None:
            return self._meet(resolution, address, triplet)
        return asked.addCallback(self._meet, address, triplet)

    def _meet(self, resolution: Resolution, address: Address, triplet: Triplet) -> Deferred[Verdict]:
        """Look a triplet up, unless its recipient is refused in any case."""
        if not (resolution.known if resolution.local else self._guests.mail_for(address.domain)):
            return succeed(PASS)
        return self._counters.greylist(triplet, self._delay, self._times).addCallback(self._judge, triplet)

    def _judge(self, met: tuple[int, str], triplet: Triplet) -> Verdict:
        wait, why = met
        if wait <= 0:
            self._known[triplet] = self._clock.seconds() + REMEMBER
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
            return PASS
        seconds = -(-wait // 1000)
        words = "comes for the first time" if why == "new" else "comes again too early"
        said = f"{triplet[0]} {words} with this sender and recipient; {seconds} s to wait"
        return Verdict("defer", reply.GREYLISTED.fill(seconds=seconds), said)
