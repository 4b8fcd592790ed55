"""The site as TOML, and its settings as the JSON the store keeps."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from netsvc.settings import DeliverySettings, SiteSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ELSEWHERE = frozenset({"domains", "mailboxes", "aliases", "routes", "domain_aliases", "catchalls", "mailbox_quotas"})
"""Settings that have tables of their own."""
_DURATIONS = frozenset({"retry", "expire", "warn"})
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def to_json(settings: SiteSettings) -> str:
    """Return the settings that have no table of their own."""
    body = {name: value for name, value in asdict(settings).items() if name not in _ELSEWHERE}
    return json.dumps(body, sort_keys=True)


def from_json(text: str, routes: Mapping[str, str]) -> SiteSettings:
    """Return the settings kept as ``text``, with ``routes``.

    What a newer netsvc added is passed over; what an older one did not write has its default.
    """
    body = json.loads(text)
    delivery = _known(DeliverySettings, body.get("delivery", {}))
    rest = {name: value for name, value in _known(SiteSettings, body).items() if name not in _ELSEWHERE}
    rest["policies"] = {name: _tuples(table) for name, table in body.get("policies", {}).items()}
    return SiteSettings(**(rest | {"routes": dict(routes), "delivery": DeliverySettings(**delivery)}))


def _known(kind: type[Any], body: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in _tuples(body).items() if name in names}


def _tuples(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in body.items()}


def to_toml(settings: SiteSettings) -> str:
    """Return ``[site]`` as a node file has it; what is at its default is left out."""
    lines = ["[site]"]
    for name in ("domains", "mailboxes", "relay_from", "relay_domains", "limits_exempt"):
        values = getattr(settings, name)
        if values:
            lines.append(f"{name} = {_list(values)}")
    if settings.subaddress != SiteSettings().subaddress:
        lines.append(f"subaddress = {quoted(settings.subaddress)}")
    lines += _table("domain_aliases", {name: quoted(same_as) for name, same_as in settings.domain_aliases.items()})
    lines += _table("catchalls", {name: quoted(target) for name, target in settings.catchalls.items()})
    lines += _table("quotas", _quota(settings.quota), bare=True)
    quotas = {
        name: ", ".join(f"{k} = {v}" for k, v in _quota(of).items()) for name, of in settings.mailbox_quotas.items()
    }
    lines += _table("quotas.mailboxes", {name: f"{{ {words} }}" if words else "0" for name, words in quotas.items()})
    lines += _table("aliases", {key: _list(targets) for key, targets in settings.aliases.items()})
    lines += _table("routes", {pattern: quoted(target) for pattern, target in settings.routes.items()})
    usual = DeliverySettings()
    delivery: dict[str, str] = {}
    for entry in fields(DeliverySettings):
        value = getattr(settings.delivery, entry.name)
        if value != getattr(usual, entry.name):
            delivery[entry.name] = _value(value, duration=entry.name in _DURATIONS)
    lines += _table("delivery", delivery, bare=True)
    for name in sorted(settings.policies):
        rows = {key: _value(value, duration=False) for key, value in settings.policies[name].items()}
        lines += _table(f"policies.{name}", rows, bare=True)
    return "\n".join(lines) + "\n"


def _quota(of: tuple[int, int]) -> dict[str, str]:
    return {name: str(most) for name, most in zip(("bytes", "messages"), of, strict=True) if most}


def _table(name: str, rows: Mapping[str, str], *, bare: bool = False) -> list[str]:
    if not rows:
        return []
    return ["", f"[site.{name}]", *(f"{key if bare else quoted(key)} = {value}" for key, value in rows.items())]


def _value(value: Any, *, duration: bool) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(part, duration=duration) for part in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if duration:
        return quoted(duration_text(value))
    return quoted(value) if isinstance(value, str) else str(value)


def _list(values: Iterable[str]) -> str:
    return "[" + ", ".join(quoted(value) for value in values) + "]"


def duration_text(ms: int) -> str:
    """Return a duration as it is written: ``1h20m``; ``0s`` for none."""
    parts = []
    for unit, length in _UNITS:
        count, ms = divmod(ms, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def quoted(text: str) -> str:
    """Return ``text`` as a TOML basic string."""
    out = []
    for character in text:
        number = ord(character)
        if character in _ESCAPES:
            out.append(_ESCAPES[character])
        elif number < 0x20 or number == 0x7F:
            out.append(f"\\u{number:04X}")
        else:
            out.append(character)
    return '"' + "".join(out) + '"'
