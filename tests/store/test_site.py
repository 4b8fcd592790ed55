"""The site: seeded once, kept in revisions, exported as TOML that reads back the same."""

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from netsvc.interfaces import ISite
from netsvc.mail.address import Address, parse_address
from netsvc.records import StoreError, StoreUnavailableError
from netsvc.settings import DeliverySettings, SiteSettings
from netsvc.store import site as site_module
from netsvc.store import sitetoml
from netsvc.store.site import Site

SEED = SiteSettings(
    domains=("Example.org", "example.net"),
    mailboxes=("alice@example.org", "bob@example.net"),
    aliases={
        "postmaster@example.org": ("Alice@example.org", "x@Away.example"),
        "b@example.net": ("postmaster@example.org",),
    },
    routes={"*": "mx", "partner.example": "[192.0.2.10]:25", "f.example": "maildir:/m/{domain}/{local}"},
    relay_from=("127.0.0.0/8", "::1/128"),
    relay_domains=("partner.example",),
    limits_exempt=("127.0.0.0/8",),
    delivery=DeliverySettings(retry=(60_000, 90_000), expire=3_600_000, connections=7, dns=("127.0.0.1:53",)),
)


@pytest.fixture
def site(house):
    return house.store.site


def test_promises(site, house):
    assert verifyObject(ISite, site)
    assert (site.current, site.rev) == (SiteSettings(), 0)
    assert house.run(site.export()) == "[site]\n"


def test_an_empty_store_is_seeded_once(site, house):
    seen = []
    site.watch(seen.append)
    assert house.run(site.seed(SEED)) is True
    kept = replace(SEED, domains=(), mailboxes=(), aliases={})
    assert (site.current, site.rev) == (kept, 1)
    assert seen == [kept]
    assert house.run(site.seed(SiteSettings(domains=("other.example",)))) is False
    assert site.current == kept
    directory = house.store.directory
    assert [row["domain"] for row in house.run(directory.domains())] == ["example.net", "example.org"]
    found = house.run(directory.resolve(Address("b", "example.net")))
    assert [ref.address for ref in found.mailboxes] == ["alice@example.org"]
    assert found.forwards == ("x@away.example",)


def test_routes_are_changed(site, house):
    house.run(site.seed(SEED))
    routes = {"*": "[192.0.2.1]:25", "partner.example": "[192.0.2.10]:25", "new.example": "mx"}

    def alter(settings):
        return replace(settings, routes=routes, sender_routes={"ann@example.org": "mx"})

    assert house.run(site.change(alter, "ann", "routes")) == 2
    assert (site.current.routes, site.current.sender_routes) == (routes, {"ann@example.org": "mx"})
    assert house.run(site.change(alter, "ann", "the same")) == 0
    found = house.run(house.store.engine.read(lambda tx: tx.rows("SELECT pattern, rev FROM route ORDER BY 1")))
    assert found == [("*", 2), ("new.example", 2), ("partner.example", 0)]
    assert tomllib.loads(house.run(site.export()))["site"]["sender_routes"] == {"ann@example.org": "mx"}


def test_the_seed_outlives_the_process(lasting):
    house = lasting
    house.run(house.store.site.seed(SEED))
    before = house.store.site.current
    house.again()
    assert (house.store.site.current, house.store.site.rev) == (before, 1)
    assert house.run(house.store.site.seed(SEED)) is False


@pytest.mark.parametrize(
    ("seed", "address"),
    [
        (SiteSettings(domains=("example.org",)), "postmaster@example.org"),
        (SiteSettings(domains=("example.org",), mailboxes=("alice@example.org",)), "alice@example.org"),
    ],
)
def test_somebody_reads_the_postmasters_mail(site, house, seed, address):
    house.run(site.seed(seed))
    found = house.run(house.store.directory.resolve(Address("Postmaster", "")))
    assert [ref.address for ref in found.mailboxes] == [address]


