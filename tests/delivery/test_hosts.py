"""Hosts of destinations: MX records, their order, and what is never tried."""

import pytest
from twisted.internet.defer import CancelledError, Deferred

from netsvc.delivery.faults import AttemptError, UndeliverableError
from netsvc.delivery.hosts import DESTINATIONS_AT_ONCE, LONGEST_TURN, MOST_ADDRESSES, OWN_LOOK, Hosts
from netsvc.delivery.targets import hop_target
from netsvc.mail.message import Hop, Kind
from netsvc.mail.outcome import Fault
from netsvc.settings import DeliverySettings
from tests.delivery.fakes import Network, ground
from tests.fakes import FakeSite
from tests.zones import FakeResolver

OUT = "198.51.99.{}"  # of the public Internet, and nobody's here
DOMAIN = "example.net"


def public(n):
    return OUT.format(n)


def mx(**zones):
    """A zone with MX records of DOMAIN as ``name=(preference, address...)``; a name's underscores are dots."""
    zone = {DOMAIN: {"MX": []}}
    for key, (preference, *addresses) in zones.items():
        name = key.replace("_", ".")
        zone[DOMAIN]["MX"].append([preference, name])
        kinds = {}
        for address in addresses:
            kinds.setdefault("AAAA" if ":" in address else "A", []).append(address)
        zone[name] = kinds
    return zone


class Case:
    def __init__(self, zone, *, own=(), chance=lambda: 0.5, resolver=None, validated=False, **delivery):
        self.net = Network()
        self.site = FakeSite(delivery=DeliverySettings(**delivery))
        self.resolver = resolver or FakeResolver(zone, validated=validated)
        self.ground = ground(reactor=self.net, site=self.site, resolver=self.resolver, chance=chance)
        self.hosts = Hosts(self.ground, lambda address: address in own)

    def begin(self, key=DOMAIN, route="mx"):
        return Deferred.fromCoroutine(self.hosts.hosts(hop_target(Hop(Kind.SMTP, key, key, route))))

    def found(self, key=DOMAIN, route="mx"):
        d = self.begin(key, route)
        assert d.called
        if not isinstance(d.result, list):
            d.result.raiseException()
        return d.result

    def names(self, key=DOMAIN, route="mx"):
        return [host.name for host in self.found(key, route)]

    def refused(self, key=DOMAIN, route="mx"):
        d = self.begin(key, route)
        why = d.result.value
        d.addErrback(lambda _: None)
        return why

    def rows(self, key=DOMAIN, route="mx"):
        target = hop_target(Hop(Kind.SMTP, key, key, route))
        return Deferred.fromCoroutine(self.hosts.rows(target)).result


def test_by_preference():
    case = Case(mx(c_x=(30, public(3)), a_x=(10, public(1)), b_x=(20, public(2))))
    assert case.names() == ["a.x", "b.x", "c.x"]
    first = case.found()[0]
    assert (first.addresses, first.port, first.preference) == ((public(1),), 25, 10)


def test_one_preference_is_shuffled():
    for chances, names in (([0.1, 0.2], ["a.x", "b.x"]), ([0.2, 0.1], ["b.x", "a.x"])):
        left = [*chances, *[0.5] * 20]
        case = Case(mx(a_x=(10, public(1)), b_x=(10, public(2))), chance=lambda left=left: left.pop(0))
        assert case.names() == names


def test_addresses_of_one_kind_are_shuffled_and_kinds_take_turns():
    left = [0.5, 0.9, 0.1, 0.2, 0.1, *[0.5] * 20]
    case = Case(
        mx(a_x=(10, "2600::1", "2600::2", public(1), public(2), public(3))), chance=lambda: left.pop(0) if left else 0.5
    )
    assert case.found()[0].addresses == ("2600::2", public(2), "2600::1", public(1), public(3))


def test_the_port_of_tests():
    assert Case(mx(a_x=(10, public(1))), mx_port=2525).found()[0].port == 2525


def test_without_mx_the_domain_itself():
    case = Case({DOMAIN: {"A": [public(1)]}})
    assert [(host.name, host.addresses) for host in case.found()] == [(DOMAIN, (public(1),))]


