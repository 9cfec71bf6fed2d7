"""pvprep as a person calls it on a mounted tree: a process of its own, its words kept apart."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.roots import snapshot, trees

AGENT = Path(__file__).resolve().parents[2] / "agent"
PYTHON = "/usr/bin/python3"  # python-apt belongs to it
# What a conversion and its undo leave: the journal itself, and the time of the directory it is in.
OURS = "/var/lib/pvprep"
LEFT = (f"{OURS}: new", "/var/lib: mtime")
# What apt, dpkg, dnf and rpm keep for themselves; no undo is promised for it. What is installed is
# compared apart, by name and version.
PACKAGE_MANAGER = (
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/dnf",
    "/var/lib/rpm",
    "/var/cache",
    "/var/log",
)


@dataclass(frozen=True)
class Result:
    """How a run ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def ids(self) -> dict[str, Any]:
        """The findings by id, of a run with --json."""
        return {finding["id"]: finding for finding in self.json["findings"]}


def environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(AGENT), "PYTHONDONTWRITEBYTECODE": "1"}


def start(root: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    """Start `pvprep --root ROOT WORDS`."""
    return subprocess.Popen(
        [PYTHON, "-m", "pvprep", "--root", str(root), *words],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        **options,
    )


def end(process: subprocess.Popen[str], timeout: float = 300) -> Result:
    """Wait for it; seconds."""
    out, err = process.communicate(timeout=timeout)
    return Result(process.returncode, out, err)


def pvprep(root: Path, *words: str, before: tuple[str, ...] = ()) -> Result:
    """Run it to its end. before: a command that runs it (setpriv ...)."""
    if not before:
        return end(start(root, *words))
    argv = [*before, PYTHON, "-m", "pvprep", "--root", str(root), *words]
    done = subprocess.run(argv, env=environment(), capture_output=True, text=True, cwd="/")
    return Result(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Unchanged:
    """A tree that has to stay as it is."""

    root: Path
    before: snapshot.Snapshot

    def check(self, but: tuple[str, ...] = ()) -> None:
        """Fail, naming them, where names in the tree differ."""
        assert snapshot.differences(self.before, snapshot.take(self.root), but) == []


def watch(root: Path) -> Unchanged:
    """Remember a tree."""
    return Unchanged(root, snapshot.take(root))


def restored(before: snapshot.Snapshot, root: Path, packages: bool = False) -> list[str]:
    """In what the tree still differs after an undo, but for what no undo promises.

    packages: some were installed and purged. Then the directories that they had files in have new
    times too, and apt and dpkg their own notes; ldconfig's cache is among them.
    """
    found = [
        line
        for line in snapshot.differences(before, snapshot.take(root))
        if line not in LEFT and not line.startswith(f"{OURS}/")
    ]
    if not packages:
        return found
    places = tuple(f"{place}/" for place in PACKAGE_MANAGER)
    return [line for line in found if not line.startswith(places) and not _time(before, line)]


def _time(before: snapshot.Snapshot, line: str) -> bool:
    path, _, what = line.rpartition(": ")
    return what == "mtime" and before[path].is_directory


def inside(root: Path, *argv: str) -> str:
    """What a program of the tree says; it must end well."""
    # lsinitrd would work in /tmp, and lsinitramfs in /var/tmp, and change their times.
    env = {"TMPDIR": "/run"}
    done = trees.in_tree(root, lambda guest: guest.run(argv, env=env))
    assert done.status == 0, done.output
    return done.output


def names(root: Path, lister: str, initrd: str) -> set[str]:
    """The names of the files in an initrd, without directories, as the tree's own lister says."""
    return {line.rsplit("/", 1)[-1] for line in inside(root, lister, initrd).split("\n")}


def has_driver(found: set[str], module: str) -> bool:
    """Whether a module is among the names, compressed or not."""
    return bool(found & {f"{module}.ko{suffix}" for suffix in ("", ".gz", ".xz", ".zst")})


def version(root: Path, pattern: str = "*") -> str:
    """The version of the only kernel that matches."""
    (found,) = (path.name[len("vmlinuz-") :] for path in (root / "boot").glob(f"vmlinuz-{pattern}"))
    return found

