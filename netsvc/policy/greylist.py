"""Greylisting: who comes for the first time is asked to come again (RFC 6647).

The key is (client network, sender, recipient), kept in the store and shared by
all nodes.  Who comes again after ``delay`` and before ``window`` is over is let
through, and known for ``keep``; a network that was let through ``passes`` times
is known as a whole.  Where SPF says that the client may send for the sender's
domain, the domain can stand for the network: large senders come from many.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet import defer
from twisted.internet.defer import Deferred
from zope.interface import implementer

from netsvc.deferreds import at_once
from netsvc.interfaces import IPolicy
from netsvc.mail import reply
from netsvc.mail.message import Resolution
from netsvc.policy.auth.spf import SpfCheck, SpfClient, client_ip
from netsvc.policy.guests import Guests, Remembered, for_postmaster
from netsvc.records import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netsvc.interfaces import ICounters, IDirectory, IPolicyGround
    from netsvc.mail.address import Address
    from netsvc.mail.envelope import Envelope, SessionFacts

REMEMBER = 60.0
"""Seconds in which a triplet that was let through is not looked up again by this node."""
MAX_KNOWN = 20_000
SPF_SECONDS = 8.0
"""What SPF has to say after this is not waited for."""
REMEMBER_SPF = 300.0


class Coming(NamedTuple):
    """Who brings what: the client's address, its HELO name, the sender, the recipient."""

    peer: str
    helo: str
    sender: str
    rcpt: str


def network_of(peer: str, prefixes: tuple[int, int]) -> str:
    """Return the network of a client, by its prefix lengths for IPv4 and IPv6: servers of one farm take turns."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
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
        self._resolver = ground.resolver
        self._known: OrderedDict[Coming, float] = OrderedDict()
        self._spf: Remembered[tuple[str, str, str], bool] = Remembered(self._passes_spf, ground.clock, REMEMBER_SPF)
        self._spf_use = "off"
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
        self._spf_use = values["spf"]
        self._known.clear()

    def check(self, stage: str, session: SessionFacts, envelope: Envelope) -> Verdict | Deferred[Verdict]:
        """Ask guests to come again, for recipients that would be taken."""
        del stage
        if session not in self._guests or for_postmaster(envelope):
            return PASS
        address = envelope.recipients[-1].address
        coming = Coming(session.peer, session.helo, str(envelope.reverse_path).lower(), str(address).lower())
        until = self._known.get(coming)
        if until is not None and until > self._clock.seconds():
            return PASS
        asked = self._directory.resolve(address)
        resolution = at_once(asked, Resolution)
        if resolution is not None:
            return self._meet(resolution, address, coming)
        return asked.addCallback(self._meet, address, coming)

    def _meet(self, resolution: Resolution, address: Address, coming: Coming) -> Verdict | Deferred[Verdict]:
        """Look up who comes, unless its recipient is refused in any case."""
        if not (resolution.known if resolution.local else self._guests.mail_for(address.domain)):
            return PASS
        if self._spf_use == "off" or not coming.sender:
            return self._look_up(coming, network_of(coming.peer, self._prefixes))
        return self._spf.get(coming[:3]).addCallback(self._with_spf, coming)

    def _with_spf(self, passed: bool, coming: Coming) -> Verdict | Deferred[Verdict]:
        """Go on, knowing whether SPF says that the client may send for the sender's domain."""
        if passed and self._spf_use == "exempt":
            return PASS
        domain = coming.sender.rpartition("@")[2]
        return self._look_up(coming, f"spf:{domain}" if passed else network_of(coming.peer, self._prefixes))

    async def _passes_spf(self, sent_by: tuple[str, str, str]) -> bool:
        peer, helo, sender = sent_by
        try:
            check = Deferred.fromCoroutine(SpfCheck(self._resolver, SpfClient(client_ip(peer), helo, sender)).run())
            return (await check.addTimeout(SPF_SECONDS, self._clock)).result == "pass"
        except (ValueError, defer.TimeoutError):
            return False

    def _look_up(self, coming: Coming, network: str) -> Deferred[Verdict]:
        met = self._counters.greylist((network, coming.sender, coming.rcpt), self._delay, self._times)
        return met.addCallback(self._judge, coming, network)

    def _judge(self, met: tuple[int, str], coming: Coming, network: str) -> Verdict:
        wait, why = met
        if wait <= 0:
            self._known[coming] = self._clock.seconds() + REMEMBER
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
            return PASS
        seconds = -(-wait // 1000)
        words = "comes for the first time" if why == "new" else "comes again too early"
        said = f"{network} {words} with this sender and recipient; {seconds} s to wait"
        return Verdict("defer", reply.GREYLISTED.fill(seconds=seconds), said)
