"""Mailboxes and the mail in them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from netsvc.commands import Arg, Clause, Command, CommandError, Selects, Word
from netsvc.config.complaints import ValueFaultError
from netsvc.config.recipients import separator
from netsvc.console.recipienttables import RECIPIENTS
from netsvc.console.render import counted
from netsvc.console.tables import CHANGE, MAIL, MAIL_SOURCE, MAILBOX
from netsvc.console.targets import chosen_filter
from netsvc.console.verbs.message import give_part
from netsvc.console.verbs.words import EXPECT, LIMIT, SCREEN, SHOW
from netsvc.records import Page

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from netsvc.console.call import Call
    from netsvc.records import Row

_ADDRESS = Arg("address", "address", "the mailbox, ann@example.org")
_MAILBOX = Word("mailbox", "one mailbox")
_MAILBOXES = Word("mailbox", "create, change and delete mailboxes")
_DEFAULT = Word("default", "what holds for all of them")
_SIZE = Arg("quota", "size", "octets: 512 10k 5M 1G, none: any", none=True)
_MESSAGES = Clause("messages", "mails it may hold", (Arg("messages", "int", "how many", low=1),))


async def show_mailboxes(call: Call) -> None:
    """List mailboxes."""
    rows = await call.store(call.service.mail.mailboxes(await chosen_filter(call)))
    await call.rows(rows)
    if not rows:
        await call.note("No mailboxes match.")


async def _mailbox(call: Call) -> Row:
    address = call.args["address"]
    row: Row | None = await call.store(call.service.mail.mailbox(address.lower()))
    if row is None:
        raise CommandError("E401", f"No mailbox {address}", hint="show mailboxes")
    return row


async def show_mailbox(call: Call) -> None:
    """Show one mailbox."""
    await call.row(await _mailbox(call))


async def show_mail(call: Call) -> None:
    """List the mail in a mailbox, or show one mail of it."""
    box = await _mailbox(call)
    uid, part = call.args.get("uid"), call.args.get("part")
    if uid is None:
        if part is not None:
            raise CommandError("E103", f"Incomplete. Expected one of: UID, before {part}", None, ["UID"])
        await _list(call, box)
        return
    rows = await call.store(call.service.mail.list(box["address"], uid - 1, 1))
    if not rows or rows[0]["uid"] != uid:
        raise CommandError("E401", f"No mail {uid} in {box['address']}", hint=f"show mail {box['address']}")
    if part is None:
        await call.row(rows[0])
        return
    target = f"{box['address']} {uid}"
    await call.need_content(target, part)
    reader = await call.store(call.service.mail.fetch(box["address"], uid))
    if reader is None:
        raise CommandError("E401", f"No mail {uid} in {box['address']}")
    await call.audit(target, part)
    call.command_source = MAIL_SOURCE
    try:
        await give_part(call, part, (b"", reader), {"uid": uid, "id": rows[0]["id"]})
    finally:
        reader.close()


async def _list(call: Call, box: Row) -> None:
    limit = call.args.get("limit")
    if limit is None and call.plain:
        limit = SCREEN

    def fetch(after: Any, count: int) -> Deferred[Page]:
        answer: Deferred[list[Row]] = call.service.mail.list(box["address"], after or 0, count)
        return answer.addCallback(lambda rows: Page(rows, rows[-1]["uid"] if len(rows) >= count else None))

    more = await call.stream(fetch, limit)
    if more:
        call.total = box["messages"]
        await call.note(f"{call.rows_out} of {box['messages']} shown. Say limit N to see more.")
    elif not call.rows_out:
        await call.note("No mail is in it.")


def _quota(call: Call) -> tuple[int, int] | None:
    """Return (octets, messages) as typed, 0 for any; None where nothing was said."""
    octets, messages = call.args.get("quota"), call.args.get("messages")
    return None if octets is None and messages is None else (octets or 0, messages or 0)


def _quota_words(quota: tuple[int, int]) -> str:
    """Return a quota as it is typed."""
    octets, messages = quota
    return (f"{octets}" if octets else "none") + (f" messages {messages}" if messages else "")


def _may_hold(quota: tuple[int, int]) -> str:
    octets, messages = quota
    held = [f"{octets} octets"] if octets else []
    held += [counted(messages, "mail")] if messages else []
    return " and ".join(held) or "any number of octets and mails"


async def create(call: Call) -> None:
    """Create a mailbox."""
    address = call.args["address"].lower()
    said = _quota(call)
    quota = call.service.site.current.quota_of(address) if said is None else said
    await call.change(call.service.directory.create_mailbox(address, *quota))
    args = f"quota {_quota_words(quota)}" if any(quota) else ""
    await call.changed(address, args, 1, f"Mailbox {address} created.")


async def set_quota(call: Call) -> None:
    """Change what a mailbox may hold."""
    address = (await _mailbox(call))["address"]
    quota = _quota(call) or (0, 0)
    await call.change(call.service.directory.set_quota(address, *quota))
    await call.changed(address, _quota_words(quota), 1, f"{address} may hold {_may_hold(quota)}.")
    row = await _mailbox(call)
    if (row["use"] or 0) >= 100:
        await call.note(f"It is full: {row['use']} % of that is in it already.")


async def show_defaults(call: Call) -> None:
    """Show what holds for all recipients."""
    settings = call.service.site.current
    octets, messages = settings.quota
    await call.row({"quota": octets, "quota_messages": messages, "separator": settings.subaddress or None})


async def default_quota(call: Call) -> None:
    """Set the quota of mailboxes made without one."""
    quota = _quota(call) or (0, 0)
    await _change_site(call, f"quota {_quota_words(quota)}", quota=quota)
    said = f"A mailbox made from now on may hold {_may_hold(quota)}. Those that are there stay as they are."
    await call.changed("site", _quota_words(quota), 1, said)


async def default_separator(call: Call) -> None:
    """Set what divides users from tags."""
    text = call.args["separator"]
    try:
        wanted = separator(text)
    except ValueFaultError as fault:
        raise CommandError("E202", f"{fault.text}: {fault.remedy or 'write + or -, or none'}") from None
    await _change_site(call, f"separator {wanted or 'none'}", subaddress=wanted)
    said = f"user{wanted}tag is delivered to user." if wanted else "There are no tags any more."
    await call.changed("site", f"separator {wanted or 'none'}", 1, said)


async def _change_site(call: Call, comment: str, **fields: Any) -> None:
    await call.change(
        call.service.site.change(lambda settings: replace(settings, **fields), call.session.operator.name, comment)
    )


async def delete(call: Call) -> None:
    """Delete a mailbox and the mail in it."""
    box = await _mailbox(call)
    address = box["address"]
    mails = _mails(box["messages"])
    if box["messages"]:
        await call.confirm_count(box["messages"], f"Delete mailbox {address} and {mails} in it. This cannot be undone.")
    gone = await call.change(call.service.directory.delete_mailbox(address))
    also = f" {_mails(gone).capitalize()} went with it." if gone else ""
    await call.changed(address, "", max(gone, 1), f"Mailbox {address} deleted.{also}")


def _mails(count: int) -> str:
    return "the 1 mail" if count == 1 else f"the {count} mails"


COMMANDS = (
    Command(
        (SHOW, Word("mailboxes", "mailboxes, with what is in them")),
        show_mailboxes,
        "mailboxes, with what is in them",
        selects=Selects("mailbox", ("where", "all")),
        table=MAILBOX,
        examples=(
            "show mailboxes where bytes>1G",
            "show mailboxes where use>90%",
            "show mailboxes where address=*@example.org",
        ),
    ),
    Command((SHOW, _MAILBOX), show_mailbox, "one mailbox", args=(_ADDRESS,), table=MAILBOX),
    Command(
        (SHOW, Word("mail", "the mail in a mailbox")),
        show_mail,
        "the mail in a mailbox, or one mail of it",
        args=(
            _ADDRESS,
            Arg("uid", "int", "number of a mail", optional=True, low=1),
            Arg(
                "part",
                "choice",
                "what of it",
                words=(
                    Word("headers", "its header section (content privilege)"),
                    Word("body", "the first 64 KiB of its body (content privilege)"),
                    Word("source", "all of it (content privilege)"),
                ),
                optional=True,
            ),
        ),
        clauses=(LIMIT,),
        table=MAIL,
        examples=("show mail ann@example.org", "show mail ann@example.org 7 headers"),
    ),
    Command(
        (SHOW, Word("defaults", "what holds for all recipients")),
        show_defaults,
        "the quota of mailboxes made without one, and what divides users from tags",
        table=RECIPIENTS,
    ),
    Command(
        (_MAILBOXES, Word("create", "make one")),
        create,
        "make a mailbox in one of our domains",
        args=(_ADDRESS,),
        clauses=(Clause("quota", "octets it may hold; the site's default where it is not said", (_SIZE,)), _MESSAGES),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("mailbox create ann@example.org quota 1G messages 10000", "mailbox create bo@example.org quota none"),
    ),
    Command(
        (_MAILBOXES, Word("quota", "change what one may hold")),
        set_quota,
        "change what a mailbox may hold",
        args=(_ADDRESS, _SIZE),
        clauses=(_MESSAGES,),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("mailbox quota ann@example.org 5G messages 50000", "mailbox quota ann@example.org none"),
    ),
    Command(
        (_MAILBOXES, _DEFAULT, Word("quota", "of mailboxes made without one")),
        default_quota,
        "set the quota of mailboxes made from now on without one",
        args=(_SIZE,),
        clauses=(_MESSAGES,),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("mailbox default quota 1G messages 10000",),
    ),
    Command(
        (_MAILBOXES, _DEFAULT, Word("separator", "of users and tags")),
        default_separator,
        "set what divides a user from a tag, as in user+tag",
        args=(Arg("separator", "word", "a character, none: no tags", none=True),),
        role="admin",
        changes=True,
        table=CHANGE,
        examples=("mailbox default separator -",),
    ),
    Command(
        (_MAILBOXES, Word("delete", "remove one and its mail")),
        delete,
        "remove a mailbox and the mail in it",
        args=(_ADDRESS,),
        clauses=(EXPECT,),
        role="admin",
        changes=True,
        table=CHANGE,
    ),
)
