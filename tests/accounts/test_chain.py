"""--auth: specifications to one checker."""

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import Portal

from netsvc.accounts.chain import auth_chain, check_spec
from netsvc.accounts.realm import Realm
from netsvc.interfaces import IOperator


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("pam:netsvc", "not supported yet"),
        ("file:/etc/x", "plain text.*passwd"),
        ("unix", "passwd"),
        ("memory:a:b", "passwd"),
        ("anonymous", "passwd"),
        ("ldap:\x1b", "ldap is unknown"),
        ("store:x", "no argument"),
        ("passwd", "path"),
    ],
)
def test_what_is_refused_is_refused_with_a_word_about_what_works(spec, said, rows, hasher, counters):
    with pytest.raises(ValueError, match=said):
        check_spec(spec)
    with pytest.raises(ValueError, match=said):
        auth_chain([spec], rows, hasher, counters)


def test_the_chain_is_tried_in_order_and_serves_a_portal(rows, hasher, counters, add, result, tmp_path):
    add("ann", "secret-1", role=1)
    add("eve", "secret-3", role=2)
    path = tmp_path / "passwd"
    path.touch(0o600)
    path.write_text(f"bob:{result(hasher.hash('secret-2'))}:admin\n")
    other = InMemoryUsernamePasswordDatabaseDontUse(eve=b"evil")
    chain = auth_chain([f"passwd:{path}", "store", other], rows, hasher, counters)
    portal = Portal(Realm(rows), [chain])
    for name, password, role in (
        (b"ann", b"secret-1", "viewer"),
        (b"bob", b"secret-2", "admin"),
        (b"eve", b"evil", "operator"),
    ):
        avatar = result(portal.login(UsernamePassword(name, password), None, IOperator))[1]
        assert (avatar.name, avatar.role) == (name.decode(), role)


def test_a_wrong_password_file_stops_the_start(rows, hasher, counters, tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        auth_chain([f"passwd:{tmp_path}/none"], rows, hasher, counters)
