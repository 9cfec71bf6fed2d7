"""Runs pvprep on a tree, as a person would, and keeps what it promised."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from tests.guests.profiles import MAC
from tests.xen.lab import BACKEND

from pvprep import plan, survey
from pvprep.draft import Draft
from pvprep.guest import Guest
from pvprep.predict import predict
from pvprep.pygrub import Refusal

TOP = Path(__file__).resolve().parents[2]
MEMORY_MIB = 384
# What only dom0, or a guest that runs, can tell.
_OF_DOM0 = (
    *("--disk-backend", BACKEND, "--memory", str(MEMORY_MIB), "--vcpus", "1", "--mac", MAC),
)


@dataclass(frozen=True)
class Promise:
    """What pvprep says that pygrub takes: by the names that they have on the file system."""

    kernel: str
    initrd: Optional[str]
    args: str


def promised(root: Path) -> Union[Promise, Refusal]:
    """What pvprep's simulation of pygrub makes of a tree as it is, prepared or not."""
    found = predict(Draft(survey.take(Guest(str(root)), plan.reads())))
    if isinstance(found, Refusal):
        return found
    return Promise(found.kernel, found.initrd, found.args)


def emit(root: Path, config: Path, *options: str, verb: str = "prepare") -> None:
    """Prepare the tree, write the config; with --dry-run, or as `config`, the config alone.

    Raises CalledProcessError if pvprep refuses.
    """
    run(root, verb, f"--emit-config={config}", *_OF_DOM0, *options)


def emit_image(disk: Path, config: Path, *options: str) -> Promise:
    """Prepare the guest on a disk that is off, write the config; gives what pygrub is to take."""
    pvprep("--image", disk, f"--emit-config={config}", *_OF_DOM0, *options)
    return promised_image(disk, *options)


def promised_image(disk: Path, *options: str) -> Promise:
    """What pvprep's simulation of pygrub makes of a prepared guest on a disk that is off."""
    pick = json.loads(pvprep("check", "--image", disk, "--json", *options))["pygrub"]
    return Promise(pick["kernel"], pick["initrd"], pick["args"])


def run(root: Path, *words: str, status: int = 0) -> str:
    """Run this checkout's pvprep on the tree; gives its stdout. Raises where it ends otherwise."""
    return pvprep("--root", root, *words, status=status)


def pvprep(*words: Any, status: int = 0) -> str:
    """Run this checkout's pvprep; gives its stdout. Raises where it ends otherwise."""
    argv: list[Any] = ["/usr/bin/python3", "-m", "pvprep", *words]
    env = {**os.environ, "PYTHONPATH": str(TOP / "agent")}
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode != status:
        raise subprocess.CalledProcessError(done.returncode, argv, done.stdout)
    return done.stdout
