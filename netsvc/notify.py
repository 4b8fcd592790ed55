"""Telling systemd how the service is (sd_notify(3), ``Type=notify``): one datagram, no library (floor 7)."""

from __future__ import annotations

import os
import socket


def notify(*words: str) -> bool:
    """Send ``READY=1`` and the like to whoever started us; return whether anybody wanted to know.

    A service manager that does not listen is no reason not to serve.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            channel.connect(address)
            channel.sendall("\n".join(words).encode())
    except OSError:
        return False
    return True
