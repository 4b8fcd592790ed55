"""Events check themselves: what cannot come from the wire cannot be made."""

import dataclasses

import pytest

from netsvc.mail import reply
from netsvc.mail.address import NULL, Address
from netsvc.smtp.events import (
    ContentEnded,
    ContentReceived,
    DataRequested,
    Greeted,
    RecipientGiven,
    SenderGiven,
    SessionEnded,
)

ANN = Address("ann", "example.org")


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (Greeted, ("", True)),
        (Greeted, ("a b", True)),
        (Greeted, ("a\x1bb", True)),
        (Greeted, ("caf\u00e9", True)),
        (Greeted, ("a" * 256, False)),
        (SenderGiven, (Address("ann", ""),)),
        (SenderGiven, (Address("", "example.org"),)),
        (SenderGiven, (ANN, -1)),
        (SenderGiven, (ANN, 0, "9BIT")),
        (RecipientGiven, (NULL,)),
        (RecipientGiven, (Address("ann", ""),)),
        (RecipientGiven, (Address("a" * 200, "b" * 200),)),
        (ContentReceived, (b"",)),
        (ContentEnded, (-1,)),
        (ContentEnded, (0, reply.OK)),
        (SessionEnded, ("",)),
    ],
)
def test_refused(make, arguments):
    with pytest.raises(ValueError, match=r"."):
        make(*arguments)


@pytest.mark.parametrize(
    "event",
    [
        Greeted("client.example", True),
        SenderGiven(NULL),
        SenderGiven(ANN, 10, "8BITMIME", {"SIZE": "10"}),
        RecipientGiven(ANN),
        RecipientGiven(Address("postMaster", "")),
        DataRequested(),
        ContentReceived(b"a"),
        ContentEnded(0),
        ContentEnded(5, reply.BARE_LF),
        SessionEnded("quit"),
    ],
)
def test_frozen(event):
    assert event == dataclasses.replace(event)
    for field in dataclasses.fields(event):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, field.name, None)
