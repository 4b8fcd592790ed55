"""docs/conformance.md lists the checks of the conformance suite: run this file as a script to write it anew."""

from pathlib import Path

from tests.smtp.conformance.book import CHECKS

PAGE = Path(__file__).parents[2] / "docs/conformance.md"
TITLES = {
    1035: "Domain names",
    1870: "SIZE",
    2033: "LMTP",
    2034: "Enhanced status codes in SMTP",
    2852: "DELIVERBY",
    2920: "PIPELINING",
    3030: "CHUNKING and BINARYMIME",
    3207: "STARTTLS",
    3461: "DSN",
    3462: "Multipart/report",
    3463: "Enhanced status codes",
    3464: "Delivery status notifications",
    3848: "Words of the trace field",
    4616: "PLAIN",
    4865: "FUTURERELEASE",
    4954: "AUTH",
    5321: "SMTP",
    5322: "Internet Message Format",
    5598: "Internet Mail Architecture",
    6152: "8BITMIME",
    6409: "Message submission",
    6531: "SMTPUTF8",
    6532: "Internationalized headers",
    6533: "Internationalized delivery status",
    6710: "MT-PRIORITY",
    8314: "Cleartext considered obsolete",
    8689: "REQUIRETLS",
    9422: "LIMITS",
}
INTRODUCTION = """\
# Conformance

What the receiving side is checked for, by RFC and section: {count} checks. Each is a dialogue that is held with the silent
session (`tests/smtp/test_conformance.py`: whole, cut at each octet, byte by byte) and with the running service
(`tests/system/test_conformance.py`: turn by turn, whole, byte by byte); replies, and what is kept, are the same each time.

The suite is about listeners. What concerns mail on its way out (RFC 7504, 7505, 7672, 8461) and the checks of content
(RFC 8601) is tested with the parts that do it.
"""


def page():
    """The page as it should be."""
    text = INTRODUCTION.format(count=len(CHECKS))
    for rfc, title in TITLES.items():
        text += f"\n## RFC {rfc}: {title}\n\n| section | what is checked |\n|---|---|\n"
        checks = sorted((check for check in CHECKS if check.rfc == rfc), key=lambda check: order(check.section))
        text += "".join(f"| {check.section} | {check.says} |\n" for check in checks)
    return text


def order(section):
    """Numbers before letters, 4.2 before 4.10."""
    return [(word.isalpha(), int(word) if word.isdigit() else 0, word) for word in section.split(".")]


def test_the_page_lists_all_checks():
    assert PAGE.read_text("utf-8") == page()
    assert TITLES.keys() == {check.rfc for check in CHECKS}


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
