"""The recipient rule: no open relay (T8, T10, T11)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import maybeDeferred
from zope.interface.verify import verifyObject

from netsvc.interfaces import IPolicy
from netsvc.mail.address import AddressError, parse_address
from netsvc.mail.envelope import Envelope, Recipient, SessionFacts
from netsvc.mail.message import MailboxRef, Resolution
from netsvc.networks import Networks
from netsvc.policy import relay
from netsvc.policy.relay import Domains, RecipientRule
from tests.fakes import FakeDirectory, FakeSite


def ask(rule, rcpt, peer="192.0.2.1", stage="rcpt", size=0, session=None):
    session = session or SessionFacts("S1", peer, 4711, "smtp", "mx1.example.org")
    envelope = Envelope(session, recipients=(Recipient(parse_address(rcpt)),), size=size)
    answers = []
    maybeDeferred(rule.check, stage, session, envelope).addCallback(answers.append)
    return answers[0]


@pytest.fixture
def site():
    return FakeSite(relay_from=("127.0.0.0/8", "::1/128"), relay_domains=("partner.example", ".sub.example"))


@pytest.fixture
def directory():
    return FakeDirectory()


@pytest.fixture
def rule(directory, site):
    return RecipientRule(directory, site)


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


def own(*boxes, forwards=(), fault="", limited=True):
    return Resolution(True, tuple(MailboxRef(n, f"b{n}@example.org", limited=limited) for n in boxes), forwards, fault)


@pytest.mark.parametrize(
    ("fault", "action", "code", "status"),
    [
        ("loop", "reject", 550, "5.4.6"),
        ("many", "defer", 451, "4.2.4"),
        ("deep", "defer", 451, "4.2.4"),
        ("postmaster", "defer", 451, "4.3.5"),
    ],
)
def test_what_leads_nowhere_is_told_from_what_is_unknown(rule, directory, fault, action, code, status):
    directory.known["x@example.org"] = own(fault=fault)
    verdict = ask(rule, "x@example.org")
    assert (verdict.action, verdict.reply.code, verdict.reply.status) == (action, code, status)
    assert verdict.why


@pytest.mark.parametrize(
    ("boxes", "rooms", "size", "full"),
    [
        ((1,), {}, 0, False),  # no figure
        ((1,), {1: (0, 9, 20)}, 0, True),
        ((1,), {1: (9, 0, 20)}, 0, True),
        ((1,), {1: (9, 9, 20)}, 9, False),
        ((1,), {1: (9, 9, 20)}, 10, True),
        ((1, 2), {1: (0, 0, 20), 2: (100, 1, 100)}, 0, False),
        ((1, 2), {1: (0, 0, 20), 2: (0, 0, 20)}, 0, True),
        ((1, 2), {1: (0, 0, 20)}, 0, False),  # the other has no quota
    ],
)
def test_a_hint_that_nothing_has_room(rule, directory, boxes, rooms, size, full):
    directory.known["x@example.org"] = own(*boxes)
    directory.rooms = rooms
    verdict = ask(rule, "x@example.org", size=size)
    assert verdict.action == ("defer" if full else "accept")
    assert verdict.reply.status == ("4.2.2" if full else "2.1.5")


def test_a_message_that_would_never_fit_is_refused_for_good(rule, directory):
    directory.known["x@example.org"] = own(1, 2)
    directory.rooms = {1: (9, 9, 20), 2: (5, 5, 30)}
    assert ask(rule, "x@example.org", size=30).action == "defer"
    verdict = ask(rule, "x@example.org", size=31)
    assert (verdict.action, verdict.reply.code, verdict.reply.status) == ("reject", 552, "5.2.2")


def test_what_is_sent_on_has_room(rule, directory):
    directory.known["x@example.org"] = own(1, forwards=("a@away.example",))
    directory.rooms = {1: (0, 0, 20)}
    assert ask(rule, "x@example.org").action == "accept"


def test_a_transaction_stands_for_so_many_and_no_more(rule, directory):
    directory.known["x@example.org"] = own(*range(relay.MAX_EXPANDED // 4), limited=False)
    session = SessionFacts("S1", "192.0.2.1", 4711, "smtp", "mx1.example.org")
    actions = [ask(rule, "x@example.org", session=session).action for _ in range(5)]
    assert actions == ["accept"] * 4 + ["defer"]
    assert ask(rule, "x@example.org", session=session).reply.status == "4.5.3"
    assert ask(rule, "alice@example.org", session=session).action == "accept"
    session.expanded = 0  # as the next MAIL has it
    assert ask(rule, "x@example.org", session=session).action == "accept"


@pytest.mark.parametrize(
    ("text", "theirs"),
    [("postmaster@a.example", True), ("PostMaster@a.example", True), ("postmaster+x@a.example", False)],
)
def test_who_is_postmaster(text, theirs):
    assert relay.for_postmaster(parse_address(text)) is theirs


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


def test_who_has_logged_in_sends_to_anywhere(rule):
    session = SessionFacts("S1", "192.0.2.1", 4711, "submission", "mx1.example.org", user="ann@example.org", auth=True)
    assert ask(rule, "x@elsewhere.example", session=session).action == "accept"
    assert ask(rule, "nobody@example.org", session=session).action == "reject"


def test_t10_who_could_log_in_is_told_so(rule):
    session = SessionFacts("S1", "192.0.2.1", 4711, "submission", "mx1.example.org", auth=True)
    verdict = ask(rule, "x@elsewhere.example", session=session)
    assert (verdict.action, bytes(verdict.reply)) == ("reject", b"530 5.7.0 Authentication required\r\n")