def test_mx_that_is_an_alias():
    case = Case(mx(a_x=(10,)) | {"a.x": {"CNAME": ["b.x"]}, "b.x": {"A": [public(1)]}})
    (host,) = case.found()
    assert (host.name, host.alias_of, host.addresses) == ("a.x", "b.x", (public(1),))


@pytest.mark.parametrize(
    ("validated", "expected"),
    [(True, True), (False, False), ({DOMAIN}, False), ({"a.x"}, False), ({DOMAIN, "a.x"}, True)],
)
def test_validated_from_end_to_end(validated, expected):
    assert Case(mx(a_x=(10, public(1), "2600::1")), validated=validated).found()[0].validated is expected


def test_null_mx():
    why = Case({DOMAIN: {"MX": [[0, ""]], "A": [public(1)]}}).refused()
    assert isinstance(why, UndeliverableError)
    assert (why.code, why.status, why.fault) == (556, "5.1.10", Fault.ROUTING)


def test_a_null_mx_among_others_is_passed_over():
    zone = mx(a_x=(10, public(1)))
    zone[DOMAIN]["MX"].append([0, ""])
    assert Case(zone).names() == ["a.x"]


def test_no_such_domain():
    why = Case({}).refused()
    assert isinstance(why, UndeliverableError)
    assert (why.status, why.fault) == ("5.1.2", Fault.DNS)


def test_name_servers_that_fail():
    why = Case({DOMAIN: "SERVFAIL"}).refused()
    assert not isinstance(why, UndeliverableError)
    assert (why.status, why.fault) == ("4.4.3", Fault.DNS)


def test_a_host_that_cannot_be_looked_up_is_passed_over():
    zone = mx(a_x=(10,), b_x=(20, public(2))) | {"a.x": "SERVFAIL"}
    assert Case(zone).names() == ["b.x"]


def test_mail_waits_where_any_host_may_be_found_later():
    why = Case(mx(a_x=(10,), b_x=(20,), c_x=(5, "10.0.0.1")) | {"b.x": "SERVFAIL"}).refused()
    assert not isinstance(why, UndeliverableError)
    assert why.status == "4.4.3"
    assert "b.x cannot be looked up" in why.words


def test_hosts_without_addresses():
    why = Case(mx(a_x=(10,), b_x=(20,))).refused()
    assert isinstance(why, UndeliverableError)
    assert why.status == "5.1.2"
    assert "a.x: has no address; b.x: has no address" in why.words


def test_an_address_in_the_place_of_a_name():
    case = Case({DOMAIN: {"MX": [[10, "192.0.2.1"], [20, "a.x"]]}, "a.x": {"A": [public(1)]}})
    assert case.names() == ["a.x"]


def test_list_is_cut_at_our_name():
    zone = mx(a_x=(10, public(1)), mx1_example_org=(20, public(2)), b_x=(20, public(3)), c_x=(30, public(4)))
    case = Case(zone)
    assert case.names() == ["a.x"]
    rows = case.rows()
    assert [(row["name"], bool(row["why"])) for row in rows] == [
        ("a.x", False), ("mx1.example.org", True), ("b.x", True), ("c.x", True)
    ]  # fmt: skip
    assert ("A", "c.x") not in case.resolver.asked


def test_list_is_cut_at_our_address():
    zone = mx(a_x=(10, public(1)), b_x=(20, public(2), public(9)), c_x=(20, public(3)), d_x=(30, public(4)))
    assert Case(zone, own={public(2)}).names() == ["a.x"]


def test_list_is_cut_at_the_address_of_our_name():
    zone = mx(a_x=(10, public(1)), b_x=(20, public(2)), c_x=(30, public(3))) | {"mx1.example.org": {"A": [public(2)]}}
    assert Case(zone).names() == ["a.x"]


def test_our_addresses_are_looked_up_again():
    case = Case(mx(a_x=(10, public(1)), b_x=(20, public(2))))
    assert case.names() == ["a.x", "b.x"]
    case.resolver.records["mx1.example.org"] = {"A": [public(2)]}
    assert case.names() == ["a.x", "b.x"]
    case.net.advance(OWN_LOOK)
    assert case.names() == ["a.x"]
    case.resolver.records["mx1.example.org"] = "SERVFAIL"
    case.net.advance(OWN_LOOK)
    assert case.names() == ["a.x"]  # what was known is not forgotten


