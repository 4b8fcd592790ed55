"""What a checked name may become."""

import pytest
from twisted.cred.error import LoginDenied
from twisted.cred.portal import IRealm
from zope.interface.verify import verifyObject

from netsvc.accounts.identity import Operator
from netsvc.accounts.realm import Realm
from netsvc.interfaces import IOperator
from netsvc.records import FLAG_LOCKED


def test_our_checkers_operators_are_avatars(rows, result):
    realm = Realm(rows)
    verifyObject(IRealm, realm)
    ann = Operator("ann", "viewer")
    interface, avatar, logout = result(realm.requestAvatar(ann, None, IOperator))
    assert (interface, avatar) == (IOperator, ann)
    verifyObject(IOperator, avatar)
    logout()


def test_a_strangers_checker_gives_a_name_whose_account_says_the_role(rows, add, result):
    add("ann", "x", role=2)
    assert result(Realm(rows).requestAvatar(b"ann", None, IOperator))[1].role == "operator"


@pytest.mark.parametrize("avatar", [b"bob", "", (), "mail", "loc", Operator("ann", "none")])
def test_who_has_no_role_is_denied(rows, add, result, avatar):
    add("mail", "x", role=0)
    add("loc", "x", flags=FLAG_LOCKED)
    with pytest.raises(LoginDenied):
        result(Realm(rows).requestAvatar(avatar, None, IOperator))


def test_only_operators_are_avatars(rows):
    with pytest.raises(NotImplementedError):
        Realm(rows).requestAvatar("ann", None, IRealm)
