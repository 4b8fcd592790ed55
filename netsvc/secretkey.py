"""The file with the key that secrets in the store are encrypted with: made at the first start, the same on every node.

Floor 7.  A file that cannot be used stops the start; one that is missing where
the site has secrets already, or is another site's, is told of: what needs no
secret goes on.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from netsvc.node import StartError
from netsvc.store.sealing import SecretKeys, new_file

if TYPE_CHECKING:
    from pathlib import Path

    from netsvc.config.node import NodeConfig
    from netsvc.logbook import Logbook
    from netsvc.store.credentials import Credentials

USUAL: Final = "secret.key"
"""The file's name in the state folder."""
MAX_FILE: Final = 8192


async def use_secret_key(config: NodeConfig, credentials: Credentials, logbook: Logbook) -> None:
    """Give the store the node's key, made now for a site that has none yet.  Raises StartError."""
    path = config.secret_key_file or config.state / USUAL
    keys = read_keys(path)
    if keys is None:
        if await credentials.known_keys():
            logbook.event("secretkey.missing", path=str(path), remedy="copy the file from another node, and restart")
            return
        keys = make_keys(path)
        logbook.event("secretkey.created", path=str(path))
    if not await credentials.use(keys):
        logbook.event("secretkey.differs", path=str(path), remedy="copy the file from another node, and restart")


def read_keys(path: Path) -> SecretKeys | None:
    """Return the keys in ``path``, None where it is not there.  Raises StartError."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not stop the start
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartError(f"secret_key_file {path}: cannot be read: {error.strerror}") from None
    with os.fdopen(number, "rb") as file:
        _check(path, os.fstat(file.fileno()))
        try:
            return SecretKeys(file.read(MAX_FILE).decode("ascii"))
        except ValueError as why:
            words = "it is not ASCII" if isinstance(why, UnicodeDecodeError) else why
            raise StartError(f"secret_key_file {path}: holds no key: {words}") from None


def _check(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise StartError(f"secret_key_file {path}: is not a plain file")
    if facts.st_mode & 0o077:
        mode = stat.S_IMODE(facts.st_mode)
        raise StartError(
            f"secret_key_file {path}: others than its owner may use it (mode {mode:04o}); chmod 600 {path}"
        )


def make_keys(path: Path) -> SecretKeys:
    """Write a fresh key to ``path``, for its owner alone, durable before it is used.  Raises StartError."""
    text = new_file()
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StartError(f"secret_key_file {path}: cannot be written: {error.strerror}") from None
    return SecretKeys(text)
