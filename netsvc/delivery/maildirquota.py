"""What a Maildir may hold: the file ``maildirsize`` of Maildir++, as blocking steps for a thread.

Its first line is the quota (``1000000S,1000C``: octets, messages), each further one adds octets and messages.  Who
delivers adds a line; when the file says that the folder is full, is damaged or has grown, it is counted anew from the
names and sizes of the mails (but those in the trash) and replaced.  All other programs that keep Maildir++ quotas,
such as Courier's and Dovecot's, read and write the same file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from dataclasses import dataclass

MAX_FILE = 5120
"""Octets of a file that is trusted; a longer one is counted anew."""
RECOUNT_S = 15 * 60
"""Seconds after which a file that says "full" is not believed without counting."""
TRASH = ".Trash"
NAME = "maildirsize"
_TERM = re.compile(rb"([0-9]{1,18})([SC])\Z")
_LINE = re.compile(rb"[ \t]*(-?[0-9]{1,18})[ \t]+(-?[0-9]{1,18})[ \t]*\Z")
_SIZE = re.compile(r",S=([0-9]{1,18})")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FullError(Exception):
    """The folder's quota does not leave room for the mail."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Octets and messages, 0 for any number."""

    octets: int = 0
    messages: int = 0

    def __bool__(self) -> bool:
        return bool(self.octets or self.messages)

    def leaves_room(self, octets: int, messages: int) -> bool:
        """Whether so much may be there."""
        return not ((self.octets and octets > self.octets) or (self.messages and messages > self.messages))

    def line(self) -> bytes:
        """Return the first line of the file."""
        terms = [b"%dS" % self.octets] * bool(self.octets) + [b"%dC" % self.messages] * bool(self.messages)
        return b",".join(terms) + b"\n"


@dataclass(frozen=True, slots=True)
class Known:
    """What the file says; ``sound``: it can be added to and believed."""

    quota: Quota
    octets: int = 0
    messages: int = 0
    lines: int = 0
    age_s: float = 0.0
    sound: bool = True


def read_size(box: int, usual: Quota) -> Known | None:
    """Return what the file in the folder ``box`` says, None without one.  ``usual`` counts where it has no quota."""
    try:
        file = os.open(NAME, _READ, dir_fd=box)
    except FileNotFoundError:
        return None
    try:
        data = os.read(file, MAX_FILE + 1)
        age = time.time() - os.fstat(file).st_mtime
    finally:
        os.close(file)
    first, _, rest = data.partition(b"\n")
    quota = parse_quota(first)
    octets = messages = lines = 0
    sound = len(data) <= MAX_FILE and quota is not None and data.endswith(b"\n")
    for line in rest.split(b"\n")[:-1]:
        found = _LINE.match(line)
        if found is None:
            sound = False
            continue
        octets, messages, lines = octets + int(found[1]), messages + int(found[2]), lines + 1
    if octets < 0 or messages < 0:
        sound = False
    return Known(usual if quota is None else quota, octets, messages, lines, age, sound)


def parse_quota(line: bytes) -> Quota | None:
    """Return the quota of a file's first line, None where it is none."""
    found = {b"S": 0, b"C": 0}
    for term in line.strip().split(b","):
        match = _TERM.match(term.strip())
        if match is None:
            return None
        found[match[2]] = int(match[1])
    return Quota(found[b"S"], found[b"C"])


def count(box: int) -> tuple[int, int]:
    """Return (octets, messages) of the mails in the folder ``box`` and those of its folders that are not the trash."""
    octets = messages = 0
    folders = [""]
    with os.scandir(box) as entries:
        folders += [
            entry.name
            for entry in entries
            if entry.name.startswith(".") and entry.name != TRASH and entry.is_dir(follow_symlinks=False)
        ]
    for name in folders:
        for part in ("cur", "new"):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                found = _count_folder(box, f"{name}/{part}" if name else part)
                octets, messages = octets + found[0], messages + found[1]
    return octets, messages


def _count_folder(box: int, path: str) -> tuple[int, int]:
    octets = messages = 0
    folder = os.open(path, _FOLDER, dir_fd=box)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name, _, flags = entry.name.partition(":2,")
                if entry.name.startswith(".") or "T" in flags:
                    continue
                size = _SIZE.search(name)
                try:
                    octets += int(size[1]) if size else entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue  # its reader moved it meanwhile
                messages += 1
    finally:
        os.close(folder)
    return octets, messages


def make_room(box: int, tmp: int, usual: Quota, size: int, name: str) -> None:
    """See that a mail of ``size`` octets fits into the folder ``box``.  Raises FullError, OSError.

    ``usual`` is the quota of a folder that says none; in ``tmp``, its folder of that name, ``name`` is ours to write.
    """
    if not usual and read_size(box, usual) is None:
        return
    fcntl.flock(box, fcntl.LOCK_EX)  # until it is closed: two that come at once are counted one after the other
    known = read_size(box, usual) or Known(usual, sound=False)
    if not known.quota:
        return
    full = not known.quota.leaves_room(known.octets + size, known.messages + 1)
    if not known.sound or (full and (known.lines > 1 or known.age_s > RECOUNT_S)):
        octets, messages = count(box)
        _replace(box, tmp, name, known.quota.line() + b"%d %d\n" % (octets, messages))
        full = not known.quota.leaves_room(octets + size, messages + 1)
    if full:
        raise FullError


def _replace(box: int, tmp: int, name: str, data: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=tmp)
    file = os.open(name, _NEW, 0o600, dir_fd=tmp)
    try:
        os.write(file, data)
    finally:
        os.close(file)
    os.rename(name, NAME, src_dir_fd=tmp, dst_dir_fd=box)


def add(box: int, size: int) -> None:
    """Note that a mail of ``size`` octets has come; nothing where nobody counts."""
    try:
        file = os.open(NAME, _APPEND, dir_fd=box)
    except FileNotFoundError:
        return
    try:
        os.write(file, b"%d 1\n" % size)
    finally:
        os.close(file)
