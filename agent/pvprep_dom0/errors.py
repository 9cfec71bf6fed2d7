"""How pvprep-dom0 stops: every way out is a Dom0Error, with words for a person and a status."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """Exit statuses, as pvprep-dom0(8) documents them; the numbers are pvprep's own."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    PUT_BACK = 3
    HALF_WAY = 4


class Dom0Error(Exception):
    """Something a person has to know: what was found and where; the hint says what to do."""

    def __init__(self, message: str, hint: str = "", status: Exit = Exit.REFUSED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status


class UsageError(Dom0Error):
    """The command line, or the policy, asks for what does not exist or fit together."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint, Exit.USAGE)
