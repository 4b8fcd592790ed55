"""The writer process: mail taken by it is taken as by the thread, and its death loses nothing."""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from netsvc.mail.message import Kind, Result
from netsvc.mail.outcome import Fault, Outcome, Report
from netsvc.mail.reply import MAILBOX_FULL_NOW, ReplyError
from netsvc.store import errands, writerpipe, writerprocess
from netsvc.store.errands import LEASE, Errand
from netsvc.store.pieces import SMALL
from netsvc.store.tx import CommitFailedError


@pytest.fixture
def house(make_house):
    return make_house("sqlite", aside=True)


def pipe(house):
    return house.engine._pipe


def test_small_mail_is_written_by_the_process(house):
    box = house.mailbox()
    before = pipe(house).batches
    number = house.accept(b"one", [house.local(box)], [house.away(2)])
    assert pipe(house).batches == before + 1
    assert [m["id"] for m in house.run(house.store.mail.list("bob@example.net"))] == [number]
    assert [row.message_id for row in house.lease()] == [number]
    assert house.read_all(house.run(house.spool.open_body(number))) == b"one"
    house.again()
    assert [m["id"] for m in house.run(house.store.mail.list("bob@example.net"))] == [number]


def test_large_mail_is_not(house):
    box = house.mailbox()
    before = pipe(house).batches
    house.accept(b"x" * (SMALL + 1), [house.local(box)])
    assert pipe(house).batches == before


def test_a_refusal_comes_back_as_it_is_and_alone(house):
    full, box = house.mailbox("full@example.net", msgs=1), house.mailbox()
    house.accept(b"1", [house.local(full)])
    good = [house.accepting(b"2", [house.local(box)]) for _ in range(5)]
    bad = house.accepting(b"3", [house.local(full)])
    assert house.fails(bad, ReplyError).reply == MAILBOX_FULL_NOW
    assert len({house.run(each) for each in good}) == 5
    assert house.value("SELECT count(*) FROM mail") == 6


def test_process_and_thread_take_turns(house):
    box = house.mailbox()
    waiting = []
    for n in range(200):
        waiting.append(house.accepting(b"%d" % n, [house.local(box)], [house.away(2)]))
        waiting.append(house.engine.write(lambda tx: tx.execute("UPDATE dest SET max_conn = max_conn + 1")))
        if n % 20 == 0:
            house.pump.turn()
    for each in waiting:
        house.run(each)
    assert house.value("SELECT count(*) FROM mail") == house.value("SELECT count(*) FROM message") == 200
    assert house.counted()[0] == house.counted()[1]


def test_a_dead_process_fails_what_it_had_and_the_thread_goes_on(house):
    box = house.mailbox()
    house.accept(b"1", [house.local(box)])
    process = pipe(house)._process
    os.kill(process.pid, signal.SIGSTOP)
    asked = house.accepting(b"2", [house.local(box)])
    house.pump.turn()
    assert len(pipe(house)._asked) == 1
    behind = pipe(house)
    process.kill()
    error = house.fails(asked, ReplyError)
    assert error.reply.code == 451
    assert isinstance(error.__cause__, CommitFailedError)
    assert not behind.up
    house.accept(b"3", [house.local(box)])  # by the thread
    sizes = [row[0] for row in house.rows("SELECT size FROM blob ORDER BY id")]
    assert sizes in ([1, 1], [1, 1, 1])
    house.pump.advance(writerpipe.PAUSE_S)
    while not behind.up:
        call, args, kwargs = house.pump.foreign.get(timeout=10)
        call(*args, **kwargs)
    batches = behind.batches
    house.accept(b"4", [house.local(box)])
    assert behind.batches == batches + 1
    assert house.engine.figures()["writer"]["deaths"] == 1


