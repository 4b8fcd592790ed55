"""One TOML table being read: hands out checked values and complains of everything else in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from netsvc.config.complaints import ValueFaultError, kind_of, nearest, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netsvc.config.complaints import Complaints

T = TypeVar("T")


class Later:
    """A key or value whose feature a later version brings.  ``neutral`` means what this version does anyway."""

    __slots__ = ("neutral", "what")

    def __init__(self, what: str, *neutral: object) -> None:
        self.what = what
        self.neutral = neutral

    def allows(self, value: object) -> bool:
        """Whether ``value`` asks for nothing that is not there."""
        return any(type(value) is type(word) and value == word for word in self.neutral)


class TableReader:
    """Reads the table ``data`` at ``path``.  ``later`` names keys that are known but not yet supported.

    ``wrong`` are the keys whose values were refused: what stands beside them cannot be judged.
    """

    def __init__(
        self,
        complaints: Complaints,
        path: tuple[str, ...],
        data: Mapping[str, Any],
        later: Mapping[str, Later] | None = None,
    ) -> None:
        self._complaints = complaints
        self._path = path
        self._data = data
        self._later = later or {}
        self._known: set[str] = set()
        self.wrong: set[str] = set()

    def complain(self, key: str, text: str, remedy: str = "") -> None:
        """Note what is wrong with ``key``; "" is the table itself."""
        self._complaints.add((*self._path, key) if key else self._path, text, remedy)

    def take(self, key: str, read: Callable[[object], T], default: T) -> T:
        """Return the checked value of ``key``, ``default`` where it is absent or wrong (then complained of)."""
        self._known.add(key)
        if key not in self._data:
            return default
        try:
            return read(self._data[key])
        except ValueFaultError as fault:
            self.complain(key, fault.text, fault.remedy)
            self.wrong.add(key)
            return default

    def table(self, key: str) -> Mapping[str, Any] | None:
        """Return the table ``key``, None where it is absent or is none (then complained of)."""
        self._known.add(key)
        value = self._data.get(key)
        if value is None or isinstance(value, dict):
            return value
        self.complain(key, f"is {kind_of(value)}, not a table", f"write [{'.'.join((*self._path, key))}]")
        return None

    def has(self, key: str) -> bool:
        """Whether ``key`` is written there."""
        return key in self._data

    def finish(self) -> None:
        """Complain of every key that nobody took."""
        for key, value in self._data.items():
            if key in self._known:
                continue
            later = self._later.get(key)
            if later is None:
                names = self._known | set(self._later)
                self.complain(key, f"there is no key {quote(key)} here", nearest(key, names))
            elif not later.allows(value):
                self.complain(key, f"{later.what} is not yet supported", "leave the key out")
