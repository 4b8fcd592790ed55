"""The site as TOML, and its settings as the JSON the store keeps."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

from netsvc.settings import DeliverySettings, DestinationSettings, SiteSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")

_ELSEWHERE = frozenset({"domains", "mailboxes", "aliases", "routes", "domain_aliases", "catchalls", "mailbox_quotas"})
"""Settings that have tables of their own."""
_DECLARED = ("policies", "commands", "agents")
"""Tables of tables whose keys others declare, kept as they are written."""
_DURATIONS = frozenset({"retry", "expire", "warn", "history", "transcripts"})
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
    delivery = _scheduled(DeliverySettings, body.get("delivery", {}))
    rest = {name: value for name, value in _known(SiteSettings, body).items() if name not in _ELSEWHERE}
    for kind in _DECLARED:
        rest[kind] = {name: _tuples(table) for name, table in body.get(kind, {}).items()}
    said = body.get("destinations", {})
    rest["destinations"] = {key: _scheduled(DestinationSettings, table) for key, table in said.items()}
    return SiteSettings(**(rest | {"routes": dict(routes), "delivery": delivery}))


def _scheduled(kind: Callable[..., T], body: Mapping[str, Any]) -> T:
    """Return the settings that may hold waits by the kind of failure."""
    known = _known(kind, body)
    return kind(**(known | {"retry_classes": _tuples(body.get("retry_classes", {}))}))


def _known(kind: Any, body: Mapping[str, Any]) -> dict[str, Any]:
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
    lines += _table("sender_routes", {pattern: quoted(target) for pattern, target in settings.sender_routes.items()})
    lines += _table("delivery", _changed(settings.delivery, DeliverySettings()), bare=True)
    for key in sorted(settings.destinations):
        rows = _changed(settings.destinations[key], DestinationSettings())
        lines += _table(f"destinations.{quoted(key)}", rows, bare=True) or ["", f"[site.destinations.{quoted(key)}]"]
    for kind in _DECLARED:
        for name, said in sorted(getattr(settings, kind).items()):
            rows = {key: _value(value, duration=False) for key, value in said.items()}
            lines += _table(f"{kind}.{quoted(name) if '.' in name else name}", rows, bare=True)
    return "\n".join(lines) + "\n"


def _changed(settings: DeliverySettings | DestinationSettings, usual: object) -> dict[str, str]:
    """Return what is not as usual, as it is written."""
    out: dict[str, str] = {}
    for entry in fields(settings):
        value = getattr(settings, entry.name)
        if value == getattr(usual, entry.name):
            continue
        if entry.name == "rate":
            out[entry.name] = quoted(rate_text(value))
        elif entry.name == "retry_classes":
            rows = ", ".join(f"{name} = {_value(waits, duration=True)}" for name, waits in value.items())
            out[entry.name] = f"{{ {rows} }}"
        elif entry.name == "maildir_quota":
            out[entry.name] = f"{{ {', '.join(f'{k} = {v}' for k, v in _quota(value).items())} }}"
        else:
            out[entry.name] = _value(value, duration=entry.name in _DURATIONS)
    return out


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


def rate_text(rate: tuple[int, int]) -> str:
    """Return a rate, (messages, ms), as it is written: ``100/1h``."""
    return f"{rate[0]}/{duration_text(rate[1])}"


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
