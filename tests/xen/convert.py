"""Runs pvprep on a tree, as a person would, and keeps what it promised."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from tests.guests.profiles import MAC

TOP = Path(__file__).resolve().parents[2]
# What the configs have as the disk; the lab maps it to its own.
BACKEND = "/dev/drbd/bifit"
MEMORY_MIB = 384


@dataclass(frozen=True)
class Promise:
    """What pvprep says of a prepared tree: of `pvprep check --json`, what pygrub will take."""

    volume: str
    kernel: str
    initrd: Optional[str]
    args: str


def convert(root: Path, config: Path, *options: str) -> Promise:
    """Prepare the tree and write the config. Raises CalledProcessError if pvprep refuses."""
    emit(root, config, *options)
    pygrub = json.loads(run(root, "check", "--json"))["pygrub"]
    return Promise(*(pygrub[name] for name in ("volume", "kernel", "initrd", "args")))


def emit(root: Path, config: Path, *options: str, verb: str = "prepare") -> None:
    """Prepare the tree, write the config; with --dry-run, or as `config`, the config alone."""
    machine = ["--memory", str(MEMORY_MIB), "--vcpus", "1", "--mac", MAC]
    run(root, verb, f"--emit-config={config}", "--disk-backend", BACKEND, *machine, *options)


def run(root: Path, *words: str, status: int = 0) -> str:
    """Run this checkout's pvprep on the tree; gives its stdout. Raises where it ends otherwise."""
    argv: list[Any] = ["/usr/bin/python3", "-m", "pvprep", "--root", root, *words]
    env = {**os.environ, "PYTHONPATH": str(TOP / "agent")}
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode != status:
        raise subprocess.CalledProcessError(done.returncode, argv, done.stdout)
    return done.stdout
