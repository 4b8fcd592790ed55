"""The console without a terminal, and the terminal as the console sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.defer import Deferred

    from netsvc.commands import Completion
    from netsvc.interfaces.people import IOperator
    from netsvc.records import Result


class IConsole(Interface):
    """The console without a terminal: telnet, ssh, HTTP, ctl all stand on it."""

    def open(operator: IOperator, source: str) -> IConsoleSession:
        """-> IConsoleSession for an IOperator; ``source`` says where from (``telnet 127.0.0.1``, ``socket uid 0``)."""


class IConsoleSession(Interface):
    """One operator's dialogue, independent of any terminal."""

    id = Attribute("str: its name in the registry of sessions, '' for none; whoever opened it sets it")
    streaming = Attribute("bool: what runs shows things as they happen, until it is cancelled")
    prompt = Attribute("str: mx1> or mx1#")
    ended = Attribute("bool: the operator has left (exit)")
    operator = Attribute("IOperator")
    end = Attribute("mapping or None: the machine-mode end object of the last execute, with its err object as ``err``")
    page_length = Attribute(
        "int or None: rows of a page as ``terminal length`` set it; 0: no pager; None: as the terminal"
    )
    page_width = Attribute("int or None: columns as ``terminal width`` set them; None: as the terminal")
    machine = Attribute("bool: ``terminal machine`` was typed; the next line is read in machine mode")

    def greeting() -> Deferred[str]:
        """-> Deferred[str]: what is shown after login, LF between lines."""

    def run(line: str) -> Deferred[Result]:
        """Run one command -> Deferred[Result(rows, schema, end)]; never asks: what needs a confirmation says E303."""

    def execute(line: str, terminal: ITerminal) -> Deferred[None]:
        """Run one command for a person -> Deferred[None]; all it says goes to ``terminal`` (ITerminal)."""

    def execute_machine(line: str, write: Callable[[Mapping[str, Any]], Deferred[None] | None]) -> Deferred[None]:
        """Run one command in machine mode -> Deferred[None]; ``write(dict)`` gets each object and may return a Deferred."""

    def hello() -> Mapping[str, Any]:
        """-> dict: the machine-mode hello object's content."""

    def complete(line: str) -> Completion:
        """-> commands.Completion for the text left of the cursor: candidates, and what Tab inserts."""

    def help(line: str) -> str:
        """-> str: what ``?`` shows for the text left of the cursor, LF between lines."""

    def is_secret(line: str) -> bool:
        """-> bool: whether the line holds something history must not keep."""

    def close() -> None:
        """The operator is gone: cancel what runs, lapse enable, audit the end."""


class ITerminal(Interface):
    """A person's terminal as the console sees it."""

    width = Attribute("int: columns")
    height = Attribute("int: rows")
    interactive = Attribute("bool: somebody can answer questions")

    def write(text: str) -> Deferred[None] | None:
        """Show ``text`` (already safe, LF between lines) -> Deferred or None: back-pressure."""

    def ask(question: str, secret: bool = False) -> Deferred[str | None]:
        """Ask for one line -> Deferred[str | None]; None: cancelled, gone or nobody there."""

    def progress(text: str) -> None:
        """Show a passing line (may be dropped)."""
