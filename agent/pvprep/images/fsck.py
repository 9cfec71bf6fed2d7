"""Whether a file system is sound, before anything is written to it and after.

Before: what the guest's own boot would do (fsck -p): replay the journal, and look further where
the file system says that it has errors. After: all of it where that takes no time, writing nothing.
Sources: e2fsck(8), xfs_repair(8), xfs_logprint(8), btrfs-check(8).
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import PvprepError
from .host import refusal, run

EXT = ("ext2", "ext3", "ext4")
# A whole check reads all metadata: seconds for a system disk, hours for a full store of terabytes.
WHOLE_MAX = 64 << 30
_UNCORRECTED = 4  # e2fsck(8): the first of the bits that mean trouble


def before(device: str, fstype: str, name: str, size: int, say: Callable[[str], None]) -> None:
    """Replay the journal of a file system that will be written to, and make sure it is sound.

    Of XFS the journal must have been replayed, by mounting it. size: bytes. PvprepError, in the
    tool's own words, where it is not sound.
    """
    if fstype in EXT:
        done = run(["e2fsck", "-p", device])
        if done.status >= _UNCORRECTED:
            raise _damaged(name, done.output, "e2fsck -f")
        if done.status:
            say(f"{name}: {_last(done.output)}")
    elif size <= WHOLE_MAX:
        words = trouble(device, fstype)
        if words:
            raise _damaged(name, words, "xfs_repair" if fstype == "xfs" else "btrfs check")


def dirty(device: str, fstype: str) -> bool:
    """Whether a journal has something that is not in the file system yet."""
    if fstype in EXT:
        # dumpe2fs(8): the feature is there while the journal has to be replayed.
        return "needs_recovery" in run(["dumpe2fs", "-h", device]).output
    if fstype == "xfs":
        return "<DIRTY>" in run(["xfs_logprint", "-t", device]).output
    return False


def trouble(device: str, fstype: str) -> str:
    """What a check that writes nothing finds wrong, "" for nothing."""
    command = {
        **{ext: ["e2fsck", "-f", "-n"] for ext in EXT},
        "xfs": ["xfs_repair", "-n"],
        "btrfs": ["btrfs", "check", "--readonly"],
    }.get(fstype)
    if command is None:
        return ""
    done = run([*command, device])
    return done.output if done.status else ""


def after(device: str, fstype: str, name: str, size: int) -> None:
    """Make sure that what was written left it sound. PvprepError where not."""
    if size > WHOLE_MAX:
        return
    words = trouble(device, fstype)
    if words:
        raise PvprepError(
            f"{name} has errors now: {_short(words)}",
            "do not start the guest; `pvprep rollback` on this image, then check it by hand",
        )


def _damaged(name: str, words: str, remedy: str) -> PvprepError:
    return refusal(
        f"{name} has errors, nothing was changed: {_short(words)}",
        f"mend it first, in the guest or with: {remedy}",
    )


def _short(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return "; ".join(lines[:6]) + (" ..." if len(lines) > 6 else "")


def _last(words: str) -> str:
    return [line for line in words.splitlines() if line.strip()][-1].strip()
