"""What a package manager told its callbacks while it did something."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Optional, TypeVar

from pvprep.errors import PvprepError
from pvprep.guest import Line
from pvprep.packages.child import Progress
from pvprep.packages.manager import Manager

M = TypeVar("M", bound=Manager)


@dataclass
class Told:
    """Lines, progress, and the packages at the end; an error is kept, not raised."""

    lines: list[str] = field(default_factory=list)
    progress: list[tuple[Optional[float], str]] = field(default_factory=list)
    installed: dict[str, str] = field(default_factory=dict)
    error: Optional[PvprepError] = None
    answer: object = None

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @classmethod
    def of(cls, make: Callable[[Line, Progress], M], action: Callable[[M], object]) -> Told:
        """Let a manager act. make: gives it, with these callbacks."""
        told = cls()
        manager = make(told.lines.append, lambda done, text: told.progress.append((done, text)))
        try:
            told.answer = action(manager)
        except PvprepError as error:
            told.error = error
        with contextlib.suppress(PvprepError):
            told.installed = dict(manager.installed())
        return told
