"""[tls], and what listeners promise of TLS and AUTH."""

import pytest

from netsvc.config.complaints import ConfigError
from netsvc.config.node import Overrides, read_node
from netsvc.config.rooms import Rooms
from netsvc.config.tls import TlsPair, auth_of, encrypted
from netsvc.discovery import protocols

TLS = '[tls]\ncertificate = "c.pem"\nkey = "/k/k.pem"\n'


def read(text, tmp_path):
    rooms = Rooms(protocols().makers, lambda pattern, target: None)
    return read_node(('hostname = "mx1.example.org"\n' + text).encode(), tmp_path / "n.toml", Overrides(), rooms)


def complaints(text, tmp_path):
    with pytest.raises(ConfigError) as caught:
        read(text, tmp_path)
    return [(each.key, str(each)) for each in caught.value.complaints]


def test_pairs(tmp_path):
    node = read(
        TLS + '[tls.names."MX2.example.org"]\ncertificate = "d.pem"\nkey = "../d.key"\n'
        '[tls.names."*.example.net"]\ncertificate = "e.pem"\nkey = "e.pem"\n',
        tmp_path,
    )
    assert node.tls == (
        TlsPair("", tmp_path / "c.pem", type(tmp_path)("/k/k.pem")),
        TlsPair("mx2.example.org", tmp_path / "d.pem", tmp_path.parent / "d.key"),
        TlsPair("*.example.net", tmp_path / "e.pem", tmp_path / "e.pem"),
    )
    assert read("", tmp_path).tls == ()


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ('[tls]\ncertificate = "c"\n', "tls.key", "is missing; name the file with its key (PEM)"),
        ('[tls]\nkey = "c"\n', "tls.certificate", "is missing; name the file with the certificate and its chain"),
        ('[tls]\ncertificate = 1\nkey = "k"\n', "tls.certificate", "is a number, not text"),
        (TLS + 'chain = "x"\n', "tls.chain", 'there is no key "chain" here'),
        (TLS + 'names = "x"\n', "tls.names", "not a table"),
        (TLS + "[tls.names]\nx = 1\n", "tls.names.x", "is a number, not a table"),
        (TLS + '[tls.names."a b"]\n', 'tls.names."a b"', '"a b"'),
        (TLS + '[tls.names."mx.example.org"]\nkey = "k"\n', 'tls.names."mx.example.org".certificate', "is missing"),
        ("tls = 1\n", "tls", "not a table"),
    ],
)
def test_what_is_wrong_with_tls(tmp_path, text, key, said):
    found = complaints(text, tmp_path)
    assert [each for each, _ in found] == [key]
    assert said in found[0][1]


def test_a_name_twice(tmp_path):
    table = '[tls.names."{}"]\ncertificate = "c"\nkey = "k"\n'
    found = complaints(TLS + table.format("a.example") + table.format("A.example"), tmp_path)
    assert "is there twice" in found[0][1]


LISTENER = '[listeners.{}]\nprotocol = "{}"\nendpoint = "tcp:2525:interface={}"\n{}\n'


def listener(more, name="x", protocol="smtp", interface="127.0.0.1"):
    return LISTENER.format(name, protocol, interface, more)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_tls_needs_a_certificate(tmp_path, tls):
    found = complaints(listener(f'tls = "{tls}"'), tmp_path)
    assert found[0][1].endswith(f'listeners.x.tls: "{tls}" needs a certificate; write certificate and key in [tls]')
    node = read(TLS + listener(f'tls = "{tls}"'), tmp_path)
    assert encrypted(node.listeners) == ["x"]
    assert encrypted(read(listener(""), tmp_path).listeners) == []


@pytest.mark.parametrize("more", ['service = "submission"', 'auth = "required"', 'auth = "optional"'])
def test_auth_needs_tls(tmp_path, more):
    ((key, said),) = complaints(listener(more), tmp_path)
    assert key == "listeners.x.tls"
    assert "nobody could log in" in said
    assert read(TLS + listener(f'{more}\ntls = "starttls"'), tmp_path)
    assert read(listener(f"{more}\nallow_cleartext_auth = true"), tmp_path)


def test_clear_text_is_for_loopback(tmp_path):
    more = 'auth = "optional"\nallow_cleartext_auth = true\ntls = "starttls"'
    ((key, said),) = complaints(TLS + listener(more, interface="192.0.2.1"), tmp_path)
    assert key == "listeners.x.allow_cleartext_auth"
    assert "can be reached from elsewhere" in said


def test_telnet_inside_tls_may_be_reached_from_elsewhere(tmp_path):
    node = read(TLS + listener('tls = "implicit"', protocol="telnet", interface="192.0.2.1"), tmp_path)
    assert encrypted(node.listeners) == ["x"]
    assert complaints(listener("", protocol="telnet", interface="192.0.2.1"), tmp_path)[0][0] == "listeners.x.endpoint"
    assert "is none of its values" in complaints(TLS + listener('tls = "starttls"', protocol="telnet"), tmp_path)[0][1]


@pytest.mark.parametrize(
    ("settings", "auth"),
    [
        ({"auth": "usual", "service": "submission"}, "required"),
        ({"auth": "usual", "service": "transfer"}, "off"),
        ({"auth": "optional", "service": "transfer"}, "optional"),
        ({"auth": "off", "service": "submission"}, "off"),
        ({}, "off"),
    ],
)
def test_the_usual_auth(settings, auth):
    assert auth_of(settings) == auth
