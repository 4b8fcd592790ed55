"""SCRAM-SHA-256 and -PLUS, the server's side: the exchange of RFC 7677 3, and everything that is wrong with others."""

import base64
import contextlib
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsvc.sasl.scram import PLUS, Scram
from netsvc.sasl.steps import Challenge, MalformedError, ProofGiven, RefusedError, Succeeded, VerifierWanted
from netsvc.sasl.verifier import ITERATIONS, Verifier, fake_verifier, make_verifier, read_verifier
from netsvc.sasl.verifier import base64 as b64

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
PENCIL = make_verifier("pencil", SALT, 4096)
NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CLIENT = "rOprNGfwEbeRWgbNEkqO"
FINAL = f"c=biws,r={CLIENT}{NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=".encode()
CHANNEL = {"tls-exporter": b"x" * 32, "tls-server-end-point": b"y" * 32}


def exchange(bindings=None, *, plus=False, plus_offered=None):
    offered = bool(bindings) if plus_offered is None else plus_offered
    return Scram(NONCE, bindings or {}, plus=plus, plus_offered=offered)


def test_rfc_7677_section_3():
    scram = exchange()
    assert scram.receive(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO") == VerifierWanted("user")
    assert scram.begin(PENCIL) == Challenge(f"r={CLIENT}{NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode())
    assert scram.receive(FINAL) == ProofGiven("user")
    assert scram.proves(str(PENCIL))
    assert scram.finish() == Challenge(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert scram.receive(b"") == Succeeded()


def final(scram_first, server_first, header, password="pencil", bound=b""):
    """What a client with ``password`` answers."""
    bare = scram_first[len(header) :]
    nonce, salt, rounds = (part[2:] for part in server_first.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
    key = hmac.digest(salted, b"Client Key", "sha256")
    end = f"c={b64(header.encode() + bound)},r={nonce}"
    signature = hmac.digest(hashlib.sha256(key).digest(), f"{bare},{server_first},{end}".encode(), "sha256")
    return f"{end},p={b64(bytes(a ^ b for a, b in zip(key, signature, strict=True)))}".encode()


def run(scram, first, header, **client):
    assert isinstance(scram.receive(first.encode()), VerifierWanted)
    server_first = scram.begin(PENCIL).data.decode()
    return scram.receive(final(first, server_first, header, **client))


@pytest.mark.parametrize("kind", sorted(CHANNEL))
def test_plus(kind):
    header = f"p={kind},,"
    scram = exchange(CHANNEL, plus=True)
    assert run(scram, f"{header}n=user,r=abc", header, bound=CHANNEL[kind]) == ProofGiven("user")
    assert scram.proves(str(PENCIL))


def test_plus_over_another_channel():
    with pytest.raises(RefusedError, match="another channel"):
        run(exchange(CHANNEL, plus=True), "p=tls-exporter,,n=user,r=abc", "p=tls-exporter,,", bound=b"z" * 32)


def test_the_wrong_password():
    scram = exchange()
    run(scram, "n,,n=user,r=abc", "n,,", password="pen")
    assert not scram.proves(str(PENCIL))
    with pytest.raises(AssertionError):
        scram.finish()


def test_a_proof_of_another_length():
    scram = exchange()
    scram.receive(b"n,,n=user,r=abc")
    scram.begin(PENCIL)
    scram.receive(f"c=biws,r=abc{NONCE},p=AAAA".encode())
    assert not scram.proves(str(PENCIL))


def test_a_password_that_was_changed_meanwhile():
    scram = exchange()
    run(scram, "n,,n=user,r=abc", "n,,")
    assert not scram.proves(str(make_verifier("pencil", b"another salt", 4096)))


@pytest.mark.parametrize(
    ("name", "meant"),
    [("a=2Cb", "a,b"), ("a=3Db", "a=b"), ("I\u00adX", "IX"), ("user@example.org", "user@example.org")],
)
def test_names(name, meant):
    assert exchange().receive(f"n,,n={name},r=abc".encode()) == VerifierWanted(meant)
    assert exchange().receive(f"n,a={name},n={name},r=abc,x=ext".encode()) == VerifierWanted(meant)


def test_nothing_at_first_is_asked_for():
    assert exchange().receive(None) == Challenge(b"")


@pytest.mark.parametrize(
    "first",
    [
        b"", b"n", b"n,,", b"n,,n=user", b"n,,r=abc,n=user", b"n,,n=,r=abc", b"n,,n=user,r=", b"x,,n=user,r=abc",
        b"n,b=c,n=user,r=abc", b"n,,n=a=b,r=abc", b"n,,n=a=2c,r=abc", b"n,,n=user,r=a\x00", b"n,,n=user,r=\xc3\xa4",
        b"n,,n=\xff,r=abc", b"n,,n=user,r=" + b"r" * 129, b"p=,,n=user,r=abc", b"n,,n=user,r=abcd x",
    ],
)  # fmt: skip
def test_first_messages_that_are_none(first):
    with pytest.raises(MalformedError):
        exchange().receive(first)


@pytest.mark.parametrize(
    ("first", "bindings", "plus"),
    [
        (b"n,,m=ext,n=user,r=abc", {}, False),
        (b"n,a=other,n=user,r=abc", {}, False),
        (b"n,,n=\x07,r=abc", {}, False),
        (b"y,,n=user,r=abc", CHANNEL, False),
        (b"p=tls-exporter,,n=user,r=abc", CHANNEL, False),
        (b"p=tls-unique,,n=user,r=abc", CHANNEL, True),
        (b"n,,n=user,r=abc", CHANNEL, True),
        (b"y,,n=user,r=abc", CHANNEL, True),
    ],
)
def test_first_messages_that_lead_nowhere(first, bindings, plus):
    with pytest.raises(RefusedError):
        exchange(bindings, plus=plus).receive(first)


def test_a_client_that_could_bind_where_we_cannot():
    assert exchange().receive(b"y,,n=user,r=abc") == VerifierWanted("user")


@pytest.mark.parametrize(
    "last",
    [
        b"", b"c=biws", b"c=biws,r=abc", b"c=biws,p=AAAA", b"c=!,r=abc,p=AAAA", b"c=biw,r=abcX,p=AAAA",
        b"c=biws,r=abcX,p=AA", b"c=biws,r=abcX,p=", b"c=biws,r=abcX,p=AAAA\xff", b"c=biws,r=abcX,p=A A=",
    ],
)  # fmt: skip
def test_final_messages_that_are_none(last):
    scram = exchange()
    scram.receive(b"n,,n=user,r=abc")
    scram.begin(PENCIL)
    with pytest.raises((MalformedError, RefusedError)) as caught:
        scram.receive(last)
    assert (caught.type is RefusedError) == (last == b"c=biws,r=abcX,p=")


def test_a_nonce_of_another_exchange():
    scram = exchange()
    scram.receive(b"n,,n=user,r=abc")
    scram.begin(PENCIL)
    with pytest.raises(RefusedError, match="nonce"):
        scram.receive(b"c=biws,r=abc,p=AAAA")


def test_more_than_nothing_at_the_end():
    scram = exchange()
    run(scram, "n,,n=user,r=abc", "n,,")
    scram.proves(str(PENCIL))
    scram.finish()
    with pytest.raises(MalformedError):
        scram.receive(b"x")


def test_out_of_turn_is_a_mistake_of_ours():
    scram = exchange()
    scram.receive(b"n,,n=user,r=abc")
    with pytest.raises(AssertionError):
        scram.receive(b"n,,n=user,r=abc")


@given(st.binary(max_size=200), st.booleans())
def test_nothing_else_is_raised(data, plus):
    for steps in (0, 1):
        scram = exchange(CHANNEL, plus=plus)
        if steps:
            scram.receive(b"p=tls-exporter,,n=user,r=abc" if plus else b"n,,n=user,r=abc")
            scram.begin(PENCIL)
        with contextlib.suppress(MalformedError, RefusedError):
            scram.receive(data)


def test_verifiers_are_read_as_they_are_written():
    assert read_verifier(str(PENCIL)) == PENCIL
    assert str(PENCIL).startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    assert repr(PENCIL).count("key") == 0
    assert PLUS == "SCRAM-SHA-256-PLUS"


@pytest.mark.parametrize(
    "text",
    [
        "", "SCRAM-SHA-1$4096:AAAA$" + "A" * 43 + "=:" + "A" * 43 + "=", str(PENCIL) + "\n", str(PENCIL)[:-1],
        str(PENCIL).replace("$4096", "$0"), str(PENCIL).replace("W22Z", "===="),
    ],
)  # fmt: skip
def test_what_is_no_verifier(text):
    with pytest.raises(ValueError, match=r".+"):
        read_verifier(text)


def test_fakes_are_stable_and_fit_nothing():
    one, again, other = (fake_verifier(b"s", name) for name in ("ann", "ann", "bob"))
    assert one == again != other
    assert one != fake_verifier(b"t", "ann")
    assert (one.iterations, len(one.salt)) == (ITERATIONS, 16)
    assert isinstance(read_verifier(str(one)), Verifier)
