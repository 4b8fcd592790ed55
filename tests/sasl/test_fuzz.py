"""Spoiled responses: nothing but the two refusals is raised, and nobody gets in without knowing the password."""

import random

from netsvc.sasl.plain import Login, Plain
from netsvc.sasl.scram import Scram
from netsvc.sasl.steps import Challenge, MalformedError, PasswordGiven, ProofGiven, RefusedError, VerifierWanted
from netsvc.sasl.verifier import fake_verifier

INPUTS = 20_000
CHANNEL = {"tls-exporter": b"x" * 32}
VERIFIER = fake_verifier(b"secret", "ann")
SEEDS = [
    b"\0ann@example.org\0secret",
    b"ann\0ann\0\xc3\xa4",
    b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
    b"p=tls-exporter,,n=a=2Cb,r=abc",
    b"y,a=user,n=user,r=abc,x=y",
    b"c=biws,r=abcNONCE,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    b"c=cD10bHMtZXhwb3J0ZXIsLHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4,r=abcNONCE,p=AAAA",
]
TOKENS = [
    b"\0",
    b",",
    b"=",
    b"=2C",
    b"=3D",
    b"n=",
    b"r=",
    b"p=",
    b"m=x,",
    b"\xff",
    b"\xe2\x80\xae",
    b"\r\n",
    b"a" * 400,
]


def spoil(rng):
    data = rng.choice(SEEDS)
    for _ in range(rng.randrange(4)):
        a, b = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        data = data[:a] + rng.choice(TOKENS) + data[b if rng.random() < 0.3 else a :]
    return data


def begun(rng):
    """Return an exchange somewhere on its way."""
    which = rng.randrange(4)
    if which == 0:
        return Plain()
    if which == 1:
        login = Login()
        if rng.random() < 0.5:
            login.receive(b"ann")
        return login
    plus = which == 3
    scram = Scram("NONCE", CHANNEL if plus else {}, plus=plus, plus_offered=plus)
    if rng.random() < 0.5:
        scram.receive(b"p=tls-exporter,,n=ann,r=abc" if plus else b"n,,n=ann,r=abc")
        scram.begin(VERIFIER)
    return scram


def test_spoiled_responses():
    rng = random.Random(7677)
    kinds = set()
    for _ in range(INPUTS):
        exchange = begun(rng)
        try:
            step = exchange.receive(spoil(rng))
        except (MalformedError, RefusedError) as error:
            kinds.add(type(error))
            continue
        kinds.add(type(step))
        if isinstance(step, ProofGiven):
            assert not exchange.proves(str(VERIFIER))
        elif isinstance(step, PasswordGiven):
            assert step.name
            assert "\0" not in step.name + step.password
    assert kinds == {MalformedError, RefusedError, Challenge, PasswordGiven, VerifierWanted, ProofGiven}
