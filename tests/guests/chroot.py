"""Runs a program inside a tree with what it needs mounted; nothing stays mounted or running."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# The mounts live in a namespace of their own and end with it, as do daemons that were started.
# A file over a file stands in for a program while this one command runs.
_ENTER = """
root=$1 stand_in=$2 over=$3; shift 3
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sys "$root/sys"
[ -z "$stand_in" ] || mount --bind "$stand_in" "$root$over"
exec chroot "$root" "$@"
"""

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
}


class ChrootError(Exception):
    """A program in a tree failed: which, how, and the end of what it said."""


def run(
    root: Path,
    argv: Sequence[str],
    *,
    stdin: str = "",
    stand_in: tuple[str, str] = ("", ""),
    env: Mapping[str, str] = _ENVIRONMENT,
    timeout: float = 600,
) -> str:
    """Run argv in the tree, as root, with /proc and /sys; gives stdout and stderr as one text.

    stand_in: a file of this machine and the program in the tree that it covers meanwhile.
    Raises ChrootError where it ends with another status than 0, or takes longer than timeout
    (seconds).
    """
    isolate = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    shell = ["sh", "-ec", _ENTER, "sh", os.fspath(root), *stand_in]
    try:
        done = subprocess.run(
            [*isolate, *shell, *argv],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as late:
        raise ChrootError(f"{argv[0]} in {root}: not done after {timeout:.0f} s") from late
    if done.returncode:
        raise ChrootError(f"{argv[0]} in {root}: status {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout
