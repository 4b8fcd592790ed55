"""The table of all commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.console.verbs import (
    actions,
    carriers,
    connections,
    credentials,
    destinations,
    directory,
    doors,
    general,
    health,
    jobs,
    mailboxes,
    message,
    names,
    policies,
    queue,
    relaying,
    routes,
    senders,
    sessions,
    tlspolicies,
    trace,
    users,
)

if TYPE_CHECKING:
    from netsvc.commands import Command


def commands() -> tuple[Command, ...]:
    """Return every command, in the order help lists them."""
    rooms = (
        queue,
        message,
        actions,
        jobs,
        destinations,
        mailboxes,
        directory,
        users,
        senders,
        policies,
        names,
        relaying,
        routes,
        carriers,
        credentials,
        tlspolicies,
        sessions,
        health,
        general,
    )
    return tuple(command for room in (*rooms, connections, trace, doors) for command in room.COMMANDS)
