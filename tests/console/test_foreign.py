"""Commands of other mail systems."""

import pytest

from netsvc.console.foreign import PROGRAMS, translate
from netsvc.console.grammar import Grammar
from netsvc.console.table import commands

ID = "01ARZ3NDEKTSV"


@pytest.mark.parametrize(
    ("line", "ours", "looks"),
    [
        ("postqueue -p", "show queue", True),
        ("postqueue -f", "", False),
        ("sendmail -bp", "show queue", True),
        (f"postsuper -h {ID}", f"hold {ID}", False),
        ("postsuper -H ALL", "release all", False),
        ("postsuper -d 4BcDeF", 'delete ID reason "why"', False),
        ("postsuper -p", "", False),
        (f"postcat -q {ID}", f"show message {ID} source", False),
        ("qshape", "show queue summary", True),
        ("qshape -b 9 hold", "show queue summary where state=hold", True),
        ("exim -bpc", "show queue | count", True),
        (f"exim -Mrm {ID}.1 {ID}.2", f'delete {ID}.1 {ID}.2 reason "why"', False),
        ("exim -x", "", False),
        ("smtpctl show queue", "show queue", True),
        (f"smtpctl show message {ID}", f"show message {ID} source", False),
        (f"smtpctl schedule {ID}", f"retry {ID}", False),
        ("smtpctl remove all", 'delete all reason "why"', False),
        ("smtpctl", "", False),
    ],
)
def test_translations(line, ours, looks):
    program, _, rest = line.partition(" ")
    assert translate(program, rest) == (ours, looks)
    if ours and "ID" not in ours.split():
        assert Grammar(commands()).parse(ours, 0) is not None


def test_every_program_is_taken_and_hidden():
    taken = {command.name: command.hidden for command in commands()}
    assert all(taken[program] for program in PROGRAMS)
