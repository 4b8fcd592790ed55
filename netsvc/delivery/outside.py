"""Which addresses the DNS may lead us to: those of other hosts on the Internet (SMTP.md T13).

Whoever writes a zone decides where its mail goes, but not that it comes to this
host itself, nor into a network that only we can reach.  A site names the networks
that are exempt (``mx_allow_networks``); routes are not asked at all.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, NamedTuple

from netsvc.mail.outcome import Fault
from netsvc.networks import Networks

if TYPE_CHECKING:
    from collections.abc import Callable

MAPPED = ipaddress.ip_network("::ffff:0:0/96")


def is_own(address: str) -> bool:
    """Say whether ``address`` (text) is one of this host's: the kernel takes it as the source of its own packets.

    Nothing is sent.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect((address, 9))
            own: str = asking.getsockname()[0]
        except OSError:  # no route, or no IPv6 at all
            return False
    return own == address


class Objection(NamedTuple):
    """Why mail is not to go to an address: LOOP where it would stay here, else ROUTING; ``ours``: it is our own."""

    fault: Fault
    words: str
    ours: bool = False


class Outside:
    """Judges addresses.  ``allowed`` are networks, as text, in which any address is fine."""

    def __init__(self, allowed: tuple[str, ...], own: Callable[[str], bool] = is_own) -> None:
        self.allowed = allowed
        self._networks = Networks(allowed)
        self._own = own

    def objection(self, address: str) -> Objection | None:
        """Return why mail is not to go to ``address``, None where it may."""
        if address in self._networks:
            return None
        ip = ipaddress.ip_address(address)
        if ip in MAPPED:
            return Objection(Fault.ROUTING, "an IPv4 address written as IPv6")
        if ip.is_unspecified:
            return Objection(Fault.LOOP, "the unspecified address")
        if ip.is_loopback:
            return Objection(Fault.LOOP, "a loopback address")
        if self._own(address):
            return Objection(Fault.LOOP, "an address of this host", ours=True)
        if ip.is_multicast:
            return Objection(Fault.ROUTING, "a multicast address")
        if not ip.is_global:
            return Objection(Fault.ROUTING, "not an address of the public Internet")
        return None
