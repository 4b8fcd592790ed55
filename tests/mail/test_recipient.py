"""What RCPT is answered by what the directory says."""

import pytest

from netsvc.mail.message import MailboxRef, Resolution
from netsvc.mail.recipient import answer

BOX = MailboxRef(1, "alice@example.org")


@pytest.mark.parametrize(
    ("found", "full", "code", "status"),
    [
        (Resolution(local=False), False, 550, "5.7.1"),
        (Resolution(local=True), False, 550, "5.1.1"),
        (Resolution(True, (BOX,)), False, 250, "2.1.5"),
        (Resolution(True, (BOX,)), True, 452, "4.2.2"),
        (Resolution(True, (), ("x@away.example",)), False, 250, "2.1.5"),
        (Resolution(local=True, fault="loop"), False, 550, "5.4.6"),
        (Resolution(local=True, fault="many"), False, 451, "4.2.4"),
        (Resolution(local=True, fault="deep"), True, 451, "4.2.4"),
        (Resolution(local=True, fault="postmaster"), False, 451, "4.3.5"),
    ],
)
def test_answers(found, full, code, status):
    reply = answer(found, full=full)
    assert (reply.code, reply.status) == (code, status)
    assert "{" not in reply.text
