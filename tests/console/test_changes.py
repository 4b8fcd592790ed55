"""Changing the site: domains, mailboxes, aliases, accounts."""

import pytest

from netsvc.settings import SiteSettings
from tests.console.fakeservice import NOW
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
    row = {"kind": "alias", "address": "desk@example.org", "targets": []}
    assert desk.machine("show aliases")[0]["row"] == row


def test_what_leads_from_and_to(desk):
    desk.type("alias add Desk@example.org ann@example.org")
    assert "desk@example.org" in desk.type("show aliases ann@EXAMPLE.org")
    assert "Nothing leads from or to bob@example.org" in desk.type("show aliases bob@example.org")
    assert "Nothing leads from or to example.net" in desk.type("show aliases Example.NET")
    assert "E202" in desk.type("show aliases a_b")
    assert "E202" in desk.type('show aliases "a b@example.org"')


def test_several_targets_at_once(desk):
    said = desk.type("alias add desk@example.org ann@example.org Bob@example.org, eve@away.example")
    assert said == "Mail for desk@example.org goes to ann@example.org and 2 more.\n"
    assert desk.service.directory.aliases_["desk@example.org"] == [
        "ann@example.org",
        "Bob@example.org",
        "eve@away.example",
    ]
    assert "E202" in desk.type("alias add desk@example.org ann@example.org bob")
    assert desk.audited()[0] == (
        "alias add",
        "desk@example.org",
        "to ann@example.org Bob@example.org eve@away.example",
        3,
        "ok",
    )


def test_addresses_are_explained(desk):
    row = {"step": 1, "address": "ann@example.org", "is": "reply", "note": "250 2.1.5 ok"}
    assert desk.machine("show address Ann@example.org")[0]["row"] == row | {"to": []}
    assert desk.machine("show address PostMaster")[0]["row"]["address"] == "postmaster"
    assert "E202" in desk.type("show address ann")


def test_catch_alls_and_other_names(desk):
    said = desk.type("domain add example.net alias-of example.org")
    assert said == "Domain example.net added: its mail is mail for example.org.\n"
    assert "that nobody has goes to Ann@example.org" in desk.type("domain catchall example.org Ann@example.org")
    assert "Ann@example.org" in desk.type("show domains")
    assert "that nobody has is refused" in desk.type("domain catchall example.org NONE")
    assert desk.audited() == [
        ("domain add", "example.net", "alias-of example.org", 1, "ok"),
        ("domain catchall", "example.org", "to Ann@example.org", 1, "ok"),
        ("domain catchall", "example.org", "to none", 1, "ok"),
    ]


def test_nobody_at_postmaster_is_remarked(desk):
    assert "postmaster" not in desk.type("show domains")
    desk.service.directory.postmaster = False
    remark = "Nobody reads postmaster's mail"
    assert remark in desk.type("show domains")
    assert remark in desk.type("domain add shop.example")
    desk.type("alias add desk@example.org ann@example.org")
    assert remark in desk.type("alias delete desk@example.org")


def test_quotas(desk):
    quotas = desk.service.mail.quotas
    desk.type("mailbox create ann@example.org quota 1G messages 10")
    assert quotas["ann@example.org"] == (1 << 30, 10)
    assert "may hold 5 octets" in desk.type("mailbox quota ann@example.org 5")
    assert quotas["ann@example.org"] == (5, 0)
    assert "may hold any number" in desk.type("mailbox quota ann@example.org none")
    assert "may hold 7 mails" in desk.type("mailbox quota Ann@example.org none messages 7")
    assert "It is full: 100 %" in desk.type("mailbox quota ann@example.org 1")
    assert "E401" in desk.type("mailbox quota bob@example.org 1")
    assert [row[2] for row in desk.audited()[:4]] == ["quota 1073741824 messages 10", "5", "none", "none messages 7"]


def test_defaults_of_the_site(desk):
    quotas = desk.service.mail.quotas
    assert "may hold 1024 octets and 3 mails" in desk.type("mailbox default quota 1k messages 3")
    for name in ("ann", "postmaster", "abuse"):
        desk.type(f"mailbox create {name}@example.org")
    desk.type("mailbox create bob@example.org quota none")
    desk.type("mailbox create carol@example.org messages 5")
    assert quotas == {
        "ann@example.org": (1024, 3),
        "postmaster@example.org": (0, 0),
        "abuse@example.org": (0, 0),
        "bob@example.org": (0, 0),
        "carol@example.org": (0, 5),
    }
    assert "user-tag is delivered to user" in desk.type("mailbox default separator -")
    row = {"quota": 1024, "quota_messages": 3, "separator": "-"}
    assert desk.machine("show defaults")[0]["row"] == row
    assert "There are no tags" in desk.type("mailbox default separator none")
    assert "E202" in desk.type("mailbox default separator ab")
    desk.type("mailbox default quota none")
    assert desk.service.site.current == SiteSettings(subaddress="")
    assert ("mailbox default quota", "site", "1024 messages 3", 1, "ok") in desk.audited()


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


def lock(name, until, source="192.0.2.7", door="mail"):
    return {"door": door, "name": name, "source": source, "until": until}


