"""The directory on every engine: what is looked up, remembered, changed and refused."""

import pytest
from zope.interface.verify import verifyObject

from netsvc.interfaces import IDirectory
from netsvc.mail.address import NULL, Address, parse_address
from netsvc.mail.message import Resolution
from netsvc.records import StoreError, StoreUnavailableError
from netsvc.store import directory as directory_module
from netsvc.store import directoryrows
from netsvc.store.directory import Directory


@pytest.fixture
def desk(house):
    """The directory of a store with one domain and one mailbox."""
    directory = house.store.directory
    house.run(directory.add_domain("Example.ORG"))
    house.box = house.run(directory.create_mailbox("Alice@example.org"))
    return directory


def ask(house, directory, text):
    return house.run(directory.resolve(parse_address(text)))


def boxes(house, directory, text):
    return [ref.address for ref in ask(house, directory, text).mailboxes]


def test_promises(desk):
    assert verifyObject(IDirectory, desk)


def test_addresses_resolve_without_regard_to_case(desk, house):
    found = ask(house, desk, "ALICE@EXAMPLE.org")
    assert (found.local, found.known, found.forwards) == (True, True, ())
    assert [(ref.id, ref.address, ref.driver, ref.path) for ref in found.mailboxes] == [
        (house.box, "alice@example.org", "db", "")
    ]
    assert ask(house, desk, "bob@example.org") == Resolution(local=True)
    assert ask(house, desk, "alice@example.net") == Resolution(local=False)
    assert house.run(desk.resolve(NULL)) == Resolution(local=False)
    assert house.run(desk.is_local("EXAMPLE.org")) is True
    assert house.run(desk.is_local("example.net")) is False


def test_injection_through_an_address_finds_nobody(desk, house):
    for local in ("'_OR_1=1_--", "%", "_", "alice'--", "a%", "\"x' OR '1'='1\""):
        assert not ask(house, desk, f"{local}@example.org").known
    assert house.run(desk.resolve(Address("' OR 1=1 --", "example.org' OR 1=1 --"))) == Resolution(local=False)
    with pytest.raises(StoreError):
        house.run(desk.create_mailbox("x'); DROP TABLE mailbox;--@example.org"))
    assert boxes(house, desk, "alice@example.org") == ["alice@example.org"]


def test_aliases_are_followed_without_doubles_or_loops(desk, house):
    house.run(desk.create_mailbox("bob@example.org"))
    for address, target in (
        ("team@example.org", "alice@example.org"),
        ("team@example.org", "Bob@Example.org"),
        ("team@example.org", "Carol@Away.example"),
        ("all@example.org", "team@example.org"),
        ("all@example.org", "bob@example.org"),
    ):
        house.run(desk.add_alias(address, target))
    house.execute("INSERT INTO alias (address, target) VALUES ('team@example.org', 'all@example.org')")
    found = ask(house, desk, "ALL@example.org")
    assert sorted(ref.address for ref in found.mailboxes) == ["alice@example.org", "bob@example.org"]
    assert found.forwards == ("Carol@away.example",)
    assert house.run(desk.aliases())[0] == {
        "kind": "alias",
        "address": "all@example.org",
        "targets": ["bob@example.org", "team@example.org"],
    }
    assert house.run(desk.domains()) == [
        {"domain": "example.org", "alias_of": None, "catchall": None, "mailboxes": 2, "aliases": 2}
    ]


def test_ten_levels_of_aliases_and_no_more(desk, house):
    before = "alice@example.org"
    for level in range(1, 11):
        address = f"l{level}@example.org"
        house.run(desk.add_alias(address, before))
        before = address
    assert boxes(house, desk, "l10@example.org") == ["alice@example.org"]
    assert "more than 10 aliases away" in refused_with(house, desk.add_alias("l11@example.org", before))
    house.execute("INSERT INTO alias (address, target) VALUES ('l11@example.org', 'l10@example.org')")
    assert ask(house, desk, "l11@example.org") == Resolution(local=True, fault="deep")


