"""Signals while python-apt works: an exception in what it calls is printed, and it goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Optional

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Held:
    """While it is entered a signal is only noted; it comes when it is left. number: 0, or which."""

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Held:
        self._hold()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._let_go()
        if self.number:
            signal.raise_signal(self.number)

    @contextmanager
    def released(self) -> Iterator[None]:
        """For what does raise, and handles that, on its own."""
        self._let_go()
        try:
            yield
        finally:
            self._hold()

    def _hold(self) -> None:
        # One that is ignored, or whose handler is not Python's (None), stays as it is.
        there = {number: signal.getsignal(number) for number in _NUMBERS}
        self._before = {
            number: signal.signal(number, self._note)
            for number, handler in there.items()
            if handler not in (signal.SIG_IGN, None)
        }

    def _let_go(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: Optional[FrameType]) -> None:
        self.number = number
