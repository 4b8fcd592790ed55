"""Telnet options by RFC 1143, the Q method: states first, then tables, then the few lines that run them.

For each option and each side there is one state.  NO and YES are agreed.
WANTYES means we have asked for it and wait for the answer, WANTNO that we have
asked for its end; *_OPPOSITE that we have changed our mind while waiting and
will ask for the other when the answer comes.  A request for the state that
holds already is never answered, so two sides cannot answer each other for ever
(the loop rule of RFC 854), and no answer takes more bytes than what it answers.

Option numbers: ECHO RFC 857, SGA RFC 858, TM RFC 860, NAWS RFC 1073, TTYPE
RFC 1091, BINARY RFC 856.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from netsvc.telnet.codec import DO, DONT, WILL, WONT, negotiation

BINARY: Final = 0
ECHO: Final = 1
SGA: Final = 3
TM: Final = 6
TTYPE: Final = 24
NAWS: Final = 31


class State(Enum):
    """Where one option of one side stands."""

    NO = "no"
    YES = "yes"
    WANTNO = "wantno"
    WANTNO_OPPOSITE = "wantno, opposite queued"
    WANTYES = "wantyes"
    WANTYES_OPPOSITE = "wantyes, opposite queued"


_S = State
_Move = tuple[State, bool | None]
"""The state that follows, and what is sent: True the yes verb, False the no verb, None nothing."""

_ON_YES: Final[dict[State, _Move]] = {  # the peer says WILL (of its side) or DO (of ours); NO is the policy's matter
    _S.YES: (_S.YES, None),
    _S.WANTNO: (_S.NO, None),  # an error of the peer's: our "no" was answered with "yes"
    _S.WANTNO_OPPOSITE: (_S.YES, None),  # the same
    _S.WANTYES: (_S.YES, None),
    _S.WANTYES_OPPOSITE: (_S.WANTNO, False),
}
_ON_NO: Final[dict[State, _Move]] = {  # the peer says WONT or DONT
    _S.NO: (_S.NO, None),
    _S.YES: (_S.NO, False),
    _S.WANTNO: (_S.NO, None),
    _S.WANTNO_OPPOSITE: (_S.WANTYES, True),
    _S.WANTYES: (_S.NO, None),
    _S.WANTYES_OPPOSITE: (_S.NO, None),
}
_ENABLE: Final[dict[State, _Move]] = {  # we want it
    _S.NO: (_S.WANTYES, True),
    _S.YES: (_S.YES, None),
    _S.WANTNO: (_S.WANTNO_OPPOSITE, None),
    _S.WANTNO_OPPOSITE: (_S.WANTNO_OPPOSITE, None),
    _S.WANTYES: (_S.WANTYES, None),
    _S.WANTYES_OPPOSITE: (_S.WANTYES, None),
}
_DISABLE: Final[dict[State, _Move]] = {  # we want it no longer
    _S.NO: (_S.NO, None),
    _S.YES: (_S.WANTNO, False),
    _S.WANTNO: (_S.WANTNO, None),
    _S.WANTNO_OPPOSITE: (_S.WANTNO, None),
    _S.WANTYES: (_S.WANTYES_OPPOSITE, None),
    _S.WANTYES_OPPOSITE: (_S.WANTYES_OPPOSITE, None),
}


class Side:
    """The options of one side.  ``yes`` and ``no`` are our verbs about it; ``accepted`` what the peer may begin."""

    __slots__ = ("_accepted", "_no", "_states", "_yes")

    def __init__(self, yes: int, no: int, accepted: frozenset[int]) -> None:
        self._yes = yes
        self._no = no
        self._accepted = accepted
        self._states: dict[int, State] = {}

    def state(self, option: int) -> State:
        """Where ``option`` stands."""
        return self._states.get(option, State.NO)

    def enable(self, option: int) -> bytes:
        """Ask for ``option`` -> what to send."""
        return self._move(option, _ENABLE[self.state(option)])

    def disable(self, option: int) -> bytes:
        """Ask for the end of ``option`` -> what to send."""
        return self._move(option, _DISABLE[self.state(option)])

    def hear_yes(self, option: int) -> bytes:
        """Take the peer's wish for, or yes to, ``option`` -> what to send."""
        state = self.state(option)
        if state is State.NO:
            accepted = option in self._accepted
            return self._move(option, (State.YES if accepted else State.NO, accepted))
        return self._move(option, _ON_YES[state])

    def hear_no(self, option: int) -> bytes:
        """Take the peer's no to ``option`` -> what to send."""
        return self._move(option, _ON_NO[self.state(option)])

    def _move(self, option: int, move: _Move) -> bytes:
        state, say = move
        if state is State.NO:
            self._states.pop(option, None)  # a flood of refused options leaves nothing behind
        else:
            self._states[option] = state
        if say is None:
            return b""
        return negotiation(self._yes if say else self._no, option)


class Options:
    """Both sides of one connection: ``us`` (we say WILL and WONT) and ``him`` (we say DO and DONT).

    What nobody but a client ever begins is accepted: BINARY either way, and that it suppresses go-aheads.
    Everything else it offers or asks for is refused.
    """

    __slots__ = ("him", "us")

    def __init__(self) -> None:
        self.us = Side(WILL, WONT, frozenset({ECHO, SGA, BINARY}))
        self.him = Side(DO, DONT, frozenset({SGA, NAWS, TTYPE, BINARY}))

    def opening(self) -> bytes:
        """Return what a session begins with (CONSOLE.md C7): never DO SGA, which makes busybox drop our own SGA."""
        return self.us.enable(ECHO) + self.us.enable(SGA) + self.him.enable(NAWS) + self.him.enable(TTYPE)

    def hear(self, verb: int, option: int) -> bytes:
        """Take one negotiation -> what to answer.  DO TM is not a state: its answer is the session's (RFC 860)."""
        if verb == DO:
            return b"" if option == TM else self.us.hear_yes(option)
        if verb == DONT:
            return self.us.hear_no(option)
        if verb == WILL:
            return self.him.hear_yes(option)
        return self.him.hear_no(option)