def test_the_postmaster_always_resolves(desk, house):
    bare = Address("PostMaster", "")
    assert not house.run(desk.resolve(bare)).known
    house.run(desk.add_domain("example.net"))
    house.run(desk.add_alias("postmaster@example.org", "alice@example.org"))
    for address in (bare, Address("POSTMASTER", "example.net"), Address("postmaster", "example.org")):
        found = house.run(desk.resolve(address))
        assert found.local
        assert [ref.address for ref in found.mailboxes] == ["alice@example.org"]
    house.run(desk.create_mailbox("postmaster@example.net"))
    assert boxes(house, desk, "postmaster@example.net") == ["postmaster@example.net"]
    assert house.run(desk.resolve(Address("postmaster", "example.com"))) == Resolution(local=False)


def test_answers_are_remembered_until_something_changes(desk, house, monkeypatch):
    desk.stop()  # its look for other nodes' changes would find our own, and forget, between two lines
    for _ in range(3):  # one may be under way
        house.run(desk.refresh())
    address = parse_address("bob@example.org")
    assert not house.run(desk.resolve(address)).known
    assert house.run(desk.is_local("example.org"))
    assert desk.resolve(address).called
    assert desk.is_local("example.com").called
    house.run(desk.create_mailbox("bob@example.org"))
    assert house.run(desk.resolve(address)).known
    house.run(desk.delete_mailbox("bob@example.org"))
    assert not house.run(desk.resolve(address)).known
    monkeypatch.setattr(directory_module, "REMEMBERED", 2)
    for n in range(4):
        ask(house, desk, f"n{n}@example.org")
    assert len(desk._known) == 2


def test_what_is_read_before_a_change_is_not_remembered_after_it(desk, house):
    address = parse_address("bob@example.org")
    first, local = desk.resolve(address), desk.is_local("example.com")
    desk.forget()
    house.run(first)
    house.run(local)
    if house.url != "memory":
        assert (len(desk._known), desk._domains) == (0, None)


def test_refusals_are_told_in_words(desk, house):
    directory = desk

    def refused(call):
        return str(house.fails(call, StoreError))

    assert refused(directory.create_mailbox("a@example.net")) == (
        "example.net is not a domain of this site. Add it first: domain add example.net"
    )
    assert refused(directory.create_mailbox("ALICE@example.org")) == "alice@example.org exists already"
    assert "is not an address" in refused(directory.create_mailbox("no\x1baddress"))
    assert "\x1b" not in refused(directory.create_mailbox("no\x1baddress"))
    assert "quota" in refused(directory.create_mailbox("b@example.org", -1))
    assert refused(directory.delete_mailbox("b@example.org")) == "There is no mailbox b@example.org"
    assert "already" in refused(directory.add_domain("example.org"))
    assert "is not a domain" in refused(directory.add_domain("exa mple"))
    assert "literal" in refused(directory.add_domain("[192.0.2.1]"))
    assert refused(directory.delete_domain("example.org")) == "example.org still holds 1 mailbox. Delete them first"
    assert refused(directory.delete_domain("example.net")) == "example.net is not a domain of this site"
    assert "is a mailbox" in refused(directory.add_alias("alice@example.org", "b@example.net"))
    assert "not a domain" in refused(directory.add_alias("b@example.com", "alice@example.org"))
    assert "neither" in refused(directory.add_alias("b@example.org", "c@example.org"))
    assert "itself" in refused(directory.add_alias("b@example.org", "B@example.org"))
    house.run(directory.add_alias("b@example.org", "c@example.net"))
    assert "already" in refused(directory.add_alias("b@example.org", "c@example.net"))
    assert "is an alias" in refused(directory.create_mailbox("b@example.org"))
    assert refused(directory.delete_domain("example.org")).startswith("example.org still holds 1 mailbox and 1 alias.")
    assert "no alias" in refused(directory.delete_alias("x@example.org"))
    assert "that leads to z@example.net" in refused(directory.delete_alias("b@example.org", "z@example.net"))


def test_aliases_and_domains_go(desk, house):
    house.run(desk.add_alias("b@example.org", "C@example.net"))
    house.run(desk.add_alias("b@example.org", "d@example.net"))
    house.run(desk.add_alias("b@example.org", "e@example.net"))
    assert house.run(desk.delete_alias("b@example.org", "C@example.net")) == 1
    assert house.run(desk.delete_alias("B@example.org")) == 2
    assert house.run(desk.delete_mailbox("alice@example.org")) == 0
    house.run(desk.delete_domain("example.org"))
    assert house.run(desk.domains()) == []
    assert house.run(desk.is_local("example.org")) is False


