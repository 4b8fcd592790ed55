"""Policies, their settings, and limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from netsvc.commands import Arg, Command, CommandError, Word
from netsvc.console.policytables import LIMIT, POLICY, POLICY_SETTING
from netsvc.console.tables import CHANGE
from netsvc.console.verbs.words import SHOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from netsvc.console.call import Call
    from netsvc.settings import SiteSettings

_POLICY = Word("policy", "turn policies on and off, and set them")
_NAME = Arg("name", "word", "the policy; show policies lists them")
_KEY = Arg("key", "word", "the key; show policy NAME lists them")


async def show_policies(call: Call) -> None:
    """List the policies."""
    await call.rows(call.service.policies.rows())


async def show_policy(call: Call) -> None:
    """List one policy's settings."""
    name = call.args["name"]
    rows = call.service.policies.settings(name)
    if rows is None:
        raise CommandError("E401", f"No policy {name}", hint="show policies")
    await call.rows(rows)
    row = next(each for each in call.service.policies.rows() if each["name"] == name)
    await call.note(f"{name}: {row['help'] or 'asked at ' + ' '.join(row['stages'])}.")
    if row["error"]:
        what = "What is set does not work" if call.service.policies.fault(name) else "It failed last with"
        await call.note(f"{what}: {row['error']}.")


async def set_policy(call: Call) -> None:
    """Set a key of a policy."""
    name, key, text = call.args["name"], call.args["key"], call.args["value"]
    value = _typed(call, name, key, text)
    await _change(call, name, f"{key} {text}", _with(name, key, value), f"{name}: {key} is {text} now.")


async def unset_policy(call: Call) -> None:
    """Let a key of a policy be as it usually is."""
    name, key = call.args["name"], call.args["key"]
    rows = call.service.policies.settings(name) or []
    known = {row["key"]: row for row in rows}
    if key not in known and key not in call.service.site.current.policies.get(name, {}):
        _typed(call, name, key, "")
        raise CommandError("E401", f"{name} has no key {key}", hint=f"show policy {name}")
    usual = known[key]["default"] if key in known else ""
    said = f"{name}: {key} is {usual or 'empty'} now, as usual." if key in known else f"{name}: {key} is gone."
    await _change(call, name, key, _without(name, key), said)


async def policy_on(call: Call) -> None:
    """Have a policy asked."""
    await _switch(call, on=True)


async def policy_off(call: Call) -> None:
    """Have a policy asked no more."""
    await _switch(call, on=False)


async def _switch(call: Call, *, on: bool) -> None:
    name = call.args["name"]
    word = "on" if on else "off"
    value = _typed(call, name, "on", "true" if on else "false")
    await _change(call, name, "", _with(name, "on", value), f"{name} is {word} now.")


def _typed(call: Call, name: str, key: str, text: str) -> Any:
    """Return the value ``text`` is for ``key``.  Raises CommandError."""
    try:
        return call.service.policies.typed(name, key, text)
    except LookupError as error:
        raise CommandError(
            "E401", str(error.args[0])[:1].upper() + str(error.args[0])[1:], hint="show policies"
        ) from None
    except ValueError as error:
        stop = "" if str(error).endswith("?") else "."
        raise CommandError("E202", f"{error}{stop} Nothing was changed", hint=f"show policy {name}") from None


def _unknown(error: LookupError, hint: str) -> CommandError:
    text = str(error.args[0])
    return CommandError("E401", text[:1].upper() + text[1:], hint=hint)


async def _change(
    call: Call, name: str, args: str, alter: Callable[[SiteSettings], SiteSettings], sentence: str
) -> None:
    policies = call.service.policies
    wrong = policies.objection(name, alter(call.service.site.current).policies.get(name, {}))
    if wrong:
        raise CommandError("E202", f"{name} cannot work so: {wrong}. Nothing was changed", hint=f"show policy {name}")
    rev = await call.change(call.service.site.change(alter, call.session.operator.name, f"{call.command.name} {name}"))
    if not rev:
        sentence = f"{name} is set so already. Nothing was changed."
    fault = policies.fault(name)
    if fault:
        sentence += f" But it does not follow: {fault}."
    await call.changed(name, args, 1 if rev else 0, sentence)


def _with(name: str, key: str, value: Any) -> Callable[[SiteSettings], SiteSettings]:
    def alter(settings: SiteSettings) -> SiteSettings:
        said = dict(settings.policies.get(name, {}))
        said[key] = value
        return replace(settings, policies={**settings.policies, name: said})

    return alter


def _without(name: str, key: str) -> Callable[[SiteSettings], SiteSettings]:
    def alter(settings: SiteSettings) -> SiteSettings:
        said = {each: value for each, value in settings.policies.get(name, {}).items() if each != key}
        others = {each: table for each, table in settings.policies.items() if each != name}
        return replace(settings, policies={**others, name: said} if said else others)

    return alter


async def show_limits(call: Call) -> None:
    """List who has used what of the limits."""
    rows = await call.store(call.service.policies.limits())
    await call.rows(rows)
    if not rows:
        await call.note("Nobody holds anything of a limit.")


async def clear_limit(call: Call) -> None:
    """Forget what somebody has used of a limit."""
    name, key = call.args["name"], call.args["key"]
    try:
        gone = await call.change(call.service.policies.clear_limit(name, key))
    except LookupError as error:
        raise CommandError(
            "E401", str(error.args[0])[:1].upper() + str(error.args[0])[1:], hint="show limits"
        ) from None
    if not gone:
        raise CommandError("E401", f"{key} holds nothing of {name}", hint="show limits")
    await call.changed(name, key, gone, f"{key} begins anew with {name}.")


COMMANDS = (
    Command((SHOW, Word("policies", "what may stop mail")), show_policies, "policies and their counts", table=POLICY),
    Command(
        (SHOW, Word("policy", "one policy's settings")),
        show_policy,
        "a policy's settings",
        args=(_NAME,),
        table=POLICY_SETTING,
    ),
    Command(
        (_POLICY, Word("set", "set a key")),
        set_policy,
        "set a key of a policy, on all nodes, at once",
        args=(_NAME, _KEY, Arg("value", "text", 'one word, or "several in quotes"')),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("policy set limits messages 500", 'policy set greylist exempt "192.0.2.0/24 198.51.100.7"'),
    ),
    Command(
        (_POLICY, Word("unset", "let a key be as usual")),
        unset_policy,
        "let a key of a policy be as it usually is",
        args=(_NAME, _KEY),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
    Command(
        (_POLICY, Word("on", "have one asked")),
        policy_on,
        "have a policy asked, on all nodes, at once",
        args=(_NAME,),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
    Command(
        (_POLICY, Word("off", "have one asked no more")),
        policy_off,
        "have a policy asked no more, on all nodes, at once",
        args=(_NAME,),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
    Command(
        (SHOW, Word("limits", "who has used what of the limits")),
        show_limits,
        "limits and who has used them",
        table=LIMIT,
    ),
    Command(
        (Word("limit", "what somebody has used of a limit"), Word("clear", "let somebody begin anew")),
        clear_limit,
        "forget what somebody has used of a limit",
        args=(Arg("name", "word", "the limit; show limits lists them"), Arg("key", "text", "who has used it")),
        role="operator",
        changes=True,
        table=CHANGE,
        examples=("limit clear limits.messages 192.0.2.7",),
    ),
)
