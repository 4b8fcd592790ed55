"""Who gets mail, on the real process: names, tags, aliases to hundreds, catch-alls, loops, quotas, the console's view."""

import pytest

from tests.system.service import Service
from tests.system.wire import Control, Sink, Smtp, send

MANY = 250
HEAD = b"From: <a@example.net>\r\nSubject: hello\r\n\r\n"
LARGE = HEAD + b"x" * 70 + b"\r\n" + (b"y" * 98 + b"\r\n") * 20


def site(port):
    boxes = ["alice", "bob", "small", "full", "postmaster", *(f"m{n}" for n in range(MANY))]
    listed = ", ".join(f'"{name}@example.org"' for name in boxes)
    members = ", ".join(f'"m{n}@example.org"' for n in range(MANY))
    return f"""
[site]
domains = ["example.org", "catch.example"]
mailboxes = [{listed}]
limits_exempt = ["127.0.0.0/8"]
[site.aliases]
"everybody@example.org" = [{members}, "alice@example.org"]
"out@example.org" = ["x@away.example", "bob@example.org"]
"two@example.org" = ["everybody@example.org", "alice@example.org", "ALICE+x@example.org"]
"both@example.org" = ["alice@example.org", "full@example.org"]
[site.domain_aliases]
"other.example" = "example.org"
[site.catchalls]
"catch.example" = "alice@example.org"
[site.quotas]
messages = 100000
[site.quotas.mailboxes]
"small@example.org" = "1500"
"full@example.org" = {{ bytes = "1M", messages = 1 }}
[site.routes]
"away.example" = "[127.0.0.1]:{port}"
[site.delivery]
expire = "2s"
retry = ["1s"]
"""


@pytest.fixture(scope="module")
def sink():
    made = Sink()
    yield made
    made.close()


@pytest.fixture(scope="module")
def post(tmp_path_factory, sink):
    service = Service(tmp_path_factory.mktemp("post"), site=site(sink.port))
    try:
        yield service.start()
    finally:
        service.close()


@pytest.fixture
def operator(post, control):
    return control(post)


def rcpt(post, *recipients, size=""):
    """-> the code and enhanced status of each RCPT."""
    with Smtp(post.ports["smtp"]) as smtp:
        smtp.say("EHLO client.example.net")
        assert smtp.say(f"MAIL FROM:<a@example.net>{size}").startswith("250")
        return [" ".join(smtp.say(f"RCPT TO:<{each}>").split()[:2]) for each in recipients]


def held(operator, where):
    return {row["address"].partition("@")[0]: row["messages"] for row in operator.rows(f"show mailboxes where {where}")}


def test_what_rcpt_is_answered(post):
    assert rcpt(
        post,
        *("Alice@Example.org", "ALICE+tag@OTHER.example", "nobody@catch.example", "two+x@example.org"),
        *("Postmaster", "postmaster@catch.example", "abuse@other.example"),
        *("nobody@example.org", "x@away.example"),
    ) == ["250 2.1.5"] * 7 + ["550 5.1.1", "550 5.7.1"]


def test_the_recipient_is_kept_as_it_was_written(post, operator):
    sent = send(post.ports["smtp"], "a@example.net", ["Bob+Lists@Other.EXAMPLE"], HEAD)
    (row,) = operator.rows(f"show history where msg={sent}")
    assert (row["rcpt"], row["result"]) == ("Bob+Lists@other.example", "delivered")
    assert any(b"for <Bob+Lists@other.example>" in content for content in post.export("bob@example.org").values())


def test_an_alias_to_hundreds_reaches_each_once(post, operator):
    before = held(operator, 'address="alice@example.org"')["alice"]
    send(post.ports["smtp"], "a@example.net", ["two@example.org", "everybody@other.example", "alice@example.org"], HEAD)
    assert held(operator, 'address="m*@example.org"') == {f"m{n}": 1 for n in range(MANY)}
    assert held(operator, 'address="alice@example.org"')["alice"] == before + 1


def test_a_forward_that_comes_back_is_ended(post, sink):
    sink.messages.clear()
    send(post.ports["smtp"], "a@example.net", ["out@example.org"], HEAD)
    sink.wait(lambda messages: messages)
    ((_, recipients, content),) = sink.messages
    assert recipients == ["x@away.example"]
    before = len(post.export("bob@example.org"))
    with Smtp(post.ports["smtp"]) as smtp:
        smtp.begin("a@example.net", ["OUT@example.org"])
        assert smtp.content(content).startswith("554 5.4.6")
        smtp.begin("a@example.net", ["out@example.org", "alice@example.org"], ehlo=False)
        assert smtp.content(content).startswith("250")
    post.wait("mail.loop_cut", rcpt="out@example.org")
    assert (len(sink.messages), len(post.export("bob@example.org"))) == (1, before)