def test_we_are_the_best_host():
    for zone, own in (
        (mx(mx1_example_org=(5, public(1)), a_x=(10, public(2))), ()),
        (mx(b_x=(5, public(1)), a_x=(10, public(2))), {public(1)}),
        ({DOMAIN: {"A": [public(1)]}}, {public(1)}),
    ):
        why = Case(zone, own=own).refused()
        assert isinstance(why, UndeliverableError)
        assert (why.status, why.fault) == ("5.4.6", Fault.LOOP)


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("127.0.0.1", "5.4.6"),
        ("::1", "5.4.6"),
        ("0.0.0.0", "5.4.6"),
        ("::", "5.4.6"),
        ("224.0.0.1", "5.1.2"),
        ("ff02::1", "5.1.2"),
        ("10.1.2.3", "5.1.2"),
        ("192.168.1.1", "5.1.2"),
        ("172.16.0.1", "5.1.2"),
        ("169.254.1.1", "5.1.2"),
        ("100.64.0.1", "5.1.2"),
        ("fe80::1", "5.1.2"),
        ("fd00::1", "5.1.2"),
        ("::ffff:127.0.0.1", "5.1.2"),
        ("255.255.255.255", "5.1.2"),
    ],
)
def test_addresses_that_are_not_tried(address, status):
    case = Case(mx(a_x=(10, address)))
    why = case.refused()
    assert isinstance(why, UndeliverableError)
    assert why.status == status
    assert Case(mx(a_x=(10, address, public(1)), b_x=(20, public(2)))).names() == ["a.x", "b.x"]
    assert Case(mx(a_x=(10, address, public(1)))).found()[0].addresses == (public(1),)
    assert Case(mx(a_x=(10, address), b_x=(20, public(2)))).names() == ["b.x"]


def test_networks_that_are_exempt():
    case = Case(mx(a_x=(10, "10.1.2.3")), own={"10.1.2.3"}, mx_allow_networks=("10.0.0.0/8",))
    assert case.names() == ["a.x"]
    case.site.current = FakeSite().current
    assert isinstance(case.refused(), UndeliverableError)  # a change counts at once


def test_so_many_addresses_at_most():
    zone = {DOMAIN: {"MX": [[n, f"h{n}.x"] for n in range(1, 30)]}}
    zone |= {f"h{n}.x": {"A": [public(10 * n + m) for m in range(6)]} for n in range(1, 25)}
    case = Case(zone)
    hosts = case.found()
    assert sum(len(host.addresses) for host in hosts) == MOST_ADDRESSES
    assert [len(host.addresses) for host in hosts] == [6, 6, 6, 2]
    assert len(case.resolver.asked) < 15
    assert "20 addresses before it" in case.rows()[-1]["why"]


def test_one_host_leaves_room_for_the_next():
    zone = mx(a_x=(10, *[public(n) for n in range(1, 31)]), b_x=(20, public(99)))
    assert [len(host.addresses) for host in Case(zone).found()] == [10, 1]


@pytest.mark.parametrize(("key", "address"), [("[198.51.99.7]", "198.51.99.7"), ("[IPv6:2600::7]", "2600::7")])
def test_a_domain_that_is_an_address(key, address):
    case = Case({})
    (host,) = case.found(key)
    assert (host.name, host.addresses, host.port) == (address, (address,), 25)
    assert case.resolver.asked == []


def test_a_domain_that_is_an_address_of_ours():
    assert Case({}).refused("[127.0.0.1]").status == "5.4.6"
    assert Case({}).refused("[10.0.0.1]").status == "5.1.2"
    assert Case({}).refused("[nonsense]").status == "5.1.2"


