"""Who may send as whom, on every engine."""

import pytest
from zope.interface.verify import verifyObject

from netsvc.interfaces import ISenders
from netsvc.records import AccountRow, StoreError


@pytest.fixture
def site(house):
    """A site with mailboxes, aliases and accounts."""
    directory = house.store.directory
    for name in ("example.org", "lists.example.org"):
        house.run(directory.add_domain(name))
    boxes = {n: house.run(directory.create_mailbox(f"{n}@example.org")) for n in ("ann", "bob", "carol")}
    house.run(directory.add_alias("sales@example.org", "ann@example.org"))
    house.run(directory.add_alias("sales@example.org", "bob@example.org"))
    house.run(directory.add_alias("all@example.org", "sales@example.org"))
    house.run(directory.set_catchall("lists.example.org", "ann@example.org"))
    rows = house.store.account_rows
    house.run(rows.create(AccountRow("ann@example.org", "x", mailbox_id=boxes["ann"])))
    house.run(rows.create(AccountRow("op", "x", role=2, mailbox_id=boxes["bob"])))
    house.run(rows.create(AccountRow("nobox", "x", role=2)))
    return house


@pytest.fixture
def senders(site):
    return site.store.senders


@pytest.mark.parametrize(
    ("user", "address", "may"),
    [
        ("ann@example.org", "ann@example.org", True),
        ("ann@example.org", "Ann@EXAMPLE.ORG", True),
        ("ann@example.org", "ann+list@example.org", True),
        ("ann@example.org", "sales@example.org", True),
        ("ann@example.org", "all+x@example.org", True),
        ("ann@example.org", "bob@example.org", False),
        ("ann@example.org", "nobody@example.org", False),
        ("ann@example.org", "any@lists.example.org", False),
        ("ann@example.org", "ann@elsewhere.example", False),
        ("ann@example.org", "postmaster@example.org", False),
        ("ann@example.org", "not an address", False),
        ("op", "bob@example.org", True),
        ("op", "sales@example.org", True),
        ("op", "ann@example.org", False),
        ("carol@example.org", "carol@example.org", True),
        ("nobox", "bob@example.org", False),
        ("a\0b", "ann@example.org", False),
        ("' OR 1=1 --", "ann@example.org", False),
    ],
)
def test_own_addresses(site, senders, user, address, may):
    assert site.run(senders.may_use(user, address)) is may


def test_mailboxes_of_accounts(site, senders):
    verifyObject(ISenders, senders)
    assert site.run(senders.mailbox_of("op")) == "bob@example.org"
    assert site.run(senders.mailbox_of("carol@example.org")) == "carol@example.org"
    assert site.run(senders.mailbox_of("nobox")) == site.run(senders.mailbox_of("nobody")) == ""
    assert site.run(senders.mailboxes()) == {"ann@example.org": "ann@example.org", "op": "bob@example.org"}
    assert site.run(senders.box("bob@example.org")) > 0
    assert site.run(senders.box("nobody@example.org")) == 0


def test_grants(site, senders):
    site.run(senders.grant("op", "Office@Example.org"))
    site.run(senders.grant("op", "@Partner.example"))
    assert "already" in str(site.fails(senders.grant("op", "office@example.org"), StoreError))
    assert "no account" in str(site.fails(senders.grant("nobody", "a@example.org"), StoreError))
    assert "not an address" in str(site.fails(senders.grant("op", "office"), StoreError))
    assert "not a domain" in str(site.fails(senders.grant("op", "@a b"), StoreError))
    assert site.run(senders.grants()) == [("op", "@partner.example"), ("op", "office@example.org")]
    assert site.run(senders.grants("ann@example.org")) == []
    assert site.run(senders.may_use("op", "OFFICE@example.org"))
    assert site.run(senders.may_use("op", "x@partner.example"))
    assert not site.run(senders.may_use("op", "x@sub.partner.example"))
    assert site.run(senders.revoke("op", "@partner.example")) is True
    assert site.run(senders.revoke("op", "@partner.example")) is False
    assert not site.run(senders.may_use("op", "x@partner.example"))
    site.run(site.store.account_rows.delete("op"))
    assert site.run(senders.grants()) == []


def test_mailbox_of_an_account_is_changed(site, senders):
    rows = site.store.account_rows
    site.run(rows.update("nobox", mailbox_id=site.run(senders.box("carol@example.org"))))
    assert site.run(senders.mailbox_of("nobox")) == "carol@example.org"
    site.run(rows.update("nobox", mailbox_id=None))
    assert site.run(senders.mailbox_of("nobox")) == ""


def test_secrets_are_made_once(site, senders):
    first = site.run(senders.secret("scram"))
    assert len(first) == 32
    assert site.run(senders.secret("scram")) == first != site.run(senders.secret("other"))
