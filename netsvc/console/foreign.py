"""Commands of other mail systems in our words (quiet; CONSOLE.md 3.7)."""

from __future__ import annotations

from netsvc.mail.ids import LENGTH

PROGRAMS = ("postqueue", "postsuper", "postcat", "qshape", "exim", "sendmail", "smtpctl")
"""Words that are taken, each with whatever follows it."""

_POSTSUPER = {"-h": "hold {}", "-H": "release {}", "-d": 'delete {} reason "why"', "-r": "retry {}"}
_EXIM = {
    "-bp": "show queue",
    "-bpc": "show queue | count",
    "-Mf": "hold {}",
    "-Mt": "release {}",
    "-M": "retry {}",
    "-Mrm": 'delete {} reason "why"',
    "-Mvh": "show message {} headers",
    "-Mvb": "show message {} body",
    "-Mvc": "show message {} source",
    "-Mvl": "show message {} attempts",
}
_SMTPCTL = {
    "show queue": "show queue",
    "show stats": "show queue summary",
    "show message": "show message {} source",
    "schedule": "retry {}",
    "pause": "hold {}",
    "remove": 'delete {} reason "why"',
}
_STATES = {"incoming", "active", "deferred", "hold"}


def translate(program: str, rest: str) -> tuple[str, bool]:
    """Return (our command, whether it only looks and so may be run) for ``program rest``; ("", False) for none."""
    words = rest.split()
    first, target = (words[0] if words else ""), " ".join(words[1:])
    ours = ""
    if program in {"postqueue", "sendmail"}:
        ours = "show queue" if first in {"-p", "-j", "-bp"} else ""
    elif program == "postsuper":
        ours = _POSTSUPER.get(first, "")
    elif program == "postcat":
        ours = "show message {} source"
    elif program == "qshape":
        states = [word for word in words if word in _STATES]
        ours = "show queue summary" + (f" where state={states[0]}" if states else "")
    elif program == "exim":
        ours = _EXIM.get(first, "")
    else:
        ours = _SMTPCTL.get(" ".join(words[:2])) or _SMTPCTL.get(first, "")
        target = " ".join(words[2:] if first == "show" else words[1:])
    looks = ours.startswith("show queue")
    return ours.format(_target(target)), looks


def _target(text: str) -> str:
    """Return what an action would be pointed at: ids stay, ALL is all, other systems' ids cannot be ours."""
    words = text.split()
    if "ALL" in words or "all" in words:
        return "all"
    ids = [word for word in words if len(word.partition(".")[0]) == LENGTH and word.isascii() and word.isprintable()]
    return " ".join(ids[:5]) or "ID"
