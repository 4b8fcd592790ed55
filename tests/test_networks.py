"""Networks limits count by."""

import pytest

from netsvc import networks
from netsvc.networks import network_of


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("local", "local"),
    ],
)
def test_the_network_of_a_peer(peer, network):
    assert network_of(peer) == network
    assert network_of(peer) == network


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(networks, "_NETWORKS", {str(n): "x" for n in range(10_001)})
    assert network_of("192.0.2.1") == "192.0.2.0/24"
    assert len(networks._NETWORKS) == 1