def test_an_answer_that_makes_no_sense_is_a_death(house):
    box = house.mailbox()
    asked = house.accepting(b"1", [house.local(box)])
    real = pipe(house).answered
    pipe(house).answered = lambda data: real(b"nonsense")
    assert house.fails(asked, ReplyError).reply.code == 451
    assert not pipe(house).up


def test_a_process_that_hangs_is_ended(house):
    box = house.mailbox()
    process = pipe(house)._process
    os.kill(process.pid, signal.SIGSTOP)
    asked = house.accepting(b"1", [house.local(box)])
    house.pump.turn()
    house.pump.advance(writerpipe.ANSWER_S)
    assert process.poll() is None  # it may only be slow
    house.pump.advance(writerpipe.ANSWER_S)
    assert house.fails(asked, ReplyError).reply.code == 451
    assert not pipe(house).up


def test_a_process_that_answers_is_not_ended(house):
    box = house.mailbox()
    for _ in range(4):
        house.accept(b"1", [house.local(box)])
        house.pump.advance(writerpipe.ANSWER_S)
    assert pipe(house).up
    behind = pipe(house)
    behind._asked.append(None)  # one is always under way, and others are answered
    behind._look = None
    behind._look_after()
    behind.batches += 1
    house.pump.advance(writerpipe.ANSWER_S)
    assert behind._process.poll() is None
    behind._asked.clear()


