"""Whether a file system is sound, before anything is written to it and after.

Before: the journal is replayed, as the guest's own boot would, then all of it is checked where that
takes seconds. After: whether it was left clean.
Sources: e2fsck(8), xfs_repair(8), xfs_logprint(8), btrfs-check(8).
"""

from __future__ import annotations

from ..errors import Exit, PvprepError
from .host import refusal, run

EXT = ("ext2", "ext3", "ext4")
# A whole check reads all metadata: seconds for a system disk, hours for a full store of terabytes.
WHOLE_MAX = 64 << 30
_UNCORRECTED = 4  # e2fsck(8): the first of the bits that mean trouble


def before(device: str, fstype: str, name: str, size: int) -> None:
    """Replay the journal of a file system that will be written to, and make sure it is sound.

    Of XFS the journal must have been replayed, by mounting it. size: bytes. PvprepError, in the
    tool's own words, where it is not sound.
    """
    remedy = {"xfs": "xfs_repair", "btrfs": "btrfs check"}.get(fstype, "e2fsck -f")
    words = ""
    if fstype in EXT and dirty(device, fstype):
        done = run(["e2fsck", "-p", device])
        words = done.output if done.status >= _UNCORRECTED else ""
    words = words or _trouble(device, fstype, size <= WHOLE_MAX)
    if words:
        raise refusal(
            f"{name} has errors, nothing was changed: {_short(words)}",
            f"mend it first, in the guest or with {remedy}",
        )


def dirty(device: str, fstype: str) -> bool:
    """Whether a journal has something that is not in the file system yet."""
    if fstype in EXT:
        # dumpe2fs(8): the feature is there while the journal has to be replayed.
        return "needs_recovery" in run(["dumpe2fs", "-h", device]).output
    if fstype == "xfs":
        return "<DIRTY>" in run(["xfs_logprint", "-t", device]).output
    return False


def after(device: str, fstype: str, name: str) -> None:
    """Make sure that a file system was left clean. PvprepError where not.

    The kernel marks one in which it met an error; what was sound before is not read once more.
    """
    words = "its journal is not empty" if dirty(device, fstype) else ""
    words = words or _trouble(device, fstype, whole=False)
    if words:
        raise PvprepError(
            f"{name} has errors now: {_short(words)}",
            "do not start the guest; `pvprep rollback` on this image, then check it by hand",
            Exit.NOT_READY,
        )


def _trouble(device: str, fstype: str, whole: bool) -> str:
    """What a check that writes nothing finds wrong, "" for nothing.

    Not the whole of it: whether an error is marked, which ext2, 3 and 4 alone do.
    """
    command = {
        **{ext: ["e2fsck", "-n", *(["-f"] if whole else [])] for ext in EXT},
        "xfs": ["xfs_repair", "-n"] if whole else [],
        "btrfs": ["btrfs", "check", "--readonly"] if whole else [],
    }.get(fstype)
    if not command:
        return ""
    done = run([*command, device])
    return done.output if done.status else ""


def _short(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return "; ".join(lines[:6]) + (" ..." if len(lines) > 6 else "")
