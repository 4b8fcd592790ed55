"""``[site.destinations]`` and the schedules by the kind of failure: read, refused, kept and written again."""

import contextlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.config.complaints import Complaints, ValueFaultError
from netsvc.config.destinations import destination_key, parse_rate
from netsvc.config.rooms import Rooms
from netsvc.config.site import read_site
from netsvc.delivery.targets import parse_target
from netsvc.settings import HOUR, MINUTE, RETRY_CLASSES, DeliverySettings, DestinationSettings, SiteSettings
from netsvc.store import sitetoml

TEXT = """
[site.delivery]
messages = 50
retry_classes = { greylist = ["5m", "10m"], connect = ["1m"] }
[site.destinations."Example.ORG"]
connections = 3
messages = 10
rate = "100/1h"
tls = "verify"
tls_names = ["mx.example.net", "*.Example.net"]
credential = "relay"
retry = ["1m", "2m"]
expire = "2d"
warn = "1h"
[site.destinations.".example.net"]
rate = "5/s"
retry_classes = { throttle = ["1h"] }
[site.destinations."[192.0.2.10]:25"]
connections = 1
[site.destinations."*"]
connections = 9
"""
"""Every key once."""


def read(text):
    complaints = Complaints("site.toml")
    rooms = Rooms({}, lambda pattern, target: None)
    return read_site(complaints, tomllib.loads(text).get("site", {}), Path("/"), rooms), complaints.found


@pytest.fixture
def said():
    settings, found = read(TEXT)
    assert not found
    return settings


def test_every_key_is_read(said):
    assert said.destinations["example.org"] == DestinationSettings(
        connections=3,
        messages=10,
        rate=(100, HOUR),
        tls="verify",
        tls_names=("mx.example.net", "*.example.net"),
        credential="relay",
        retry=(MINUTE, 2 * MINUTE),
        expire=48 * HOUR,
        warn=HOUR,
    )
    assert said.destinations[".example.net"].rate == (5, 1000)
    assert said.destinations[".example.net"].retry_classes == {"throttle": (HOUR,)}
    assert said.delivery.messages == 50
    assert said.delivery.retry_classes == {"greylist": (5 * MINUTE, 10 * MINUTE), "connect": (MINUTE,)}


def test_the_nearest_word_counts(said):
    assert said.destination("example.org").connections == 3
    assert said.destination("deep.sub.example.net").rate == (5, 1000)
    assert said.destination("[192.0.2.10]:25", "sub.example.net").connections == 1
    assert said.destination("[192.0.2.11]:25", "example.org").connections == 3
    assert said.destination("elsewhere.example").connections == 9


def test_it_is_kept_and_written_the_same(said):
    assert sitetoml.from_json(sitetoml.to_json(said), said.routes) == said
    assert read(sitetoml.to_toml(said)) == (said, [])


WRONG = [
    ("[site.destinations.'*']\ncredential = 'relay'", "credential: would be shown to many hosts"),
    ("[site.destinations.'.example.org']\ncredential = 'relay'", "credential: would be shown to many hosts"),
    ("[site.destinations.'a b']\nconnections = 1", 'site.destinations."a b":'),
    ("[site.destinations]\n'example.org' = 5", 'site.destinations."example.org":'),
    ("[site.destinations.'example.org']\nconnections = 0", "connections:"),
    ("[site.destinations.'example.org']\nrate = 'many'", "rate:"),
    ("[site.destinations.'example.org']\nrate = '0/1h'", "rate:"),
    ("[site.destinations.'example.org']\nrate = '5/1ms'", "rate:"),
    ("[site.destinations.'example.org']\ntls = 'maybe'", "tls:"),
    ("[site.destinations.'example.org']\ntls = 'encrypt'\ntls_names = ['mx.example.org']", "tls_names:"),
    ("[site.destinations.'example.org']\nretry = []", "retry:"),
    ("[site.destinations.'example.org']\nexpire = '1ms'", "expire:"),
    ("[site.destinations.'example.org']\nexpire = '1h'\nwarn = '2h'", "warn:"),
    ("[site.destinations.'example.org']\nconection = 1", "connections"),
    ("[site.destinations.'example.org']\n[site.destinations.'EXAMPLE.org']", "there already"),
    ("[site.delivery]\nretry_classes = { greylst = ['5m'] }", "greylist"),
    ("[site.delivery]\nretry_classes = { tls = ['1ms'] }", "tls needs waits"),
    ("[site.delivery]\nretry_classes = ['5m']", "not a table"),
]


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_what_cannot_be_is_refused(text, words):
    assert any(words in str(complaint) for complaint in read(text)[1])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[Relay.Example.net]:587", "[relay.example.net]:587"),
        ("[relay.example.net]", "[relay.example.net]:25"),
        ("[192.0.2.10]:025", "[192.0.2.10]:25"),
        ("[::1]:2525", "[IPv6:::1]:2525"),
        ("[ipv6:0:0::1]:25", "[IPv6:::1]:25"),
        ("lmtp:[Store.example]", "lmtp:[store.example]:24"),
        ("lmtp:[127.0.0.1]:2424", "lmtp:[127.0.0.1]:2424"),
    ],
)
def test_a_hosts_key_is_that_of_the_route_that_leads_there(text, key):
    assert destination_key(text) == key == parse_target(text).key


def test_an_address_literal_is_a_domain():
    assert destination_key("[192.0.2.10]") == "[192.0.2.10]"
    assert destination_key("maildir:/var/Mail") == "maildir:/var/Mail"


@given(st.integers(1, 10**9 - 1), st.integers(1, 7 * 86_400))
def test_a_rate_reads_back_as_written(count, seconds):
    assert parse_rate(sitetoml.rate_text((count, seconds * 1000))) == (count, seconds * 1000)


@given(st.text(max_size=12))
def test_a_rate_or_a_key_of_any_text_is_taken_or_refused(text):
    for reader in (parse_rate, destination_key):
        with contextlib.suppress(ValueFaultError):
            assert reader(text)


_WAITS = st.lists(st.integers(1, 10**6).map(lambda n: n * 1000), min_size=1, max_size=4).map(tuple)
_CLASSES = st.dictionaries(st.sampled_from(RETRY_CLASSES), _WAITS, max_size=3)


@given(_CLASSES, _CLASSES, st.one_of(st.none(), _WAITS))
def test_schedules_survive_the_store_and_the_file(of_all, of_one, retry):
    settings = SiteSettings(
        delivery=DeliverySettings(retry_classes=of_all),
        destinations={"example.org": DestinationSettings(retry=retry, retry_classes=of_one)},
    )
    assert sitetoml.from_json(sitetoml.to_json(settings), {}) == settings
    assert read(sitetoml.to_toml(settings)) == (settings, [])
