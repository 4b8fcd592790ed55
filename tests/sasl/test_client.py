"""The client's side of SASL: against our own server's, RFC 7677's example, and servers that lie."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.sasl.client import (
    MOST_ITERATIONS,
    ExchangeError,
    KeyWanted,
    LoginClient,
    PlainClient,
    ScramClient,
    choose,
    exchange,
    salted,
)
from netsvc.sasl.plain import Login, Plain
from netsvc.sasl.scram import Scram
from netsvc.sasl.steps import PasswordGiven, ProofGiven, Succeeded
from netsvc.sasl.verifier import make_verifier

SCRAM = "SCRAM-SHA-256"
FIRST = b"r=%sserver,s=" + base64.b64encode(b"salt" * 4) + b",i=4096"


def test_the_example_of_rfc_7677():
    client = ScramClient("user", "pencil", "rOprNGfwEbeRWgbNEkqO")
    assert client.initial == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    wanted = client.receive(b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    assert "pencil" not in repr(wanted)
    assert client.key(salted(wanted)) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert not client.proven
    assert client.receive(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") == b""
    assert client.proven
    with pytest.raises(ExchangeError):
        client.receive(b"and?")


@pytest.mark.parametrize("user", ["ann@example.org", "a=b,c", "\u00fcnn"])
def test_scram_with_our_own_server(user):
    client = exchange(SCRAM, user, "p\u00e4ss", "ours")
    server = Scram("theirs", {}, plus=False, plus_offered=False)
    verifier = make_verifier("p\u00e4ss", b"salt" * 4, 4096)
    assert server.receive(client.initial).name == user
    wanted = client.receive(server.begin(verifier).data)
    assert isinstance(wanted, KeyWanted)
    assert isinstance(server.receive(client.key(salted(wanted))), ProofGiven)
    assert server.proves(str(verifier))
    assert isinstance(server.receive(client.receive(server.finish().data)), Succeeded)
    assert client.proven


def test_plain_and_login_with_our_own_server():
    client = exchange("PLAIN", "ann", "secret", "x")
    assert Plain().receive(client.initial) == PasswordGiven("ann", "secret")
    assert client.proven
    with pytest.raises(ExchangeError):
        client.receive(b"more?")
    client, server = exchange("LOGIN", "ann", "secret", "x"), Login()
    assert client.initial is None
    answer = client.receive(server.receive(None).data)
    assert server.receive(client.receive(server.receive(answer).data)) == PasswordGiven("ann", "secret")
    with pytest.raises(ExchangeError):
        client.receive(b"again?")
    assert isinstance(client, LoginClient)


def test_no_key_is_handed_to_who_asked_for_none():
    with pytest.raises(AssertionError):
        PlainClient("a", "b").key(b"key")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff",
        b"e=other-error",
        b"r=ours,s=c2FsdA==,i=4096",
        b"r=elsewhere,s=c2FsdA==,i=4096",
        b"r=ours%,s=c2F=dA==,i=4096",
        b"r=ours%,s=c2FsdA==,i=4095",
        b"r=ours%%,s=c2FsdA==,i=%d" % (MOST_ITERATIONS + 1),
        b"r=ours%,s=c2FsdA==,i=04096",
        b"r=ours%,s=c2FsdA==,i=4096,\0",
        b"m=x,r=ours%,s=c2FsdA==,i=4096",
    ],
)
def test_first_messages_that_are_not_answered(said):
    with pytest.raises(ExchangeError):
        ScramClient("ann", "secret", "ours").receive(said)


@pytest.mark.parametrize("said", [b"", b"e=invalid-proof", b"v=c2hvcnQ=", b"v=" + b"A" * 43 + b"="])
def test_a_server_that_does_not_prove_itself(said):
    client = ScramClient("ann", "secret", "ours")
    client.key(salted(client.receive(FIRST % b"ours")))
    with pytest.raises(ExchangeError):
        client.receive(said)
    assert not client.proven


@pytest.mark.parametrize(("user", "password"), [("", "x"), ("x", ""), ("a\0b", "x"), ("x", "a\0b"), ("\u0007", "x")])
def test_credentials_that_nobody_can_say(user, password):
    with pytest.raises(ExchangeError):
        exchange("PLAIN", user, password, "x")


def test_the_strongest_comes_first():
    assert choose(["LOGIN", "PLAIN", "GSSAPI", SCRAM], clear=True) == [SCRAM, "PLAIN", "LOGIN"]
    assert choose(["LOGIN", "PLAIN", SCRAM], clear=False) == [SCRAM]
    assert choose(["GSSAPI"], clear=True) == []


@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda *p: b"".join(p),
            *[
                st.sampled_from(
                    [b"r=ours", b"x", b",s=", b"c2FsdA==", b",i=", b"4096", b"9" * 11, b",", b"\xff", b"=", b"v="]
                )
            ]
            * 8,
        ),
    )
)
def test_whatever_a_server_says_is_answered_or_refused(said):
    client = ScramClient("ann", "secret", "ours")
    try:
        wanted = client.receive(said)
    except ExchangeError:
        return
    assert isinstance(wanted, KeyWanted)
