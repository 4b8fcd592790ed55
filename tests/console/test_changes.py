"""Changing the site: domains, mailboxes, aliases, accounts."""

import pytest

from tests.console.test_show import mail


@pytest.fixture
def desk(desk):
    desk.login("root", "admin", enabled=True)
    return desk


def test_domains(desk):
    assert desk.type("domain add Shop.Example").startswith("Domain shop.example added.")
    assert "is ours already  [E405]" in desk.type("domain add shop.example")
    assert desk.type("show domains").count("\n") == 3
    assert desk.machine("@1 domain delete shop.example") == [
        {"row": {"verb": "domain delete", "target": "shop.example", "affected": 1}},
        {"end": {"tag": "1", "status": "ok", "rows": 1, "total": None, "ms": 0, "schema": "change/1"}},
    ]
    assert desk.audited() == [
        ("domain add", "shop.example", "", 1, "ok"),
        ("domain add", "", "domain add shop.example", 0, "error E405"),
        ("domain delete", "shop.example", "", 1, "ok"),
    ]
    desk.service.directory.domains_.clear()
    assert "No domain is ours" in desk.type("show domains")


def test_mailboxes(desk):
    assert desk.type("mailbox create Ann@Example.org quota 1G") == "Mailbox ann@example.org created.\n"
    assert "E405" in desk.type("mailbox create ann@elsewhere.example")
    assert desk.type("mailbox delete ann@example.org") == "Mailbox ann@example.org deleted.\n"
    assert "E401" in desk.type("mailbox delete ann@example.org")
    assert ("mailbox create", "ann@example.org", "quota 1073741824", 1, "ok") in desk.audited()


def test_a_mailbox_with_mail_is_asked_about(desk):
    desk.service.mail.boxes["ann@example.org"] = [mail(1), mail(2)]
    shown = desk.type("mailbox delete ann@example.org", "y")
    assert "the 2 mails in it. This cannot be undone." in shown
    assert "E503" in shown
    assert desk.machine("mailbox delete ann@example.org")[0]["err"]["code"] == "E303"
    assert desk.machine("mailbox delete ann@example.org expect 7")[0]["err"]["code"] == "E304"
    assert "The 2 mails went with it" in desk.type("mailbox delete ann@example.org", "2")
    desk.service.mail.boxes["ann@example.org"] = [mail(1)]
    assert desk.machine("mailbox delete ann@example.org expect 1")[0]["row"]["affected"] == 1


def test_aliases(desk):
    assert "There are no aliases" in desk.type("show aliases")
    assert (
        desk.type("alias add Desk@example.org ann@example.org")
        == "Mail for desk@example.org goes to ann@example.org.\n"
    )
    desk.type("alias add desk@example.org bob@example.org")
    assert "ann@example.org, bob@example.org" in desk.type("show aliases")
    assert "no longer leads to ann@example.org" in desk.type("alias delete desk@example.org ann@example.org")
    assert "E401" in desk.type("alias delete desk@example.org ann@example.org")
    assert "E401" in desk.type("alias delete other@example.org")
    assert "(1 target)" in desk.type("alias delete desk@example.org")
    assert desk.machine("show aliases")[0]["row"] == {"address": "desk@example.org", "targets": []}


def test_users(desk):
    shown = desk.type("user add Bo role operator", "nine letters", "nine letters")
    assert shown == "Account bo (operator) added.\n"
    assert desk.screen.questions == [("Password for bo: ", True), ("Again: ", True)]
    assert desk.service.accounts.known["bo"] == ("operator", "nine letters")
    assert "E405" in desk.type("user add bo operator")
    assert "bo" in desk.type("show users")
    assert desk.type("user role bo viewer") == "bo is viewer now (was operator).\n"
    assert desk.type("user passwd bo", "other letters", "other letters") == "Password of bo set.\n"
    assert desk.service.accounts.known["bo"] == ("viewer", "other letters")
    assert desk.type("user delete bo") == "Account bo deleted.\n"
    for line in ("user delete bo", "user role bo viewer", "user passwd bo"):
        assert "E401" in desk.type(line)
    assert "the last admin stays  [E405]" in desk.type("user delete root")
    assert "letters" not in str(desk.service.audit.rows) + desk.screen.text


def test_passwords_that_are_not_taken(desk):
    assert "not the same" in desk.type("user add bo operator", "nine letters", "ten letters")
    assert "8 to 512" in desk.type("user add bo operator", "short", "short")
    assert "8 to 512" in desk.type("user add bo operator", "x" * 513, "x" * 513)
    assert "E503" in desk.type("user add bo operator", None)
    assert "E103" in desk.type("user add bo")
    assert "E103" in desk.type("user role op")
    assert "bo" not in desk.service.accounts.known


def test_users_in_machine_mode(desk):
    assert desk.machine("user add bo role viewer")[0]["err"]["code"] == "E303"
    out = desk.machine('user add bo role viewer password "a canary"')
    assert out[0]["row"] == {"verb": "user add", "target": "bo", "affected": 1}
    assert desk.service.accounts.known["bo"] == ("viewer", "a canary")
    assert "canary" not in str(desk.service.audit.rows) + str(desk.session.typed)
    assert "canary" not in str(desk.machine('user add bo rle viewer password "a canary"'))


def test_changes_through_pipes(desk):
    assert desk.type("domain add x.example | json") == ('{"verb":"domain add","target":"x.example","affected":1}\n')
    assert desk.type("domain add y.example | count") == "1\n"
