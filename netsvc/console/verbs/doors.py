"""Who may come in: blocked peers, paused listeners."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from netsvc.commands import Arg, Clause, Command, CommandError, Word
from netsvc.console.livetables import BLOCK, LISTENER
from netsvc.console.render import counted, show_duration
from netsvc.console.tables import CHANGE
from netsvc.console.verbs.connections import end_sessions
from netsvc.console.verbs.words import REASON, SHOW

if TYPE_CHECKING:
    from netsvc.console.call import Call
    from netsvc.records import Row

LONGEST_MS = 366 * 86_400_000
"""A block or a pause that ends, ends within a year; others are without an end."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def read_network(call: Call, text: str) -> Network:
    """Return the network an operator typed, an IPv4 one where it is mapped into IPv6.  Raises CommandError E202."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        column = call.parsed.line.find(text)
        raise CommandError(
            "E202", f'"{text}" is not an address or a network. Examples: 192.0.2.1 10.0.0.0/8 2001:db8::/32', column
        ) from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        return ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}")
    return network


def _until(call: Call) -> tuple[int, str]:
    """Return (when it ends, ms since 1970 or 0, and in words).  Raises CommandError E202."""
    lasts = call.args.get("for")
    if lasts is None:
        return 0, ""
    if not 0 < lasts <= LONGEST_MS:
        raise CommandError("E202", "That is not a time to wait for. Examples: 30m 2h 7d, a year at most")
    return call.now_ms + lasts, f" for {show_duration(lasts)}"


def _told(call: Call, lasts: str) -> str:
    words = [f'reason "{call.args["reason"]}"'] if call.args.get("reason") else []
    words += [lasts.strip()] if lasts else []
    words += ["force"] if call.args.get("force") else []
    return " ".join(words)


async def block(call: Call) -> None:
    """Keep a peer or a network out of all SMTP listeners, on all nodes."""
    network = read_network(call, call.args["network"])
    until, lasts = _until(call)
    if not call.args.get("force") and any(
        network.version == own.version and network.overlaps(own) for own in _LOOPBACK
    ):
        raise CommandError(
            "E405", f"{network} holds this host's own addresses: mail from here would be refused. To do it say force"
        )
    name = str(network)
    await call.change(call.service.doors.block(name, call.args.get("reason", ""), call.session.operator.name, until))
    entries = call.service.sessions.entries()
    present = [entry.id for entry in entries if entry.kind == "smtp-in" and _within(entry.peer, network)]
    ended = []
    if call.args.get("kick"):
        ended = await end_sessions(call, present, call.args.get("reason", ""))
    end = "" if until else f" until you say: unblock peer {_short(network)}"
    sentence = f"{_short(network)} is blocked{lasts}{end}."
    if ended:
        sentence += f" {_sessions(len(ended))} of it ended."
    elif present:
        sentence += f" {_going(len(present))}: kick where peer={_short(network)}"
    await call.changed(name, _told(call, lasts) + (f" kicked {len(ended)}" if ended else ""), 1, sentence)


def _short(network: Network) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _sessions(count: int) -> str:
    return counted(count, "session")


def _going(count: int) -> str:
    return f"{_sessions(count)} {'goes' if count == 1 else 'go'} on"


def _within(peer: str, network: Network) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return address in network


async def unblock(call: Call) -> None:
    """Let a peer or a network in again."""
    network = read_network(call, call.args["network"])
    if not await call.change(call.service.doors.unblock(str(network))):
        others = [row["network"] for row in call.service.doors.blocks() if _covers(row["network"], network)]
        hint = f"unblock peer {others[0]}" if others else "show blocks"
        also = f"; it is in {others[0]}, which is" if others else ""
        raise CommandError("E401", f"{_short(network)} is not blocked{also}", hint=hint)
    await call.changed(str(network), "", 1, f"{_short(network)} is not blocked any more.")


def _covers(text: str, network: Network) -> bool:
    other = ipaddress.ip_network(text)
    return other.version == network.version and network.subnet_of(other)  # type: ignore[arg-type] # of one version


async def show_blocks(call: Call) -> None:
    """List blocked networks."""
    rows = call.service.doors.blocks()
    await call.rows(rows)
    if not rows:
        await call.note("Nobody is blocked.")


async def show_listeners(call: Call) -> None:
    """List this node's listeners."""
    await call.rows(call.service.doors.listeners())


