"""Tag lists: RFC 6376 3.2."""

import pytest

from netsvc.policy.auth.taglist import MAX_TAGS, TagListError, read_tags, unspaced


def test_tags():
    assert read_tags("v=1; a = rsa-sha256 ;\r\n b=AB\r\n CD;") == {"v": "1", "a": "rsa-sha256", "b": "AB\r\n CD"}
    assert read_tags("") == {}
    assert read_tags("a=;b_1==x=") == {"a": "", "b_1": "=x="}
    assert unspaced(" A\r\n\tB ") == "AB"


@pytest.mark.parametrize(
    "text", ["a", "a=1;;b=2", "=1", "a=1;a=2", "1a=2", "_a=1", "ä=1", "a b=1", "a=1;" * (MAX_TAGS + 1)]
)
def test_what_is_none(text):
    with pytest.raises(TagListError):
        read_tags(text)
