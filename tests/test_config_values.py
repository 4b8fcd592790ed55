"""Values, endpoints and the line scan of the configuration."""

import contextlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.config import values
from netsvc.config.complaints import Complaint, Complaints, ConfigError, ValueFaultError, nearest, quote, show_path
from netsvc.config.endpoint import check_endpoint, split_endpoint
from netsvc.config.source import key_lines


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("0", 0),
        ("1000", 1000),
        ("512K", 512 << 10),
        ("50M", 50 << 20),
        ("2g", 2 << 30),
        ("1T", 1 << 40),
        ("5KiB", 5120),
    ],
)
def test_sizes(text, octets):
    assert values.size(text) == octets


@pytest.mark.parametrize("wrong", ["", "M", "5X", "-1", "1.5M", "5 M", "٣M", "9" * 30, "9999999T", True, 1.5, [], -1])
def test_wrong_sizes(wrong):
    with pytest.raises(ValueFaultError) as caught:
        values.size(wrong)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "ms"),
    [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h20m", 4_800_000), ("5d", 432_000_000), ("1w", 604_800_000)],
)
def test_durations(text, ms):
    assert values.duration(text) == ms


@pytest.mark.parametrize(
    "wrong", ["", "5", "m", "5y", "5m ", "1h-2m", "5mm", "٣m", "9" * 13 + "s", "9" * 12 + "w", 300]
)
def test_wrong_durations(wrong):
    with pytest.raises(ValueFaultError) as caught:
        values.duration(wrong)
    assert "5m" in caught.value.remedy


@pytest.mark.parametrize(
    ("read", "good", "result"),
    [
        (values.network, "192.0.2.0/24", "192.0.2.0/24"),
        (values.network, "192.0.2.1", "192.0.2.1/32"),
        (values.network, "2001:DB8::/32", "2001:db8::/32"),
        (values.relay_network, "10.0.0.0/8", "10.0.0.0/8"),
        (values.domain, "Example.ORG", "example.org"),
        (values.address, "Alice@Example.org", "Alice@example.org"),
        (values.host_port, "[2001:db8::1]:53", "[2001:db8::1]:53"),
        (values.flag, True, True),
        (values.port, 25, 25),
        (values.counted, 1, 1),
        (values.listed(values.domain), ["a.example", "B.example"], ("a.example", "b.example")),
        (values.chosen(("a", "b")), "b", "b"),
        (values.text, "", ""),
    ],
)
def test_values_that_are_taken(read, good, result):
    assert read(good) == result


@pytest.mark.parametrize(
    ("read", "wrong", "word"),
    [
        (values.network, "192.0.2.1/24", "192.0.2.0/24"),
        (values.network, "example.org", "not a network"),
        (values.network, 5, "a number"),
        (values.relay_network, "0.0.0.0/0", "open relay"),
        (values.relay_network, "::/0", "open relay"),
        (values.domain, "a_b", "letters, digits"),
        (values.domain, "[192.0.2.1]", "literal"),
        (values.address, "alice", "local-part@domain"),
        (values.host_port, "example.org", "host:port"),
        (values.host_port, "example.org:99999", "host:port"),
        (values.host_port, "example.org:0", "host:port"),
        (values.flag, "yes", "text"),
        (values.flag, 1, "a number"),
        (values.port, 0, "not a port"),
        (values.port, 65536, "not a port"),
        (values.counted, 0, "is 0"),
        (values.whole, 1 << 60, "out of range"),
        (values.whole, "5", "text"),
        (values.listed(values.domain), "example.org", "not a list"),
        (values.listed(values.domain), ["a.example", "A.example"], "there already"),
        (values.listed(values.domain), ["a.example", 7], "item 2"),
        (values.chosen(("reject", "normalize")), "rejekt", "reject"),
        (values.text, "a\nb", "control"),
        (values.text, "x" * 5000, "too long"),
        (values.filled, "", "empty"),
        (values.filled, {}, "a table"),
        (values.filled, tomllib.loads("a=1979-05-27")["a"], "a date"),
    ],
)
def test_values_that_are_refused_in_words(read, wrong, word):
    with pytest.raises(ValueFaultError) as caught:
        read(wrong)
    assert word in f"{caught.value.text}; {caught.value.remedy}"
    assert caught.value.remedy


@given(st.text(max_size=40) | st.integers() | st.booleans() | st.floats() | st.none() | st.lists(st.text(max_size=5)))
def test_values_raise_nothing_else(value):
    for read in (values.size, values.duration, values.network, values.domain, values.address, values.host_port):
        with contextlib.suppress(ValueFaultError):
            read(value)


