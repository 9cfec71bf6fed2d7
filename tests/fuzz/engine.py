"""A target under atheris, in a process that ends with it.

What fails is made smaller and kept, each kind of failure once; a file says what there was.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import atheris

with atheris.instrument_imports(include=["pvprep", "pvprep_dom0"]):
    import tests.fuzz.targets  # noqa: F401

from tests.fuzz.target import Target

SHRINKING = 5.0  # seconds


class Fuzzer:
    """Runs inputs, and goes on after a failure."""

    def __init__(self, target: Target, failures: Path) -> None:
        self.target = target
        self.failures = failures
        self.known: dict[str, str] = {}

    def __call__(self, data: bytes) -> None:
        failed = self.failure(data)
        if failed[0] and failed[0] not in self.known:
            small = self.smaller(data, failed[0])
            self.target.regressions.mkdir(parents=True, exist_ok=True)
            path = self.target.regressions / hashlib.sha256(small).hexdigest()[:12]
            path.write_bytes(small)
            self.known[failed[0]] = f"{failed[1]} ({path.name})"
            self.failures.write_text(json.dumps(self.known))

    def failure(self, data: bytes) -> tuple[str, str]:
        """What kind of failure an input is (type and innermost places), and its words; or ""s."""
        try:
            self.target.run(data)
        except (Exception, SystemExit) as error:
            frames = traceback.extract_tb(error.__traceback__)
            places = [f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in frames]
            ours = [place for place in places if not place.startswith(("target.py", "laws.py"))]
            where = "/".join(dict.fromkeys([*ours[-1:], places[-1]]))
            kind = f"{type(error).__name__} {where}"
            return kind, f"{kind}: {error!s:.200}"
        return "", ""

    def smaller(self, data: bytes, kind: str) -> bytes:
        """The same failure from fewer bytes, in a few seconds."""
        end = time.monotonic() + SHRINKING
        size = max(1, len(data) // 2)
        while size and time.monotonic() < end:
            at = 0
            while at < len(data) and time.monotonic() < end:
                shorter = data[:at] + data[at + size :]
                if self.failure(shorter)[0] == kind:
                    data = shorter
                else:
                    at += size
            size //= 2
        return data


def run(target: Target, failures: Path, arguments: Sequence[str]) -> NoReturn:
    """Fuzz until libFuzzer's time is over, and end this process. arguments: libFuzzer's."""
    atheris.Setup([sys.argv[0], *arguments], Fuzzer(target, failures))
    atheris.Fuzz()
    os._exit(0)
