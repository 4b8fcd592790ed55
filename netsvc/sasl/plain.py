"""PLAIN (RFC 4616) and LOGIN: a name and a password, inside TLS."""

from __future__ import annotations

from netsvc.sasl.steps import (
    Challenge,
    MalformedError,
    PasswordGiven,
    RefusedError,
    Step,
    name_of,
    password_of,
    text_of,
)


class Plain:
    """PLAIN: ``[authzid] NUL name NUL password`` in one response."""

    def receive(self, response: bytes | None) -> Step:
        """See Exchange."""
        if response is None:
            return Challenge()
        parts = text_of(response).split("\0")
        if len(parts) != 3:
            raise MalformedError("not the three parts of PLAIN")
        acting_as, given, password = parts
        name = name_of(given)
        if acting_as and name_of(acting_as) != name:
            raise RefusedError("nobody may act as somebody else")
        return PasswordGiven(name, password_of(password))


class Login:
    """LOGIN (never standardised; what old clients have): a name, then a password."""

    def __init__(self) -> None:
        self._name: str | None = None

    def receive(self, response: bytes | None) -> Step:
        """See Exchange."""
        if response is None:
            return Challenge(b"Username:")
        if self._name is None:
            self._name = text_of(response)
            return Challenge(b"Password:")
        if "\0" in self._name or b"\0" in response:
            raise MalformedError("NUL in a name or a password")
        return PasswordGiven(name_of(self._name), password_of(text_of(response)))