def test_an_order_that_cannot_be_made_fails_alone_and_keeps_no_turn(house, monkeypatch):
    box = house.mailbox()
    monkeypatch.setattr(writerpipe, "flat", lambda item: 1 // 0)
    assert house.fails(house.accepting(b"1", [house.local(box)]), ReplyError).reply.code == 451
    monkeypatch.undo()
    house.accept(b"2", [house.local(box)])
    house.execute("UPDATE dest SET max_conn = 1")  # the thread gets its turn


def test_an_order_holds_nothing_but_our_own_classes(make_house):
    house = make_house("sqlite")
    writer = writerprocess.Writer(house.folder)
    for evil in (os.system, writerprocess.main, subprocess.Popen):
        with pytest.raises(writerprocess.pickle.UnpicklingError):
            writer.answer([writerprocess.pickle.dumps(evil)])
    writer.close()


def test_a_process_that_dies_before_it_has_an_order_leaves_it_to_the_thread(house):
    box = house.mailbox()
    asked = house.accepting(b"1", [house.local(box)])
    with pipe(house)._turns:  # the thread's turn: the order waits
        house.pump.turn()
        pipe(house)._process.kill()
        while pipe(house).up:
            call, args, kwargs = house.pump.foreign.get(timeout=10)
            call(*args, **kwargs)
    house.run(asked)
    assert house.value("SELECT count(*) FROM mail") == 1


class Slow:
    """A transport whose kernel takes ``room`` octets at once; what it is handed beyond waits for ``drain``."""

    def __init__(self, room):
        self.room = room
        self.arrived = b""
        self.waiting = b""

    def writeSomeData(self, data):
        taken = data[: self.room]
        self.room -= len(taken)
        self.arrived += taken
        return len(taken)

    def write(self, data):
        self.waiting += data

    def drain(self):
        self.arrived, self.waiting = self.arrived + self.waiting, b""


def test_no_order_gets_into_the_middle_of_another():
    """Its octets would be read as an order: whoever sent the message would have the process unpickle his own."""
    pipe = writerpipe.Pipe(None)
    slow = pipe.transport = Slow(room=6)
    pipe.send(b"first", alone=True)
    slow.room = 100  # the process has read what there was, and the reactor has not come round to the rest
    pipe.send(b"second", alone=False)
    assert slow.arrived == b"\0\0\0\x05fi"
    slow.drain()
    assert slow.arrived == b"\0\0\0\x05first\0\0\0\x06second"
    pipe.send(b"third", alone=True)
    assert slow.arrived.endswith(b"second\0\0\0\x05third")
    assert not slow.waiting


def test_a_process_that_dies_in_the_turn_in_which_mail_comes_leaves_it_to_the_thread(house):
    box = house.mailbox()
    asked = house.accepting(b"1", [house.local(box)])  # to be handed over at the end of the turn
    behind = pipe(house)
    behind._process.kill()
    behind.lost(behind._pipe)
    assert not behind.up
    house.run(asked)
    assert house.value("SELECT count(*) FROM mail") == 1


def test_a_process_that_cannot_be_started_again_is_tried_again(house, monkeypatch):
    box = house.mailbox()
    behind, tries = pipe(house), []
    real = behind.open

    def failing():
        tries.append(1)
        if len(tries) == 1:
            raise FileNotFoundError
        real()

    monkeypatch.setattr(behind, "open", failing)
    behind._process.kill()
    while behind.up:
        call, args, kwargs = house.pump.foreign.get(timeout=10)
        call(*args, **kwargs)
    house.accept(b"1", [house.local(box)])
    end = time.monotonic() + 30
    while not behind.up and time.monotonic() < end:
        house.pump.advance(writerpipe.PAUSE_S)
        with contextlib.suppress(queue.Empty):
            call, args, kwargs = house.pump.foreign.get(timeout=0.05)
            call(*args, **kwargs)
    assert behind.up
    assert len(tries) == 2


def test_closing_waits_for_what_was_handed_over(house):
    box = house.mailbox()
    process = pipe(house)._process
    asked = [house.accepting(b"%d" % n, [house.local(box)]) for n in range(50)]
    house.close()
    assert all(isinstance(each.result, int) for each in asked)
    assert process.returncode == 0
    house.open()
    assert house.value("SELECT count(*) FROM mail") == 50


def test_much_is_moved_though_the_thread_has_nothing_to_write(house, monkeypatch):
    monkeypatch.setattr("netsvc.store.sqlite.STAGE_BYTES", 100_000)
    box = house.mailbox()
    for _ in range(8):
        house.accept(b"x" * 30_000, [house.local(box)])
        house.pump.advance(1)
    end = time.monotonic() + 10
    while house.value("SELECT count(*) FROM blob_new") > 6 and time.monotonic() < end:
        house.pump.advance(1)
    assert house.value("SELECT count(*) FROM blob_new") <= 6
    assert house.value("SELECT count(*) FROM mail") == 8


def test_a_process_ends_with_its_parent(tmp_path, make_house):
    house = make_house("sqlite")
    ours, theirs = socket.socketpair()
    with theirs:
        child = subprocess.Popen(
            [sys.executable, "-c", writerpipe.START, str(theirs.fileno()), str(house.folder), str(Path.cwd())],
            pass_fds=(theirs.fileno(),),
        )
    ours.close()
    assert child.wait(20) == 0


# -- the process's own words, in this process ---------------------------------


def test_frames_in_pieces():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        frames = writerprocess.Frames(theirs.fileno())
        writerprocess.send(ours.fileno(), b"one")
        writerprocess.send(ours.fileno(), b"")
        ours.send(b"\0\0")
        assert frames.wait() == [b"one", b""]
        ours.send(b"\0\5ab")
        threading.Timer(0.01, ours.send, [b"cde"]).start()
        assert frames.wait() == [b"abcde"]
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError):
            frames.wait()


def order(house, box, n):
    items = []
    for _ in range(n):
        message = house.message(3)
        content = writerprocess.Content(3, [b"abc"])
        items.append(writerprocess.Incoming(message, content, [house.away(2)], [house.local(box)], must=False))
    ids = house.engine.new_ids(writerprocess.need(items))
    return writerprocess.Order(house.spool.now(), 1, ids, [writerprocess.flat(each) for each in items])


