"""How pvprep stops: every way out is a PvprepError, with words for a person and an exit status."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """Exit statuses, as pvprep(8) documents them."""

    DONE = 0
    NOT_READY = 1
    USAGE = 2
    PUT_BACK = 3
    HALF_WAY = 4


def told(name: str) -> str:
    """A name of the guest's as part of a sentence: a line break in it begins no line of ours."""
    return name.replace("\n", "\\n").replace("\r", "\\r")


class PvprepError(Exception):
    """Something a person has to know: what was found and where; the hint says what to do.

    The status is what the process exits with if nobody handles the error sooner.
    """

    def __init__(self, message: str, hint: str = "", status: Exit = Exit.PUT_BACK) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status


class PartlyPutBackError(PvprepError):
    """A run that failed, and what it had changed is not all as it was before."""


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to stop; as Ctrl-C it is no error that a part of it may handle."""


class UsageError(PvprepError):
    """The command line asks for something that does not exist or does not fit together."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint, Exit.USAGE)
