"""Runs in a machine with device-mapper, MD and udev: disks in pieces, attached beside their twins.

Prints one JSON object: what each case found. Only pvprep and what Debian has is needed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pvprep.errors import PvprepError
from pvprep.images import Request, attached, detach

MIB = 1 << 20
WORK = Path("/root/attach")
KEY = WORK / "key"
TOLD: dict[str, Any] = {}


def run(*argv: object, text: str = "") -> str:
    words = [str(word) for word in argv]
    done = subprocess.run(words, input=text, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def state() -> dict[str, list[str]]:
    """What attaching could leave: mappings, loop devices, arrays, and what udev made of them."""
    run("udevadm", "settle")
    return {
        "dm": sorted(run("dmsetup", "ls").splitlines()),
        "loops": sorted(run("losetup", "-ln", "-O", "NAME,BACK-FILE").splitlines()),
        "md": Path("/proc/mdstat").read_text().splitlines(),
        "mapper": sorted(os.listdir("/dev/mapper")),
        "online": sorted(str(path) for path in Path("/run/lvm").rglob("*online/*")),
        "run": sorted(os.listdir("/run/pvprep")) if os.path.exists("/run/pvprep") else [],
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if "pvp" in line],
    }


def disk(name: str, mib: int, table: str = "label: dos\nstart=2048,type=83\n") -> Path:
    image = WORK / f"{name}.img"
    with image.open("wb") as file:
        file.truncate(mib * MIB)
    run("sfdisk", "-q", image, text=table)
    return image


def loop(image: Path, start: int = MIB, size: int = 0) -> str:
    limit = ["--sizelimit", size] if size else []
    return run("losetup", "--find", "--show", "--offset", start, *limit, image)


def unloop(*loops: str) -> None:
    run("udevadm", "settle")
    for one in loops:
        run("losetup", "--detach", one)


def fill(device: str, fstab: str, **more: str) -> None:
    run("mkfs.ext4", "-q", "-F", device)
    run("mount", device, "/mnt")
    for path, text in {"etc/fstab": fstab, "sbin/init": "", "usr/.x": "", **more}.items():
        (Path("/mnt") / path).parent.mkdir(parents=True, exist_ok=True)
        (Path("/mnt") / path).write_text(text)
    # More than one extent of LVM, so that every piece of a volume is needed to read it.
    (Path("/mnt") / "large").write_bytes(bytes(range(256)) * (40 * MIB // 256))
    run("umount", "/mnt")


def look(name: str, images: list[Path], how: str = "loop", write: bool = True) -> None:
    """Attach, write, and see what udev made of it meanwhile and what is left afterwards."""
    before = state()
    told: dict[str, Any] = {"said": []}
    TOLD[name] = told
    request = Request(tuple(map(str, images)), how, not write, str(KEY))
    try:
        with attached(request, told["said"].append) as guest:
            assert guest.layout
            told["mounts"] = [[one.target, one.kind, *one.parts] for one in guest.layout.mounts]
            told["large"] = Path(guest.host("/large")).read_bytes() == bytes(range(256)) * (
                40 * MIB // 256
            )
            if write:
                Path(guest.host("/etc/written")).write_text(name)
            during = state()
            told["made"] = [one.split()[0] for one in during["dm"] if one not in before["dm"]]
            told["activated"] = [during["md"] != before["md"], during["online"] != before["online"]]
    except PvprepError as error:
        told["error"] = f"{error.message}; {error.hint}"
    after = state()
    told["left"] = {key: [before[key], after[key]] for key in before if before[key] != after[key]}


def kill(name: str, images: list[Path]) -> None:
    """SIGKILL in the middle."""
    before = state()
    program = (
        "import sys, time\n"
        "from pvprep.images import Request, attached\n"
        f"with attached(Request(tuple(sys.argv[1:]), 'loop', False, '{KEY}'), print):\n"
        "    print('in', flush=True)\n    time.sleep(600)\n"
    )
    argv = [sys.executable, "-c", program, *map(str, images)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        made = state()["dm"] != before["dm"]
        process.send_signal(signal.SIGKILL)
    time.sleep(1)
    said: list[str] = []
    status = detach(said.append)
    after = state()
    left = {key: [before[key], after[key]] for key in before if before[key] != after[key]}
    TOLD[name] = {"made": made, "status": status, "said": said, "left": left}


def lvm() -> None:
    """A root on two disks, /usr in stripes; the host has activated copies of both disks."""
    images = [disk("a", 80, "label: gpt\nstart=2048\n"), disk("b", 80)]
    loops = [loop(images[0], size=78 * MIB), loop(images[1])]
    run("pvcreate", "-q", *loops)
    run("vgcreate", "-q", "vg", *loops)
    run("lvcreate", "-q", "-y", "-n", "root", "-L", "100m", "vg")
    run("lvcreate", "-q", "-y", "-n", "usr", "-i", "2", "-L", "24m", "vg")
    fill("/dev/vg/root", "/dev/vg/root / ext4 x 0 1\n/dev/mapper/vg-usr /usr ext4 x 0 2\n")
    run("mkfs.ext4", "-q", "-F", "/dev/vg/usr")
    run("vgchange", "-q", "-an", "vg")
    unloop(*loops)
    twins = [WORK / "a2.img", WORK / "b2.img"]
    for image, twin in zip(images, twins):
        run("cp", "--sparse=always", image, twin)
    theirs = [loop(twins[0], size=78 * MIB), loop(twins[1])]
    run("udevadm", "settle")
    run("vgchange", "-q", "-ay", "vg")
    look("lvm", images)
    look("lvm read-only", images, write=False)
    kill("lvm killed", images)
    look("lvm half", images[:1])
    run("vgchange", "-q", "-an", "vg")
    unloop(*theirs)
    # The host's own tools find what was written: the pieces are where LVM has them.
    loops = [loop(images[0], size=78 * MIB), loop(images[1])]
    run("udevadm", "settle")
    run("vgchange", "-q", "-ay", "vg")
    run("mount", "-o", "ro", "/dev/vg/root", "/mnt")
    TOLD["lvm"]["read back"] = Path("/mnt/etc/written").read_text()
    run("umount", "/mnt")
    run("vgchange", "-q", "-an", "vg")
    unloop(*loops)


def arrays(level: str, metadata: str) -> None:
    """A root on an array of two disks."""
    name = f"raid{level} {metadata}"
    images = [disk(f"m{level}{metadata}{number}", 80) for number in (0, 1)]
    loops = [loop(image) for image in images]
    options = ["--level", level, "--metadata", metadata, "--raid-devices", 2, "--assume-clean"]
    if level == "0":
        options.remove("--assume-clean")
    run("mdadm", "--create", "/dev/md9", "--run", *options, *loops)
    if level != "5":
        fill("/dev/md9", "/dev/md9 / ext4 x 0 1\n")
        run("udevadm", "settle")
    run("mdadm", "--stop", "/dev/md9")
    unloop(*loops)
    look(name, images)
    look(f"{name} half", images[1:])
    loops = [loop(image) for image in images]
    run("udevadm", "settle")
    subprocess.run(["mdadm", "--stop", "--scan"], capture_output=True)
    run("mdadm", "--assemble", "/dev/md9", *loops)
    run("mount", "-o", "ro", "/dev/md9", "/mnt")
    TOLD[name]["read back"] = Path("/mnt/etc/written").read_text()
    run("umount", "/mnt")
    if level == "1":
        Path("/sys/block/md9/md/sync_action").write_text("check\n")
        run("mdadm", "--wait", "/dev/md9")
        TOLD[name]["differ"] = Path("/sys/block/md9/md/mismatch_cnt").read_text().strip()
    run("mdadm", "--stop", "/dev/md9")
    unloop(*loops)


def luks() -> None:
    """/boot in the open; root on LVM in a LUKS container."""
    table = "label: gpt\nstart=2048,size=16M\nsize=90M\n"
    image = disk("luks", 110, table)
    KEY.write_text("secret")
    device = loop(image, 17 * MIB, 90 * MIB)
    light = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", 1000, "--key-file", KEY]
    run("cryptsetup", "luksFormat", "-q", *light, device)
    run("cryptsetup", "open", "--key-file", KEY, device, "own")
    run("pvcreate", "-q", "/dev/mapper/own")
    run("vgcreate", "-q", "vgc", "/dev/mapper/own")
    run("lvcreate", "-q", "-y", "-n", "root", "-L", "60m", "vgc")
    fill("/dev/vgc/root", "/dev/mapper/vgc-root / ext4 x 0 1\n")
    run("vgchange", "-q", "-an", "vgc")
    run("cryptsetup", "close", "own")
    unloop(device)
    look("luks", [image])
    look("luks read-only", [image], write=False)
    kill("luks killed", [image])
    KEY.write_text("wrong")
    look("luks wrong key", [image])


def kpartx() -> None:
    """A logical partition, by kpartx's mappings."""
    image = disk("k", 90, "label: dos\nstart=2048,size=2M\ntype=5\nsize=80M,type=83\n")
    start = 512 * int(json.loads(run("sfdisk", "--json", image))["partitiontable"]["partitions"][
        -1]["start"])  # fmt: skip
    device = loop(image, start, 80 * MIB)
    fill(device, "/dev/sda5 / ext4 x 0 1\n")
    unloop(device)
    look("kpartx", [image], "kpartx")
    look("loop", [image])


def main() -> None:
    WORK.mkdir()
    KEY.write_text("secret")
    cases: list[Callable[[], None]] = [
        kpartx, lvm, luks, lambda: arrays("1", "1.2"), lambda: arrays("1", "0.90"),
        lambda: arrays("0", "1.2"),
    ]  # fmt: skip
    for number, case in enumerate(cases):
        try:
            case()
        except Exception as error:  # the others shall be told as well
            TOLD[f"failed {number}"] = repr(error)
    print(json.dumps(TOLD))


if __name__ == "__main__":
    main()
