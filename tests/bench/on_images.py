"""`python -m tests.bench images`: conversions of one powered-off disk beside the same by hand.

By hand is what an administrator does: loop, mount, chroot, sed on fstab and grub.cfg,
update-initramfs. Each run has a fresh copy of the image. That time and writes do not grow with the
disk is seen on one of 2 TB, whose file system is as large.
"""

from __future__ import annotations

import functools
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.guests import images, roots
from tests.guests.profiles import BOOKWORM_CLOUD_KERNEL
from tests.images import appliance

TOP = Path(__file__).resolve().parents[2]
WORK = TOP / "build" / "bench-images"
LARGE_MIB = 1_900_000
REPEAT = 3
LIMITS = {"append": 0.15, "rebuild": 1.1, "guestfs": 1.3, "flat": 1.3}
BY_HAND = r"""
disk=$(losetup --find --show --offset 1048576 --sizelimit "$2" "$1")
mount "$disk" "$3"
for directory in dev proc sys; do mount --rbind "/$directory" "$3/$directory"; done
sed -i 's,/dev/sda,/dev/xvda,g' "$3/etc/fstab" "$3/boot/grub/grub.cfg"
printf 'xen-blkfront\nxen-netfront\n' >> "$3/etc/initramfs-tools/modules"
chroot "$3" update-initramfs -u
umount --recursive "$3"
losetup --detach "$disk"
"""
BARE = """
import sys, guestfs
g = guestfs.GuestFS(python_return_dict=True)
g.add_drive_opts(sys.argv[1], format="raw")
g.launch()
for root in g.inspect_os():
    for place, device in sorted(g.inspect_get_mountpoints(root).items()):
        g.mount(device, place)
g.umount_all()
g.shutdown()
"""


class Cost(NamedTuple):
    """Seconds; MiB that the programs wrote; MiB by which the image has grown."""

    seconds: float
    written: float
    grown: float


def measure(image: Path, argv: list[str]) -> Cost:
    """Run it on a copy of the image."""
    copy = WORK / "copy.img"
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", image, copy], check=True)
    os.sync()
    blocks, before = copy.stat().st_blocks, resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    done = subprocess.run(
        [word.replace("@IMAGE", str(copy)) for word in argv],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **appliance.environment(), "PYTHONPATH": str(TOP / "agent")},
    )  # fmt: skip
    with copy.open("rb") as file:
        os.fsync(file.fileno())  # each has to have it on the disk
    seconds = time.monotonic() - begin
    if done.returncode:
        sys.exit(f"bench: {argv} failed:\n{done.stdout[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    written = (after.ru_oublock - before.ru_oublock) * 512 / images.MIB
    cost = Cost(seconds, written, (copy.stat().st_blocks - blocks) * 512 / images.MIB)
    copy.unlink()
    print(f"{argv[-1][:20]!r} {image.name}: {cost}", file=sys.stderr)
    return cost


def pvprep(way: str, initrd: str) -> list[str]:
    """The command, on the copy."""
    command = [sys.executable, "-m", "pvprep", "--image", "@IMAGE", "--attach", way]
    return [*command, "--initrd", initrd]


def by_hand(image: Path) -> list[str]:
    """The same with an administrator's own means, in a namespace so that nothing is left."""
    size = str(images.ROOT_MIB * images.MIB)
    place = WORK / "mounted"
    place.mkdir(exist_ok=True)
    shell = ["unshare", "--mount", "sh", "-ec", BY_HAND, "sh"]
    return [*shell, "@IMAGE", size, str(place)]


def main(row: Callable[..., dict[str, object]]) -> list[dict[str, object]]:
    """Measure; the rows of the table. row: makes one, as __main__ has it."""
    WORK.mkdir(parents=True, exist_ok=True)
    tree = WORK / "tree"
    if tree.exists():
        roots.remove(tree)
    roots.unpack(roots.build_profile(BOOKWORM_CLOUD_KERNEL), tree)
    small, large = WORK / "2-GB.img", WORK / "2-TB.img"
    images.mbr(tree, small)
    images.mbr(tree, large, root_mib=LARGE_MIB)
    roots.remove(tree)
    commands: dict[str, tuple[Path, list[str]]] = {
        "by hand": (small, by_hand(small)),
        "append": (small, pvprep("loop", "append")),
        "rebuild": (small, pvprep("loop", "rebuild")),
        "large": (large, pvprep("loop", "append")),
    }
    if appliance_runs():
        commands["bare"] = (small, [sys.executable, "-c", BARE, "@IMAGE"])
        commands["guestfs"] = (small, pvprep("guestfs", "append"))
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(REPEAT):  # in turns, since other work on the machine comes and goes
        for name, (image, command) in commands.items():
            costs[name].append(measure(image, command))
    seconds = functools.partial(_median, costs, "seconds")
    rows = [
        row("image, loop, append", "by hand", seconds("append"), seconds("by hand"),
            LIMITS["append"]),
        row("image, loop, rebuild", "by hand", seconds("rebuild"), seconds("by hand"),
            LIMITS["rebuild"]),
        row("image of 2 TB, append", "of 2 GB", seconds("large"), seconds("append"),
            LIMITS["flat"], 1.0),
    ]  # fmt: skip
    for what in ("written", "grown"):
        large_mib, small_mib = _median(costs, what, "large"), _median(costs, what, "append")
        rows.append(row(f"MiB {what}, 2 TB", "2 GB", large_mib, small_mib, LIMITS["flat"], 4.0))
    if "guestfs" in costs:
        rows.append(row("image, guestfs, append", "guestfs alone", seconds("guestfs"),
                        seconds("bare"), LIMITS["guestfs"]))  # fmt: skip
    shutil.rmtree(WORK)
    return rows


def _median(costs: dict[str, list[Cost]], what: str, name: str) -> float:
    values: list[Any] = [getattr(cost, what) for cost in costs[name]]
    return float(statistics.median(values))


def appliance_runs() -> bool:
    """Whether libguestfs is there."""
    import importlib.util

    return importlib.util.find_spec("guestfs") is not None
