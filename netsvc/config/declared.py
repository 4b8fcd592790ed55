"""Values checked against the ``commands.Setting`` a plugin declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsvc.config import values
from netsvc.config.complaints import ValueFaultError, quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.commands import Setting

_UNITS = {"size": " octets", "duration": " ms"}


def setting_reader(setting: Setting, item: Callable[[object], str] = values.filled) -> Callable[[object], Any]:
    """Return what reads a value of ``setting`` as TOML has it, or raises ValueFaultError.

    ``item`` reads what stands in a list.  Sizes come out as octets, durations as ms, lists as tuples.
    """
    plain: dict[str, Callable[[object], Any]] = {
        "str": values.text,
        "int": values.whole,
        "size": values.size,
        "duration": values.duration,
        "bool": values.flag,
        "list": values.listed(item),
    }
    read = plain.get(setting.type) or values.chosen(setting.choices)

    def checked(value: object) -> Any:
        result: Any = read(value)
        if setting.type in ("int", "size", "duration"):
            unit = _UNITS.get(setting.type, "")
            if setting.low is not None and result < setting.low:
                raise ValueFaultError(f"{quote(value)} is too small", f"write at least {setting.low}{unit}")
            if setting.high is not None and result > setting.high:
                raise ValueFaultError(f"{quote(value)} is too large", f"write at most {setting.high}{unit}")
        return result

    return checked
