"""Names and servers as text."""

import pytest

from netsvc.resolver.names import Server, reverse_name, server_of, servers_of_host, shown_name, wire_name


def test_names_that_may_be_asked_for():
    assert wire_name("Example.ORG.") == b"example.org"
    assert wire_name("_25._tcp.mx.example.org") == b"_25._tcp.mx.example.org"
    assert wire_name("bücher.example") == b"xn--bcher-kva.example"
    assert wire_name("a" * 63 + ".example") == b"a" * 63 + b".example"


@pytest.mark.parametrize(
    "text", ["", ".", "a..b", ".a", "a" * 64 + ".example", "a." * 127 + "a", "\ud800.example", "ü" * 300]
)
def test_names_that_are_none(text):
    assert wire_name(text) is None


def test_names_of_answers_are_plain_or_nothing():
    assert shown_name(b"MX.Example.org") == "mx.example.org"
    assert shown_name(b"0/25.2.0.192.in-addr.arpa.") == "0/25.2.0.192.in-addr.arpa"
    assert shown_name(b"") == shown_name(b".") == ""
    for odd in (b"a b", b"x\r\ny", b"\x1b[31m", b"\xff", b"a;b", b"<x>"):
        assert shown_name(odd) is None


def test_reverse_names():
    assert reverse_name("192.0.2.1") == "1.2.0.192.in-addr.arpa"
    assert reverse_name("::ffff:192.0.2.1") == "1.2.0.192.in-addr.arpa"
    assert reverse_name("fe80::1%eth0").endswith(".8.e.f.ip6.arpa")
    assert reverse_name("local") is None


def test_servers():
    assert server_of("192.0.2.53") == Server("192.0.2.53", 53)
    assert str(server_of("192.0.2.53:5300")) == "192.0.2.53:5300"
    assert server_of("::1") == Server("::1", 53)
    assert str(server_of("[::1]:5300")) == "[::1]:5300"
    assert server_of("[::1]") == Server("::1", 53)
    for text in ("ns.example.org", "192.0.2.53:0", "192.0.2.53:x", "192.0.2.53:65536", "[::1", "[::1]53", ""):
        with pytest.raises(ValueError, match=r"."):
            server_of(text)


def test_the_hosts_servers():
    text = "# x\nsearch example.org\nnameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver x\n nameserver\t::1 \nnameserver\n"
    assert servers_of_host(text) == (Server("192.0.2.1"), Server("::1"))
    assert servers_of_host("") == (Server("127.0.0.1"),)
    assert len(servers_of_host("".join(f"nameserver 192.0.2.{n}\n" for n in range(20)))) == 8
