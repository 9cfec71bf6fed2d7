"""The real pygrub of Debian's xen-utils-4.17, for tests to compare with."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import io
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Optional

import pytest

PROGRAM = Path("/usr/lib/xen-4.17/bin/pygrub")
LIBRARY = "/usr/lib/xen-4.17/lib/python"


def require() -> None:
    """The comparison is what these tests are for: without pygrub they fail."""
    if not PROGRAM.exists():
        pytest.fail(f"{PROGRAM} is missing: install Debian's xen-utils-4.17")


def load() -> ModuleType:
    """pygrub's functions, to be called in this process; leaves sys.path and /usr as they were."""
    require()
    path, bytecode = list(sys.path), sys.dont_write_bytecode
    sys.path.insert(0, LIBRARY)
    sys.dont_write_bytecode = True  # else it writes next to the program
    try:
        loader = importlib.machinery.SourceFileLoader("real_pygrub", str(PROGRAM))
        spec = importlib.util.spec_from_loader("real_pygrub", loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its regular expressions are not raw strings
            loader.exec_module(module)
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = bytecode
    return module


@dataclass(frozen=True)
class Choice:
    """What the real one took, and all entries that it saw; kernel "" where it took none."""

    kernel: str = ""
    initrd: str = ""
    args: str = ""
    index: Optional[int] = None
    entries: tuple[tuple[str, str, str, str], ...] = ()


class _File:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, size: int, offset: int = 0) -> bytes:
        return self.content[offset : offset + size]


class _FileSystem:
    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    def file_exists(self, path: str) -> bool:
        return path in self.files

    def open_file(self, path: str) -> _File:
        return _File(self.files[path])


def choose(pygrub: Any, files: Mapping[str, bytes]) -> Choice:
    """Let pygrub look at one file system that has these files, as `pygrub -q` does."""
    pygrub.list_entries, pygrub.interactive, pygrub.g, pygrub.sel = False, False, None, None
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            taken = pygrub.run_grub("/dev/null", None, _FileSystem(files), "")
        except (Exception, SystemExit):  # its main loop, too, goes on to the next partition
            return Choice()
    if not taken["kernel"]:
        return Choice()
    images = pygrub.g.cf.images
    index = pygrub.sel if pygrub.sel < len(images) else 0
    entries = tuple((i.title, _name(i.kernel), _name(i.initrd), i.args or "") for i in images)
    return Choice(taken["kernel"], taken["ramdisk"] or "", taken["args"], index, entries)


def _name(value: Optional[tuple[object, str]]) -> str:
    return value[1] if value else ""


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program itself."""
    require()
    return subprocess.run([str(PROGRAM), *arguments], capture_output=True, check=False, timeout=60)
