"""STARTTLS (RFC 3207) and AUTH (RFC 4954) on the wire: what is offered, when it is refused, and base64.

An ``Offer`` says what a session may do where it stands, outside or inside TLS;
sessions share it.  A session learns of a new one by ``ServerSession.secured``,
which forgets everything the client has said (RFC 3207 4.2).

No line of an exchange is remembered, logged or repeated here.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from netsvc.mail import reply as r
from netsvc.smtp.events import AuthAnswered, AuthRequested, StartTlsRequested
from netsvc.smtp.grammar import CommandError
from netsvc.smtp.states import GREET_FIRST, NESTED, UNDER_WAY, State

if TYPE_CHECKING:
    from netsvc.mail.reply import Reply

VERBS = frozenset({"AUTH", "STARTTLS"})
ASKING = frozenset({AuthRequested, AuthAnswered, StartTlsRequested})
"""Events whose answers are not those of a transaction."""
MAX_RESPONSE = 12_288
"""Octets of a line of an exchange, with its CR LF (RFC 4954 4)."""
GO_ON = 334
SUCCEEDED = 235

_MECHANISM = re.compile(r"[A-Za-z0-9_-]{1,20}")
_AUTH_USAGE = r.SYNTAX.fill(usage="AUTH mechanism [initial-response]")
_STARTTLS_USAGE = r.SYNTAX.fill(usage="STARTTLS")
AUTH_UNKNOWN = r.UNKNOWN_PARAMETER.fill(name="AUTH")
_TWICE = r.BAD_SEQUENCE.fill(why="already authenticated")
_IN_TLS = r.BAD_SEQUENCE.fill(why="TLS is active already")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a session may do about secrets.

    ``tls``: it is inside TLS; ``starttls``: STARTTLS would succeed; ``mechanisms`` of AUTH that can succeed here;
    ``demand`` is what MAIL is answered with until somebody has authenticated, None where nobody must;
    ``encrypt_first``: AUTH would be there, but inside TLS.
    """

    tls: bool = False
    starttls: bool = False
    mechanisms: tuple[str, ...] = ()
    demand: Reply | None = None
    encrypt_first: bool = False


NOTHING = Offer()
"""Neither TLS nor AUTH."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a session stands when it is asked for STARTTLS or AUTH."""

    state: State
    offer: Offer
    authenticated: bool


def parse(verb: str, line: bytes, standing: Standing) -> AuthRequested | StartTlsRequested:
    """Return the event a line of STARTTLS or AUTH is.  Raises CommandError."""
    argument = line.decode("ascii", "replace").partition(" ")[2].strip(" ")
    if verb == "STARTTLS":
        return _starttls(argument, standing)
    return _auth(argument, standing)


def _starttls(argument: str, standing: Standing) -> StartTlsRequested:
    if standing.offer.tls:
        raise CommandError(_IN_TLS)
    if not standing.offer.starttls:
        raise CommandError(r.NOT_IMPLEMENTED)
    if argument:
        raise CommandError(_STARTTLS_USAGE)
    _in_order(standing.state)
    return StartTlsRequested()


def _auth(argument: str, standing: Standing) -> AuthRequested:
    offer = standing.offer
    if offer.encrypt_first:
        raise CommandError(r.ENCRYPTION_REQUIRED)
    if not offer.mechanisms:
        raise CommandError(r.NOT_IMPLEMENTED)
    _in_order(standing.state)
    if standing.authenticated:
        raise CommandError(_TWICE)
    mechanism, space, initial = argument.partition(" ")
    if not _MECHANISM.fullmatch(mechanism):
        raise CommandError(_AUTH_USAGE)
    mechanism = mechanism.upper()
    if mechanism not in offer.mechanisms:
        raise CommandError(r.NO_SUCH_MECHANISM)
    if not space:
        return AuthRequested(mechanism)
    return AuthRequested(mechanism, b"" if initial == "=" else decode(initial.encode("ascii", "replace")))


def _in_order(state: State) -> None:
    if state is State.CONNECTED:
        raise CommandError(GREET_FIRST)
    if state in UNDER_WAY:
        raise CommandError(NESTED)


def answered(line: bytes) -> AuthAnswered:
    """Return the event a line of an exchange is.  Raises CommandError, which ends the exchange."""
    if line == b"*":
        raise CommandError(r.AUTH_CANCELLED)
    return AuthAnswered(decode(line))


def decode(text: bytes) -> bytes:
    """Return the octets that base64 ``text`` stands for, none for none.  Raises CommandError for what is not exact."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise CommandError(r.BAD_BASE64) from None
    if binascii.b2a_base64(data, newline=False) != text:  # bits that are in no octet
        raise CommandError(r.BAD_BASE64)
    return data


def challenge(data: bytes) -> Reply:
    """Return the reply that asks for the next line of an exchange."""
    return r.Reply(GO_ON, "", (binascii.b2a_base64(data, newline=False).decode("ascii"),))


@lru_cache(64)
def extended_hello(hello: bytes, offer: Offer) -> bytes:
    """Return the reply ``hello`` to EHLO with what is offered beside."""
    words = []
    if offer.starttls and not offer.tls:
        words.append("STARTTLS")
    if offer.mechanisms:
        words.append(f"AUTH {' '.join(offer.mechanisms)}")
    first, rest = hello.split(b"\r\n", 1)
    lines = "".join(f"250-{word}\r\n" for word in words).encode("ascii")
    return first + b"\r\n" + lines + rest