def _listener(call: Call) -> Row:
    """Return the listener named.  Raises CommandError E401."""
    name = call.args["listener"]
    rows: list[Row] = call.service.doors.listeners()
    for row in rows:
        if row["name"] == name:
            return row
    names = [row["name"] for row in rows]
    raise CommandError(
        "E401", f'No listener "{name}". There are: {", ".join(names)}', call.parsed.line.find(name), names
    )


async def pause(call: Call) -> None:
    """Take no new connection by a listener of this node; sessions go on."""
    row = _listener(call)
    until, lasts = _until(call)
    if not row["guarded"] and not call.args.get("force"):
        raise CommandError("E405", f"{row['name']} is for operators: pausing it locks them out. To do it say force")
    await call.change(
        call.service.doors.pause(row["name"], call.args.get("reason", ""), call.session.operator.name, until)
    )
    end = "" if until else f" until you say: resume listener {row['name']}"
    going = f" {_going(row['sessions'])}." if row["sessions"] else ""
    await call.changed(row["name"], _told(call, lasts), 1, f"{row['name']} is paused{lasts}{end}.{going}")


async def resume(call: Call) -> None:
    """Take connections by a listener again."""
    row = _listener(call)
    if not await call.change(call.service.doors.resume(row["name"])):
        raise CommandError("E405", f"{row['name']} is not paused", hint="show listeners")
    await call.changed(row["name"], "", 1, f"{row['name']} takes connections again.")


_PEER = Word("peer", "an address or a network")
_LISTENER = Word("listener", "a listener of this node")
_NETWORK = Arg("network", "word", "192.0.2.1 or 192.0.2.0/24", shown="ADDRESS|NETWORK")
_NAME = Arg("listener", "word", "its name: show listeners", shown="NAME")
_FOR = Clause(
    "for", "how long; without it, until it is taken back", (Arg("for", "duration", "30m 2h 7d", shown="DURATION"),)
)
_FORCE = Clause("force", "do it although it may lock you out")

COMMANDS = (
    Command((SHOW, Word("blocks", "peers that are kept out")), show_blocks, "peers that are kept out", table=BLOCK),
    Command(
        (SHOW, Word("listeners", "listeners of this node")), show_listeners, "listeners of this node", table=LISTENER
    ),
    Command(
        (Word("block", "keep a peer out"), _PEER),
        block,
        "take no mail from an address or a network, on any node",
        args=(_NETWORK,),
        clauses=(_FOR, REASON, Clause("kick", "end its present sessions too"), _FORCE),
        role="operator",
        changes=True,
        table=CHANGE,
        examples=('block peer 192.0.2.0/24 for 2h reason "spam run, INC-815"', "block peer 2001:db8::7 kick"),
    ),
    Command(
        (Word("unblock", "let a peer in again"), _PEER),
        unblock,
        "take mail from an address or a network again",
        args=(_NETWORK,),
        role="operator",
        changes=True,
        table=CHANGE,
    ),
    Command(
        (Word("pause", "take no connections"), _LISTENER),
        pause,
        "take no new connections by a listener of this node; sessions go on",
        args=(_NAME,),
        clauses=(_FOR, REASON, _FORCE),
        role="operator",
        changes=True,
        table=CHANGE,
        examples=('pause listener smtp for 30m reason "disk is being replaced"',),
    ),
    Command(
        (Word("resume", "take connections again"), _LISTENER),
        resume,
        "take connections by a listener again",
        args=(_NAME,),
        role="operator",
        changes=True,
        table=CHANGE,
    ),
)
