"""Who somebody is, once a password was right: names, roles and what checkers hand to the realm."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from zope.interface import implementer

from netsvc.interfaces import IOperator, ISubmitter
from netsvc.mail.address import AddressError, parse_address
from netsvc.records import FLAG_CONTENT, ROLES

if TYPE_CHECKING:
    from netsvc.records import AccountRow

NAME: Final = re.compile(r"[a-z0-9._-]{1,64}")
ADDRESS_MOST: Final = 254
PASSWORD_LEAST: Final = 8
PASSWORD_MOST: Final = 512
CONTENT: Final = "content"
_CONSOLE_ROLES: Final = ROLES[1:]


@implementer(IOperator)
@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who may use the console, or, with role ``none``, may not.  Checkers return it as the avatar's id."""

    name: str
    role: str
    content: bool = False
    last_at: int = 0
    last_from: str = ""
    fails: int = 0
    enabled: bool = False


@implementer(ISubmitter)
@dataclass(frozen=True, slots=True)
class Submitter:
    """See ISubmitter."""

    name: str
    address: str


def account_operator(row: AccountRow) -> Operator:
    """Return the operator an account of the store is, as it was before this login."""
    role = ROLES[row.role] if 0 <= row.role < len(ROLES) else ROLES[0]
    return Operator(row.name, role, bool(row.flags & FLAG_CONTENT), row.last_at, row.last_from, row.fails)


def is_name(text: str) -> bool:
    """Whether ``text`` can be an account's name: a plain one, or the address of a mailbox in lower case."""
    if "@" not in text:
        return NAME.fullmatch(text) is not None
    try:
        address = parse_address(text)
    except AddressError:
        return False
    plain = len(text) <= ADDRESS_MOST and not any(c in text for c in '":')  # a password file divides by colons
    return plain and address.key == text and not address.domain.startswith("[")


def name_of(given: str | bytes) -> str:
    """Return the account name meant by what was typed: lower case, '' when it cannot be one."""
    if isinstance(given, bytes):
        given = given.decode("utf-8", "replace")
    text = given.strip().lower()
    return text if is_name(text) else ""


def password_of(given: str | bytes) -> str:
    """Return a password as text; octets that are no UTF-8 match no password."""
    if isinstance(given, bytes):
        return given.decode("utf-8", "surrogateescape")
    return given


def read_roles(text: str) -> tuple[str, bool | None]:
    """Read ``ROLE``, ``ROLE,content`` or ``ROLE,no-content`` -> (role, content; None: not said).

    Raises ValueError with words fit to be shown.
    """
    role, content = "", None
    for word in (part.strip().lower() for part in text.split(",")):
        if word in (CONTENT, f"no-{CONTENT}"):
            content = word == CONTENT
        elif word not in _CONSOLE_ROLES:
            raise ValueError(
                f"no role {word!r}: a role is one of {', '.join(_CONSOLE_ROLES)}, and {CONTENT} may follow"
            )
        elif role:
            raise ValueError(f"two roles, {role} and {word}: give one")
        else:
            role = word
    if not role:
        raise ValueError(f"a role is missing: one of {', '.join(_CONSOLE_ROLES)}")
    return role, content
