"""The file maildirsize: read, believed, counted anew, added to."""

import os

import pytest

from netsvc.delivery.maildirquota import FullError, Known, Quota, add, count, make_room, parse_quota, read_size


@pytest.fixture
def box(tmp_path):
    for name in ("cur", "new", "tmp", ".Sent", ".Sent/cur", ".Sent/new", ".Trash", ".Trash/cur", ".odd"):
        (tmp_path / name).mkdir()
    (tmp_path / "new" / "1.a,S=100").write_bytes(b"x")
    (tmp_path / "cur" / "2.b:2,S").write_bytes(b"x" * 50)
    (tmp_path / "cur" / "3.c,S=7:2,ST").write_bytes(b"deleted")
    (tmp_path / "new" / ".hidden").write_bytes(b"no mail")
    (tmp_path / ".Sent" / "cur" / "4.d,S=30,W=33:2,S").write_bytes(b"x")
    (tmp_path / ".Trash" / "cur" / "5.e,S=9000").write_bytes(b"x")
    (tmp_path / ".link").symlink_to(tmp_path / ".Trash")
    return tmp_path


@pytest.fixture
def folder(box):
    number = os.open(box, os.O_RDONLY)
    yield number
    os.close(number)


def room(folder, size, quota=Quota()):  # noqa: B008 - a frozen value
    tmp = os.open("tmp", os.O_RDONLY, dir_fd=folder)
    try:
        make_room(folder, tmp, quota, size, "ours")
    finally:
        os.close(tmp)


@pytest.mark.parametrize(
    ("line", "quota"),
    [
        (b"1000S,10C", Quota(1000, 10)),
        (b"5C", Quota(0, 5)),
        (b"0S", Quota()),
        (b"", None),
        (b"1000", None),
        (b"10X", None),
        (b"-1S", None),
        (b"9" * 30 + b"S", None),
    ],
)
def test_quota_lines(line, quota):
    assert parse_quota(line) == quota


def test_lines_and_room():
    assert Quota(1000, 10).line() == b"1000S,10C\n"
    assert Quota(0, 10).line() == b"10C\n"
    assert Quota().leaves_room(1 << 60, 1 << 30)
    assert not Quota(10).leaves_room(11, 1)
    assert not Quota(0, 1).leaves_room(1, 2)
    assert not Quota()


def test_counting(folder):
    assert count(folder) == (180, 3)


def test_nobody_counts_where_nobody_says_so(box, folder):
    room(folder, 1 << 40)
    add(folder, 5)
    assert not (box / "maildirsize").exists()
    (box / "maildirsize").write_bytes(b"0S\n")
    room(folder, 1 << 40)
    add(folder, 5)
    assert (box / "maildirsize").read_bytes() == b"0S\n5 1\n"


def test_the_first_mail_makes_the_file(box, folder):
    room(folder, 20, Quota(200, 0))
    add(folder, 20)
    assert (box / "maildirsize").read_bytes() == b"200S\n180 3\n20 1\n"
    with pytest.raises(FullError):
        room(folder, 21, Quota(10_000, 0))  # what the folder says itself counts
    assert list((box / "tmp").iterdir()) == []


def test_the_file_is_believed_while_there_is_room(box, folder):
    (box / "maildirsize").write_bytes(b"1000S\n  10 1\n\t20   2\n-5 -1\n")
    known = read_size(folder, Quota())
    assert (known.octets, known.messages, known.lines, known.sound) == (25, 2, 3, True)
    room(folder, 900)
    assert b"  10 1" in (box / "maildirsize").read_bytes()


def test_one_that_says_full_is_counted_anew(box, folder):
    (box / "maildirsize").write_bytes(b"1000S\n500 1\n499 1\n")
    room(folder, 100)
    assert (box / "maildirsize").read_bytes() == b"1000S\n180 3\n"
    (box / "maildirsize").write_bytes(b"1000S\n999 1\n")
    with pytest.raises(FullError):  # it was counted a moment ago
        room(folder, 100)
    os.utime(box / "maildirsize", (1, 1))
    room(folder, 100)


@pytest.mark.parametrize(
    "data", [b"1000S\nnonsense\n", b"1000S\n10 1", b"1000S\n-10 1\n", b"1000S\n" + b"1 1\n" * 2000]
)
def test_one_that_is_not_sound_is_counted_anew(box, folder, data):
    (box / "maildirsize").write_bytes(data)
    room(folder, 1)
    assert (box / "maildirsize").read_bytes() == b"1000S\n180 3\n"


def test_one_without_a_quota_takes_ours(box, folder):
    (box / "maildirsize").write_bytes(b"what\n1 1\n")
    with pytest.raises(FullError):
        room(folder, 1, Quota(100, 0))
    assert (box / "maildirsize").read_bytes() == b"100S\n180 3\n"


def test_a_link_is_not_followed(box, folder):
    (box / "elsewhere").write_bytes(b"1000S\n")
    (box / "maildirsize").symlink_to(box / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        room(folder, 1)
    with pytest.raises(OSError, match="symbolic"):
        add(folder, 1)


def test_what_a_crash_left_is_no_hindrance(box, folder):
    (box / "tmp" / "ours").write_bytes(b"half")
    room(folder, 1, Quota(1000, 0))
    assert (box / "maildirsize").read_bytes() == b"1000S\n180 3\n"


def test_known_defaults():
    assert Known(Quota()).sound
