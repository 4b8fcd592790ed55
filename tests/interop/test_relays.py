"""A real Postfix and a real Exim that deliver to the service, by each listener."""

import re

import pytest

from tests.interop.relayed import CONTENTS, House
from tests.interop.relays import USER, Exim, Postfix, eventually
from tests.system.wire import without_trace

WITH = {
    "clear": "ESMTP", "nochunks": "ESMTP", "starttls": "ESMTPS", "submission": "ESMTPSA", "submissions": "ESMTPSA",
    "login": "ESMTPSA", "scram": "ESMTPSA", "lmtp": "LMTP", "lmtps": "LMTPS", "socket": "LMTP",
}  # fmt: skip
LISTENER = {"clear": "smtp", "nochunks": "smtp", "starttls": "smtp", "login": "submission", "scram": "submission"}


@pytest.fixture(scope="module")
def house():
    service = House()
    try:
        yield service.start()
    finally:
        service.close()


@pytest.fixture(scope="module")
def relays(house, program):
    made = []
    try:
        for kind in (Postfix, Exim):
            made.append(kind(program, house, house.authority))
            made[-1].start()
        yield {"Postfix": made[0], "Exim": made[1]}
    finally:
        for relay in made:
            relay.close()


@pytest.fixture(params=["Postfix", "Exim"])
def relay(request, relays):
    return relays[request.param]


def arrived(house, before, address):
    """-> [(trace, content)] of mail that was not there before."""
    return [without_trace(x) for name, x in house.export(address).items() if name not in before]


WAYS = [("Postfix", w) for w in ("clear", "starttls", "submission", "login", "scram", "submissions", "lmtp", "lmtps")]
WAYS += [("Exim", w) for w in ("clear", "nochunks", "starttls", "submission", "submissions", "lmtp", "socket")]


@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_every_listener(house, relays, kind, way):
    """Content as it was sent, TLS verified by the relay, the Received field, history, and no complaint of the relay's."""
    relay, rcpt = relays[kind], f"box@{way}.example"
    before = set(house.export(rcpt))
    seen = len(relay.complaints())
    relay.hand(USER, [rcpt], CONTENTS)
    relay.has_delivered()
    assert relay.complaints()[seen:] == []
    secure = "S" in WITH[way].removeprefix("ESMTP").removeprefix("LMTP")
    if kind == "Postfix" and secure:
        assert (
            f"Verified TLS connection established to 127.0.0.1[127.0.0.1]:{house.ports[LISTENER.get(way, way)]}: "
            in relay.log()
        )
    elif kind == "Exim":  # CV: the certificate was verified; K: content went by BDAT; A: by which authenticator
        sent = re.findall(f"=> (?:box <)?{rcpt}>? (.*)\n", relay.log())[-len(CONTENTS) :]
        assert [" CV=yes" in x for x in sent] == [secure] * len(CONTENTS)
        assert [" K " in x for x in sent] == [way not in ("nochunks", "socket")] * len(CONTENTS)
        assert [" A=plain" in x for x in sent] == [WITH[way].endswith("SA")] * len(CONTENTS)
    found = arrived(house, before, rcpt)
    assert len(found) == len(CONTENTS)
    left = list(CONTENTS)
    for trace, content in found:
        assert f"\r\n\tby mx1.example.org (netsvc) with {WITH[way]} id ".encode() in trace
        same = [x for x in left if content.endswith(x) and b"\r\n\r\n" not in content[: -len(x)]]
        assert len(same) == 1, content[:500]
        left.remove(same[0])
    assert left == []
    rows = house.rows(f"show history where rcpt={rcpt} limit {len(CONTENTS)}")
    user = USER if WITH[way].endswith("A") else ""
    assert {(x["user"] or "", x["listener"], x["result"]) for x in rows} == {
        (user, LISTENER.get(way, way), "delivered")
    }
    (message,) = house.rows(f"show message {rows[0]['msg']}")
    assert (message["tls"] or "").startswith("TLSv1.3") is secure