def test_a_mailbox_goes_with_its_mail_and_its_bodies(desk, house, monkeypatch):
    monkeypatch.setattr(directoryrows, "SLICE", 3)
    other = house.run(desk.create_mailbox("bob@example.org"))
    house.execute("INSERT INTO account (name, mailbox_id) VALUES (?, ?)", ("alice", house.box))
    for n in range(7):
        local = [house.local(house.box, 1, "alice@example.org")]
        if n == 0:
            local.append(house.local(other, 2, "bob@example.org"))
        house.accept(local=local)
    assert house.run(desk.delete_mailbox("alice@example.org")) == 7
    assert house.rows("SELECT mailbox_id FROM mail") == [(other,)]
    assert house.rows("SELECT refs, count(*) FROM blob WHERE dead_at IS NULL GROUP BY refs") == [(1, 1)]
    assert house.value("SELECT count(*) FROM blob WHERE refs = 0 AND dead_at IS NOT NULL") == 6
    assert house.rows("SELECT mailbox_id FROM account") == [(None,)]
    again = house.run(desk.create_mailbox("alice@example.org", 1000))
    assert again != house.box
    assert house.run(house.store.mail.quota("alice@example.org")) == (0, 1000, 0, 0)


def test_another_nodes_change_is_noticed(desk, house):
    elsewhere = Directory(house.engine, house.pump)
    house.run(elsewhere.refresh())
    for change, text, known in (
        (lambda: desk.create_mailbox("bob@example.org"), "bob@example.org", True),
        (lambda: desk.delete_mailbox("bob@example.org"), "bob@example.org", False),
        (lambda: desk.add_alias("bob@example.org", "x@example.com"), "bob@example.org", True),
        (lambda: desk.delete_alias("bob@example.org"), "bob@example.org", False),
        (lambda: desk.add_domain("example.net"), "postmaster@example.net", False),
    ):
        before = ask(house, elsewhere, text)
        house.run(change())
        assert ask(house, elsewhere, text) == before
        house.run(elsewhere.refresh())
        assert ask(house, elsewhere, text).known is known
    assert ask(house, elsewhere, "a@example.net").local
    house.run(desk.delete_domain("example.net"))
    house.run(elsewhere.refresh())
    assert not ask(house, elsewhere, "a@example.net").local
    house.run(elsewhere.refresh())
    assert len(elsewhere._known) == 1


def test_it_looks_each_second_where_there_are_other_nodes(make_house, monkeypatch):
    house = make_house("memory")
    directory = Directory(house.engine, house.pump)
    directory.start()
    assert not directory._looking.running
    monkeypatch.setattr(house.engine, "dialect", "postgresql")
    directory.start()
    directory.start()
    house.run(directory.is_local("example.org"))
    house.execute("INSERT INTO domain (name, kind, rev) VALUES ('example.org', 1, 5)")
    assert house.run(directory.is_local("example.org")) is False
    house.pump.advance(directory_module.LOOK_S)
    assert house.run(directory.is_local("example.org")) is True
    directory.stop()
    directory.stop()


def test_a_look_that_fails_leaves_what_is_known(make_house):
    house = make_house("memory")
    directory = house.store.directory
    house.run(directory.is_local("example.org"))
    house.close()
    house.run(directory._look())
    assert directory._domains == set()
    house.fails(directory.resolve(parse_address("a@example.org")), StoreUnavailableError)


def test_a_mailbox_that_an_alias_leads_to_stays(desk, house):
    house.run(desk.create_mailbox("carol@example.org"))
    house.run(desk.add_alias("info@example.org", "alice@example.org"))
    house.run(desk.add_alias("info@example.org", "carol@example.org"))
    assert refused_with(house, desk.delete_mailbox("carol@example.org")) == (
        "info@example.org leads to carol@example.org. First: alias delete info@example.org carol@example.org"
    )
    house.run(desk.delete_alias("info@example.org", "carol@example.org"))
    assert house.run(desk.delete_mailbox("carol@example.org")) == 0


def refused_with(house, deferred):
    with pytest.raises(StoreError) as caught:
        house.run(deferred)
    return str(caught.value)
