"""What a domain publishes by MTA-STS, as octets and text (RFC 8461 3): the record's id, the policy, the hosts it names.

Everything here comes from strangers: sizes and counts are bounded, and what is not understood is no policy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_OCTETS: Final = 64 << 10
"""Octets of a policy; a longer one is none."""
MOST_HOSTS: Final = 100
"""Patterns in one policy."""
LONGEST_AGE: Final = 31_557_600
"""Seconds a policy holds at most (RFC 8461 3.2)."""
MODES: Final = ("enforce", "testing", "none")
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_HOST = re.compile(r"(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){0,126}")
_AGE = re.compile(r"[0-9]{1,10}")


class StsError(ValueError):
    """What was published cannot be understood; ``str()`` is one line for people."""


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A domain's policy: ``mode`` is one of MODES; ``max_age`` in seconds; ``hosts`` are names or ``*.name``."""

    mode: str
    max_age: int
    hosts: tuple[str, ...] = ()

    def allows(self, host: str) -> bool:
        """Whether ``host`` (lower case) is one of the policy's; ``*`` stands for exactly one label (RFC 8461 4.1)."""
        _, _, above = host.partition(".")
        return host in self.hosts or (bool(above) and f"*.{above}" in self.hosts)


def published_id(texts: Iterable[bytes]) -> str:
    """Return the id in the TXT records at ``_mta-sts``, "" where there is no policy (RFC 8461 3.1)."""
    ours = [text for text in texts if re.match(rb"v=STSv1[ \t]*;", text)]
    if len(ours) != 1:
        return ""
    for field in ours[0].decode("utf-8", "replace").split(";")[1:]:
        name, _, value = field.strip(" \t").partition("=")
        if name == "id":
            return value if _ID.fullmatch(value) else ""
    return ""


def read_policy(body: bytes) -> StsPolicy:
    """Return the policy in a file as it was fetched (RFC 8461 3.2).  Raises StsError."""
    if len(body) > MOST_OCTETS:
        raise StsError(f"the policy has more than {MOST_OCTETS} octets")
    found: dict[str, str] = {}
    hosts: list[str] = []
    for line in body.decode("utf-8", "replace").replace("\r\n", "\n").split("\n"):
        key, colon, value = line.partition(":")
        key, value = key.strip(" \t"), value.strip(" \t")
        if not colon:
            if key:
                raise StsError("a line of the policy has no colon")
        elif key == "mx":
            hosts.append(_host(value))
        else:
            found.setdefault(key, value)  # of fields that come twice the first one counts
    if found.get("version") != "STSv1":
        raise StsError("the policy's version is not STSv1")
    mode = found.get("mode", "")
    if mode not in MODES:
        raise StsError("the policy has no mode that is known")
    age = found.get("max_age", "")
    if not _AGE.fullmatch(age):
        raise StsError("the policy has no max_age")
    if not hosts and mode != "none":
        raise StsError("the policy names no host")
    if len(hosts) > MOST_HOSTS:
        raise StsError(f"the policy names more than {MOST_HOSTS} hosts")
    return StsPolicy(mode, min(int(age), LONGEST_AGE), tuple(dict.fromkeys(hosts)))


def _host(value: str) -> str:
    host = value.lower().removesuffix(".")
    if len(host) > 255 or not _HOST.fullmatch(host):
        raise StsError("the policy names a host that can be none")
    return host