@pytest.mark.parametrize(("kind", "way"), [("Postfix", "lmtp"), ("Exim", "lmtp"), ("Exim", "socket")])
def test_lmtp_answers_for_each(house, relays, kind, way):
    """One recipient is unknown and goes back, one has no room and waits until there is some; the others get it at once."""
    relay, sender, full = relays[kind], f"late@{way}.example", f"full{kind.lower()}@{way}.example"
    boxes = {box: set(house.export(f"{box}@{way}.example")) for box in ("two", "three", "late")}
    house.rows(f"mailbox create {full} quota 2500")
    content = CONTENTS[0] + b"filling\r\n" * 100
    relay.hand(sender, [full], [content, content])
    relay.hand(sender, [f"{x}@{way}.example" for x in ("two", "nobody", "three")] + [full], [content])
    eventually(
        lambda: len(re.findall(f"{full}.*452 4.2.2", relay.log())),
        lambda: "".join(re.findall(f".*{way}.example.*\n", relay.log())),
    )
    house.rows(f"mailbox quota {full} none")
    relay.flush()
    relay.has_delivered()
    for box, count in (("two", 1), ("three", 1), (full.partition("@")[0], 3)):
        found = arrived(house, boxes.get(box, ()), f"{box}@{way}.example")
        assert len(found) == count
        assert all(text.endswith(content) and b" with LMTP id " in trace for trace, text in found)
    ((trace, report),) = arrived(house, boxes["late"], sender)
    assert trace.startswith(b"Return-Path: <>\r\n")
    assert report.count(b"\nAction: failed") == 1
    assert b"550 5.1.1" in report


def test_a_long_message(house, relay):
    content = CONTENTS[0] + (b"0123456789" * 7 + b"\r\n") * 140_000
    for way in ("clear", "starttls"):
        before = set(house.export(f"big@{way}.example"))
        relay.hand(USER, [f"big@{way}.example"], [content])
        relay.has_delivered()
        ((_, found),) = arrived(house, before, f"big@{way}.example")
        assert found.endswith(content)


def test_a_burst(house, relay):
    """200 messages at once, each to three: nothing is lost, nothing comes twice."""
    way = "starttls" if isinstance(relay, Postfix) else "clear"
    boxes = ("burst", "third", "two")
    before = {box: set(house.export(f"{box}@{way}.example")) for box in boxes}
    faults = len(relay.complaints())
    contents = [CONTENTS[0] + b"number %d.\r\n" % n for n in range(200)]
    relay.hand(USER, [f"{box}@{way}.example" for box in boxes], contents)
    relay.has_delivered()
    for box in boxes:
        found = arrived(house, before[box], f"{box}@{way}.example")
        numbers = [int(re.search(rb"number (\d+)\.\r\n\Z", content)[1]) for _, content in found]
        assert sorted(numbers) == list(range(200))
    assert relay.complaints()[faults:] == []


def test_a_report_of_success_and_utf8(house, relays):
    """DSN and SMTPUTF8 pass through Postfix: the report is ours, with what the first client asked for."""
    relay, sender = relays["Postfix"], "lazy@clear.example"
    before = {x: set(house.export(x)) for x in (sender, "box@b\u00fccher.example")}
    content = "From: ü@example.net\r\nSubject: Grüße\r\n\r\n日本語\r\n".encode()
    asked = " NOTIFY=SUCCESS,FAILURE ORCPT=utf-8;box@b\\x{FC}cher.example"
    mail = " SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=QQ314"
    relay.hand(sender, ["box@b\u00fccher.example"], [content], mail, asked)
    relay.has_delivered()
    ((trace, found),) = arrived(house, before["box@b\u00fccher.example"], "box@b\u00fccher.example")
    assert found.endswith(content)
    assert b" with UTF8SMTPS id " in trace
    house.wait("delivery.reported")
    ((trace, report),) = arrived(house, before[sender], sender)
    assert b"Original-Envelope-Id: QQ314\r\n" in report
    assert b"Action: delivered\r\n" in report
    assert b"Reporting-MTA: dns; mx1.example.org\r\n" in report
