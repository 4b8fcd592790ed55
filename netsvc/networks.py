"""Networks listed in settings, and whether a peer is in one of them (floor 2)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Networks:
    """Listed networks, asked often about few peers."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._networks: list[Network] = [ipaddress.ip_network(text, strict=False) for text in texts]
        self._known: dict[str, bool] = {}

    def __contains__(self, peer: str) -> bool:
        """Say whether the IP address ``peer`` (text) is in one of them; an IPv4-mapped one counts as IPv4."""
        known = self._known.get(peer)
        if known is None:
            if len(self._known) > 10_000:
                self._known.clear()
            known = self._known[peer] = self._look(peer)
        return known

    def _look(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        return any(address in network for network in self._networks if network.version == address.version)


_NETWORKS: dict[str, str] = {}
"""Networks of the peers asked about last."""


def network_of(peer: str) -> str:
    """Return the network limits count a client by: the /24 of an IPv4 address, the /64 of another; else ``peer``."""
    network = _NETWORKS.get(peer)
    if network is None:
        if len(_NETWORKS) > 10_000:
            _NETWORKS.clear()
        network = _NETWORKS[peer] = _network(peer)
    return network


def _network(peer: str) -> str:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    address = getattr(address, "ipv4_mapped", None) or address
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 64), strict=False))
