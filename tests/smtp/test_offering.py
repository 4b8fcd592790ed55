"""What is said to a peer of an envelope, and what it is never handed."""

import pytest

from netsvc.mail.envelope import NOTIFY_DELAY, NOTIFY_FAILURE, NOTIFY_NEVER, NOTIFY_SUCCESS, RET_FULL, RET_HDRS, Wishes
from netsvc.smtp.offering import Transaction, most_messages, most_recipients, objection, of_mail, of_rcpt

ALL = dict.fromkeys(["SIZE", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8", "DSN", "REQUIRETLS", "MT-PRIORITY"], "")
ALL["DELIVERBY"] = "60"
PLAIN = Transaction("a@b.example", ("c@d.example",), 100, eight_bit=False)


def wishing(**wishes):
    return PLAIN._replace(wishes=Wishes(**wishes))


@pytest.mark.parametrize(
    ("transaction", "lacking", "status"),
    [
        (PLAIN._replace(eight_bit=True), "8BITMIME", "5.6.3"),  # RFC 6152 3
        (PLAIN._replace(binary=True), "BINARYMIME", "5.6.3"),  # RFC 3030 3
        (PLAIN._replace(binary=True, eight_bit=True), "CHUNKING", "5.6.3"),
        (wishing(utf8=True), "SMTPUTF8", "5.6.7"),  # RFC 6531 3.5
        (wishing(requiretls=True), "REQUIRETLS", "5.7.30"),  # RFC 8689 4.2.1
        (wishing(by=60, by_return=True), "DELIVERBY", "5.3.3"),  # RFC 2852 4.1.4.2
    ],
)
def test_what_a_peer_cannot_take(transaction, lacking, status):
    assert objection(transaction, ALL, tls=True) is None
    found = objection(transaction, {name: value for name, value in ALL.items() if name != lacking}, tls=True)
    assert found[0] == status
    assert lacking in found[1] or lacking == "CHUNKING"


def test_other_objections():
    assert objection(PLAIN, {}, tls=False) is None
    assert objection(PLAIN, {"SIZE": "99"}, tls=False)[0] == "5.3.4"
    assert objection(PLAIN, {"SIZE": "100"}, tls=False) is None
    assert objection(wishing(requiretls=True), ALL, tls=False)[0] == "5.7.30"
    assert objection(wishing(by=59, by_return=True), ALL, tls=False)[0] == "5.4.7"
    assert objection(wishing(by=59), ALL, tls=False) is None
    assert objection(wishing(by=5, by_return=True), {"DELIVERBY": ""}, tls=False) is None
    assert objection(wishing(priority=3, envid="x"), {}, tls=False) is None


@pytest.mark.parametrize(
    ("transaction", "words"),
    [
        (PLAIN, b" SIZE=100"),
        (PLAIN._replace(eight_bit=True), b" SIZE=100 BODY=8BITMIME"),
        (PLAIN._replace(eight_bit=True, binary=True), b" SIZE=100 BODY=BINARYMIME"),
        (wishing(utf8=True, requiretls=True), b" SIZE=100 SMTPUTF8 REQUIRETLS"),
        (wishing(ret=RET_FULL, envid="a+2Bb"), b" SIZE=100 RET=FULL ENVID=a+2Bb"),
        (wishing(ret=RET_HDRS), b" SIZE=100 RET=HDRS"),
        (wishing(by=-(10**12)), b" SIZE=100 BY=-999999999;N"),
        (wishing(by=9, by_return=True, by_trace=True), b" SIZE=100 BY=9;RT"),
        (wishing(priority=-9), b" SIZE=100 MT-PRIORITY=-9"),
    ],
)
def test_parameters_of_mail(transaction, words):
    assert of_mail(transaction, ALL) == words


def test_nothing_is_said_that_is_not_offered():
    full = wishing(ret=RET_FULL, envid="x", by=9, priority=3)._replace(asked=(("rfc822;x", NOTIFY_NEVER),))
    assert of_mail(full, {}) == b""
    assert of_rcpt(full, 0, {}) == b""


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("", 0), b""),
        (("rfc822;a+2Bb@c", 0), b" ORCPT=rfc822;a+2Bb@c"),
        (("", NOTIFY_NEVER), b" NOTIFY=NEVER"),
        (("", NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY), b" NOTIFY=SUCCESS,FAILURE,DELAY"),
        (("rfc822;x", NOTIFY_DELAY), b" NOTIFY=DELAY ORCPT=rfc822;x"),
        (("utf-8;\u00fc@c", NOTIFY_FAILURE), b" NOTIFY=FAILURE"),
    ],
)
def test_parameters_of_rcpt(asked, words):
    assert of_rcpt(PLAIN._replace(asked=(asked,)), 0, ALL) == words


def test_an_original_recipient_beyond_ascii():
    """RFC 6533 3."""
    transaction = wishing(utf8=True)._replace(asked=(("utf-8;\u00fc@c", 0),))
    assert of_rcpt(transaction, 0, ALL) == " ORCPT=utf-8;\u00fc@c".encode()


@pytest.mark.parametrize(
    ("limits", "most"),
    [("MAILMAX=3", 3), ("RCPTMAX=100 MAILMAX=20", 20), ("mailmax=7;X=1", 7), ("RCPTMAX=5", None), ("MAILMAX=0", None)],
)
def test_how_many_messages_a_session_may_carry(limits, most):
    """RFC 9422 4.1."""
    assert most_messages({"LIMITS": limits}) == most
    assert most_messages({}) is None


@pytest.mark.parametrize(
    ("limits", "most"), [("RCPTMAX=100 MAILMAX=20", 100), ("mailmax=7;rcptmax=1", 1), ("MAILMAX=5", None), ("", None)]
)
def test_how_many_recipients_a_transaction_may_have(limits, most):
    assert most_recipients({"LIMITS": limits}) == most
    assert most_recipients({}) is None
