"""Reports must be read by a parser that is not ours, whatever is foreign in them."""

import email
import email.policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsvc.mail.dsn import MAX_ORIGINAL, MAX_RECIPIENTS, Account, Failed, ascii_text, build, header_section
from netsvc.mail.ids import make_id, show_id

NOW = 1_790_000_000_000
ID = make_id(NOW, 1, 2)
ABOUT = make_id(NOW - 1000, 1, 1)
ORIGINAL = b"Received: x\r\nFrom: alice@example.org\r\nSubject: hi\r\n\tthere\r\n\r\nbody\r\n"
BOB = Failed("bob@example.net", "5.1.1", 550, "no such user", "192.0.2.1", NOW)


def account(**changes):
    facts = {
        "id": ID,
        "about": ABOUT,
        "action": "failed",
        "hostname": "mx1.example.org",
        "to": "alice@example.org",
        "sender": "alice@example.org",
        "now": NOW,
        "arrived": NOW - 1000,
        "recipients": (BOB,),
        "original": ORIGINAL,
    }
    return Account(**(facts | changes))


def read(content):
    """Return the parsed report after checks every report must pass."""
    content.decode("ascii")
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
    assert max(len(line) for line in content.split(b"\r\n")) <= 998
    assert content.endswith(b"\r\n")
    message = email.message_from_bytes(content, policy=email.policy.strict.clone(max_line_length=998))
    for part in message.walk():
        assert not part.defects
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    human, status, original = message.get_payload()
    assert human.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    assert original.get_content_type() == "text/rfc822-headers"
    return message, human.get_payload(), status.get_payload(), original.get_payload()


def test_failed():
    message, human, status, original = read(build(account()))
    assert message["To"] == "alice@example.org"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mx1.example.org>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Message-ID"] == f"<{show_id(ID)}@mx1.example.org>"
    assert message["Date"] == "Mon, 21 Sep 2026 14:13:20 +0000"
    assert show_id(ABOUT) in human
    assert "host 192.0.2.1 said: 550 5.1.1 no such user" in human
    of_message, of_bob = status
    assert of_message["Reporting-MTA"] == "dns; mx1.example.org"
    assert of_message["Arrival-Date"] == "Mon, 21 Sep 2026 14:13:19 +0000"
    assert of_message["Original-Envelope-Id"] is None
    assert dict(of_bob) == {
        "Final-Recipient": "rfc822; bob@example.net",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; 192.0.2.1",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
        "Last-Attempt-Date": "Mon, 21 Sep 2026 14:13:20 +0000",
    }
    assert original == "Received: x\r\nFrom: alice@example.org\r\nSubject: hi\r\n\tthere\r\n"


def test_delayed():
    late = Failed("bob@example.net", "4.4.1", 0, "connection refused", "", NOW, retry_until=NOW + 86_400_000)
    message, human, status, _ = read(build(account(action="delayed", recipients=(late,), envid="X1")))
    assert "Delayed" in message["Subject"]
    assert "You need not send it again" in human
    assert "    connection refused" in human
    assert "It is tried until Tue, 22 Sep 2026" in human
    assert status[0]["Original-Envelope-Id"] == "X1"
    assert status[1]["Action"] == "delayed"
    assert status[1]["Status"] == "4.4.1"
    assert status[1]["Diagnostic-Code"] == "X-netsvc; connection refused"
    assert status[1]["Will-Retry-Until"].startswith("Tue, 22 Sep 2026")


@pytest.mark.parametrize(
    ("action", "status", "told"),
    [
        ("failed", "4.4.7", "4.4.7"),
        ("failed", "5.1.1", "5.1.1"),
        ("failed", "", "5.0.0"),
        ("failed", "2.0.0", "5.0.0"),
        ("failed", "5.1\r\nX: y", "5.0.0"),
        ("delayed", "5.1.1", "4.1.1"),
        ("delayed", "", "4.0.0"),
        ("delivered", "", "2.0.0"),
        ("delivered", "2.1.5", "2.1.5"),
        ("relayed", "5.1.1", "2.0.0"),
    ],
)
def test_status(action, status, told):
    _, _, found, _ = read(build(account(action=action, recipients=(Failed("b@example.net", status),))))
    assert found[1]["Status"] == told
    assert found[1]["Diagnostic-Code"] is None
    assert found[1]["Last-Attempt-Date"] is None


@pytest.mark.parametrize(
    ("failed", "said"),
    [
        (Failed("b@example.net", "5.1.1", 550, "no"), "the host said: 550 5.1.1 no"),
        (Failed("b@example.net", "", 550, ""), "the host said: 550 no reason was given"),
        (Failed("b@example.net", "", 0, "", "host.example"), "no reason was given (host.example)"),
    ],
)
def test_words_for_people(failed, said):
    assert said in read(build(account(recipients=(failed,))))[1]


def test_many_recipients_are_counted():
    many = tuple(Failed(f"u{n}@example.net", "5.1.1") for n in range(MAX_RECIPIENTS + 3))
    _, human, status, _ = read(build(account(recipients=many)))
    assert "and 3 more recipients." in human
    assert len(status) == MAX_RECIPIENTS + 1


