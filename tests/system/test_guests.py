"""Guests of a whole service: listed, talking too early, coming for the first time; the zones are served on loopback."""

import smtplib
import socket
import time

import pytest

from tests.system.contents import HEAD
from tests.system.service import SITE
from tests.system.wire import Line, Smtp
from tests.zones import ZoneProcess

FRIEND_NAME = "friend.example.net"
LISTED, FRIEND, HASTY = "127.0.0.5", "127.0.0.6", "127.0.0.7"
ZONE = {
    "5.0.0.127.bl.example.net": {"A": ["127.0.0.4"], "TXT": ["spam seen\x1b[31m, see https://bl.example.net/"]},
    "5.0.0.127.good.example.net": {"A": ["127.0.1.3"]},
    FRIEND: {"PTR": ["friend.example.net"]},
    "friend.example.net": {"A": [FRIEND]},
    "client.example.net": {"MX": [[10, "friend.example.net"]]},
}
POLICIES = """
[site.policies.dnsbl]
on = true
lists = ["bl.example.net=127.0.0.[2..11]*3", "good.example.net=127.0.[0..255].[1..3]*-1"]
threshold = 2
[site.policies.greylist]
on = true
delay = "1s"
[site.policies.helo]
on = true
[site.policies.reverse_dns]
on = true
[site.policies.pregreet]
on = true
wait = "300ms"
[site.delivery]
dns = ["{at}"]
"""


@pytest.fixture
def zone():
    served = ZoneProcess(ZONE)
    yield served
    served.close()


def come(service, peer, sender="carol@example.net", rcpt="bob@example.org", helo="client.example.net"):
    """Send one message by smtplib -> the reply to RCPT, or 250."""
    with smtplib.SMTP(
        "127.0.0.1", service.ports["smtp"], local_hostname=helo, timeout=20, source_address=(peer, 0)
    ) as smtp:
        try:
            smtp.sendmail(sender, [rcpt], HEAD + b"x\r\n")
        except smtplib.SMTPRecipientsRefused as refused:
            return refused.recipients[rcpt]
    return 250, b""


def test_listed_and_unknown_clients_meet_what_the_site_turned_on(make_service, zone, control):
    site = SITE.replace('relay_from = ["127.0.0.0/8"]', "") + POLICIES.format(at=zone.at)
    service = make_service(site=site).start()

    code, text = come(service, LISTED)
    assert (code, text) == (
        550,
        b"5.7.1 Client [127.0.0.5] is listed by bl.example.net: spam seen\\x1b[31m, see https://bl.example.net/",
    )
    refused = service.wait("smtp.refused")
    assert refused["policy"] == "dnsbl"
    assert refused["sender"] == "carol@example.net"
    assert "score 2 by bl.example.net" in refused["why"]
    assert come(service, LISTED, rcpt="postmaster@example.org") == (250, b"")

    assert come(service, FRIEND, helo="mx1.example.org")[1].startswith(b"5.7.1 HELO name mx1.example.org refused")

    code, text = come(service, FRIEND)
    assert (code, text) == (450, b"4.7.1 Greylisted, try again in 1 seconds")
    assert come(service, FRIEND, rcpt="nobody@example.org")[0] == 550  # not asked to come again for that
    end = time.monotonic() + 20
    while code == 450 and time.monotonic() < end:
        code, _ = come(service, FRIEND)
    assert code == 250
    assert come(service, FRIEND) == (250, b"")
    (message, _) = service.export("bob@example.org").values()
    assert b"Received: from client.example.net (friend.example.net [127.0.0.6])" in message

    console = control(service)
    rows = {row["name"]: row for row in console.rows("show policies")}
    assert rows["dnsbl"]["reject"] == 1
    assert rows["greylist"]["defer"] >= 1
    assert rows["helo"]["reject"] == 1

    (kept,) = console.rows("show greylist carol@example.net")
    assert (kept["state"], kept["network"], kept["rcpt"]) == ("passed", "127.0.0.0/24", "bob@example.org")
    console.do("greylist clear all")
    assert console.rows("show greylist") == []
    (dns,) = console.rows("show dns")
    assert dns["servers"] == [zone.at]
    assert dns["queries"] > 0 == dns["failures"]
    assert console.rows(f"show dns cache {FRIEND_NAME}")[0]["values"] == [FRIEND]
    console.do(f"dns flush {FRIEND_NAME}")
    assert console.rows(f"show dns cache {FRIEND_NAME}") == []


def test_who_talks_before_the_greeting_is_sent_away(make_service, zone):
    site = SITE.replace('relay_from = ["127.0.0.0/8"]', "") + POLICIES.format(at=zone.at)
    service = make_service(site=site).start()
    hasty = Line(socket.create_connection(("127.0.0.1", service.ports["smtp"]), 20, source_address=(HASTY, 0)))
    with hasty:
        hasty.send(b"EHLO hasty.example.net\r\n")
        assert hasty.read_line().startswith(b"554 5.5.1 mx1.example.org ")
    with Smtp(service.ports["smtp"], source=FRIEND) as patient:
        assert patient.greeting.startswith("220 ")
    refused = service.wait("smtp.refused")
    assert (refused["policy"], refused["stage"], refused["peer"]) == ("pregreet", "connect", HASTY)
