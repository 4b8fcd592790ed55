r"""Hostile dialogues, each with what must happen.  The numbers are those of the table of threats in docs."""

import pytest

from netsvc.mail import reply as r
from netsvc.mail.address import Address
from netsvc.smtp.events import ContentEnded, Greeted, RecipientGiven, SenderGiven, SessionEnded
from netsvc.smtp.server import ServerSession
from netsvc.smtp.states import State
from netsvc.smtp.terms import Terms
from tests.smtp.dialogues import ENVELOPE, OPENING, TERMS, Talk, answer, lines, talk

SMUGGLED = b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nforged\r\n.\r\n"
FALSE_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\n.\r",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\0\r\n.\n",
    b"\x0b.\x0b",
    b"\x0c.\x0c",
    b"\x1c.\x1c",
    b"\x85.\x85",
    b"\xe2\x80\xa8.\xe2\x80\xa8",
    b"\r\n.\x85\r\n",
]


@pytest.mark.parametrize("end", FALSE_ENDS)
def test_t01_only_crlf_dot_crlf_ends_data(end):
    t = talk(OPENING + b"text" + end + SMUGGLED + b"QUIT\r\n")
    # The message ends at the true end within SMUGGLED; nothing before it is a command.
    assert len([e for e in t.events if isinstance(e, SenderGiven)]) == 1
    assert [m[0] for m in t.messages if m[0] != Address("me", "example.net")] == []
    assert t.codes.count(354) == 1
    assert t.codes[:4] == [250, 250, 250, 354]
    assert t.codes[-1] == 221
    bare = any(c in end.replace(b"\r\n", b"") for c in (b"\r", b"\n", b"\0"))
    assert t.codes[4] == (550 if bare else 250)
    assert len(t.messages) == (0 if bare else 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a\nb", "550 5.5.2 bare <LF> received"),
        (b"a\rb", "550 5.5.2 bare <CR> received"),
        (b"a\r\r\nb", "550 5.5.2 bare <CR> received"),
        (b"a\n\rb", "550 5.5.2 bare <LF> received"),
        (b"a\0b", "550 5.5.2 NUL byte received"),
    ],
)
def test_t01_what_is_said_after_the_real_end(text, words):
    t = talk(OPENING + text + b"\r\n.\r\n")
    assert t.last == words
    assert t.messages == []
    assert t.session.bare_newline == (b"\0" not in text)
    assert t.session.state is State.IDLE


@pytest.mark.parametrize("end", FALSE_ENDS)
def test_t01_normalized_newlines_end_nothing_either(end):
    terms = Terms("mx.example.org", bare_newline="normalize")
    t = talk(OPENING + b"text" + end + SMUGGLED + b"QUIT\r\n", terms)
    assert t.codes.count(354) == 1
    for _, _, content in t.messages:
        assert b"forged" in content
        text = content.replace(b"\r\n", b"")
        assert b"\r" not in text
        assert b"\n" not in text
    assert len(t.messages) == (0 if b"\0" in end else 1)


@pytest.mark.parametrize("separator", [b"\n", b"\r", b"\n\r", b"\x85", b"\x0b", b"\0"])
def test_t01_no_command_ends_but_with_crlf(separator):
    t = talk(b"EHLO c" + separator + b"MAIL FROM:<a@b>" + separator + b"RCPT TO:<a@b>\r\n")
    assert len(t.codes) == 1
    assert t.codes[0] >= 500
    assert t.events == []


def test_t01_a_command_with_two_carriage_returns_is_no_command():
    t = talk(b"EHLO c\r\r\nMAIL FROM:<a@b>\r\r\nEHLO c\r\n")
    assert t.codes == [501, 501, 250]


@pytest.mark.parametrize("length", [2047, 2048, 5000, 100_000])
def test_t02_a_long_command_is_one_error_and_none_of_it_a_command(length):
    line = b"EHLO " + b"a" * (length - 5 - 60)
    line += b"\nMAIL FROM:<evil@example.net>\rRCPT TO:<a@b>".ljust(60)
    t = Talk([line + b"\r\nNOOP\r\n"])
    assert t.last == "250 2.0.0 Ok"
    assert t.codes == [500, 250]
    assert b"500 5.5.2 Line too long" in t.output
    assert t.events == []
    assert t.session.errors == 1
    assert Talk([(line + b"\r\nNOOP\r\n")[i : i + 7] for i in range(0, length + 20, 7)]).output == t.output


def test_t02_a_long_text_line_is_kept():
    t = talk(OPENING + b"x" * 9000 + b"\r\n.\r\n")
    assert t.messages[0][2] == b"x" * 9000 + b"\r\n"


