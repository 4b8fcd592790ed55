"""What a node file says of recipients: aliases, other names of domains, catch-alls, quotas, tags."""

import tomllib
from pathlib import Path

import pytest

from netsvc.config.complaints import Complaints
from netsvc.config.recipients import SEPARATORS, separator
from netsvc.config.rooms import Rooms
from netsvc.config.site import read_site
from netsvc.mail.address import parse_local
from netsvc.settings import SiteSettings
from netsvc.store.sitetoml import to_toml

BASE = """
domains = ["example.org"]
mailboxes = ["alice@example.org", "Bob@example.org"]
"""


def read(text):
    """-> (settings, complaints as one text)."""
    complaints = Complaints("site.toml")
    settings = read_site(complaints, tomllib.loads(BASE + text), Path("/"), Rooms({}, lambda *_: None))
    return settings, "\n".join(map(str, complaints.found))


WHOLE = """
subaddress = "-"
[aliases]
"info@example.org" = ["alice@example.org", "x@away.example"]
[domain_aliases]
"Other.example" = "example.org"
[catchalls]
"example.org" = "bob@example.org"
[quotas]
bytes = "1G"
messages = 10000
[quotas.mailboxes]
"alice@example.org" = "5G"
"bob@example.org" = { bytes = "2M", messages = 7 }
"""


def test_all_of_it():
    settings, wrong = read(WHOLE)
    assert wrong == ""
    assert settings.subaddress == "-"
    assert settings.aliases == {"info@example.org": ("alice@example.org", "x@away.example")}
    assert settings.domain_aliases == {"other.example": "example.org"}
    assert settings.catchalls == {"example.org": "bob@example.org"}
    assert settings.quota == (1 << 30, 10000)
    assert settings.mailbox_quotas == {"alice@example.org": (5 << 30, 0), "bob@example.org": (2 << 20, 7)}


def test_what_is_written_as_toml_is_read_back():
    settings, _ = read(WHOLE)
    again = tomllib.loads(to_toml(settings))["site"]
    complaints = Complaints("site.toml")
    assert read_site(complaints, again, Path("/"), Rooms({}, lambda *_: None)) == settings
    assert complaints.found == []
    assert "quotas" not in to_toml(SiteSettings())


def test_nothing_said():
    settings, wrong = read("")
    assert (wrong, settings.subaddress, settings.quota, settings.mailbox_quotas) == ("", "+", (0, 0), {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('subaddress = "ab"', "cannot divide"),
        ('subaddress = "a"', "cannot divide"),
        ("subaddress = 1", "not text"),
        ('[quotas]\nbytes = "much"', "not a size"),
        ("[quotas]\noctets = 5", "no key"),
        ('[quotas.mailboxes]\n"alice@example.org" = { octets = 5 }', "no key"),
        ('[quotas.mailboxes]\n"alice" = 5', "address is local-part@domain"),
        ('[quotas.mailboxes]\n"carol@example.org" = 5', "is not one of mailboxes"),
        ('[domain_aliases]\n"other.example" = "example.net"', "example.net is not one of domains"),
        ('[domain_aliases]\n"example.org" = "example.org"', "is one of domains too"),
        ('[domain_aliases]\n"other.example" = 7', "not text"),
        ('[catchalls]\n"example.net" = "alice@example.org"', "example.net is not one of domains"),
        ('[catchalls]\n"example.org" = "alice"', "local-part@domain"),
        ('[aliases]\n"a@example.org" = ["b@example.org"]\n"b@example.org" = ["A@example.org"]', "leads back to itself"),
        ('[aliases]\n"a@example.org" = ["A@example.org"]', "a@example.org -> a@example.org"),
        ('relay_domains = ["o.example"]\n[domain_aliases]\n"o.example" = "example.org"', "is one of domains too"),
    ],
)
def test_what_is_wrong_is_told(text, words):
    assert words in read(text)[1]


def test_aliases_that_meet_again_are_no_loop():
    text = """
[aliases]
"a@example.org" = ["b@example.org", "c@example.org"]
"b@example.org" = ["d@example.org"]
"c@example.org" = ["d@example.org"]
"d@example.org" = ["alice@example.org"]
"""
    assert read(text)[1] == ""


def test_separators_are_characters_of_local_parts():
    for character in SEPARATORS:
        assert separator(character) == character
        assert parse_local(f"a{character}b")
    assert separator("") == ""