def test_orders_that_have_come_together_are_one_batch(make_house):
    house = make_house("sqlite")
    box = house.mailbox()
    ours, theirs = socket.socketpair()
    with ours:
        for n in (1, 2):
            writerprocess.send(ours.fileno(), writerprocess.pickle.dumps(order(house, box, n)))
        ours.shutdown(socket.SHUT_WR)
        with theirs:
            writerprocess.serve(theirs.fileno(), house.folder)
        (answer,) = writerprocess.Frames(ours.fileno()).wait()
    assert len(writerprocess.pickle.loads(answer)) == 3
    assert house.value("SELECT count(*) FROM mail") == 3
    assert house.counted()[0] == house.counted()[1]


def test_what_cannot_travel_is_told_in_words(make_house, monkeypatch):
    house = make_house("sqlite")

    class OddError(Exception):
        def __reduce__(self):
            raise TypeError("not me")

    writer = writerprocess.Writer(house.folder)
    monkeypatch.setattr(writer._batches, "run", lambda units: [(unit.waiter, OddError("odd")) for unit in units])
    data = writerprocess.pickle.dumps(order(house, 1, 1))
    (result,) = writerprocess.pickle.loads(writer.answer([data]))
    assert "odd" in str(result)
    writer.close()


def test_too_few_ids_are_a_mistake_of_ours_and_keep_nothing(make_house):
    house = make_house("sqlite")
    box = house.mailbox()
    poor = order(house, box, 1)._replace(ids=[])
    writer = writerprocess.Writer(house.folder)
    (result,) = writerprocess.pickle.loads(writer.answer([writerprocess.pickle.dumps(poor)]))
    writer.close()
    assert isinstance(result, CommitFailedError)
    assert house.value("SELECT count(*) FROM mail") == 0


def test_main_serves_as_told(monkeypatch):
    served = []
    monkeypatch.setattr(writerprocess, "serve", lambda fd, folder: served.append((fd, str(folder))))
    monkeypatch.setattr(writerprocess.signal, "signal", lambda *_: None)
    monkeypatch.setattr(writerprocess.os, "umask", lambda _: 0)
    monkeypatch.setattr(writerprocess.sys, "argv", ["-c", "7", "/state"])
    writerprocess.main()
    assert served == [(7, "/state")]


# -- errands: leasing and settling -------------------------------------------------------


def waiting(house):
    return house.rows("SELECT state, attempts, crashes, lease_node, lease_at FROM delivery ORDER BY id")


def test_the_process_leases_and_settles(house):
    """What a thread would have answered, and the same rows; several in one batch with what is accepted."""
    for n in range(3):
        house.accept(b"%d" % n, [], [house.away(1, f"{n}@example.com")])
    before = pipe(house).batches
    rows = house.lease()
    assert [row.rcpt for row in rows] == ["0@example.com", "1@example.com", "2@example.com"]
    assert {(row.kind, row.attempts, row.dest_key) for row in rows} == {(Kind.SMTP, 1, "[192.0.2.9]:25")}
    assert pipe(house).batches == before + 1
    later = house.spool.now() + 60_000
    outcomes = [
        Outcome(rows[0].id, Result.DELIVERED, Fault.NONE, 250, "2.0.0", "ok", transcript=b"said"),
        Outcome(rows[1].id, Result.DEFERRED, Fault.REPLY, 451, "4.7.1", "later", due_at=later),
        Outcome(77, Result.DELIVERED),
    ]
    settling = house.spool.settle(outcomes)
    accepting = house.accepting(b"more", [], [house.away(1)])
    settled = house.run(settling)
    assert (settled.acked, settled.late, settled.lost, settled.changed) == ((rows[0].id, rows[1].id), (), (77,), ())
    house.run(accepting)
    assert pipe(house).batches == before + 2
    assert house.rows("SELECT state, due_at = ? FROM delivery WHERE id = ?", (later, rows[1].id)) == [(3, 1)]
    assert house.value("SELECT count(*) FROM history WHERE delivery_id = ?", (rows[0].id,)) == 1
    assert house.value("SELECT data FROM transcript") == b"said"
    assert house.counted()[0] == house.counted()[1]