@pytest.mark.parametrize(
    "path",
    [
        ";/bin/sh@example.org",
        "|id@example.org",
        "`id`@example.org",
        "$(id)@example.org",
        '"; rm -rf /"@example.org',
        "-f root@example.org",
        "-be@example.org",
        "a@$(id).example",
        "a@b;id",
    ],
)
def test_t07_shell_words_are_an_address_by_the_grammar_or_refused(path):
    t = talk(lines("EHLO c", f"MAIL FROM:<{path}>", "RSET", "MAIL FROM:<>", f"RCPT TO:<{path}>"))
    for event in t.events:
        if isinstance(event, SenderGiven | RecipientGiven) and event.path.local:
            assert str(event.path) == path  # an address as given, a value that nobody runs
    assert set(t.codes) <= {250, 501}


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd@example.org",
        "/etc/passwd@example.org",
        "a/../b@example.org",
        "a@../example.org",
        ":include:/x@y",
    ],
)
def test_t08_paths_are_text_or_refused(path):
    t = talk(lines("EHLO c", "MAIL FROM:<>", f"RCPT TO:<{path}>"))
    given = [e for e in t.events if isinstance(e, RecipientGiven)]
    assert t.codes[-1] == (250 if given else 501)
    if given:
        assert str(given[0].path) == path


@pytest.mark.parametrize("octet", [*range(32), 127])
def test_t09_no_control_octet_gets_into_an_envelope(octet):
    dirt = b"a" + bytes([octet]) + b"b"
    data = b"EHLO " + dirt + b"\r\nEHLO c\r\nMAIL FROM:<" + dirt + b"@example.net>\r\n"
    data += b'MAIL FROM:<"' + dirt + b'"@example.net>\r\nMAIL FROM:<>\r\nRCPT TO:<' + dirt + b"@example.org>\r\n"
    data += b"RCPT TO:<ann@example.org> " + dirt + b"=1\r\n"
    t = talk(data)
    assert [c for c in t.codes if c not in {250, 501, 500}] == []
    assert t.codes.count(250) == 2
    assert [e.path for e in t.events if isinstance(e, SenderGiven)] == [("", "")]
    assert not [e for e in t.events if isinstance(e, RecipientGiven)]
    assert all(line.isascii() for line in t.output.split(b"\r\n"))


@pytest.mark.parametrize(
    "octets", [b"\x80", b"\xff", b"\xc3\xa4", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\xe2\x80\xa8"]
)
def test_t09_no_octet_above_127_either(octets):
    t = talk(
        lines("EHLO c")
        + b"MAIL FROM:<a"
        + octets
        + b"@example.net>\r\nMAIL FROM:<>\r\nRCPT TO:<a@"
        + octets
        + b".org>\r\n"
    )
    assert t.codes == [250, 553, 250, 553]
    assert b"553 5.6.7" in t.output
    assert t.output.isascii()


def test_t09_what_a_client_calls_itself_is_one_word():
    for name in ("a b", "a\tb", "a(comment)", "a;b", "<a>", '"a"', "a\\b", "x" * 256):
        assert talk(lines(f"EHLO {name}")).codes == [501]


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("@relay.example:ann@example.org", "ann@example.org"),
        ("@a.example,@b.example:ann@foreign.example", "ann@foreign.example"),
        ("ann%foreign.example@example.org", "ann%foreign.example@example.org"),
        ("foreign.example!ann@example.org", "foreign.example!ann@example.org"),
        ('"ann@foreign.example"@example.org', '"ann@foreign.example"@example.org'),
    ],
)
def test_t10_what_decides_is_the_domain_after_the_last_at(path, address):
    t = talk(lines("EHLO c", "MAIL FROM:<>", f"RCPT TO:<{path}>"))
    assert str(t.session.recipients[0].address) == address


def test_t10_a_refused_recipient_is_not_in_the_envelope():
    def rule(event):
        if isinstance(event, RecipientGiven) and event.path.domain != "example.org":
            return r.RELAY_DENIED
        return answer(event)

    t = talk(ENVELOPE + lines("RCPT TO:<x@foreign.example>", "DATA") + b"x\r\n.\r\n", answer=rule)
    assert t.codes == [250, 250, 250, 550, 354, 250]
    assert t.messages[0][1] == (Address("ann", "example.org"),)


def test_t13_a_mail_loop_found_by_the_service_is_said_at_the_end():
    t = talk(
        OPENING + b"Received: x\r\n" * 60 + b"\r\n.\r\nNOOP\r\n",
        answer=lambda e: r.MAIL_LOOP if isinstance(e, ContentEnded) else answer(e),
    )
    assert t.codes[-2:] == [554, 250]


def test_t15_too_large_is_said_at_mail_and_again_at_the_end():
    t = talk(lines("EHLO c", "MAIL FROM:<> SIZE=100001"))
    assert t.last == "552 5.3.4 Message exceeds the size limit of 100000 octets"
    t = Talk([OPENING] + [b"x" * 998 + b"\r\n"] * 101 + [b".\r\nNOOP\r\n"])
    assert t.codes[-2:] == [552, 250]
    assert b"552 5.3.4" in t.output
    assert t.messages == []


