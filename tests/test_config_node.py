"""The node file: what is taken, and that everything wrong is told with its place and its remedy."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netsvc.commands import Setting
from netsvc.config import node as node_module
from netsvc.config.complaints import ConfigError, ValueFaultError
from netsvc.config.node import Overrides, load_node, parse_listen, read_node
from netsvc.config.rooms import Rooms
from netsvc.delivery.routing import check_route
from netsvc.discovery import protocols
from netsvc.plugins.netsvc_smtp import smtp
from netsvc.plugins.netsvc_telnet import telnet
from netsvc.policy.trial import object_to
from netsvc.settings import HOUR, MINUTE, DeliverySettings

ETC = Path(__file__).resolve().parents[1] / "etc"


class Odd:
    name = "odd"
    default_endpoint = "tcp:7:interface=127.0.0.1"
    settings = (
        Setting("word", "str", "x", help="a word"),
        Setting("needed", "int", required=True, low=2, high=9, help="a number"),
        Setting("on", "bool", False),
        Setting("wait", "duration", 5000, low=1000),
        Setting("room", "size", 10, high=100),
    )


ROOMS = Rooms({"smtp": smtp, "telnet": telnet, "odd": Odd()}, check_route, protocols().policies, object_to)


def read(text, **overrides):
    return read_node(text.encode(), Path("/etc/x/netsvc.toml"), Overrides(**overrides), ROOMS)


def complaints(text, **overrides):
    with pytest.raises(ConfigError) as caught:
        read(text, **overrides)
    return [str(complaint) for complaint in caught.value.complaints]


def test_with_no_file_there_are_the_built_in_defaults(monkeypatch, tmp_path):
    monkeypatch.setattr(node_module, "DEFAULT_FILE", tmp_path / "none.toml")
    node = load_node(None, Overrides(), ROOMS)
    assert [(x.name, x.protocol, x.endpoint.text) for x in node.listeners] == [
        ("smtp", "smtp", "tcp:25"),
        ("console", "telnet", "tcp:23:interface=127.0.0.1"),
    ]
    assert (node.store, node.state, node.auth, node.site, node.file) == (
        "sqlite",
        Path("/var/lib/netsvc"),
        ("store",),
        None,
        None,
    )
    assert node.hostname
    smtp_settings = node.listeners[0].settings
    assert smtp_settings["max_message_size"] == 50 << 20
    assert smtp_settings["listener"] == "smtp"


def test_the_usual_file_is_read_when_it_is_there(monkeypatch, tmp_path):
    file = tmp_path / "netsvc.toml"
    file.write_text('hostname = "mx9.example.org"\n')
    monkeypatch.setattr(node_module, "DEFAULT_FILE", file)
    node = load_node(None, Overrides(), ROOMS)
    assert node.hostname == "mx9.example.org"
    assert node.file == file


def test_relative_paths_are_relative_to_the_file():
    node = read(
        'state = "../var"\ncontrol_socket = "c.sock"\nauth = ["passwd:pw"]\n'
        'store = "postgresql://u@h/d"\npassword_file = "secret"\n'
        '[site.routes]\n"a.example" = "maildir:mail/{local}"\n"B.example" = "lmtp:unix:run/s"\n'
        '[site.sender_routes]\n"Ann@A.example" = "mx"'
    )
    assert node.state == Path("/etc/var")
    assert node.control_socket == Path("/etc/x/c.sock")
    assert node.auth == ("passwd:/etc/x/pw",)
    assert node.password_file == Path("/etc/x/secret")
    assert node.site.routes == {"a.example": "maildir:/etc/x/mail/{local}", "b.example": "lmtp:unix:/etc/x/run/s"}
    assert node.site.sender_routes == {"ann@a.example": "mx"}


def test_the_command_line_goes_first(tmp_path):
    node = read(
        'hostname = "a.example"\nstate = "s"\n[listeners.smtp]\nendpoint = "tcp:25"\nmax_errors = 3',
        hostname="b.example",
        state=str(tmp_path),
        store="postgresql://u@h/d",
        listen={"smtp": "tcp:2525:interface=127.0.0.1", "console": "tcp:2323:interface=127.0.0.1"},
        auth=["passwd:/pw", "store"],
    )
    assert (node.hostname, node.state, node.store) == ("b.example", tmp_path, "postgresql://u@h/d")
    assert [(x.name, x.protocol, x.endpoint.port) for x in node.listeners] == [
        ("smtp", "smtp", 2525),
        ("console", "telnet", 2323),
    ]
    assert node.listeners[0].settings["max_errors"] == 3
    assert node.auth == ("passwd:/pw", "store")


def test_policies_of_the_site_are_kept_as_they_are_written():
    site = read(
        "[site.policies.limits]\nmessages = 5\non = false\ndeadline = '1s'\n[site.policies.tarpit]\non = true"
    ).site
    assert site.policies == {"limits": {"messages": 5, "on": False, "deadline": "1s"}, "tarpit": {"on": True}}


def test_the_site_is_read_into_its_settings():
    site = read(
        """
        [site]
        domains = ["Example.org"]
        mailboxes = ["alice@example.org"]
        relay_from = ["127.0.0.0/8"]
        relay_domains = ["partner.example"]
        limits_exempt = ["::1/128"]
        [site.aliases]
        "postmaster@example.org" = ["alice@example.org"]
        "info@example.org" = "alice@example.org"
        [site.routes]
        "*" = "mx"
        "partner.example" = "[192.0.2.10]:25"
        [site.delivery]
        retry = ["5m", "1h"]
        warn = "2h"
        connections = 3
        dns = ["192.0.2.53", "127.0.0.1:5300", "::1", "[2001:DB8::1]:5300"]
        mx_port = 25
        mx_allow_networks = []
        """
    ).site
    assert site.domains == ("example.org",)
    assert site.aliases["info@example.org"] == ("alice@example.org",)
    assert site.routes == {"*": "mx", "partner.example": "[192.0.2.10]:25"}
    servers = ("192.0.2.53:53", "127.0.0.1:5300", "[::1]:53", "[2001:db8::1]:5300")
    assert site.delivery == DeliverySettings(retry=(5 * MINUTE, HOUR), warn=2 * HOUR, connections=3, dns=servers)
    assert read("[site]").site.delivery == DeliverySettings()


def test_a_plugins_settings_are_checked_and_all_present():
    node = read('[listeners.o]\nprotocol = "odd"\nneeded = 5\nwait = "3s"\nroom = "50"\non = true\nword = "w"')
    (listener,) = node.listeners
    assert listener.settings == {"word": "w", "needed": 5, "on": True, "wait": 3000, "room": 50, "listener": "o"}
    assert listener.endpoint.port == 7


WRONG = [
    ("stat = 'x'", ":1: stat:", "did you mean state?"),
    ("hostname = 5", ":1: hostname:", "quotes"),
    ("hostname = 'a b'", ":1: hostname:", "example.org"),
    ("\n\nstate = ''", ":3: state:", "leave the key out"),
    ("store = 'oracle:x'", "store:", "sqlite"),
    ("store = 'postgresql://u:pw@h/d'", "store:", "PGPASSFILE"),
    ("store = 'postgresql://u@h/d?password=x'", "store:", "password_file"),
    ("store = 'postgresql://[u'", "store:", "postgresql://"),
    ("password_file = 'x'", "password_file:", "leave the key out"),
    ("log_level = 'inf'", "log_level:", "did you mean info?"),
    ("control_socket = '" + "x" * 120 + "'", "control_socket:", "shorter"),
    ("state = '" + "x" * 120 + "'", "state:", "control_socket"),
    ("auth = []", "auth:", '["store"]'),
    ("auth = 'store'", "auth:", "list"),
    ("auth = ['pam:netsvc']", "auth:", "not yet supported"),
    ("auth = ['file:x']", "auth:", "passwd"),
    ("auth = ['unix']", "auth:", "passwd"),
    ("auth = ['memory:a:b']", "auth:", "passwd"),
    ("auth = ['passwd']", "auth:", "passwd:PATH"),
    ("auth = ['store:x']", "auth:", "store"),
    ("auth = ['kerberos']", "auth:", "kerberos"),
    ("secret_key_file = ''", "secret_key_file:", "is empty"),
    ("listeners = 5", "listeners:", "[listeners]"),
    ("[listeners]", "listeners:", "add one"),
    ("[listeners]\nsmtp = 25", "listeners.smtp:", "[listeners.NAME]"),
    ("[listeners.'a b']\nprotocol = 'smtp'", 'listeners."a b":', "letters"),
    ("[listeners.x]\nprotocol = 'smpt'", "listeners.x.protocol:", "did you mean smtp?"),
    ("[listeners.smtp]\nendpoint = 'tcp:99999'", ":2: listeners.smtp.endpoint:", "tcp:25"),
    ("[listeners.smtp]\nmax_message_siz = 1", "listeners.smtp.max_message_siz:", "max_message_size"),
    ("[listeners.smtp]\nmax_message_size = '1'", "listeners.smtp.max_message_size:", "at least 65536 octets"),
    ("[listeners.smtp]\nmax_recipients = 1000000", "listeners.smtp.max_recipients:", "at most 100000"),
    ("[listeners.smtp]\nbare_newline = 'drop'", "listeners.smtp.bare_newline:", "reject"),
    ("[listeners.console]\nproxy_from = ['10.0.0.1']", "listeners.console.proxy_from:", "not yet supported"),
    ("[listeners.smtp]\nproxy_from = ['proxy']", "listeners.smtp.proxy_from:", "network"),
    ("[listeners.smtp]\nxclient_from = ['proxy']", "listeners.smtp.xclient_from:", "network"),
    ("[listeners.console]\nendpoint = 'tcp:23'", "listeners.console.endpoint:", "allow_cleartext_from"),
    ("[listeners.console]\nallow_cleartext_from = ['x']", "listeners.console.allow_cleartext_from:", "192.0.2.0/24"),
    ("[listeners.o]\nprotocol = 'odd'", "listeners.o.needed:", "is missing"),
    ("[listeners.o]\nprotocol = 'odd'\nneeded = 1", "listeners.o.needed:", "at least 2"),
    ("[listeners.o]\nprotocol = 'odd'\nneeded = 5\nwait = '1ms'", "listeners.o.wait:", "at least 1000 ms"),
    ("[listeners.a]\nprotocol='smtp'\n[listeners.b]\nprotocol='smtp'", "listeners.b.endpoint:", "a port of its own"),
    (
        "[listeners.a]\nprotocol='smtp'\nendpoint='tcp6:25'\n[listeners.b]\nprotocol='smtp'\nendpoint='tcp:25:interface=127.0.0.1'",
        "listeners.b.endpoint:",
        "taken by the listener a",
    ),
    (
        "[listeners.a]\nprotocol='smtp'\nendpoint='unix:/x'\n[listeners.b]\nprotocol='smtp'\nendpoint='unix:/x:mode=600'",
        "listeners.b.endpoint:",
        "taken by the listener a",
    ),
    ("[site]\ndomain = ['x']", "site.domain:", "did you mean domains?"),
    ("[site]\ndomains = 'x'", "site.domains:", "list"),
    ("[site]\nmailboxes = ['a@example.org']", "site.mailboxes:", 'add "example.org" to site.domains'),
    ("[site]\naccounts = {}", "site.accounts:", "not yet supported"),
    ("[site]\nrelay_from = ['0.0.0.0/0']", "site.relay_from:", "open relay"),
    ("[site.policies.limit]\non = true", "site.policies.limit:", "did you mean limits?"),
    ("[site.policies]\nlimits = 5", "site.policies.limits:", "write [site.policies.limits]"),
    (
        "[site.policies.milter]\nfilters = ['127.0.0.1:1']",
        "netsvc.toml:2: site.policies.milter.filters:",
        "is no filter",
    ),
    ("\n[site.policies.milter]\non = true", "netsvc.toml:2: site.policies.milter:", "filters: there is none"),
    ("[site.policies.dnsbl]\non = true\nlists = ['zen..example']", "site.policies.dnsbl.lists:", "zen..example"),
    ("[site.policies.limits]\nmessage = 5", "site.policies.limits.message:", "did you mean messages?"),
    ("[site.policies.limits]\nmessages = 'x'", "site.policies.limits.messages:", "digits without quotes"),
    ("[site.policies.limits]\non_failure = 'stop'", "site.policies.limits.on_failure:", "skip"),
    ("[site.policies.tarpit]\nmax_delay = '2m'", "site.policies.tarpit.max_delay:", "at most 60000 ms"),
    ("[site.policies.tarpit]\ndeadline = '1ms'", "site.policies.tarpit.deadline:", "at least 10 ms"),
    ("[site]\ndomains = ['a.example']\nrelay_domains = ['a.example']", "site.relay_domains:", "one of domains too"),
    ("[site.aliases]\nx = ['a@example.org']", "site.aliases.x:", "alice@example.org"),
    ("[site]\ndomains=['e.example']\n[site.aliases]\n'x@e.example' = []", "x@e.example", "leads nowhere"),
    ("[site]\ndomains=['e.example']\n[site.aliases]\n'x@e.example' = [5]", "x@e.example", "quotes"),
    (
        "[site]\ndomains=['e.example']\nmailboxes=['x@e.example']\n[site.aliases]\n'X@e.example' = ['y@e.example']",
        "X@e.example",
        "there already",
    ),
    ("[site.routes]\n'*' = 'lmtp:tcp:x'", 'site.routes."*":', "lmtp:unix:/path"),
    ("[site.routes]\n'a.example' = 'mx'\n'A.example' = 'mx'", 'site.routes."A.example":', "already"),
    ("[site.sender_routes]\n'*' = 'mx'", 'site.sender_routes."*":', "[192.0.2.10]:25"),
    ("[site.sender_routes]\n'a@b.example' = 'mx:'", 'site.sender_routes."a@b.example":', "mx:other.example"),
    ("[site.routes]\n'*' = 'example.net:25'", 'site.routes."*":', "[192.0.2.10]:25"),
    ("[site.routes]\n'*' = ''", 'site.routes."*":', "empty"),
    ("[site.routes]\n'a b' = 'mx'", 'site.routes."a b":', "[192.0.2.10]:25"),
    ("[site.delivery]\nretry = []", "site.delivery.retry:", '["5m"'),
    ("[site.delivery]\nretry = ['10ms']", "site.delivery.retry:", '["5m"'),
    ("[site.delivery]\nretry = 5", "site.delivery.retry:", '["5m"'),
    ("[site.delivery.retry]\nx = ['5m']", "site.delivery.retry:", "retry_classes"),
    ("[site.delivery]\nexpire = '1ms'", "site.delivery.expire:", "less than a second"),
    ("[site.delivery]\nexpire = '1h'\nwarn = '2h'", "site.delivery.warn:", "shorter than expire"),
    ("[site.delivery]\nconnections = 0", "site.delivery.connections:", "from 1"),
    ("[site.delivery]\ndns = ['ns.example.org:53']", "site.delivery.dns:", "192.0.2.53:53"),
    ("[site.delivery]\ndns = ['192.0.2.1:0']", "site.delivery.dns:", "192.0.2.53:53"),
    ("[site.delivery]\ndns = ['[::1']", "site.delivery.dns:", "192.0.2.53:53"),
    ("[site.delivery]\ndns = ['[::1]53']", "site.delivery.dns:", "192.0.2.53:53"),
    ("[site.delivery]\nmx_port = 0", "site.delivery.mx_port:", "1 to 65535"),
    ("[site.delivery]\nmx_allow_networks = ['10.0.0.1/8']", "site.delivery.mx_allow_networks:", "10.0.0.0/8"),
    ("[site.delivery]\ndnssec = 'yes'", "site.delivery.dnssec:", "true or false"),
    ("x = ", "netsvc.toml", "is not TOML"),
    ("a = 1\n[b", ":2:", "is not TOML"),
]


@pytest.mark.parametrize(("text", "place", "remedy"), WRONG, ids=[repr(w[0])[:60] for w in WRONG])
def test_what_is_wrong_is_told_with_its_place_and_its_remedy(text, place, remedy):
    found = complaints(text)
    assert all(line.startswith("/etc/x/netsvc.toml") for line in found)
    assert any(place in line and remedy in line for line in found), found


def test_everything_wrong_is_told_at_once():
    found = complaints(
        "hostname = 5\nstat = 'x'\n[listeners.smtp]\nendpoint = 'tcp:x'\nservice = 'imap'\n[site]\ndomains = 1\n"
    )
    assert [line.split(": ")[1] for line in found] == [
        "hostname",
        "stat",
        "listeners.smtp.endpoint",
        "listeners.smtp.service",
        "site.domains",
    ]


def test_what_the_command_line_says_wrongly_is_told_of_the_command_line(tmp_path):
    found = complaints(
        "",
        hostname="a b",
        store="x",
        listen={"smtp": "tcp:x", "console": "tcp:23", "what": "tcp:1"},
        auth=["pam:x"],
    )
    starts = [": ".join(line.split(": ")[:2]) for line in found]
    assert sorted(starts) == [
        "--auth pam:x: auth",
        "--hostname: hostname",
        "--listen console: listeners.console.endpoint",
        "--listen smtp: listeners.smtp.endpoint",
        "--listen what: listeners.what.protocol",
        "--store: store",
    ]


def test_a_console_for_others_is_taken_when_they_are_named():
    node = read('[listeners.console]\nendpoint = "tcp:23"\nallow_cleartext_from = ["192.0.2.0/24"]')
    assert node.listeners[0].settings["allow_cleartext_from"] == ("192.0.2.0/24",)


def test_neutral_values_of_later_keys_are_taken():
    assert read('[listeners.smtp]\ntls = "none"\nauth = "off"\nproxy_from = []').listeners
    assert complaints("[listeners.smtp]\nauth = false")


def test_two_listeners_of_one_port_on_two_addresses_are_taken():
    node = read(
        "[listeners.a]\nprotocol='smtp'\nendpoint='tcp:25:interface=127.0.0.1'\n"
        "[listeners.b]\nprotocol='smtp'\nendpoint='tcp:25:interface=127.0.0.2'\n"
        "[listeners.c]\nprotocol='smtp'\nendpoint='tcp:0'\n[listeners.d]\nprotocol='smtp'\nendpoint='tcp:0'\n"
    )
    assert len(node.listeners) == 4


def test_files_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_node(tmp_path / "none.toml", Overrides(), ROOMS)
    with pytest.raises(ConfigError, match="Is a directory"):
        load_node(tmp_path, Overrides(), ROOMS)
    with pytest.raises(ConfigError, match=":2: is not UTF-8"):
        read_node(b"a = 1\n\xff", tmp_path / "x", Overrides(), ROOMS)
    with pytest.raises(ConfigError, match="larger"):
        read_node(b" " * (node_module.MAX_FILE + 1), tmp_path / "x", Overrides(), ROOMS)


def test_a_file_that_we_may_not_read_says_so(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match="let the service's user read it"):
        load_node(tmp_path / "x", Overrides(), ROOMS)


@pytest.mark.parametrize("word", ["smtp", "=tcp:25", "smtp=", "a b=tcp:25", "x" * 40 + "=tcp:1"])
def test_listen_words_that_are_none(word):
    with pytest.raises(ValueFaultError):
        parse_listen(word)


def test_listen_words():
    assert parse_listen("smtp=tcp:2525:interface=127.0.0.1") == ("smtp", "tcp:2525:interface=127.0.0.1")


@pytest.mark.parametrize(
    ("short", "full", "name"),
    [
        ("mx1.example.org", "x", "mx1.example.org"),
        ("mx1", "mx1.example.org", "mx1.example.org"),
        ("mx1", "localhost", "mx1"),
        ("my_host", "my_host.example", "localhost"),
    ],
)
def test_our_own_name(monkeypatch, short, full, name):
    monkeypatch.setattr(node_module.socket, "gethostname", lambda: short)
    monkeypatch.setattr(node_module.socket, "getfqdn", lambda: full)
    assert node_module.default_hostname() == name


def test_the_usual_control_socket(monkeypatch, tmp_path):
    monkeypatch.setattr(node_module, "RUN_SOCKET", tmp_path / "console.sock")
    assert node_module.default_control_socket(Path("/s")) == tmp_path / "console.sock"
    monkeypatch.setattr(node_module, "RUN_SOCKET", tmp_path / "none" / "console.sock")
    assert node_module.default_control_socket(Path("/s")) == Path("/s/console.sock")


@pytest.mark.parametrize("name", ["netsvc.toml", "quickstart.toml"])
def test_the_samples_are_right(name):
    node = load_node(ETC / name, Overrides(), ROOMS)
    assert {x.name for x in node.listeners} == {"smtp", "console"}


def test_the_sample_is_right_with_every_key_uncommented_and_shows_the_defaults():
    text = (ETC / "netsvc.toml").read_text()
    lines = [
        line[1:]
        if line.startswith("#") and " = " in line and line[1:2] != " " and "password_file" not in line
        else line
        for line in text.split("\n")
    ]
    uncommented = read("\n".join(lines))
    usual = read(text)
    assert [x.settings for x in uncommented.listeners] == [x.settings for x in usual.listeners]
    assert [x.endpoint for x in uncommented.listeners] == [x.endpoint for x in usual.listeners]
    assert uncommented.site.delivery == usual.site.delivery
    assert (uncommented.store, uncommented.auth, uncommented.state) == (usual.store, usual.auth, usual.state)
    for listener in uncommented.listeners:
        for key in set(listener.settings) - {"listener"}:
            assert f"\n#{key} = " in text, key


SCALAR = st.booleans() | st.integers(-5, 70000) | st.floats(allow_nan=False) | st.text(max_size=12) | st.just("tcp:25")
KEYS = st.sampled_from(
    [
        "hostname",
        "state",
        "store",
        "auth",
        "listeners",
        "site",
        "smtp",
        "console",
        "protocol",
        "endpoint",
        "domains",
        "mailboxes",
        "aliases",
        "routes",
        "delivery",
        "retry",
        "expire",
        "tls",
        "service",
        "max_message_size",
        "relay_from",
        "*",
        "a@b.example",
        "control_socket",
        "log_level",
    ]
) | st.text(max_size=6)
VALUES = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=15
)


def tried(raw):
    """Read what may be anything -> the complaints, one at least where it is refused."""
    try:
        read_node(raw, Path("x.toml"), Overrides(), ROOMS)
    except ConfigError as error:
        return [str(complaint) for complaint in error.complaints] or ["nothing was said"]
    return []


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        body = "".join(
            c if c.isprintable() and c not in '"\\' and c.isascii() else f"\\u{ord(c) & 0xFFF:04x}" for c in value
        )
        return f'"{body}"'
    if isinstance(value, list):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
    return repr(value)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_toml_is_a_node_or_a_list_of_complaints(data):
    text = "\n".join(f"{toml(key)} = {toml(value)}" for key, value in data.items())
    assert all("\n" not in line for line in tried(text.encode()))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_octets_are_a_node_or_a_list_of_complaints(raw):
    assert all("x.toml" in line for line in tried(raw))


def test_nothing_is_touched(tmp_path):
    before = sorted(path.name for path in tmp_path.iterdir())
    file = tmp_path / "x.toml"
    file.write_text('state = "state"\n')
    load_node(file, Overrides(), ROOMS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*before, "x.toml"]