def test_original_recipient():
    one = Failed("b@example.net", "5.1.1", orcpt="rfc822;old@example.net")
    assert read(build(account(recipients=(one,))))[2][1]["Original-Recipient"] == "rfc822;old@example.net"


def test_the_boundary_is_not_in_the_original():
    inside = f"X: ={show_id(ID)}={show_id(ABOUT)}=1\r\n".encode()
    message, *_ = read(build(account(original=inside)))
    assert message.get_boundary().endswith("=2")


def test_no_original():
    assert read(build(account(original=b"")))[3] == ""


FOREIGN = st.text(max_size=700) | st.sampled_from(
    ["a\r\nBcc: x@example.org", "\x1b[31m", "--x\r\n\r\n", "é" * 600, "\udcff"]
)


@settings(deadline=None)
@given(FOREIGN, FOREIGN, FOREIGN, st.binary(max_size=3000), st.sampled_from(["failed", "delayed"]))
def test_whatever_is_foreign(rcpt, words, host, original, action):
    one = Failed(rcpt, words, 550, words, host, NOW, rcpt, NOW)
    content = build(account(action=action, recipients=(one, one), original=original, envid=words, hostname="mx1"))
    message, _, status, _ = read(content)
    assert len(status) == 3
    assert "Bcc" not in message
    assert all("Bcc" not in part for part in status)


@given(st.binary(max_size=2000))
def test_header_section_is_text(content):
    found = header_section(content)
    assert found == b"" or found.endswith(b"\r\n")
    assert found.isascii()
    assert b"\r\n\r\n" not in found


def test_header_section_is_bounded():
    assert len(header_section(b"X: y\r\n" * 50_000)) <= MAX_ORIGINAL
    long = header_section(b"X: " + b"a" * 5000 + b"\r\n\r\nbody")
    assert max(len(line) for line in long.split(b"\r\n")) <= 998
    assert long.replace(b"\r\n\t", b"") == b"X: " + b"a" * 5000 + b"\r\n"
    assert header_section(b"X: " + b"a" * 100_000) == b""
    assert header_section(b"A: 1\nB: 2\n\nbody\n") == b"A: 1\r\nB: 2\r\n"


def test_ascii_text():
    assert ascii_text("plain") == "plain"
    assert ascii_text("é") == "\\u{00E9}"
    assert len(ascii_text("é" * 600)) == 512
    assert ascii_text("é" * 3, 10).endswith("...")


def test_successes():
    """RFC 3461 6.3."""
    one = Failed("b@example.net", "2.1.5", 250, "queued", "host.example", NOW)
    for action, words in (("delivered", "was delivered"), ("relayed", "does not report")):
        message, human, status, _ = read(build(account(action=action, recipients=(one,))))
        assert words in human
        assert status[1]["Action"] == action
        assert status[1]["Diagnostic-Code"] == "smtp; 250 2.1.5 queued"
        assert message["Subject"].startswith(action.capitalize())


def test_what_the_sender_named_comes_back():
    """RFC 3464 2.2.1, 2.3.1: decoded."""
    one = Failed("b@example.net", "5.1.1", orcpt="rfc822;old+2Btag@example.net")
    _, _, status, _ = read(build(account(envid="QQ+2B+20x", recipients=(one,), by_at=NOW)))
    assert status[0]["Original-Envelope-Id"] == "QQ+ x"
    assert status[0]["Deliver-By-Date"] == "Mon, 21 Sep 2026 14:13:20 +0000"
    assert status[1]["Original-Recipient"] == "rfc822;old+tag@example.net"


@pytest.mark.parametrize(
    ("orcpt", "told"),
    [
        ("utf-8;\u00fc@example.net", "utf-8; \\x{FC}@example.net"),
        ("utf-8;\\x{FC}@example.net", "utf-8; \\x{FC}@example.net"),
        ("x-old;a=b", "x-old;a=b"),  # not xtext: as it is
    ],
)
def test_addresses_beyond_ascii(orcpt, told):
    """RFC 6533 3: a report in ASCII all the same."""
    one = Failed("\u7528@example.net", "5.1.1", orcpt=orcpt)
    _, _, status, _ = read(build(account(recipients=(one,))))
    assert status[1]["Final-Recipient"] == "utf-8; \\x{7528}@example.net"
    assert status[1]["Original-Recipient"] == told


def test_a_report_to_an_address_beyond_ascii():
    assert "To: <\u00fc@example.org>\r\n".encode() in build(account(to="\u00fc@example.org"))


@pytest.mark.parametrize("body", ["text", "\u00fc"])
def test_the_whole_message(body):
    """RFC 3461 4.3: RET=FULL."""
    original = f"From: alice@example.org\r\nSubject: hi\r\n\r\n{body}\r\n".encode()
    content = build(account(original=original, whole=True))
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert message.get("Content-Transfer-Encoding") == (None if original.isascii() else "8bit")
    *_, last = message.iter_parts()
    assert last.get_content_type() == "message/rfc822"
    assert last.get_content()["Subject"] == "hi"
    assert original in content