def test_locks(desk):
    assert desk.type("show locks") == "Nobody is locked out.\n"
    assert "show locks says" not in desk.type("show users")
    accounts = desk.service.accounts
    accounts.locks_ = [
        lock("op", NOW + 60_000),
        lock("op", NOW + 120_000, "192.0.2.0/24", "console"),
        lock("", NOW + 9),
    ]
    assert "user unlock NAME lifts it" in desk.type("show users")
    rows = [x["row"] for x in desk.machine("show users") if "row" in x]
    assert [row["locked_until"] for row in rows] == ["2026-11-23T14:07:12Z", None]
    shown = desk.type("show locks")
    assert "192.0.2.0/24" in shown
    assert "user unlock NAME lifts a name's" in shown
    assert desk.type("user unlock op") == "op may log in again. 2 locks lifted.\n"
    assert ("user unlock", "op", "2 locks lifted", 2, "ok") in desk.audited()
    assert [each["name"] for each in accounts.locks_] == [""]
    assert "op is not locked out: no wrong password counts  [E401]" in desk.type("user unlock op")
    accounts.locks_ = [lock("op", NOW)]
    assert "It was not locked out; its wrong passwords are forgotten." in desk.type("user unlock op")
    accounts.locks_ = [lock("op", NOW + 1)]
    shown = desk.type("user passwd op", "other letters", "other letters")
    assert shown == "Password of op set. 1 lock for wrong passwords lifted.\n"
    assert ("user passwd", "op", "1 lock lifted", 1, "ok") in desk.audited()
    assert accounts.locks_ == []


@pytest.mark.parametrize("line", ["user passwd op", "user add bo role viewer"])
def test_a_short_password_is_not_asked_for_again(desk, line):
    assert "8 to 512 characters" in desk.type(line, "short")
    assert [question for question, _ in desk.screen.questions][-1].startswith("Password for")
    assert desk.service.accounts.known["op"][1] == "a long secret"


def test_mail_users(desk):
    shown = desk.type("user add ann@example.org mailbox", "nine letters", "nine letters")
    assert shown == "Account ann@example.org (none) added. It sends mail as its mailbox.\n"
    assert desk.service.accounts.known["ann@example.org"] == ("none", "nine letters")
    assert desk.service.accounts.boxes["ann@example.org"] == 7
    assert "ann@example.org" in desk.type("show users | match none")
    shown = desk.type("user add nobody@example.org")
    assert "No mailbox nobody@example.org. First: mailbox create nobody@example.org" in shown
    assert "user mailbox bo ADDRESS says whose it has  [E405]" in desk.type("user add bo role viewer mailbox")
    assert "E103" in desk.type("user add bo")
    desk.type("user add bo role viewer", "nine letters", "nine letters")
    assert desk.type("user mailbox bo ann@example.org") == "bo sends mail as ann@example.org now.\n"
    assert desk.service.accounts.boxes["bo"] == 7
    assert desk.type("user mailbox bo none") == "bo has no mailbox now.\n"
    assert "E401" in desk.type("user mailbox bo bob@example.org")
    assert "E401" in desk.type("user mailbox nobody ann@example.org")
    assert "letters" not in str(desk.service.audit.rows)


def test_grants(desk):
    assert "Nobody may send as anybody" in desk.type("show grants")
    assert desk.type("user grant op Office@Example.org") == "op may send as office@example.org.\n"
    assert "already" in desk.type("user grant op office@example.org")
    assert desk.type("user grant op @example.org") == "op may send as @example.org.\n"
    assert "E401" in desk.type("user grant nobody a@example.org")
    assert [x["row"] for x in desk.machine("show grants op") if "row" in x] == [
        {"account": "op", "address": "@example.org"},
        {"account": "op", "address": "office@example.org"},
    ]
    assert "Nobody" in desk.type("show grants root")
    assert desk.type("user revoke op @example.org") == "op may no longer send as @example.org.\n"
    assert "op was not granted @example.org" in desk.type("user revoke op @example.org")
    assert ("user grant", "op", "as office@example.org", 1, "ok") in desk.audited()


def test_certificates(desk):
    assert "no certificate" in desk.type("show tls-certificates")
    desk.service.certificates.shown.append(
        {
            "name": "*", "names": ["mx1.example.org"], "issuer": "CN=ca", "state": "expiring", "not_before": 0,
            "not_after": 86_400_000, "days": 3, "fingerprint": "ab", "listeners": ["smtp"], "file": "/x.pem", "read": 1,
            "error": "",
        }
    )  # fmt: skip
    assert "expiring" in desk.type("show tls-certificates")
    row = desk.machine("show tls-certificates")[0]["row"]
    assert (row["names"], row["not_after"], row["error"]) == (["mx1.example.org"], "1970-01-02T00:00:00Z", None)


def test_passwords_that_are_not_taken(desk):
    assert "not the same" in desk.type("user add bo operator", "nine letters", "ten letters")
    assert "8 to 512" in desk.type("user add bo operator", "short")
    assert "8 to 512" in desk.type("user add bo operator", "x" * 513)
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
