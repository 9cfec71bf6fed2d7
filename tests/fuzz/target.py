"""A target: something that reads what a guest may hold, and what it promises whatever that is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
REGRESSIONS = HERE / "regressions"
SECONDS = 5.0  # of processor time for one input, on a busy machine; they have at most 4 KiB


class Broken(AssertionError):
    """A promise that no exception of its own tells: too slow."""


@dataclass(frozen=True)
class Target:
    """name: family/what. check: raises where a promise is broken. seeds: inputs to begin with."""

    name: str
    check: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]

    @property
    def family(self) -> str:
        return self.name.partition("/")[0]

    @property
    def regressions(self) -> Path:
        """Where the inputs lie that once broke a promise."""
        return REGRESSIONS / self.name

    def run(self, data: bytes) -> None:
        """Check one input, and that it takes little time."""
        start = time.process_time()
        self.check(data)
        took = time.process_time() - start
        if took > SECONDS:
            raise Broken(f"{took:.1f} s for {len(data)} bytes")


def text(check: Callable[[str], Any]) -> Callable[[bytes], object]:
    """A check of a text, decoded as pvprep decodes the guest's files."""
    return lambda data: check(data.decode("utf-8", "surrogateescape"))


def files(*patterns: str, base: Path = CORPUS) -> Callable[[], list[bytes]]:
    """Seeds: the files that match, beneath the corpus unless told otherwise."""

    def read() -> list[bytes]:
        found = [path for pattern in patterns for path in sorted(base.glob(pattern))]
        assert found, patterns
        return [path.read_bytes() for path in found if path.is_file()]

    return read


@contextmanager
def refusing(*errors: type[Exception]) -> Iterator[None]:
    """These errors are a documented answer; each has words for a person."""
    try:
        yield
    except errors as error:
        assert str(error), f"{type(error).__name__} without a word"
