"""Content as files and programs of this system read it: lines that end in LF."""

from __future__ import annotations


class UnixLines:
    """Turns CR LF into LF, piece by piece; ``end`` gives what was kept back."""

    __slots__ = ("_carry",)

    def __init__(self) -> None:
        self._carry = b""

    def push(self, data: bytes) -> bytes:
        """Return the next piece; a CR at its end waits for what follows."""
        data = self._carry + data
        self._carry = b""
        if data.endswith(b"\r"):
            data, self._carry = data[:-1], b"\r"
        return data.replace(b"\r\n", b"\n")

    def end(self) -> bytes:
        """Return the rest."""
        data, self._carry = self._carry, b""
        return data
