"""What a node does before its first service: its folder, what an empty store begins with, an operator (floor 7)."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit, urlunsplit

from netsvc.node import StartError
from netsvc.settings import SiteSettings

if TYPE_CHECKING:
    from pathlib import Path

    from netsvc.config.node import NodeConfig
    from netsvc.logbook import Logbook

MAX_PASSWORD_FILE: Final = 4096


def make_state(state: Path, logbook: Logbook) -> None:
    """Create the state folder with mode 0700 where it is not there; raises StartError when it cannot be used."""
    remedy = "choose another folder with --state"
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = state.stat()
    except OSError as error:
        raise StartError(f"state {state}: cannot be created: {error.strerror}; {remedy}") from None
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        raise StartError(f"state {state}: cannot be written by uid {os.geteuid()}; give it the folder, or {remedy}")
    if facts.st_mode & 0o077:
        mode = f"{stat.S_IMODE(facts.st_mode):04o}"
        logbook.event("state.open_to_others", path=str(state), mode=mode, remedy=f"chmod 700 {state}")


def store_url(config: NodeConfig) -> str:
    """Return the store's URL, with the password of ``password_file`` in it; raises StartError."""
    if config.password_file is None:
        return config.store
    try:
        with config.password_file.open("r", encoding="utf-8") as file:
            password = file.read(MAX_PASSWORD_FILE).rstrip("\r\n")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise StartError(f"password_file {config.password_file}: cannot be read: {why}") from None
    if not password or "\n" in password:
        raise StartError(f"password_file {config.password_file}: holds no password; write it as its only line")
    parts = urlsplit(config.store)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        raise StartError("password_file: the store's URL names no user; write postgresql://user@host/database")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def first_site(config: NodeConfig) -> SiteSettings:
    """Return what an empty store begins with: ``[site]``, or our own name with postmaster and admin."""
    if config.site is not None:
        return config.site
    name = config.hostname
    return SiteSettings(domains=(name,), mailboxes=(f"postmaster@{name}", f"admin@{name}"))


def tell_password(user: str, password: str, path: str) -> None:
    """Show the first operator's password once, where somebody looks on: never in a log."""
    stream = sys.__stdout__
    try:
        if stream is not None and stream.isatty():
            stream.write(f"The first operator is {user}, password {password} (kept in {path})\n")
            stream.flush()
    except (OSError, ValueError):
        return  # a daemon's standard output is closed
