"""The Authentication-Results field: ours made, and fields that claim to be ours found (RFC 8601).  Quiet.

Every word that comes from outside is a token or a quoted string of printable ASCII before it gets in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netsvc.policy.auth.fields import Header, collapse

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_WORD = 255
_TOKEN = re.compile(r"[A-Za-z0-9!#$&'*+.^_`{|}~@/-]+")
_BAD = re.compile(r"[^ -~]|[\\\"]")
_NO_COMMENT = re.compile(r"[^ !#-'*-\[\]-~]")
_NAME = b"authentication-results"


@dataclass(frozen=True, slots=True)
class Finding:
    """One method's result: ``properties`` are (``ptype.property``, value); ``why`` becomes a comment."""

    method: str
    result: str
    properties: tuple[tuple[str, str], ...] = ()
    why: str = ""


def results_field(hostname: str, findings: Sequence[Finding]) -> bytes:
    """Return one Authentication-Results field, CRLF ended, one method a line."""
    lines = [f"Authentication-Results: {hostname}"]
    for finding in findings:
        words = [f"{finding.method}={finding.result}"]
        if finding.why:
            words.append(f"({_NO_COMMENT.sub('?', finding.why)[:200]})")
        words += [f"{name}={_word(value)}" for name, value in finding.properties if value]
        lines.append(" ".join(words))
    if not findings:
        lines.append("none")
    return (";\r\n\t".join(lines) + "\r\n").encode("ascii", "replace")


def _word(value: str) -> str:
    value = value[:MAX_WORD]
    return value if _TOKEN.fullmatch(value) else '"' + _BAD.sub("?", value) + '"'


def forged(header: Header, hostname: str) -> list[int]:
    """Return the places (in ``header.fields``) of fields that claim to be results of ours (RFC 8601 5)."""
    return [n for n, field in enumerate(header.fields) if field.name == _NAME and authserv_id(field.value) == hostname]


def authserv_id(value: bytes) -> str:
    """Return whose results a field's value says it has, in lower case (RFC 8601 2.2, 2.5)."""
    text = collapse(value[:2000]).decode("utf-8", "replace")
    while text.startswith("("):
        depth = end = 0
        for c in text:
            end += 1
            depth += (c == "(") - (c == ")")
            if not depth:
                break
        text = text[end:].lstrip()
    text = text[1:].partition('"')[0] if text.startswith('"') else re.split(r"[;( ]", text, maxsplit=1)[0]
    return text.strip().lower()
