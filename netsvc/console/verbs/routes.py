"""Routes: listed, changed, and told step by step for an address."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from netsvc.commands import Arg, Clause, Command, CommandError, Word
from netsvc.console.routetables import ROUTE, STEP
from netsvc.console.tables import CHANGE
from netsvc.console.verbs.words import SHOW
from netsvc.mail.address import Address, AddressError, parse_address
from netsvc.mail.escape import escape
from netsvc.mail.recipient import POSTMASTER
from netsvc.mail.reply import RELAY_DENIED
from netsvc.records import StoreError
from netsvc.settings import TLS_LEVELS, DestinationSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from netsvc.console.call import Call
    from netsvc.records import Row
    from netsvc.settings import SiteSettings

_NULL = "<>"
_NONE = "none"  # no credential
_DENIED = f"{RELAY_DENIED.code} {RELAY_DENIED.status}"
_FIELDS = {"route": "routes", "sender-route": "sender_routes"}
_WHOSE = {"routes": "recipient", "sender_routes": "sender"}


async def show_routes(call: Call) -> None:
    """List the routes, senders' first."""
    settings: SiteSettings = call.service.site.current
    rows = [
        _route(call, settings, field, pattern, target)
        for field in ("sender_routes", "routes")
        for pattern, target in sorted(getattr(settings, field).items())
    ]
    await call.rows(rows)
    if not any(row["pattern"] == "*" for row in rows):
        await call.note("What no route is for goes by mx: to the hosts its domain's MX records name.")


def _route(call: Call, settings: SiteSettings, field: str, pattern: str, target: str) -> Row:
    note = key = None
    try:
        key = call.service.routing.check(pattern, target, of_sender=field == "sender_routes")[1] or None
    except ValueError as why:
        note = f"passed over: {why}"
    said = settings.destination(key or "", "")
    return {
        "of": _WHOSE[field],
        "pattern": escape(pattern),
        "target": escape(target),
        "destination": key,
        "tls": said.tls or None,
        "credential": said.credential or None,
        "note": note,
    }


# how an address is routed


def _parsed(text: str, *, what: str) -> Address:
    try:
        return Address(text, "") if text.lower() == POSTMASTER else parse_address(text, utf8=True)
    except AddressError as error:
        raise CommandError("E202", f'"{text}" is not {what}: {error}. Examples: ann@example.org') from None


async def show_route(call: Call) -> None:
    """Tell by which rule mail for an address goes where; nothing outside is asked."""
    await _explain(call, look=False)


async def test_route(call: Call) -> None:
    """Tell the same, and look now which hosts, TLS and credential there are."""
    await _explain(call, look=True)


async def _explain(call: Call, *, look: bool) -> None:
    address = _parsed(call.args["address"], what="an address")
    sender = call.args.get("sender")
    if sender is not None:
        sender = "" if sender == _NULL else str(_parsed(sender, what="a sender"))
    steps: list[dict[str, Any]] = []
    found: list[Row] = await call.store(call.service.directory.explain(address))
    for row in found:
        to = " ".join(row["to"])
        note = row["note"]
        if row["is"] == "reply" and note.startswith(_DENIED):
            note = f"to whom the site does not let relay: {note}"
        steps.append({"address": row["address"], "is": row["is"], "found": to or None, "note": note})
    resolution = await call.store(call.service.directory.resolve(address))
    targets = resolution.forwards if resolution.local else (str(address),)
    for target in targets:
        steps += await _routed(call, target, sender, look=look)
    await call.rows({"step": n, **step} for n, step in enumerate(steps, 1))
    if sender is None and targets and call.service.site.current.sender_routes:
        await call.note("There are routes by sender too: say from SENDER, <> for reports.")


async def _routed(call: Call, address: str, sender: str | None, *, look: bool) -> list[dict[str, Any]]:
    """Return the steps from an address elsewhere to what carries its mail."""
    routing, settings = call.service.routing, call.service.site.current
    domain = address.rpartition("@")[2].lower()
    shown = escape(address)
    tried = routing.explain(domain, sender)
    steps: list[dict[str, Any]] = []
    for row in tried[:-1]:
        note = "no route of a sender's is this" if row["rule"] == "sender" else "no route is this"
        steps.append(_step(shown, "pattern", row["pattern"], note))
    last = tried[-1]
    rules = {
        "sender": f"the sender's route {last['pattern']} decides",
        "route": f"the route {last['pattern']} decides",
        "default": "no route is for it: by its MX records",
    }
    steps.append(_step(shown, "rule", last["target"], rules[last["rule"]]))
    hop = routing.judge(domain, sender)
    steps.append(_step(shown, "destination", hop.key, _said(settings, hop.key, domain, hop.kind.name.lower())))
    if look and call.service.delivery_map is not None:
        rows = await call.store(call.service.delivery_map.look(hop), 120)
        steps += [_step(shown, row["is"], row["found"], row["note"]) for row in rows]
    return steps


