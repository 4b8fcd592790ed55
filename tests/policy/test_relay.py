"""The recipient rule: no open relay (T8, T10, T11)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from netsvc.interfaces import IPolicy
from netsvc.mail.address import AddressError, parse_address
from netsvc.mail.envelope import Envelope, Recipient, SessionFacts
from netsvc.networks import Networks
from netsvc.policy.relay import Domains, RecipientRule
from tests.fakes import FakeDirectory, FakeSite


def ask(rule, rcpt, peer="192.0.2.1", stage="rcpt"):
    session = SessionFacts("S1", peer, 4711, "smtp", "mx1.example.org")
    envelope = Envelope(session, recipients=(Recipient(parse_address(rcpt)),))
    answers = []
    rule.check(stage, session, envelope).addCallback(answers.append)
    return answers[0]


@pytest.fixture
def site():
    return FakeSite(relay_from=("127.0.0.0/8", "::1/128"), relay_domains=("partner.example", ".sub.example"))


@pytest.fixture
def rule(site):
    return RecipientRule(FakeDirectory(), site)


def test_it_is_a_policy(rule):
    assert verifyObject(IPolicy, rule)


def test_known_recipient(rule):
    assert ask(rule, "Alice@Example.ORG").action == "accept"


def test_unknown_recipient_of_our_domain_even_from_a_listed_network(rule):
    verdict = ask(rule, "nobody@example.org", peer="127.0.0.1")
    assert (verdict.action, verdict.reply.code, verdict.reply.status) == ("reject", 550, "5.1.1")


def test_relay_for_listed_domains(rule):
    assert ask(rule, "x@partner.example").action == "accept"
    assert ask(rule, "x@a.sub.example").action == "accept"
    assert ask(rule, "x@sub.example").action == "reject"
    assert ask(rule, "x@notpartner.example").action == "reject"


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"])
def test_relay_from_listed_networks(rule, peer):
    assert ask(rule, "x@anywhere.example", peer=peer).action == "accept"


@pytest.mark.parametrize(
    "rcpt",
    [
        "x@foreign.example",
        "x%foreign.example@elsewhere.example",
        '"x@foreign.example"@other.example',
        "a!b@foreign.example",
    ],
)
def test_t10_no_open_relay(rule, rcpt):
    verdict = ask(rule, rcpt)
    assert (verdict.action, verdict.reply.code, verdict.reply.status) == ("reject", 550, "5.7.1")


@pytest.mark.parametrize(
    "rcpt", ["x%foreign.example@example.org", '"x@foreign.example"@example.org', "f.example!x@example.org"]
)
def test_t10_routes_hidden_in_a_local_part_are_unknown_users(rule, rcpt):
    assert ask(rule, rcpt).reply.status == "5.1.1"


@given(st.text(max_size=20), st.text(max_size=20))
def test_nobody_relays_from_elsewhere(local, domain):
    rule = RecipientRule(FakeDirectory(), FakeSite())
    try:
        address = parse_address(f"{local}@{domain}")
    except AddressError:
        return
    if str(address).lower() not in ("alice@example.org", "bob@example.org"):
        assert ask(rule, str(address)).action == "reject"


def test_a_change_of_the_site_is_obeyed(rule, site):
    site.become(relay_domains=("*",))
    assert ask(rule, "x@anywhere.example").action == "accept"
    assert ask(rule, "x@anywhere.example", peer="127.0.0.1").action == "accept"
    site.become()
    assert ask(rule, "x@partner.example").action == "reject"


def test_no_opinion_elsewhere(rule):
    assert ask(rule, "x@foreign.example", stage="mail").action == "pass"


def test_networks_remember_within_bounds():
    networks = Networks(["10.0.0.0/8", "fe80::/10"])
    assert "10.1.2.3" in networks
    assert "fe80::1%eth0" in networks
    assert "not an address" not in networks
    for i in range(10_100):
        assert f"192.168.{i // 250}.{i % 250}" not in networks
    assert "10.1.2.3" in networks


def test_domains():
    assert "a.b.example" in Domains([".example"])
    assert "" not in Domains(["example"])
