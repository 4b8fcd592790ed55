"""What a submission service adds (RFC 6409 8)."""

import pytest

from netsvc.mail.completing import complete
from netsvc.mail.header import HeaderScan
from netsvc.mail.ids import make_id, show_id

NOW = 1_795_442_712_000
NUMBER = make_id(NOW, 1, 1)
DATE = b"Date: Mon, 23 Nov 2026 14:05:12 +0000\r\n"
ID = f"Message-ID: <{show_id(NUMBER)}@mx1.example.org>\r\n".encode()


def scan(content):
    found = HeaderScan()
    found.feed(content)
    found.close()
    return found


@pytest.mark.parametrize(
    ("content", "added"),
    [
        (b"Subject: x\r\n\r\n", DATE + ID),
        (b"", DATE + ID),
        (b"DATE: Thu, 1 Jan 1970 00:00:00 +0000\r\n\r\n", ID),
        (b"Subject: x\r\nmessage-id: <1@example.org>\r\n\r\n", DATE),
        (b"Date: x\r\nMessage-ID:\r\n\r\n", b""),
        (b"Subject: x\r\n\r\nDate: in the body\r\nMessage-ID: <x@y>\r\n", DATE + ID),
        (b"X-Date: x\r\nSubject: x\r\n Date: folded\r\n\r\n", DATE + ID),
    ],
)
def test_what_is_missing_is_added(content, added):
    assert complete(scan(content), NUMBER, "mx1.example.org", NOW) == added


def test_an_id_that_is_made_is_shown_as_the_messages_own():
    found = scan(b"Subject: x\r\n\r\n")
    complete(found, NUMBER, "mx1.example.org", NOW)
    assert found.msgid == f"<{show_id(NUMBER)}@mx1.example.org>"