def _step(address: str, what: str, found: str, note: str) -> dict[str, Any]:
    return {"address": address, "is": what, "found": escape(found) or None, "note": note}


def _said(settings: SiteSettings, key: str, domain: str, kind: str) -> str:
    """Return what the site says of a destination, in words."""
    of = settings.destination(key, domain)
    words = [f"carried by {kind}"]
    if kind == "smtp":
        words.append(f"tls {of.tls or settings.delivery.tls}")
    if of.credential:
        words.append(f"credential {of.credential}")
    return ", ".join(words)


# changing them


def _putting(verb: str, *, replaces: bool) -> Callable[[Call], Coroutine[Any, Any, None]]:
    field = _FIELDS[verb]

    async def put(call: Call) -> None:
        """Set a route."""
        pattern, key = _checked(call, field)
        target = call.args["target"]
        said: dict[str, str] = {name: call.args[name] for name in ("tls", "credential") if name in call.args}
        if said and not key:
            raise CommandError("E202", f"{target} is no one destination: credential and tls need [host]:port")
        words = " ".join([f"to {target}", *(f"{name} {value}" for name, value in sorted(said.items()))])
        if said.get("credential") == _NONE:
            said["credential"] = ""
        await _known(call, target, said.get("credential") or None)

        def alter(settings: SiteSettings) -> SiteSettings:
            routes: dict[str, str] = dict(getattr(settings, field))
            if pattern in routes and not replaces and routes[pattern] != target:
                raise StoreError(f"{pattern} goes to {routes[pattern]} already: {verb} set {pattern} {target}")
            routes[pattern] = target
            return _with(settings, field, routes, (key, said))

        before = getattr(call.service.site.current, field).get(pattern)
        comment = f"{call.command.name} {pattern} {target}"
        rev = await call.change(call.service.site.change(alter, call.session.operator.name, comment))
        if not rev:
            raise CommandError("E405", f"{pattern} goes to {target} already", hint="show routes")
        whose = "Mail from" if field == "sender_routes" else "Mail for"
        also = f" It went to {before} before." if before not in (None, target) else ""
        await call.changed(pattern, words, 1, f"{whose} {pattern} goes to {target}.{also}")
        if field == "routes" and pattern[0] not in "*.[" and await _ours(call, pattern):
            await call.note(f"{pattern} is a domain of ours: mail for its addresses has no route.")
        await call.note("Mail that waits follows. show route ADDRESS tells what decides for an address.")

    return put


async def _ours(call: Call, domain: str) -> bool:
    found = await call.store(call.service.directory.resolve(Address(POSTMASTER, domain)))
    return bool(found.local)


def _deleting(verb: str) -> Callable[[Call], Coroutine[Any, Any, None]]:
    field = _FIELDS[verb]

    async def delete(call: Call) -> None:
        """Take a route back."""
        pattern, _ = _checked(call, field)
        target = getattr(call.service.site.current, field).get(pattern)

        def alter(settings: SiteSettings) -> SiteSettings:
            routes = {key: value for key, value in getattr(settings, field).items() if key != pattern}
            return _with(settings, field, routes)

        comment = f"{call.command.name} {pattern}"
        rev = await call.change(call.service.site.change(alter, call.session.operator.name, comment))
        if not rev:
            raise CommandError("E401", f"No {verb} {pattern}", hint="show routes")
        await call.changed(pattern, f"to {target}", 1, f"The {verb} {pattern} to {target} is gone.")
        await call.note("Mail that waits follows. show route ADDRESS tells what decides for an address.")

    return delete


def _checked(call: Call, field: str) -> tuple[str, str]:
    """Return (the pattern as it is stored, the key of the target's destination).  Raises CommandError."""
    try:
        checked: tuple[str, str] = call.service.routing.check(
            call.args["pattern"], call.args.get("target", "mx"), of_sender=field == "sender_routes"
        )
    except ValueError as why:
        text = str(why)
        raise CommandError("E202", f"{text[:1].upper()}{text[1:]}. Nothing was changed") from None
    return checked