def failures(content):
    """What a bounce parser that is not ours, nor Python's, makes of a report: (given up, being tried)."""
    from flufl.bounce import all_failures

    temporary, permanent = all_failures(email.message_from_bytes(content))
    return {one.decode() for one in permanent}, {one.decode() for one in temporary}


def test_a_second_parser_finds_the_same():
    carol = Failed("carol@example.com", "5.2.2", 552, "full", "mx.example.com", NOW)
    assert failures(build(account(recipients=(BOB, carol)))) == ({"bob@example.net", "carol@example.com"}, set())
    late = Failed("bob@example.net", "4.4.1", 0, "connection refused", "", NOW, retry_until=NOW + 1)
    assert failures(build(account(action="delayed", recipients=(late,)))) == (set(), {"bob@example.net"})
    for action in ("delivered", "relayed"):
        assert failures(build(account(action=action, recipients=(Failed("b@example.net", "2.0.0"),)))) == (set(), set())
    named = Failed("b@example.net", "5.1.1", orcpt="rfc822;old+2Btag@example.net")
    assert failures(build(account(recipients=(named,))))[0] in ({"old+tag@example.net"}, {"b@example.net"})


WIDE = {"to": "用@例え.example", "sender": "用@例え.example"}


def wide(content):
    """Return (words for people, report for programs, type of what is returned, its octets) of a report in UTF-8."""
    assert max(len(line) for line in content.split(b"\r\n")) <= 998
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
    parts = content.split(b"\r\n--=")
    assert len(parts) == 5
    assert all(b"\r\nContent-Transfer-Encoding: 8bit\r\n" in part for part in parts[:3])
    bodies = [part.partition(b"\r\n\r\n")[2] for part in parts[1:4]]
    return bodies[0].decode(), bodies[1].decode(), parts[3].split(b"\r\n")[1], bodies[2]


def test_a_report_in_utf8():
    """RFC 6533: who has an address beyond ASCII reads reports that are beyond it too."""
    one = Failed("ü@bücher.example", "5.1.1", 550, "ü unknown", "mx", NOW, "utf-8;\\x{FC}@b\\x{FC}cher.example")
    original = "From: 用@例え.example\r\nSubject: grüße\r\n\tdir\r\n\r\nbody\r\n".encode()
    content = build(account(recipients=(one,), original=original, withheld=3, **WIDE))
    people, programs, kind, header = wide(content)
    assert "<ü@bücher.example>:" in people
    assert "3 reports to you before this one were not sent" in people
    assert "\r\nFinal-Recipient: utf-8; ü@bücher.example\r\n" in programs
    assert "\r\nOriginal-Recipient: utf-8; ü@bücher.example\r\n" in programs
    assert "\r\nDiagnostic-Code: smtp; 550 5.1.1 ü unknown\r\n" in programs
    assert kind == b"Content-Type: message/global-headers"
    assert header == "From: 用@例え.example\r\nSubject: grüße\r\n\tdir\r\n".encode()
    assert b"Content-Type: message/global-delivery-status\r\n" in content
    message = email.message_from_bytes(content, policy=email.policy.SMTPUTF8)
    assert [part.get_content_type() for part in message.get_payload()] == [
        "text/plain",
        "message/global-delivery-status",
        "message/global-headers",
    ]


def test_the_whole_message_beyond_ascii():
    original = "Subject: grüße\r\n\r\nbody\r\n".encode()
    assert b"Content-Type: message/global\r\n" in build(account(original=original, whole=True, **WIDE))
    assert b"Content-Type: message/rfc822\r\n" in build(account(original=b"A: b\r\n\r\n\xc3\xbc", whole=True, **WIDE))
    assert b"Content-Type: message/rfc822\r\n" in build(account(original=original, whole=True))


@settings(deadline=None)
@given(FOREIGN, FOREIGN, st.binary(max_size=3000), st.text(max_size=300))
def test_whatever_is_foreign_in_utf8(rcpt, words, original, orcpt):
    one = Failed(rcpt, words, 550, words, words, NOW, "utf-8;" + orcpt, NOW)
    content = build(account(recipients=(one,), original=original, envid=words, **WIDE))
    assert "\r\nBcc" not in "".join(wide(content)[:2])


def test_a_header_beyond_ascii_comes_back_in_ascii():
    original = "Subject: grüße = x\r\nTo: " + "ü" * 400 + "\r\n\r\nbody\r\n"
    *_, last = email.message_from_bytes(build(account(original=original.encode()))).get_payload()
    assert last["Content-Transfer-Encoding"] == "quoted-printable"
    text = last.get_payload(decode=True).decode()
    assert text.replace("\r\n\t", "").replace("\r\n", "\n").startswith("Subject: grüße = x\nTo: " + "ü" * 400)
    assert b"Subject: gr?e\r\n" in build(account(original=b"Subject: gr\xfce\r\n\r\n"))
