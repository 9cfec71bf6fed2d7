"""Runs in a machine with device-mapper, MD and udev: disks in pieces, attached beside their twins.

Prints one JSON object: what each case found. Only pvprep and what Debian has is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pvprep.errors import PvprepError
from pvprep.images import Request, attached, detach

MIB = 1 << 20
DISK_MIB = 100
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


def disk(name: str, table: str = "label: dos\nstart=2048,type=83\n") -> Path:
    image = WORK / f"{name}.img"
    with image.open("wb") as file:
        file.truncate(DISK_MIB * MIB)
    run("sfdisk", "-q", image, text=table)
    return image


def loop(image: Path, start: int = MIB, size: int = 0) -> str:
    limit = ["--sizelimit", size] if size else []
    return run("losetup", "--find", "--show", "--offset", start, *limit, image)


def put_away() -> None:
    """No volume group, array, mapping or loop device: udev may start them again as they go."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        run("udevadm", "settle")
        for argv in (
            ["umount", "-q", "/mnt"], ["vgchange", "-q", "-an"], ["dmsetup", "remove_all"],
            ["mdadm", "--stop", "--scan"], ["losetup", "--detach-all"],
        ):  # fmt: skip
            subprocess.run(argv, capture_output=True)
        run("udevadm", "settle")
        busy = "blocks" in Path("/proc/mdstat").read_text() or run("losetup", "-ln")
        if not busy and run("dmsetup", "ls") == "No devices found":
            return
    raise AssertionError(f"these stay: {state()}")


def fill(device: str, fstab: str, mib: int = 40) -> None:
    """A root with a file of so many MiB."""
    run("mkfs.ext4", "-q", "-F", device)
    run("mount", device, "/mnt")
    for path, text in {"etc/fstab": fstab, "sbin/init": "", "usr/.x": ""}.items():
        (Path("/mnt") / path).parent.mkdir(parents=True, exist_ok=True)
        (Path("/mnt") / path).write_text(text)
    (Path("/mnt") / "large").write_bytes(large(mib * MIB))
    run("umount", "/mnt")


def large(size: int) -> bytes:
    """Each piece of it says where it belongs."""
    return array("I", range(size // 4)).tobytes()


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
            content = Path(guest.host("/large")).read_bytes()
            told["large"] = content == large(len(content))
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
    images = [disk("a", "label: gpt\nstart=2048\n"), disk("b")]
    size = (DISK_MIB - 2) * MIB
    loops = [loop(images[0], size=size), loop(images[1])]
    run("pvcreate", "-q", *loops)
    run("vgcreate", "-q", "vg", *loops)
    run("lvcreate", "-q", "-y", "-n", "usr", "-i", "2", "-L", "24m", "vg")
    run("lvcreate", "-q", "-y", "-n", "root", "-L", "140m", "vg")
    # Larger than what is left of one disk: every piece of the volume is needed to read it.
    fill("/dev/vg/root", "/dev/vg/root / ext4 x 0 1\n/dev/mapper/vg-usr /usr ext4 x 0 2\n", 100)
    run("mkfs.ext4", "-q", "-F", "/dev/vg/usr")
    put_away()
    twins = [WORK / "a2.img", WORK / "b2.img"]
    for image, twin in zip(images, twins):
        run("cp", "--sparse=always", image, twin)
    loop(twins[0], size=size)
    loop(twins[1])
    run("udevadm", "settle")
    run("vgchange", "-q", "-ay", "vg")
    look("lvm", images)
    look("lvm read-only", images, write=False)
    kill("lvm killed", images)
    look("lvm half", images[:1])
    put_away()
    # The host's own tools find what was written: the pieces are where LVM has them.
    loop(images[0], size=size)
    loop(images[1])
    run("udevadm", "settle")
    run("vgchange", "-q", "-ay", "vg")
    read_back("lvm", "/dev/vg/root")


def arrays(level: str, metadata: str) -> None:
    """A root on an array of two disks."""
    name = f"raid{level} {metadata}"
    images = [disk(f"m{level}{metadata}{number}") for number in (0, 1)]
    loops = [loop(image) for image in images]
    options = ["--level", level, "--metadata", metadata, "--raid-devices", 2]
    options += ["--assume-clean"] if level == "1" else []
    run("mdadm", "--create", "/dev/md9", "--run", *options, *loops)
    fill("/dev/md9", "/dev/md9 / ext4 x 0 1\n")
    put_away()
    look(name, images)
    look(f"{name} half", images[1:])
    loops = [loop(image) for image in images]
    run("udevadm", "settle")
    subprocess.run(["mdadm", "--stop", "--scan"], capture_output=True)
    run("mdadm", "--assemble", "/dev/md9", *loops)
    read_back(name, "/dev/md9")
    if level == "1":
        Path("/sys/block/md9/md/sync_action").write_text("check\n")
        subprocess.run(["mdadm", "--wait", "/dev/md9"])  # 1: there was nothing to wait for
        TOLD[name]["differ"] = Path("/sys/block/md9/md/mismatch_cnt").read_text().strip()


def read_back(name: str, device: str) -> None:
    """What look() wrote, as the kernel's own drivers find it."""
    run("mount", "-o", "ro", device, "/mnt")
    TOLD[name]["read back"] = Path("/mnt/etc/written").read_text()
    run("umount", "/mnt")


def luks() -> None:
    """/boot in the open; root on LVM in a LUKS container."""
    image = disk("luks", "label: gpt\nstart=2048,size=4M\nsize=94M\n")
    KEY.write_text("secret")
    device = loop(image, 5 * MIB, 94 * MIB)
    light = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", 1000, "--key-file", KEY]
    run("cryptsetup", "luksFormat", "-q", *light, device)
    run("cryptsetup", "open", "--key-file", KEY, device, "own")
    run("pvcreate", "-q", "/dev/mapper/own")
    run("vgcreate", "-q", "vgc", "/dev/mapper/own")
    run("lvcreate", "-q", "-y", "-n", "root", "-L", "60m", "vgc")
    fill("/dev/vgc/root", "/dev/mapper/vgc-root / ext4 x 0 1\n")
    put_away()
    look("luks", [image])
    look("luks read-only", [image], write=False)
    kill("luks killed", [image])
    KEY.write_text("wrong")
    look("luks wrong key", [image])


def kpartx() -> None:
    """A logical partition, by kpartx's mappings."""
    image = disk("k", "label: dos\nstart=2048,size=2M\ntype=5\nsize=80M,type=83\n")
    start = 512 * int(json.loads(run("sfdisk", "--json", image))["partitiontable"]["partitions"][
        -1]["start"])  # fmt: skip
    fill(loop(image, start, 80 * MIB), "/dev/sda5 / ext4 x 0 1\n")
    put_away()
    look("kpartx", [image], "kpartx")
    look("loop", [image])


def main() -> None:
    cases: list[Callable[[], None]] = [
        kpartx, lvm, luks, lambda: arrays("1", "1.2"), lambda: arrays("1", "0.90"),
        lambda: arrays("0", "1.2"),
    ]  # fmt: skip
    for number, case in enumerate(cases):
        put_away()
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir()
        KEY.write_text("secret")
        try:
            case()
        except Exception as error:  # the others shall be told as well
            TOLD[f"failed {number}"] = repr(error)
        print(json.dumps(TOLD), file=sys.stderr, flush=True)  # so far, for whoever waits
    print(json.dumps(TOLD))


if __name__ == "__main__":
    main()