def test_quotas(post, operator):
    assert rcpt(post, "small@example.org", "small+x@other.example", size=" SIZE=2000") == ["552 5.2.2"] * 2
    assert rcpt(post, "small@example.org", size=" SIZE=1000") == ["250 2.1.5"]
    with Smtp(post.ports["smtp"]) as smtp:  # what was not declared is found by the transaction
        smtp.begin("a@example.net", ["small@example.org"])
        assert smtp.content(LARGE).startswith("552 5.2.2")
    assert held(operator, 'address="small@example.org"') == {"small": 0}
    send(post.ports["smtp"], "a@example.net", ["small@example.org"], HEAD)
    (row,) = operator.rows("show mailboxes where use > 10% and address=small@example.org")
    assert (row["quota"], row["quota_messages"], row["messages"]) == (1500, 0, 1)
    assert row["use"] == row["bytes"] * 100 // 1500


def test_one_full_recipient_does_not_fail_the_others_and_is_reported(post, operator):
    send(post.ports["smtp"], "a@example.net", ["full@example.org"], HEAD)
    before = held(operator, 'address="alice@example.org"')["alice"]
    sent = send(post.ports["smtp"], "bob@example.org", ["both@example.org"], HEAD)
    assert held(operator, 'address="alice@example.org"')["alice"] == before + 1
    (waiting,) = operator.rows(f"show queue where msg={sent}")
    assert (waiting["state"], waiting["code"], waiting["status"]) == ("deferred", 452, "4.2.2")
    assert waiting["rcpt"] == "both@example.org"
    reports = len(post.export("bob@example.org"))
    operator.do(f"retry {sent} expect any")
    post.wait("delivery.done", rcpt="both@example.org", result="deferred")
    while not operator.rows(f"show queue where msg={sent} and expires<now"):
        pass
    operator.do(f"retry {sent} expect any")
    post.wait("delivery.reported")
    (row,) = [row for row in operator.rows(f"show history where msg={sent}") if row["result"] != "delivered"]
    assert row["result"] == "expired"
    assert len(post.export("bob@example.org")) == reports + 1
    assert held(operator, 'address="full@example.org"') == {"full": 1}


def test_the_console_explains_and_changes(post, operator):
    steps = operator.rows("show address two+x@other.example")
    assert [row["is"] for row in steps[:5]] == ["domain", "tag", "alias", "tag", "mailbox"]
    assert steps[-1]["note"] == "250 2.1.5 Recipient ok"
    assert len([row for row in steps if row["is"] == "mailbox"]) == MANY + 1
    leads = operator.rows("show aliases alice@example.org")
    assert [row["address"] for row in leads] == [
        "both@example.org",
        "everybody@example.org",
        "two@example.org",
        "@catch.example",
    ]
    for command in ("domain add new.example alias-of example.org", "domain catchall example.org bob@example.org"):
        operator.do(command)
    assert rcpt(post, "alice@new.example", "nobody@new.example") == ["250 2.1.5"] * 2
    send(post.ports["smtp"], "a@example.net", ["bob@example.org"], HEAD)
    operator.do("mailbox quota bob@example.org 1")
    assert rcpt(post, "nobody@new.example") == ["452 4.2.2"]
    operator.do("mailbox quota bob@example.org none")
    operator.do("mailbox default separator -")
    assert rcpt(post, "alice-x@example.org") == ["250 2.1.5"]
    operator.do("domain catchall example.org none")
    assert rcpt(post, "alice+x@example.org", "alice-x@example.org") == ["550 5.1.1", "250 2.1.5"]
    said = operator.ask("alias add everybody@example.org two@example.org").error["msg"]
    assert "everybody@example.org -> two@example.org -> everybody@example.org" in said
    operator.do("mailbox default separator +")
    audited = [row["verb"] for row in operator.rows("show audit limit 8")]
    assert {"domain catchall", "mailbox quota", "mailbox default separator"} <= set(audited)


def test_it_outlives_a_restart(make_service, make_sink):
    first = make_service(site=site(make_sink().port)).start()
    with_control = Control(first.control)
    with_control.do("domain catchall example.org bob@example.org")
    with_control.close()
    first.stop()
    first.start()
    assert rcpt(first, "nobody+x@other.example") == ["250 2.1.5"]