def test_a_site_without_domains_only_relays(site, house):
    assert house.run(site.seed(SiteSettings(relay_from=("127.0.0.0/8",)))) is True
    assert house.run(house.store.directory.domains()) == []


@pytest.mark.parametrize(
    "seed",
    [
        SiteSettings(domains=("exa mple",)),
        SiteSettings(domains=("example.org",), mailboxes=("a@example.net",)),
        SiteSettings(domains=("example.org",), mailboxes=("a@example.org", "A@example.org")),
        SiteSettings(domains=("example.org",), aliases={"a@example.net": ("b@example.org",)}),
        SiteSettings(domains=("example.org",), aliases={"a@example.org": ("b",)}),
        SiteSettings(
            domains=("example.org",), aliases={"a@example.org": ("b@example.org",), "b@example.org": ("a@example.org",)}
        ),
        SiteSettings(domains=("example.org",), domain_aliases={"other.example": "example.net"}),
        SiteSettings(domains=("example.org",), catchalls={"example.org": "a@example.org"}),
        SiteSettings(domains=("example.org",), mailbox_quotas={"a@example.org": (1, 1)}),
    ],
)
def test_a_seed_that_contradicts_itself_leaves_nothing(site, house, seed):
    house.fails(site.seed(seed), StoreError)
    for table in ("domain", "mailbox", "alias", "route", "site_rev"):
        assert house.value(f"SELECT count(*) FROM {table}") == 0


def test_the_export_reads_back(site, house):
    house.run(site.seed(SEED))
    body = tomllib.loads(house.run(site.export()))["site"]
    assert body == {
        "domains": ["example.net", "example.org"],
        "mailboxes": ["alice@example.org", "bob@example.net"],
        "relay_from": ["127.0.0.0/8", "::1/128"],
        "relay_domains": ["partner.example"],
        "limits_exempt": ["127.0.0.0/8"],
        "aliases": {
            "b@example.net": ["postmaster@example.org"],
            "postmaster@example.org": ["alice@example.org", "x@away.example"],
        },
        "routes": dict(sorted(SEED.routes.items())),
        "delivery": {"retry": ["1m", "1m30s"], "expire": "1h", "connections": 7, "dns": ["127.0.0.1:53"]},
    }


@given(st.text(), st.text(st.characters(codec="utf-8"), max_size=20))
def test_any_text_survives_toml(key, value):
    if not (key + value).isprintable() and any("\ud800" <= c <= "\udfff" for c in key + value):
        return
    settings = SiteSettings(routes={key: value}, relay_from=(value,))
    body = tomllib.loads(sitetoml.to_toml(settings))["site"]
    assert (body["routes"], body["relay_from"]) == ({key: value}, [value])


@given(st.integers(0, 10**13))
def test_durations_are_written_as_they_are_read(ms):
    from netsvc.config.values import parse_duration

    assert parse_duration(sitetoml.duration_text(ms)) == ms


def test_settings_of_other_versions_are_understood():
    text = '{"relay_from": ["::1/128"], "colour": "blue", "delivery": {"expire": 5, "speed": 9}, "routes": {"x": "y"}}'
    settings = sitetoml.from_json(text, {"*": "mx"})
    assert settings == SiteSettings(relay_from=("::1/128",), routes={"*": "mx"}, delivery=DeliverySettings(expire=5))
    assert sitetoml.from_json(sitetoml.to_json(settings), {"*": "mx"}) == settings


def test_another_nodes_revision_is_taken_over(make_house, monkeypatch):
    house = make_house("memory")
    monkeypatch.setattr(house.engine, "dialect", "postgresql")
    site = Site(house.engine, house.pump)
    seen = []
    site.watch(seen.append)
    site.start()
    site.start()
    house.run(house.store.site.seed(SEED))
    assert site.rev == 0
    house.pump.advance(site_module.LOOK_S)
    assert (site.rev, len(seen)) == (1, 1)
    house.pump.advance(site_module.LOOK_S)
    assert len(seen) == 1
    site.stop()
    site.stop()
    monkeypatch.undo()
    house.close()
    house.run(site._look())
    house.fails(site.load(), StoreUnavailableError)
    assert site.rev == 1


