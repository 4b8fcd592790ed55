"""Programs and plugins that carry mail: listed, set, and taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from netsvc.commands import Arg, Command, CommandError, Word
from netsvc.config.carriers import COMMAND, NAME, agent_settings, all_values, typed
from netsvc.config.complaints import ValueFaultError, nearest
from netsvc.console.carriertables import CARRIER, CARRIER_SETTING
from netsvc.console.tables import CHANGE
from netsvc.console.verbs.words import SHOW
from netsvc.mail.escape import escape
from netsvc.records import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from netsvc.commands import Setting
    from netsvc.console.call import Call
    from netsvc.records import Row
    from netsvc.settings import SiteSettings

_PLURAL = {"command": "commands", "agent": "agents"}


async def show_carriers(call: Call) -> None:
    """List commands and agents."""
    settings: SiteSettings = call.service.site.current
    rows = [_command(settings, name, said) for name, said in sorted(settings.commands.items())]
    names = {*call.service.agents, *settings.agents}
    rows += [_agent(settings, name, call.service.agents.get(name)) for name in sorted(names)]
    await call.rows(rows)
    if not rows:
        await call.note(
            'Nothing. command set NAME argv "/path/of/program -- {rcpt}" makes a command; agents are plugins.'
        )


def _command(settings: SiteSettings, name: str, said: Mapping[str, Any]) -> Row:
    row: Row = {"kind": "command", "name": escape(name), "routes": _routes(settings, f"command:{name}")}
    try:
        values = all_values("commands", COMMAND, said)
    except ValueFaultError as fault:
        return {**row, "note": fault.text}
    argv = escape(" ".join(values["argv"]))
    return {**row, "argv": argv, "deadline": values["timeout"], "at_once": values["at_once"]}


def _agent(settings: SiteSettings, name: str, maker: Any) -> Row:
    row: Row = {"kind": "agent", "name": escape(name), "routes": _routes(settings, f"agent:{name}")}
    if maker is None:
        return {**row, "note": "no plugin of this node brings it"}
    try:
        values = all_values("agents", agent_settings(maker), settings.agents.get(name, {}))
    except ValueFaultError as fault:
        return {**row, "note": fault.text}
    return {**row, "deadline": values["deadline"], "at_once": values["at_once"], "note": escape(str(maker.help))}


def _routes(settings: SiteSettings, target: str) -> list[str]:
    return [
        escape(pattern)
        for table in (settings.routes, settings.sender_routes)
        for pattern, text in sorted(table.items())
        if text.partition(" ")[0] == target
    ]


def _settings(call: Call, kind: str, name: str) -> tuple[Setting, ...]:
    """Return the keys there are.  Raises CommandError for an agent that is not there."""
    if kind == "command":
        return COMMAND
    maker = call.service.agents.get(name)
    if maker is None:
        words = nearest(name, call.service.agents)
        raise CommandError("E401", f"No plugin of this node brings agent {name}. {words}".strip(), hint="show carriers")
    return agent_settings(maker)


def _said(settings: SiteSettings, kind: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(settings, _PLURAL[kind]).get(name, {})
    return found


def _showing(kind: str) -> Callable[[Call], Coroutine[Any, Any, None]]:
    async def show(call: Call) -> None:
        """List the settings of one."""
        name = call.args["name"]
        settings = _settings(call, kind, name)
        if kind == "command" and name not in call.service.site.current.commands:
            raise CommandError("E401", f"No command {name}", hint="show carriers")
        said = _said(call.service.site.current, kind, name)
        await call.rows([_setting(setting, said) for setting in settings])

    return show


def _setting(setting: Setting, said: Mapping[str, Any]) -> Row:
    value = said.get(setting.name, setting.default)
    if isinstance(value, tuple | list):
        value = " ".join(map(str, value))
    elif isinstance(value, bool):
        value = "yes" if value else "no"
    elif setting.type == "duration" and isinstance(value, int):
        value = f"{value // 1000}s"
    return {
        "key": setting.name,
        "value": None if value in (None, "") else escape(str(value)),
        "set": setting.name in said,
        "type": setting.type,
        "unit": setting.unit or None,
        "choices": list(setting.choices) or None,
        "help": setting.help,
    }


def _changing(kind: str, *, unset: bool) -> Callable[[Call], Coroutine[Any, Any, None]]:
    async def change(call: Call) -> None:
        """Set a key, or let it be as usual."""
        name, key, text = call.args["name"], call.args["key"], call.args.get("value", "")
        settings = _settings(call, kind, name)
        if not NAME.match(name):
            raise CommandError("E202", f"{name} cannot be a name: a-z, 0-9, - and _, at most 32. Nothing was changed")
        known = {setting.name: setting for setting in settings}
        if unset and (key not in known or known[key].required):
            raise CommandError("E401", f"{kind.capitalize()} {name} has no key {key} that may be missing")
        value = None if unset else _typed(kind, settings, key, text)

        def alter(site: SiteSettings) -> SiteSettings:
            said = {each: word for each, word in _said(site, kind, name).items() if each != key}
            if value is not None:
                said[key] = value
            if kind == "command" and "argv" not in said:
                raise StoreError(f"There is no command {name}: begin with command set {name} argv")
            return _with(site, kind, name, said)

        told = f"{key} is as usual now" if unset else f"{key} is {text} now"
        await _commit(call, alter, f"{name} {key}", f"{kind.capitalize()} {name}: {told}.")

    return change


def _typed(kind: str, settings: tuple[Setting, ...], key: str, text: str) -> Any:
    try:
        return typed(_PLURAL[kind], settings, key, text)
    except ValueFaultError as fault:
        remedy = f"; {fault.remedy}" if fault.remedy else ""
        told = fault.text if fault.text.startswith("there is") else f"{key} {fault.text}"
        raise CommandError("E202", f"{told}{remedy}. Nothing was changed") from None


async def delete_command(call: Call) -> None:
    """Take a command back."""
    name = call.args["name"]
    settings: SiteSettings = call.service.site.current
    if name not in settings.commands:
        raise CommandError("E401", f"No command {name}", hint="show carriers")
    routes = _routes(settings, f"command:{name}")
    if routes:
        raise CommandError(
            "E405", f"Routes lead to command {name}: {', '.join(routes)}. Nothing was changed", hint="show routes"
        )
    await _commit(call, lambda site: _with(site, "command", name, None), name, f"Command {name} is gone.")


def _with(site: SiteSettings, kind: str, name: str, said: Mapping[str, Any] | None) -> SiteSettings:
    field = _PLURAL[kind]
    others = {each: table for each, table in getattr(site, field).items() if each != name}
    if said:
        others[name] = said
    changes: dict[str, Any] = {field: others}
    return replace(site, **changes)


async def _commit(call: Call, alter: Callable[[SiteSettings], SiteSettings], what: str, sentence: str) -> None:
    rev = await call.change(call.service.site.change(alter, call.session.operator.name, f"{call.command.name} {what}"))
    if not rev:
        sentence = "It is set so already. Nothing was changed."
    await call.changed(what, call.args.get("value", ""), 1 if rev else 0, sentence)


_WORD = {"command": Word("command", "programs that take mail"), "agent": Word("agent", "plugins that carry mail")}
_KEY = Arg("key", "word", "the key; show command NAME and show agent NAME list them", shown="KEY")
_VALUE = Arg("value", "text", 'one word, or "several in quotes"', shown="VALUE")


def _name(kind: str) -> Arg:
    return Arg("name", "word", f"the {kind}; show carriers lists them", shown="NAME")


def _verbs(kind: str, example: str) -> tuple[Command, ...]:
    shared: dict[str, Any] = {"role": "admin", "changes": True, "table": CHANGE}
    word, name = _WORD[kind], _name(kind)
    return (
        Command(
            (SHOW, word), _showing(kind), f"the settings of one {kind}", args=(name,), table=CARRIER_SETTING
        ),
        Command(
            (word, Word("set", "set a key")), _changing(kind, unset=False),
            f"set a key of {'a command, or make one' if kind == 'command' else 'an agent'}, on all nodes, at once",
            args=(name, _KEY, _VALUE), examples=(f"{kind} set {example}",), **shared,
        ),
        Command(
            (word, Word("unset", "let a key be as usual")), _changing(kind, unset=True),
            "let a key be as it usually is", args=(name, _KEY), **shared,
        ),
    )  # fmt: skip


COMMANDS = (
    Command(
        (SHOW, Word("carriers", "programs and plugins that carry mail")),
        show_carriers,
        "programs and plugins that carry mail, and the routes that lead there",
        table=CARRIER,
    ),
    *_verbs("command", 'lists argv "/usr/local/bin/file-it -- {rcpt}"'),
    Command(
        (_WORD["command"], Word("delete", "take one back")),
        delete_command,
        "forget a command that no route leads to",
        args=(_name("command"),),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
    *_verbs("agent", "mbox folder /var/spool/mbox"),
)