@pytest.mark.parametrize(
    ("text", "kind", "port", "interface", "local"),
    [
        ("tcp:25", "tcp", 25, "", False),
        ("tcp:2525:interface=127.0.0.1", "tcp", 2525, "127.0.0.1", True),
        ("tcp:port=2525:interface=127.0.0.1:backlog=10", "tcp", 2525, "127.0.0.1", True),
        ("tcp:25:192.0.2.1", "tcp", 25, "192.0.2.1", False),
        (r"tcp:25:interface=\:\:1", "tcp", 25, "::1", True),
        ("tcp6:25", "tcp6", 25, "", False),
        (r"tcp6:0:interface=\:\:1", "tcp6", 0, "::1", True),
        ("unix:/run/x.sock:mode=660", "unix", 0, "", True),
        ("systemd:domain=INET:name=smtp", "systemd", 0, "", False),
        ("systemd:domain=INET6:index=0", "systemd", 0, "", False),
    ],
)
def test_endpoints(text, kind, port, interface, local):
    endpoint = check_endpoint(text)
    assert (endpoint.text, endpoint.kind, endpoint.port, endpoint.interface) == (text, kind, port, interface)
    assert endpoint.is_local is local


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "kind"),
        ("25", "kind"),
        ("tcp", "no port"),
        ("tcp:", "not a port"),
        ("tcp:99999", "not a port"),
        ("tcp:smtp", "not a port"),
        ("tcp:25:interface=localhost", "not an IP address"),
        ("tcp:25:interfac=127.0.0.1", "interface"),
        ("tcp:25:127.0.0.1:50:9", "too many"),
        ("tcp:25:port=25:port=26", "twice"),
        ("tcp6:25:interface=127.0.0.1", "IPv4"),
        ("tcp:25:backlog=x", "backlog"),
        ("unix:", "no path"),
        ("unix:/" + "x" * 200, "longer"),
        ("unix:/x:mode=999", "not a mode"),
        ("systemd:domain=INTE:name=x", "domain"),
        ("systemd:domain=INET", "exactly one"),
        ("systemd:domain=INET:index=x", "index"),
        ("ssl:443", "TLS"),
        ("haproxy:tcp:25", "PROXY"),
        ("nonsense:0", "nonsense"),
        ("nonsense", "nonsense"),
    ],
)
def test_wrong_endpoints(text, word):
    with pytest.raises(ValueFaultError) as caught:
        check_endpoint(text)
    assert word in f"{caught.value.text}; {caught.value.remedy}"


def test_kinds_that_plugins_bring_are_taken():
    assert check_endpoint("fd:mode=x:fileno=3").kind == "fd" if "fd" in brought() else True


def brought():
    from netsvc.config.endpoint import _brought_kinds

    return _brought_kinds()


@given(st.text(alphabet="tcpuni:=\\0123456x/. ", max_size=40))
def test_endpoints_raise_nothing_else(text):
    with contextlib.suppress(ValueFaultError):
        assert check_endpoint(text).text == text


def test_endpoint_words_and_escapes():
    assert split_endpoint(r"a:b\:c:d=e=f:\=") == (["a", "b:c", "="], {"d": "e=f"})
    with pytest.raises(ValueFaultError, match="backslash"):
        split_endpoint("a:b\\")


def test_lines_of_keys():
    source = (
        "a = 1\n"
        "b.c = 2\n"
        "[listeners.smtp]\n"
        "  endpoint = 'x'\n"
        '["quoted.table"."x y"]\n'
        "# endpoint = 2\n"
        "list = [\n"
        '  "x",\n'
        "]\n"
        "[[many]]\n"
        "k='v'\n"
        "unfinished\n"
        "'open = 1\n"
        "[broken\n"
    )
    lines = key_lines(source)
    assert lines["a",] == 1
    assert lines["b",] == lines["b", "c"] == 2
    assert lines["listeners", "smtp"] == 3
    assert lines["listeners", "smtp", "endpoint"] == 4
    assert lines["quoted.table", "x y"] == 5
    assert lines["quoted.table", "x y", "list"] == 7
    assert lines["many", "k"] == 11
    assert ("unfinished",) not in lines


@given(st.text(max_size=200))
def test_the_scan_takes_anything(source):
    assert all(number >= 1 for number in key_lines(source).values())


def test_complaints_are_one_line_with_place_key_and_remedy():
    complaint = Complaint("x.toml", 3, "a.b", "is \n wrong", "mend it")
    assert str(complaint) == "x.toml:3: a.b: is \\x0a wrong; mend it"
    assert str(Complaint("--listen", 0, "", "is wrong")) == "--listen: is wrong"


def test_complaints_are_raised_together_in_order():
    complaints = Complaints("x.toml", {("a",): 9, ("b",): 2})
    complaints.check()
    complaints.add(("a", "deep"), "first")
    complaints.add(("b",), "second")
    complaints.add(("c",), "third", where="--c")
    complaints.add(("d",), "fourth")
    with pytest.raises(ConfigError) as caught:
        complaints.check()
    assert [str(c) for c in caught.value.complaints] == [
        "x.toml: d: fourth",
        "x.toml:2: b: second",
        "x.toml:9: a.deep: first",
        "--c: c: third",
    ]
    assert str(caught.value).count("\n") == 3


def test_words_of_complaints():
    assert show_path(("site", "aliases", "a@b", "")) == 'site.aliases."a@b".""'
    assert quote(True) == "true"
    assert quote(3) == "3"
    assert quote('x"\n') == '"x"\\x0a"'
    assert nearest("endpont", ["endpoint", "protocol"]) == "did you mean endpoint?"
    assert nearest("zzz", ["b", "a"]) == "known are: a, b"
    assert nearest("zzz", []) == ""
