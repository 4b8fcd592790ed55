"""The control socket and netsvcctl: machine mode as CONSOLE 3.12 writes it, exit codes, and what needs a confirmation."""

import json
import re
import stat

import pytest

from tests.system.wire import Control, send

HEAD = b"From: <a@example.net>\r\nSubject: x\r\n\r\n"

FIELDS = set(
    """id msg n state domain rcpt sender user peer listener size rcpts subject msgid age queued next last attempts
    expires code status reason error route host tag held_by held_why node""".split()  # noqa: SIM905 - reads as the contract writes it
)


@pytest.fixture(scope="module")
def queue(house):
    """Five deferred messages in the shared service, each for a destination of its own; -> their ids."""
    ids = [send(house.ports["smtp"], "s@example.net", [f"r{n}@q{n}.queue.example"], HEAD + b"x\r\n") for n in range(5)]
    house.wait("delivery.done", count=5, result="deferred")
    return ids


def test_hello_says_who_and_what(house, control):
    operator = control(house)
    assert operator.hello["proto"] == "netsvc-console/1"
    assert operator.hello["node"] == "mx1.example.org" or operator.hello["node"] == "mx1"
    assert operator.hello["role"] == "admin"


def test_the_socket_is_for_root_and_the_services_own_user(house):
    assert stat.S_IMODE(house.control.stat().st_mode) & 0o007 == 0


def test_each_command_has_exactly_one_end_with_its_tag(house, queue, control):
    operator = control(house)
    operator.send(b"@a show queue\n@b nonsense\n\n# a comment\n@c show queue where age>\n@d show mailboxes | count\n")
    tags = {}
    while len(tags) < 4:
        record = json.loads(operator.read_line(b"\n"))
        if "end" in record and record["end"]["tag"]:
            assert record["end"]["tag"] not in tags
            tags[record["end"]["tag"]] = record["end"]["status"]
    assert tags == {"a": "ok", "b": "error", "c": "error", "d": "ok"}


def test_rows_hold_the_fields_of_their_schema(house, queue, control):
    operator = control(house)
    answer = operator.ask("show queue where domain=*.queue.example")
    assert answer.end["schema"] == "queue.item/1"
    assert answer.end["rows"] == len(answer.rows) == 5
    for row in answer.rows:
        assert row.keys() >= FIELDS
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", row["queued"])
        assert isinstance(row["age"], int | float)
        assert isinstance(row["size"], int)
        assert row["tag"] is None
    assert {r["id"] for r in answer.rows} == {f"{i}.1" for i in queue}


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("shwo queue", "E101"),
        ("show", "E103"),
        ("show queue where domian=x", "E201"),
        ('show queue where age>"5 parsecs"', "E202"),
        ("show queue where age>", "E204"),
        ("hold where domain=*.queue.example", "E303"),
        ("hold where domain=*.queue.example expect 412", "E304"),
        ("delete where domain=*.queue.example expect any", "E306"),
        ("show message 0000000000000", "E401"),
        ("show queue where rcpt~(", "E205"),
    ],
)
def test_errors_have_their_codes(house, queue, control, command, code):
    answer = control(house).ask(command)
    assert answer.end["status"] == "error"
    assert answer.error["code"] == code, answer.objects


def test_preview_token_and_confirm(house, queue, control):
    operator = control(house)
    preview = operator.ask('hold where domain=*.queue.example reason "look" dry-run').preview
    assert preview["count"] == 5
    assert operator.rows("show queue hold") == []
    operator.do(f"hold confirm {preview['token']}")
    held = operator.rows("show queue hold")
    assert {r["id"] for r in held} == {f"{i}.1" for i in queue}
    assert {r["held_why"] for r in held} == {"look"}
    assert operator.ask(f"hold confirm {preview['token']}").end["status"] == "error"
    operator.do("release where domain=*.queue.example expect 5")
    assert operator.rows("show queue hold") == []


def test_delete_undelete_and_undo(house, queue, control):
    operator = control(house)
    operator.do(f'delete {queue[0]}.1 reason "test" expect 1')
    assert f"{queue[0]}.1" not in {r["id"] for r in operator.rows("show queue")}
    operator.do(f"undelete {queue[0]}.1 expect 1")
    operator.do('delete where domain=*.queue.example reason "test" expect 5')
    operator.do("undo expect any")
    assert {f"{i}.1" for i in queue} <= {r["id"] for r in operator.rows("show queue")}


def test_netsvcctl_prints_and_exits(house, queue):
    assert queue[0] in house.netsvcctl("show queue").stdout
    records = [
        json.loads(x) for x in house.netsvcctl("--json", "show queue where domain=*.queue.example").stdout.splitlines()
    ]
    assert sum("row" in r for r in records) == 5
    assert house.netsvcctl("shwo queue", check=False).returncode in (1, 2)
    assert house.netsvcctl("show message 0000000000000", check=False).returncode == 6
    assert house.netsvcctl("hold where domain=*.queue.example expect 412", check=False).returncode == 4
    assert house.netsvcctl(
        "export-mailbox", "nobody@example.org", str(house.folder / "none"), check=False
    ).returncode in (1, 6)


def test_netsvcctl_without_a_service_says_so(make_service):
    service = make_service()
    done = service.netsvcctl("show queue", check=False)
    assert done.returncode not in (0, None)
    assert "console.sock" in done.stderr


def test_a_vanished_client_and_a_flood_of_lines_are_survived(house, control):
    operator = Control(house.control)
    operator.send(b"show mailboxes\n" * 2000)
    operator.close()
    operator = Control(house.control)
    operator.send(b"x" * 200_000 + b"\n")
    operator.close()
    assert control(house).rows("show mailboxes")


def test_a_human_shell_on_the_socket(house):
    done = house.netsvcctl(data="show mailboxes\nexit\n")
    assert "alice@example.org" in done.stdout


def test_commands_on_standard_input_tell_the_first_failure(house):
    commands = "show version\nshow message 0SAN0KEVC0400\nnonsense\nshow mailboxes\n"
    for arguments in ((), ("--json",)):
        done = house.netsvcctl(*arguments, check=False, data=commands)
        assert done.returncode == 6, done.stdout
        assert "example.org" in done.stdout.rpartition("nonsense")[2]
        assert "\0" not in done.stdout
        assert house.netsvcctl(*arguments, data="show version\n").returncode == 0
