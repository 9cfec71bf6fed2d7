"""`python -m tests.bench images [others]`: a powered-off disk converted, beside the same by hand.

By hand is what an administrator does: loop, mount, chroot, sed on fstab and grub.cfg,
update-initramfs. Each run has a fresh copy of the image. That time and writes do not grow with the
disk is seen on one of 2 TB, whose file system is as large.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.bench import trees
from tests.guests import images, roots
from tests.guests.profiles import BOOKWORM_WITH_PYTHON
from tests.images import appliance

TOP = Path(__file__).resolve().parents[2]
WORK = TOP / "build" / "bench-images"
LARGE_MIB = 1_900_000
REPEAT = 2
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


# What others do for the same edits, each with an appliance as well.
_EDITS = {
    "/etc/fstab": "s,/dev/sda,/dev/xvda,g",
    "/boot/grub/grub.cfg": "s,/dev/sda,/dev/xvda,g",
}
VIRT_CUSTOMIZE = [
    "virt-customize", "--no-network", "--format", "raw", "-a", "@IMAGE",
    *(word for path, edit in _EDITS.items() for word in ("--edit", f"{path}:{edit}")),
    "--append-line", "/etc/initramfs-tools/modules:xen-blkfront",
    "--append-line", "/etc/initramfs-tools/modules:xen-netfront",
    "--run-command", "update-initramfs -u",
]  # fmt: skip
VIRT_V2V = ["virt-v2v-in-place", "-i", "disk", "-if", "raw", "@IMAGE"]
PATIENCE = 1800.0  # seconds for one of them, in software emulation


class Cost(NamedTuple):
    """Seconds; MiB that the programs wrote; MiB by which the image has grown."""

    seconds: float
    written: float
    grown: float


def measure(name: str, image: Path, argv: list[str], environment: dict[str, str]) -> Cost:
    """Run it on a copy of the image, on which all has to be in the end."""
    copy = WORK / "copy.img"
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", image, copy], check=True)
    os.sync()
    blocks, before = copy.stat().st_blocks, resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [word.replace("@IMAGE", str(copy)) for word in argv]
    begin = time.monotonic()
    done = subprocess.run(
        command, env=environment, text=True, timeout=PATIENCE,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    seconds = time.monotonic() - begin
    if done.returncode:
        sys.exit(f"bench: {argv} failed:\n{done.stdout[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    written = (after.ru_oublock - before.ru_oublock) * 512 / images.MIB
    cost = Cost(seconds, written, (copy.stat().st_blocks - blocks) * 512 / images.MIB)
    copy.unlink()
    print(f"{name}: {cost}", file=sys.stderr)
    return cost


def pvprep(way: str, initrd: str) -> list[str]:
    """The command, on the copy."""
    command = [sys.executable, "-m", "pvprep", "--image", "@IMAGE", "--attach", way]
    return [*command, "--initrd", initrd]


def by_hand() -> list[str]:
    """The same with an administrator's own means, in a namespace so that nothing is left."""
    place = WORK / "mounted"
    place.mkdir(exist_ok=True)
    shell = ["unshare", "--mount", "sh", "-ec", BY_HAND, "sh"]
    return [*shell, "@IMAGE", str(images.ROOT_MIB * images.MIB), str(place)]


def main(row: Callable[..., dict[str, object]], others: bool) -> list[dict[str, object]]:
    """Measure; the rows of the table.

    row: makes one, as __main__ has it. others: beside what else edits images, too.
    """
    WORK.mkdir(parents=True, exist_ok=True)
    tree = trees.fresh(BOOKWORM_WITH_PYTHON, WORK / "tree")
    small, large = WORK / "2-GB.img", WORK / "2-TB.img"
    images.mbr(tree, small)
    images.mbr(tree, large, root_mib=LARGE_MIB)
    roots.remove(tree)
    commands = {
        "by hand": (small, by_hand()),
        "append": (small, pvprep("loop", "append")),
        "rebuild": (small, pvprep("loop", "rebuild")),
        "large": (large, pvprep("loop", "append")),
    }
    seldom = {}  # minutes each, and for comparison alone
    environment = {**os.environ, "PYTHONPATH": str(TOP / "agent")}
    # Compiled already, as an installed package is.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = str(WORK / "compiled")
    if importlib.util.find_spec("guestfs"):
        environment.update(appliance.environment())
        commands["bare"] = (small, [sys.executable, "-c", BARE, "@IMAGE"])
        commands["guestfs"] = (small, pvprep("guestfs", "append"))
        known = {"virt-customize": VIRT_CUSTOMIZE, "virt-v2v-in-place": VIRT_V2V}
        seldom = {name: argv for name, argv in known.items() if others and shutil.which(name)}
    measure("to compile it", *commands["append"], environment)
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(REPEAT):  # in turns, since other work on the machine comes and goes
        for name, (image, argv) in commands.items():
            costs[name].append(measure(name, image, argv, environment))
    for name, argv in seldom.items():
        costs[name] = [measure(name, small, argv, environment)]
    shutil.rmtree(WORK)

    def beside(
        what: str, it: str, other: str, that: str, limit: str, extra: float = 0.0,
        of: Callable[[Cost], float] = lambda cost: cost.seconds,
    ) -> dict[str, object]:  # fmt: skip
        """A row of the best of each, as others only slow it down; it, that: names of commands."""
        one, two = (min(map(of, costs[name])) for name in (it, that))
        return row(what, other, one, two, LIMITS.get(limit), extra)

    flat, small_one = "image of 2 TB, append", "of 2 GB"
    rows = [
        beside("image, append", "append", "loop, chroot, sed ... by hand", "by hand", "append"),
        beside("image, rebuild", "rebuild", "the same", "by hand", "rebuild"),
        beside(flat, "large", small_one, "append", "flat", 1.0),
        beside(f"{flat}, MiB written", "large", small_one, "append", "flat", 4.0,
               lambda cost: cost.written),
        beside(f"{flat}, MiB grown", "large", small_one, "append", "flat", 4.0,
               lambda cost: cost.grown),
    ]  # fmt: skip
    if "guestfs" in costs:
        session = "launch, inspect, mount"
        rows.append(beside("image, append, guestfs", "guestfs", session, "bare", "guestfs"))
    rows += [beside("the same", "guestfs", name, name, "") for name in seldom]
    return rows