def test_what_the_process_decides_otherwise_comes_back(house):
    box = house.mailbox("full@example.net", msgs=1)
    house.accept(b"1", [house.local(box)])
    house.accept(b"2", [house.local(box)], [house.away(2)])
    house.execute("UPDATE delivery SET due_at = 0")
    house.execute("UPDATE dest_head SET next_due = 0")
    [row] = [row for row in house.lease() if row.kind is Kind.MAILBOX]
    settled = house.run(house.spool.settle([Outcome(row.id, Result.DELIVERED)]))
    [changed] = settled.changed
    assert (changed.delivery_id, changed.result, changed.fault) == (row.id, Result.DEFERRED, Fault.LOCAL)
    assert isinstance(changed.result, Result)


def test_a_settle_with_a_report_is_the_threads(house):
    house.accept(b"1", [], [house.away(1)])
    [row] = house.lease()
    before = pipe(house).batches
    report = Report(house.message(6), b"report", (house.away(1),), (), about=(row.id,))
    house.run(house.spool.settle([Outcome(row.id, Result.BOUNCED, Fault.REPLY, 550, "5.1.1", "no")], [report]))
    assert pipe(house).batches == before
    assert [row.message_id for row in house.lease()] == [report.message.id]


def test_a_lease_nobody_heard_of_is_given_back(house):
    """The process has committed it, and dies before we know."""
    house.accept(b"1", [], [house.away(1)])
    before = waiting(house)
    real = pipe(house).answered
    pipe(house).answered = lambda data: real(b"nonsense")
    [(dest, *_)] = house.run(house.spool.due(10))
    house.fails(house.spool.lease([(dest, 10)]), CommitFailedError)
    assert waiting(house) == before == [(1, 0, 0, 0, 0)]
    assert house.counted()[0] == house.counted()[1]
    assert len(house.lease()) == 1  # by the thread


def test_a_settle_is_asked_again_of_the_thread(house):
    house.accept(b"1", [], [house.away(1)])
    [row] = house.lease()
    process = pipe(house)._process
    os.kill(process.pid, signal.SIGSTOP)
    outcome = Outcome(row.id, Result.DELIVERED)
    settling = house.spool.settle([outcome])
    house.pump.turn()
    process.kill()
    house.fails(settling, CommitFailedError)
    assert house.run(house.spool.settle([outcome])).acked == (row.id,)


def test_an_errand_that_fails_fails_alone(house):
    asked = house.engine.errand(lambda: Errand(LEASE, (0, "no list")), lambda tx: None)
    accepting = house.accepting(b"1", [], [house.away(1)])
    house.fails(asked, ValueError)
    assert house.run(accepting)


def test_errands_in_an_order(make_house):
    """The process's side, called here."""
    house = make_house("sqlite")
    for n in range(2):
        house.accept(b"%d" % n, [], [house.away(1)])
    [(dest, *_)] = house.run(house.spool.due(10))
    writer = writerprocess.Writer(house.folder)

    def ask(errand):
        ids = house.engine.new_ids(writerprocess.need([errand]))
        order = writerprocess.Order(
            house.spool.now(), house.engine.node_id, ids, [writerprocess.flat(errand)], house.engine.epoch
        )
        (result,) = writerprocess.pickle.loads(writer.answer([writerprocess.pickle.dumps(order)]))
        return result

    first, second = errands.leased(ask(errands.lease_errand([(dest, 5)], house.spool.now())))
    assert (first.kind, first.attempts) == (Kind.SMTP, 1)
    outcomes = [Outcome(first.id, Result.DELIVERED), Outcome(second.id, Result.RELEASED, due_at=1)]
    settled = errands.settled(ask(errands.settle_errand(outcomes)))
    assert settled.acked == (first.id, second.id)
    writer.close()
    assert waiting(house) == [(1, 0, 0, 0, 0)]
    assert house.counted()[0] == house.counted()[1]
