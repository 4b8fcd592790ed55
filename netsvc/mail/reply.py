"""Every reply this service sends on the SMTP wire: one table.

A row is a code, an enhanced status (RFC 3463) whose class is the code's first
digit, and a public sentence that tells nothing of the inside.  Rows that need a
word from the session (a queue id, a limit) hold ``{}`` fields; ``Reply.fill``
puts escaped words there.  What really went wrong belongs in the logbook.
"""

from __future__ import annotations

from dataclasses import dataclass

from netsvc.mail.escape import escape

MAX_TEXT = 400
"""Characters of text in one reply line; RFC 5321 4.5.3.1.5 allows 512 octets in all."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply: ``code`` 200..599, ``status`` "x.y.z" or "" (greeting, HELO, 354), ``lines`` of public text."""

    code: int
    status: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines as one text."""
        return " ".join(self.lines)

    @property
    def positive(self) -> bool:
        """Whether the client may go on: 2xx or 3xx."""
        return self.code < 400

    @property
    def permanent(self) -> bool:
        """Whether repeating the command would fail again: 5xx."""
        return self.code >= 500

    def fill(self, **words: object) -> Reply:
        """Return this reply with its ``{name}`` fields filled by escaped words, each cut to 200 characters."""
        safe = {k: escape(str(v), 200) for k, v in words.items()}
        return Reply(self.code, self.status, tuple(line.format(**safe) for line in self.lines))

    def __bytes__(self) -> bytes:
        """Return the wire form, CRLF ended, each line with code and status."""
        out = []
        last = len(self.lines) - 1
        status = self.status + " " if self.status else ""
        for i, line in enumerate(self.lines):
            out.append(f"{self.code}{' ' if i == last else '-'}{status}{line[:MAX_TEXT]}\r\n")
        return "".join(out).encode("ascii", "backslashreplace")


class ReplyError(Exception):
    """An operation that failed with a reply for the client; ``cause`` is for the logbook only."""

    def __init__(self, reply: Reply, cause: str = "") -> None:
        """Keep the public ``reply`` and the private ``cause``."""
        super().__init__(f"{reply.code} {reply.status} {reply.text}" + (f" ({cause})" if cause else ""))
        self.reply = reply
        self.cause = cause

    def __reduce__(self) -> tuple[type[ReplyError], tuple[Reply, str]]:
        """Say how to make it again: the writer process sends it through a pipe."""
        return ReplyError, (self.reply, self.cause)


def _row(code: int, status: str, *lines: str) -> Reply:
    return Reply(code, status, lines)


GREETING = _row(220, "", "{hostname} ESMTP netsvc")
READY_FOR_TLS = _row(220, "2.0.0", "Ready to start TLS")
LMTP_GREETING = _row(220, "", "{hostname} LMTP netsvc")
HELP = _row(214, "2.0.0", "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT", "RFC 5321 says the rest")
BYE = _row(221, "2.0.0", "{hostname} closing connection")
OK = _row(250, "2.0.0", "Ok")
HELLO = _row(250, "", "{hostname}")
SENDER_OK = _row(250, "2.1.0", "Sender ok")
RECIPIENT_OK = _row(250, "2.1.5", "Recipient ok")
CHUNK_TAKEN = _row(250, "2.0.0", "{octets} octets received")
QUEUED = _row(250, "2.0.0", "{id} queued")
AUTHENTICATED = _row(235, "2.7.0", "Authentication succeeded")
CANNOT_VERIFY = _row(252, "2.0.0", "Cannot verify the user, but will accept mail and try delivery")
START_MAIL = _row(354, "", "End data with <CRLF>.<CRLF>")

ENDED = _row(421, "4.3.2", "{hostname} closing connection")
ENDED_BECAUSE = _row(421, "4.7.0", "{hostname} closing connection: {reason}")
PAUSED = _row(421, "4.3.2", "{hostname} takes no mail here for now")
BLOCKED_FOR_NOW = _row(421, "4.7.1", "{hostname} takes no mail from {peer} for now")
SHUTTING_DOWN = _row(421, "4.3.2", "{hostname} is shutting down, closing connection")
TOO_BUSY = _row(421, "4.3.2", "{hostname} too busy, try again later")
TOO_MANY_CONNECTIONS = _row(421, "4.7.0", "{hostname} too many connections")
TIMED_OUT = _row(421, "4.4.2", "{hostname} timeout, closing connection")
TOO_MANY_MESSAGES = _row(421, "4.7.0", "{hostname} too many messages in this session, closing connection")
TOO_MANY_LOGINS = _row(421, "4.7.0", "{hostname} too many failed logins, closing connection")
TOO_MANY_ERRORS = _row(421, "4.7.0", "{hostname} too many errors, closing connection")
TOO_MANY_UNKNOWN = _row(421, "4.7.0", "{hostname} too many unknown recipients, closing connection")
TOO_MUCH_MAIL = _row(450, "4.7.1", "Too much mail for now, try again later")
TOO_MANY_RECIPIENTS_NOW = _row(450, "4.7.1", "Too many recipients for now, try again later")
NOT_TAKEN = _row(451, "4.3.0", "Requested action aborted: local error in processing")
MAILBOX_FULL_NOW = _row(452, "4.2.2", "The mailbox is full")
TOO_MANY_TARGETS = _row(451, "4.2.4", "The address stands for more than {limit} others")
TOO_DEEP = _row(451, "4.2.4", "The address leads on more than {limit} times")
NO_POSTMASTER = _row(451, "4.3.5", "There is no postmaster yet")
NO_SPACE = _row(452, "4.3.1", "Insufficient system storage")
TOO_MANY_RECIPIENTS = _row(452, "4.5.3", "Too many recipients, send the rest in another transaction")
LOGIN_NOT_TRIED = _row(454, "4.7.0", "Temporary authentication failure")

LINE_TOO_LONG = _row(500, "5.5.2", "Line too long")
AUTH_LINE_TOO_LONG = _row(500, "5.5.6", "Authentication exchange line is too long")
UNKNOWN_COMMAND = _row(500, "5.5.2", "Command not recognized")
SYNTAX = _row(501, "5.5.4", "Syntax: {usage}")
BAD_ARGUMENT = _row(501, "5.5.4", "{why}")
BAD_BASE64 = _row(501, "5.5.2", "Cannot decode the response")
AUTH_CANCELLED = _row(501, "5.7.0", "Authentication cancelled")
BAD_SENDER = _row(501, "5.1.7", "Bad sender address syntax: {why}")
BAD_RECIPIENT = _row(501, "5.1.3", "Bad recipient address syntax: {why}")
NEEDS_SMTPUTF8 = _row(553, "5.6.7", "Address is not ASCII")
BAD_UTF8 = _row(553, "5.6.7", "Bad address beyond ASCII: {why}")
NOT_IMPLEMENTED = _row(502, "5.5.1", "Command not implemented")
BAD_SEQUENCE = _row(503, "5.5.1", "Bad sequence of commands: {why}")
NO_SUCH_MECHANISM = _row(504, "5.5.4", "Unrecognized authentication type")
AUTH_REQUIRED = _row(530, "5.7.0", "Authentication required")
STARTTLS_FIRST = _row(530, "5.7.0", "Must issue a STARTTLS command first")
LOGIN_FAILED = _row(535, "5.7.8", "Authentication credentials invalid")
ENCRYPTION_REQUIRED = _row(538, "5.7.11", "Encryption required for requested authentication mechanism")
NO_VALID_RECIPIENTS = _row(554, "5.5.1", "No valid recipients")
UNKNOWN_PARAMETER = _row(555, "5.5.4", "Parameter {name} not recognized or not implemented")
BARE_LF = _row(550, "5.5.2", "bare <LF> received")
BARE_CR = _row(550, "5.5.2", "bare <CR> received")
NUL_BYTE = _row(550, "5.5.2", "NUL byte received")
UNKNOWN_USER = _row(550, "5.1.1", "No such user here")
ADDRESS_LOOP = _row(550, "5.4.6", "The address leads back to itself")
RELAY_DENIED = _row(550, "5.7.1", "Relaying denied")
NEEDS_AUTHENTICATION = _row(550, "5.7.1", "Parameter {name} needs an authenticated session")
SENDER_NOT_YOURS = _row(553, "5.7.1", "You may not send as this address")
MAILBOX_FULL = _row(552, "5.2.2", "The message exceeds the quota of the mailbox")
MESSAGE_TOO_LARGE = _row(552, "5.3.4", "Message exceeds the size limit of {limit} octets")
HEADER_TOO_LARGE = _row(552, "5.3.4", "Message header exceeds the limit of {limit} octets")
STARTTLS_INJECTION = _row(554, "5.5.1", "Data after STARTTLS, closing connection")
BLOCKED = _row(554, "5.7.1", "{hostname} takes no mail from {peer}")
NOT_SMTP = _row(554, "5.5.1", "This is an SMTP service, closing connection")
EARLY_TALKER = _row(554, "5.5.1", "{hostname} spoken to before it greeted, closing connection")
LISTED = _row(550, "5.7.1", "Client [{ip}] is listed by {lists}: {why}")
LISTED_NOW = _row(450, "4.7.1", "Client [{ip}] is listed by {lists}: {why}")
BAD_HELO = _row(550, "5.7.1", "HELO name {name} refused: {why}")
BAD_HELO_NOW = _row(450, "4.7.1", "HELO name {name} refused: {why}")
NO_REVERSE_NAME = _row(550, "5.7.25", "Client [{ip}] refused: {why}")
NO_REVERSE_NAME_NOW = _row(450, "4.7.25", "Client [{ip}] refused for now: {why}")
GREYLISTED = _row(450, "4.7.1", "Greylisted, try again in {seconds} seconds")
MAIL_LOOP = _row(554, "5.4.6", "Too many hops, this message is looping")
SPF_FAIL = _row(550, "5.7.23", "{domain} does not let {peer} send its mail (SPF)")
SPF_UNSURE = _row(451, "4.7.24", "The SPF record of {domain} cannot be looked up now, try again later")
DKIM_FAIL = _row(550, "5.7.20", "No valid DKIM signature")
DKIM_UNSURE = _row(451, "4.7.20", "The key of a DKIM signature cannot be looked up now, try again later")
DMARC_FAIL = _row(550, "5.7.26", "Mail of {domain} is refused as it asks by DMARC: neither SPF nor DKIM vouches for it")
DMARC_UNSURE = _row(451, "4.7.26", "DMARC of {domain} cannot be checked now, try again later")
BAD_AUTHOR = _row(550, "5.7.1", "The From field is missing, repeated, or no mailbox")
FORGED_RESULTS = _row(550, "5.7.1", "Authentication-Results of ours cannot come from outside")
FILTER_REJECTED = _row(550, "5.7.1", "{text}")
FILTER_DEFERRED = _row(451, "4.7.1", "{text}")
TRANSACTION_FAILED = _row(554, "5.0.0", "Transaction failed")


def queued(queue_id: str) -> Reply:
    """Return QUEUED with its queue id, which needs no escaping."""
    return Reply(QUEUED.code, QUEUED.status, (QUEUED.lines[0].format(id=queue_id),))


TABLE: dict[str, Reply] = {k: v for k, v in list(globals().items()) if isinstance(v, Reply)}
"""Every row by its name."""