def test_a_change_is_a_revision_and_is_told_of(site, house):
    house.run(site.seed(SEED))
    seen = []
    site.watch(seen.append)
    policies = {"greylist": {"on": True, "delay": "5m", "lists": ("a", "b")}}
    assert house.run(site.change(lambda s: replace(s, policies=policies), "root", "policy on greylist")) == 2
    assert (site.rev, site.current.policies, len(seen)) == (2, policies, 1)
    assert site.current.routes == SEED.routes
    assert house.run(site.change(lambda s: s, "root", "nothing")) == 0
    assert (site.rev, len(seen)) == (2, 1)
    row = house.engine.dialect, house.value("SELECT comment FROM site_rev WHERE rev = 2")
    assert row[1] == "policy on greylist"

    def refuse(settings):
        raise StoreError("no")

    house.fails(site.change(refuse, "root", ""), StoreError)
    assert site.rev == 2


def test_a_change_of_a_site_that_says_nothing_yet(site, house):
    assert house.run(site.change(lambda s: replace(s, limits_exempt=("::1/128",)), "root", "")) == 1
    assert site.current.limits_exempt == ("::1/128",)


def test_two_changes_at_the_same_moment():
    class Tx:
        now = 5

        def value(self, sql, params=()):
            return None

        def execute(self, sql, params=()):
            return 0  # another node's row was there first

    with pytest.raises(StoreError, match="same moment"):
        site_module._change(Tx(), lambda s: replace(s, limits_exempt=("::1/128",)), "root", "")


def test_policies_are_written_as_they_are_read():
    policies = {"dnsbl": {"on": True, "lists": ("a.example", "b.example"), "deadline": "3s", "weight": 4}}
    settings = SiteSettings(policies=policies)
    body = tomllib.loads(sitetoml.to_toml(settings))["site"]["policies"]
    assert body == {"dnsbl": {**policies["dnsbl"], "lists": ["a.example", "b.example"]}}
    assert sitetoml.from_json(sitetoml.to_json(settings), {}) == settings


def test_recipients_of_a_seed_are_there_and_come_out_again(site, house):
    seed = SiteSettings(
        domains=("example.org",),
        mailboxes=("alice@example.org", "bob@example.org", "postmaster@example.org"),
        aliases={"info@example.org": ("alice@other.example",)},
        domain_aliases={"other.example": "example.org"},
        catchalls={"example.org": "bob@example.org"},
        mailbox_quotas={"Bob@example.org": (5, 0)},
        quota=(1000, 10),
        subaddress="-",
    )
    assert house.run(site.seed(seed)) is True
    assert (site.current.quota, site.current.subaddress, site.current.catchalls) == ((1000, 10), "-", {})
    boxes = {row["address"]: (row["quota"], row["quota_messages"]) for row in house.run(house.store.mail.mailboxes())}
    assert boxes == {
        "alice@example.org": (1000, 10),
        "bob@example.org": (5, 0),
        "postmaster@example.org": (0, 0),
    }
    for text, end in (
        ("info-x@other.example", "alice"),
        ("nobody@example.org", "bob"),
        ("abuse@other.example", "postmaster"),
    ):
        found = house.run(house.store.directory.resolve(parse_address(text)))
        assert [ref.address for ref in found.mailboxes] == [f"{end}@example.org"]
    exported = tomllib.loads(house.run(site.export()))["site"]
    assert exported["domain_aliases"] == {"other.example": "example.org"}
    assert exported["catchalls"] == {"example.org": "bob@example.org"}
    assert exported["quotas"] == {"bytes": 1000, "messages": 10, "mailboxes": {"bob@example.org": {"bytes": 5}}}
    assert exported["subaddress"] == "-"