def test_t15_what_is_too_large_is_not_kept():
    s = Talk([OPENING]).session
    given = 0
    for _ in range(300):
        s.receive_data(b"x" * 998 + b"\r\n")
        event = s.next_event()
        while hasattr(event, "data"):
            given += len(event.data)
            event = s.next_event()
    assert given <= TERMS.max_message_size
    assert s.backlog == 0


def test_t16_more_recipients_than_the_cap_get_452_and_the_others_go_on():
    data = (
        lines("EHLO c", "MAIL FROM:<>", *(f"RCPT TO:<r{i}@example.org>" for i in range(1100)), "DATA") + b"x\r\n.\r\n"
    )
    t = Talk([data])
    assert t.codes.count(452) == 100
    assert b"452 4.5.3" in t.output
    assert t.codes[2:1002] == [250] * 1000
    assert len(t.messages[0][1]) == 1000
    assert t.session.errors == 0


def test_t20_twenty_errors_end_the_session():
    t = talk(b"bogus\r\n" * 25 + b"EHLO c\r\n")
    assert t.codes == [500] * 19 + [421]
    assert t.last == "421 4.7.0 mx.example.org too many errors, closing connection"
    assert t.events == [SessionEnded("too many errors")]


def test_t20_refused_recipients_are_no_errors():
    t = talk(lines("EHLO c", "MAIL FROM:<>", *["RCPT TO:<nobody@example.org>"] * 30, "RCPT TO:<ann@example.org>"))
    assert t.codes[-1] == 250
    assert t.session.errors == 0


@pytest.mark.parametrize(
    "request_line", ["GET / HTTP/1.1", "POST /x HTTP/1.0", "CONNECT mx:25 HTTP/1.1", "get /", "HEAD"]
)
def test_t20_http_is_sent_away(request_line):
    t = talk(lines(request_line, "Host: x", "", "EHLO c", "MAIL FROM:<a@b>"))
    assert t.last == "554 5.5.1 This is an SMTP service, closing connection"
    assert t.codes == [554]
    assert t.events == [SessionEnded("not smtp")]


def test_t20_http_later_is_a_common_error():
    assert talk(lines("NOOP", "GET / HTTP/1.1", "NOOP")).codes == [250, 500, 250]


def test_t20_pipelined_garbage_runs_once():
    t = talk(lines("EHLO c", "MAIL FROM:<a@b>") * 3 + b"\x00\xff\r\n" + lines("RCPT TO:<a@b>") * 2)
    assert len([e for e in t.events if isinstance(e, Greeted)]) == 3
    assert len([e for e in t.events if isinstance(e, RecipientGiven)]) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"X: " + b"y" * 90_000 + b"\r\n\r\n",
        b"X: y\r\n" * 10_000 + b"\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        + b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" * 1500,
        b"Subject: =?utf-8?q?" + b"=" * 50_000 + b"?=\r\n\r\n",
    ],
)
def test_t23_content_is_octets_to_the_session(content):
    t = Talk([OPENING, content, b".\r\n"])
    assert t.messages[0][2] == content


@pytest.mark.parametrize("letter", [b"a", b"(", b'"\\', b"<", b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\0", b"\xff"])
def test_t24_100_kb_of_anything_is_looked_at_once(letter):
    """As commands and as content; what the session keeps meanwhile stays small, so no octet is searched again."""
    for opening in (b"", OPENING):
        s = Talk([opening]).session
        for _ in range(0, 100_000, 1000):
            s.receive_data((letter * 1000)[:1000])
            t = s.next_event()
            while not isinstance(t, SessionEnded) and t.__class__.__name__ != "Pause":
                if s.asked is not None:
                    s.send(answer(t))
                t = s.next_event()
            s.take_output()
            assert s.backlog < 2048


def test_t33_nothing_is_acknowledged_before_its_answer():
    s = Talk([OPENING]).session
    s.receive_data(b"x\r\n.\r\nNOOP\r\n")
    assert s.next_event().data == b"x\r\n"
    assert s.next_event() == ContentEnded(3)
    assert s.take_output() == b""
    assert s.state is State.COMMIT
    s.send(r.QUEUED.fill(id="0123456789ABC"))
    assert s.take_output() == b"250 2.0.0 0123456789ABC queued\r\n"


def test_t34_one_end_of_data_is_one_message():
    t = talk(OPENING + b"x\r\n.\r\n.\r\n\r\n.\r\n")
    assert len(t.messages) == 1
    assert t.codes == [250, 250, 250, 354, 250, 500, 500, 500]


@pytest.mark.parametrize("local", ["'OR'1'='1'--", "';DROP/**/TABLE/**/message;--", '"x\' OR 1=1 --"', "a%%b", "?1"])
def test_t43_sql_in_an_address_is_text(local):
    t = talk(lines("EHLO c", f"MAIL FROM:<{local}@example.net>"))
    for event in t.events[1:]:
        assert event.path.local == local
    assert t.codes[1] in {250, 501}


def test_bare_newlines_are_remembered_for_the_logbook():
    s = ServerSession(TERMS)
    assert not s.bare_newline
