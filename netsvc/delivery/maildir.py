"""One mail into one Maildir, as blocking steps for a thread (https://cr.yp.to/proto/maildir.html).

The folder is opened component by component beneath a fixed prefix, never through
a symbolic link (SMTP.md T8, T41).  The file's name comes from the delivery, so a
repeated delivery overwrites (T34); it ends in ``,S=`` and the file's size, which is
the same each time.  Lines end in LF, as Maildir readers write them.  When ``commit``
has returned, the mail and its name are on the disk.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netsvc.delivery.lineends import UnixLines
from netsvc.delivery.maildirquota import Quota, add, make_room
from netsvc.mail.ids import show_id

if TYPE_CHECKING:
    from netsvc.delivery.targets import Target
    from netsvc.mail.message import Leased

_SAFE = re.compile(r"[a-z0-9_+-][a-z0-9._+-]{0,254}\Z")
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class UnfitAddressError(Exception):
    """The recipient's address cannot name a folder."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one mail goes: path components beneath ``prefix``, and its file's name up to the size."""

    prefix: str
    parts: tuple[str, ...]
    name: str


def place(target: Target, row: Leased, hostname: str) -> Place:
    """Return where ``row`` goes.  Raises UnfitAddressError."""
    local, _, domain = row.rcpt.lower().rpartition("@")
    words = {"{local}": local, "{domain}": domain}
    for word, value in words.items():
        if any(word in part for part in target.parts) and not _SAFE.match(value):
            raise UnfitAddressError
    parts = tuple(re.sub(r"\{local\}|\{domain\}", lambda found: words[found[0]], part) for part in target.parts)
    host = hostname.replace("/", "_").replace(":", "_")
    return Place(target.prefix, parts, f"{row.received_at // 1000}.{show_id(row.id)}.{host.replace(',', '_')}")


NO_QUOTA = Quota()


class MaildirFile:
    """One mail being written: ``write`` pieces, then ``commit`` or ``abort``.  Every step may raise OSError.

    ``quota`` is what a folder may hold that says nothing itself; ``commit`` raises FullError.
    """

    def __init__(self, where: Place, quota: Quota = NO_QUOTA) -> None:
        self._where = where
        self._quota = quota
        self._folders: list[int] = []
        self._file = -1
        self._tmp = -1
        self._box = -1
        self._size = 0
        self._lines = UnixLines()

    def begin(self, *, repeated: bool) -> bool:
        """Open the file in ``tmp``; False when an earlier attempt's mail is there already, read or not.

        ``repeated``: there was an earlier attempt.
        """
        where = self._where
        try:
            top = os.open(where.prefix, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:  # its parent must be there: what is not mounted is not made
            _make(Path(where.prefix))
            top = os.open(where.prefix, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._folders.append(top)
        for part in where.parts:
            self._descend(self._folders[-1], part)
        box = self._box = self._folders[-1]
        cur = self._descend(box, "cur")
        new = self._descend(box, "new")
        if repeated and (self._is_in(cur) or self._is_in(new)):
            os.fsync(new)
            return False
        self._tmp = self._descend(box, "tmp")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(where.name, dir_fd=self._tmp)
        self._file = os.open(where.name, _OPEN_FILE, 0o600, dir_fd=self._tmp)
        return True

    def _is_in(self, folder: int) -> bool:
        """Say whether the mail is there, maybe by another node, or by this one when it was called otherwise."""
        time, number, _ = self._where.name.split(".", 2)
        with os.scandir(folder) as entries:
            return any(entry.name.startswith(f"{time}.{number}.") for entry in entries)

    def _descend(self, folder: int, name: str) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=folder)
            os.fsync(folder)
        opened = os.open(name, _OPEN_FOLDER, dir_fd=folder)
        self._folders.append(opened)
        return opened

    def write(self, data: bytes) -> None:
        """Append ``data``, CR LF as LF."""
        self._put(self._lines.push(data))

    def _put(self, data: bytes) -> None:
        self._size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def commit(self) -> None:
        """Make it durable and visible in ``new``.  Raises FullError when the folder's quota leaves no room for it."""
        self._put(self._lines.end())
        name, box, size = self._where.name, self._box, self._size
        make_room(box, self._tmp, self._quota, size, f"{name}.size")
        os.fsync(self._file)
        new = self._folders[-2]
        os.rename(name, f"{name},S={size}", src_dir_fd=self._tmp, dst_dir_fd=new)
        os.fsync(new)
        with contextlib.suppress(OSError):  # the mail is there; whoever counts counts anew some day
            add(box, size)
        self._close()

    def abort(self) -> None:
        """Forget it; safe at any time, any number of times."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._where.name, dir_fd=self._tmp)
        self._close()

    def _close(self) -> None:
        opened = [*self._folders, *([self._file] if self._file >= 0 else [])]
        self._folders, self._file = [], -1
        for number in opened:
            with contextlib.suppress(OSError):
                os.close(number)


def _make(prefix: Path) -> None:
    """Make a folder whose parent is there, durably."""
    prefix.mkdir(0o700, exist_ok=True)
    parent = os.open(prefix.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