async def _known(call: Call, target: str, credential: str | None) -> None:
    """Refuse a target that names what is not there.  Raises CommandError."""
    kind, _, name = target.partition(":")
    if kind == "command" and name not in call.service.site.current.commands:
        raise CommandError("E401", f"The site has no command {name}", hint=f"command set {name} argv …")
    if credential is not None:
        rows = await call.store(call.service.credentials.rows())
        if credential not in {row["name"] for row in rows}:
            raise CommandError("E401", f"No credential {credential}", hint=f"credential set {credential} user …")


def _with(
    settings: SiteSettings, field: str, routes: Mapping[str, str], said: tuple[str, Mapping[str, str]] = ("", {})
) -> SiteSettings:
    """Return the settings with other routes, and what is said of a destination."""
    changes: dict[str, Any] = {field: routes}
    key, words = said
    if words:
        own = settings.destinations.get(key, DestinationSettings())
        more: dict[str, Any] = dict(words)
        changes["destinations"] = {**settings.destinations, key: replace(own, **more)}
    return replace(settings, **changes)


_ADDRESS = Arg("address", "word", "an address, or postmaster", shown="ADDRESS")
_FROM = Clause("from", "mail of this sender", (Arg("sender", "word", "an address, <> for reports", shown="SENDER"),))
_RULE = Word("route", "where mail for an address goes")
_ROUTE = Word("route", "say where mail for elsewhere goes")
_SENDER = Word("sender-route", "say where mail of a sender goes")
_TARGET = Arg(
    "target",
    "text",
    "mx, mx:other.example, [host]:port, lmtp:unix:/path, lmtp:[host]:port, maildir:/path, command:NAME, agent:NAME",
    shown="TARGET",
)
_PATTERN = Arg("pattern", "text", "example.org, .example.org for what is below it, * for all", shown="PATTERN")
_OF_SENDER = Arg("pattern", "text", "ann@example.org, example.org, .example.org, <> for reports", shown="SENDER")
_CLAUSES = (
    Clause(
        "credential", "log in there",
        (Arg("credential", "name", "as credential set calls it; none for no longer", shown="NAME"),),
    ),
    Clause(
        "tls", "what TLS must be like there",
        (Arg("tls", "choice", "how much", words=tuple(Word(level) for level in TLS_LEVELS)),),
    ),
)  # fmt: skip


def _verbs(verb: str, word: Word, pattern: Arg, example: str) -> tuple[Command, ...]:
    shared: dict[str, Any] = {"role": "admin", "changes": True, "table": CHANGE}
    whom = "from a sender" if verb == "sender-route" else "for a domain"
    return (
        Command(
            (word, Word("add", "a new one")), _putting(verb, replaces=False), f"say where mail {whom} goes",
            args=(pattern, _TARGET), clauses=_CLAUSES, examples=(f"{verb} add {example}",), **shared,
        ),
        Command(
            (word, Word("set", "a new one, or another for what there is")), _putting(verb, replaces=True),
            f"say where mail {whom} goes, whatever was said before",
            args=(pattern, _TARGET), clauses=_CLAUSES, examples=(f"{verb} set {example}",), **shared,
        ),
        Command(
            (word, Word("delete", "take one back")), _deleting(verb), f"say no more where mail {whom} goes",
            args=(pattern,), examples=(f"{verb} delete {example.split(maxsplit=1)[0]}",), **shared,
        ),
    )  # fmt: skip


COMMANDS = (
    Command(
        (SHOW, Word("routes", "where mail for elsewhere goes")), show_routes, "routes, senders' first", table=ROUTE
    ),
    Command(
        (SHOW, _RULE),
        show_route,
        "by which rule mail for an address goes where, step by step; nothing outside is asked",
        args=(_ADDRESS,),
        clauses=(_FROM,),
        table=STEP,
        examples=("show route bob@partner.example", "show route bob@partner.example from ann@example.org"),
    ),
    Command(
        (Word("test", "try how things would go"), _RULE),
        test_route,
        "as show route, and which hosts, TLS and credential there are now; nothing is sent",
        args=(_ADDRESS,),
        clauses=(_FROM,),
        table=STEP,
        examples=("test route bob@partner.example",),
    ),
    *_verbs("route", _ROUTE, _PATTERN, "* [smtp.example.net]:587"),
    *_verbs("sender-route", _SENDER, _OF_SENDER, "ann@example.org [192.0.2.10]:25"),
)
