"""Bulk actions as jobs: beginning, waiting, telling, cancelling, taking back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall

from netsvc.commands import Arg, Command, CommandError, Word
from netsvc.console.preview import items
from netsvc.console.tables import JOB
from netsvc.console.verbs.words import EXPECT, SHOW

if TYPE_CHECKING:
    from netsvc.console.call import Call
    from netsvc.records import Row

PROGRESS_SECONDS = 2.0
DONE = {
    "hold": "held",
    "release": "released",
    "retry": "put up for retry",
    "delete": "deleted",
    "undelete": "restored",
    "undo": "taken back",
}
SKIPPED = {
    "hold": "on hold already, or changed meanwhile",
    "release": "not on hold",
    "retry": "on hold, deleted, or tried meanwhile",
    "undelete": "not deleted",
}
"""Why items were passed over, by the verb; for others: changed meanwhile."""
UNDOABLE = frozenset({"hold", "release", "retry", "delete", "undelete"})

_NUMBER = Arg("number", "int", "number of a job", low=1)
_JOB = Word("job", "one job")


async def _job(call: Call, number: int) -> Row:
    row: Row | None = await call.store(call.service.queue.job(number))
    if row is None:
        raise CommandError("E401", f"No job {number}", hint="show jobs")
    return row


async def show_jobs(call: Call) -> None:
    """List jobs, newest first."""
    rows = await call.store(call.service.queue.jobs())
    await call.rows(rows)
    if not rows:
        await call.note("There were no jobs.")


async def show_job(call: Call) -> None:
    """Show one job."""
    call.outlet.style = "list" if call.outlet.style == "table" else call.outlet.style
    await call.row(await _job(call, call.args["number"]))


async def follow(call: Call, number: int, verb: str) -> None:
    """Wait for a job, telling how far it is, and say what it came to.  A cancelled wait leaves it running."""
    waiting = call.service.queue.wait(number)
    ticking = LoopingCall(_tick, call, number)
    ticking.clock = call.session.clock
    ticking.start(PROGRESS_SECONDS, now=False).addErrback(lambda _: None)
    try:
        row = await waiting
    except CancelledError:
        raise CommandError("E504", f"Job {number} goes on. To stop it: cancel job {number}") from None
    finally:
        ticking.stop()
    await call.audit(f"job {number}", "", row["done"], f"{row['state']}, skipped {row['skipped']}")
    await _tell(call, row, verb)


async def _told(call: Call, number: int) -> None:
    row = await call.service.queue.job(number)
    if row is not None and row["ended"] is None:
        await call.outlet.progress(number, row["done"], row["matched"])


def _tick(call: Call, number: int) -> Deferred[None]:
    return Deferred.fromCoroutine(_told(call, number)).addErrback(lambda _: None)


async def _tell(call: Call, row: Row, verb: str) -> None:
    call.table = JOB
    if row["state"] != "done":
        call.status = "partial"
    if not call.plain:
        await call.row(row)
        return
    took = f" in {((row['ended'] or call.now_ms) - row['started']) / 1000:.1f} s" if row["started"] else ""
    skipped = f", skipped {row['skipped']} ({SKIPPED.get(verb, 'changed meanwhile')})" if row["skipped"] else ""
    ending = "" if row["state"] == "done" else f" It was {row['state']}."
    done = f"{DONE.get(verb, 'done')} {row['done']}"
    await call.say(f"Job {row['id']}: matched {row['matched']}, {done}{skipped}{took}.{ending}")
    if verb in UNDOABLE and row["done"] and row["undo"] is None:
        await call.say(f"Undo with: undo job {row['id']}")


async def cancel(call: Call) -> None:
    """Stop a running job."""
    number = call.args["number"]
    await _job(call, number)
    if not await call.change(call.service.queue.cancel(number)):
        raise CommandError("E405", f"Job {number} has ended already", hint=f"show job {number}")
    await call.audit(f"job {number}")
    row = await _job(call, number)
    if call.plain:
        await call.say(f"Job {number} cancelled: {row['done']} of {row['matched']} were done.")
    else:
        await call.row(row)


async def undo(call: Call) -> None:
    """Take back a job: the one named, else the operator's newest that can be."""
    number = call.args.get("number")
    jobs = await call.store(call.service.queue.jobs())
    row = await _job(call, number) if number is not None else _newest(call, jobs)
    number = row["id"]
    if row["undo"] is not None:
        raise CommandError("E405", f"Job {number} was itself an undo")
    if row["verb"] not in UNDOABLE:
        raise CommandError("E405", f"Job {number} ({row['verb']}) cannot be taken back")
    if row.get("undone_by") is not None:
        raise CommandError("E405", f"Job {number} has been taken back already", hint=f"show job {row['undone_by']}")
    if not call.expects(row["done"]) and (call.outlet.interactive or call.args.get("number") is None):
        await call.confirm(f"Undo job {number} ({row['verb']}, {items(row['done'])})?")
    await call.audit(f"job {number}", "", row["done"], "begins")
    begun = await call.change(call.service.queue.undo(number, call.session.operator.name))
    await follow(call, begun, "undo")


def _newest(call: Call, jobs: list[Row]) -> Row:
    taken_back = {row["undo"] for row in jobs}
    for row in jobs:
        mine = row["actor"] == call.session.operator.name and row["undo"] is None
        if mine and row["verb"] in UNDOABLE and row["id"] not in taken_back and row["done"] and row["ended"]:
            return row
    raise CommandError("E401", "There is nothing of yours to undo", hint="show jobs")


COMMANDS = (
    Command((SHOW, Word("jobs", "bulk actions")), show_jobs, "bulk actions, newest first", table=JOB),
    Command((SHOW, _JOB), show_job, "one bulk action", args=(_NUMBER,), table=JOB),
    Command(
        (Word("cancel", "stop a running job"), _JOB),
        cancel,
        "stop a running job",
        args=(_NUMBER,),
        role="operator",
        changes=True,
        table=JOB,
    ),
    Command(
        (Word("undo", "take a job back"),),
        undo,
        "take back your newest job",
        clauses=(EXPECT,),
        role="operator",
        changes=True,
        table=JOB,
    ),
    Command(
        (Word("undo", "take a job back"), _JOB),
        undo,
        "take back what a job did",
        args=(_NUMBER,),
        clauses=(EXPECT,),
        role="operator",
        changes=True,
        table=JOB,
        examples=("undo job 17",),
    ),
    Command(
        (Word("undelete", "bring deleted items back"), _JOB),
        undo,
        "bring back what a delete job took (undo job)",
        args=(_NUMBER,),
        clauses=(EXPECT,),
        role="operator",
        changes=True,
        table=JOB,
    ),
)
