"""The table of all commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netsvc.console.verbs import (
    actions,
    directory,
    general,
    health,
    jobs,
    mailboxes,
    message,
    policies,
    queue,
    relaying,
    sessions,
    users,
)

if TYPE_CHECKING:
    from netsvc.commands import Command


def commands() -> tuple[Command, ...]:
    """Return every command, in the order help lists them."""
    rooms = (queue, message, actions, jobs, mailboxes, directory, users, policies, relaying, sessions, health, general)
    return tuple(command for room in rooms for command in room.COMMANDS)