def test_what_an_operator_names_never_returns_mail():
    for zone in ({}, {"other.example": {"MX": [[0, ""]]}}, mx(a_x=(10, "127.0.0.1"))):
        why = Case(zone).refused("other.example", "mx:other.example")
        assert not isinstance(why, UndeliverableError)
        assert (why.status, why.fault) == ("4.4.4", Fault.ROUTING)
        assert "mx:other.example" in why.words
    assert Case({"other.example": "SERVFAIL"}).refused("other.example", "mx:other.example").status == "4.4.3"
    assert Case({"other.example": {"A": [public(1)]}}).names("other.example", "mx:other.example") == ["other.example"]


def test_hosts_that_a_route_names_are_taken_as_they_are():
    case = Case({"relay.example.org": {"A": ["10.0.0.1"], "AAAA": ["::1"]}}, validated=True)
    (host,) = case.found("[relay.example.org]:587")
    assert (host.name, host.addresses, host.port) == ("relay.example.org", ("::1", "10.0.0.1"), 587)
    assert host.validated
    (host,) = case.found("[127.0.0.1]:25")
    assert (host.name, host.addresses) == ("127.0.0.1", ("127.0.0.1",))
    assert case.found("[localhost]:25")[0].addresses == ("127.0.0.1", "::1")


def test_hosts_that_a_route_names_in_vain():
    why = Case({"broken.example.org": "SERVFAIL"}).refused("[broken.example.org]:25")
    assert (why.status, why.fault) == ("4.4.3", Fault.DNS)
    why = Case({}).refused("[gone.example.org]:25")
    assert not isinstance(why, UndeliverableError)
    assert (why.status, why.fault) == ("4.4.4", Fault.DNS)


def test_without_a_resolver():
    case = Case({})
    hosts = Hosts(ground(reactor=case.net))
    d = Deferred.fromCoroutine(hosts.hosts(hop_target(Hop(Kind.SMTP, DOMAIN, DOMAIN, "mx"))))
    why = d.result.value
    d.addErrback(lambda _: None)
    assert (type(why), why.status) == (AttemptError, "4.4.3")


def test_rows():
    case = Case(mx(a_x=(10, public(1)), b_x=(20, "10.0.0.1")))
    fine, against = case.rows()
    assert fine == {
        "name": "a.x",
        "preference": 10,
        "addresses": [public(1)],
        "port": 25,
        "validated": False,
        "why": "",
    }
    assert against["why"] == "[10.0.0.1] is not an address of the public Internet"
    (none,) = Case({DOMAIN: {"MX": [[0, ""]]}}).rows()
    assert (none["name"], none["why"]) == ("", f"5.1.10 {DOMAIN} takes no mail (null MX, RFC 7505)")
    *_, last = Case(mx(b_x=(20, "10.0.0.1"))).rows()
    assert last["name"] == ""
    assert last["why"].startswith("5.1.2 no mail host")


@pytest.mark.parametrize("stage", range(3))
def test_what_waits_for_the_dns_can_be_given_up(stage):
    case = Case(mx(a_x=(10, public(1))))
    case.resolver.hold = True
    asked = case.begin()
    for _ in range(stage):  # our own name, MX, addresses
        case.resolver.release()
    asked.cancel()
    assert isinstance(asked.result.value, CancelledError)
    asked.addErrback(lambda _: None)
    assert case.hosts._turns.tokens == case.hosts._turns.limit
    case.resolver.hold = False
    assert case.names() == ["a.x"]


def test_a_mistake_of_ours_is_not_hidden():
    case = Case(mx(a_x=(10, public(1))))
    case.names()
    case.hosts._shuffled = None
    why = case.refused()
    assert isinstance(why, TypeError)


def test_destinations_nobody_answers_for_let_others_begin():
    case = Case(mx(a_x=(10, public(1))))
    case.names()
    case.resolver.hold = True
    silent = [case.begin(f"silent{n}.example") for n in range(DESTINATIONS_AT_ONCE)]
    case.resolver.hold = False
    healthy = case.begin()
    assert not healthy.called
    case.net.advance(LONGEST_TURN)
    assert healthy.called
    case.resolver.release()
    assert all(each.called for each in silent)
    assert case.hosts._turns.tokens == DESTINATIONS_AT_ONCE
    for each in silent:
        each.addErrback(lambda _: None)
