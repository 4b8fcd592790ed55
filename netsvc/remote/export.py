"""``export-mailbox``: a mailbox as files, byte for byte."""

from __future__ import annotations

import base64
import binascii
import os
import re
from typing import TYPE_CHECKING, Any, Final

from netsvc.remote.wire import NOT_FOUND, OK, PARTIAL, USAGE, CtlError, Machine

if TYPE_CHECKING:
    import socket
    from pathlib import Path

_SAFE_ID: Final = re.compile(r"[0-9A-Z]{1,20}")
_ADDRESS: Final = re.compile(r'[^\s"|\x00-\x1f\x7f]{1,320}')


def export_mailbox(link: socket.socket, address: str, folder: Path) -> int:
    """Write each mail of a mailbox to ``folder/UID-ID.eml`` as it was delivered -> exit status.

    A file is there whole or not at all, and one that is there is not fetched again.
    """
    if not _ADDRESS.fullmatch(address):
        raise CtlError(f"{address!r} is not an address", USAGE)
    machine = Machine(link)
    mails: list[tuple[int, str]] = []
    failure: dict[str, Any] = {}

    def note(_: bytes, thing: dict[str, Any]) -> None:
        if "row" in thing:
            mails.append((int(thing["row"]["uid"]), str(thing["row"]["id"])))
        failure.update(thing.get("err", {}))

    status = machine.run(f"show mail {address}", note)
    if status:
        raise CtlError(str(failure.get("msg", "the mailbox cannot be listed")), status)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CtlError(f"{folder}: {error.strerror}") from None
    written = kept = gone = 0
    for uid, message_id in mails:
        path = folder / f"{uid}-{message_id}.eml"
        if not _SAFE_ID.fullmatch(message_id):
            raise CtlError(f"the service names a mail {message_id!r}, which is no id")
        if path.exists():
            kept += 1
        elif _export_mail(machine, address, uid, path):
            written += 1
        else:
            gone += 1
    also = f", {gone} gone meanwhile" if gone else ""
    print(f"{address}: {written} written, {kept} were there already{also}: {folder}")  # noqa: T201 - its answer
    return PARTIAL if gone else OK


def _export_mail(machine: Machine, address: str, uid: int, path: Path) -> bool:
    """Fetch one mail into ``path`` -> False when it is not there any more."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    failure: dict[str, Any] = {}
    try:
        with part.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)

            def write(_: bytes, thing: dict[str, Any]) -> None:
                if "row" in thing:
                    row = thing["row"]
                    if row["uid"] != uid or row["offset"] != file.tell():
                        raise CtlError(f"the pieces of mail {uid} do not fit together")
                    file.write(base64.b64decode(row["source"], validate=True))
                failure.update(thing.get("err", {}))

            status = machine.run(f"show mail {address} {uid} source", write)
        if status == NOT_FOUND:
            return False
        if status:
            raise CtlError(f"mail {uid}: {failure.get('msg', 'it cannot be read')}", status)
        part.replace(path)
        return True
    except (OSError, binascii.Error) as error:
        raise CtlError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    finally:
        part.unlink(missing_ok=True)
