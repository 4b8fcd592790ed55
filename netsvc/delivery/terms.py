"""What an attempt is made with: the hosts to try, what TLS must be like there, who we say we are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from netsvc.records import Credential

__all__ = ["WORDS", "Credential", "Host", "TlsLevel", "TlsTerms"]


class TlsLevel(IntEnum):
    """How much TLS a destination asks for; each asks for more than the one before."""

    NONE = 0
    """Never, even where it is offered."""
    OPPORTUNISTIC = 1
    """Where it is offered, with whatever certificate; in clear where it fails."""
    ENCRYPT = 2
    """Always, with whatever certificate."""
    VERIFY = 3
    """Always, with a certificate that is trusted and bears the name (or matches a TLSA record)."""


WORDS = {level.name.lower(): level for level in TlsLevel}
"""The word of each level in the site's settings."""


@dataclass(frozen=True, slots=True)
class TlsTerms:
    """What TLS must be like with one host.

    ``names``: what the certificate may bear, the host's own name where empty; ``*.example.org`` stands for one label.
    ``tlsa``: (usage, selector, matching type, data) of RFC 6698, where DANE decides instead of the certificate
    authorities.  ``source`` is who decided, for people and history: ``default``, ``site``, ``mta-sts``, ``dane``,
    ``requiretls``.  ``implicit``: TLS begins before the greeting.
    """

    level: TlsLevel = TlsLevel.OPPORTUNISTIC
    names: tuple[str, ...] = ()
    tlsa: tuple[tuple[int, int, int, bytes], ...] = ()
    source: str = "default"
    implicit: bool = False


@dataclass(frozen=True, slots=True)
class Host:
    """One host that takes the destination's mail.

    ``name`` is lower case without a trailing dot, or an address' text; ``addresses`` in the order in which they are
    tried; ``validated``: the DNS answers that led here were (RFC 4035 AD bit from a resolver that is trusted);
    ``alias_of``: the name behind ``name``, where that is an alias.
    """

    name: str
    addresses: tuple[str, ...]
    port: int = 25
    preference: int = 0
    validated: bool = False
    alias_of: str = ""
