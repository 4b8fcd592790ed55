"""Whose addresses are whose, by this host's kernel; what hosts(5) says."""

from twisted.internet.task import Clock

from netsvc.delivery.hostsfile import LOOK, KnownHosts, parse_hosts, read_hosts
from netsvc.delivery.outside import Outside, is_own


def test_addresses_of_this_host():
    assert is_own("127.0.0.1")
    assert not is_own("198.51.99.1")
    assert not is_own("2600::1")
    assert not is_own("255.255.255.255")  # the kernel refuses to look


def test_allowed_networks_are_not_judged():
    outside = Outside(("127.0.0.0/8", "::ffff:0:0/96"), lambda _: True)
    assert outside.objection("127.0.0.1") is None
    assert outside.objection("198.51.99.1").ours


def test_hosts_file():
    text = "# ours\n127.0.0.1 localhost\n10.0.0.1\tRelay.example.org relay # near\nfe80::1%lo x\n10.0.0.2 relay\nnonsense y\n10.0.0.1 relay\n\n10.0.0.9\n"
    assert parse_hosts(text) == {
        "localhost": ("127.0.0.1",),
        "relay.example.org": ("10.0.0.1",),
        "relay": ("10.0.0.1", "10.0.0.2"),
        "x": ("fe80::1%lo",),
    }


class Threads(Clock):
    """Threads that are done at once."""

    def callInThread(self, call, *arguments):
        call(*arguments)

    callFromThread = callInThread


def test_hosts_file_is_looked_at_again(tmp_path):
    path = tmp_path / "hosts"
    assert read_hosts(path) == {}
    clock = Threads()
    known = KnownHosts(clock, clock.seconds, path)
    path.write_text("10.0.0.1 relay\n")
    assert known.addresses("relay") == ()
    clock.advance(LOOK)
    known.addresses("relay")
    assert known.addresses("relay") == ("10.0.0.1",)
    assert known.addresses("localhost") == known.addresses("mail.localhost") == ("127.0.0.1", "::1")
