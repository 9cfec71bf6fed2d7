"""Whole disks for the real pygrub and for the simulation of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from tests.unit.pygrub_cases import real

from pvprep.facts import Disk, Partition
from pvprep.guest import Guest
from pvprep.pygrub import Refusal, Volume, choose, order

MIB = 1024 * 1024
SIZE = 3  # MiB of each partition
# What differs from one partition to another, so that it can be told which one was taken.
KERNELS: Mapping[str, Union[bytes, str]] = {"vmlinuz": b"kernel", "initrd": b"initrd"}
# Its last words, or the content of kernel and initrd, and the arguments.
Answer = Union[str, tuple[bytes, bytes, str]]


@dataclass(frozen=True)
class Part:
    """A partition to make; files None: no file system. A str is a symlink's target."""

    files: Optional[Mapping[str, Union[bytes, str]]]
    number: int
    type: str = "83"
    active: bool = False
    fstype: str = "ext4"


def make(image: Path, directory: Path, table: str, parts: Sequence[Part]) -> Disk:
    """Make the disk and say what a survey would say about it."""
    lines, partitions, start = [f"label: {table}"], [], 1 if table else 0
    image.touch()
    os.truncate(image, 16 * MIB)
    for part in parts:
        size = SIZE + 1 if part.type == "5" else SIZE
        flags = ", bootable" if part.active else ""
        kind = f", type={part.type}" if table == "dos" else ""
        lines.append(f"{part.number} : start={start}MiB, size={size}MiB{kind}{flags}")
        fstype = "" if part.files is None else part.fstype
        name = f"sda{part.number or ''}"
        partitions.append(
            Partition(name, part.number, start * MIB, size * MIB, fstype, type=f"0x{part.type}")
        )
        if part.files is not None:
            (directory / name).mkdir()
            _fill(directory / name, part)
            _mke2fs(image, directory / name, start, part.fstype)
        start += 1 if part.type == "5" else size
    if table:
        script = "\n".join(lines).encode()
        subprocess.run(["sfdisk", "-q", str(image)], input=script, check=True, capture_output=True)
    return Disk("sda", 16 * MIB, table, tuple(partitions))


def _fill(directory: Path, part: Part) -> None:
    """Write the partition's files; kernels and initrds differ from one partition to another."""
    for name, content in (part.files or {}).items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            file.symlink_to(content)
        else:
            file.write_bytes(content + (b"%d" % part.number if name in KERNELS else b""))


def _mke2fs(image: Path, directory: Path, start: int, fstype: str) -> None:
    command = ["mke2fs", "-q", "-F", "-t", fstype, "-d", str(directory), "-E"]
    command += [f"offset={start * MIB}", str(image), f"{SIZE}M"]
    subprocess.run(command, check=True, capture_output=True)


def volume(directory: Path, partition: Partition) -> Volume:
    """As a survey gives it, but from the directory that the file system was made of."""

    def guest() -> Guest:
        return Guest(str(directory / partition.name))

    def read(path: str) -> Optional[bytes]:
        return guest().read(path) if guest().is_file(path) else None

    def size(path: str) -> Optional[int]:
        content = read(path)
        return None if content is None else len(content)

    return Volume(f"/dev/{partition.name}", partition.fstype, read, size)


def asked(image: Path, directory: Path) -> Answer:
    """What the real program says."""
    options = ("-q", "--output-format=simple0", f"--output-directory={directory}")
    done = real.run(*options, str(image))
    if done.returncode:
        return done.stderr.decode().rstrip("\n").rpartition("\n")[2].replace("RuntimeError: ", "")
    said = dict(field.split(" ", 1) for field in done.stdout.decode().split("\0") if field)
    initrd = Path(said["ramdisk"]).read_bytes() if "ramdisk" in said else b""
    return Path(said["kernel"]).read_bytes(), initrd, said.get("args", "")


def simulated(disk: Disk, directory: Path) -> Answer:
    """What the simulation says."""
    volumes = {f"/dev/{part.name}": volume(directory, part) for part in order(disk)}
    answer = choose(volumes.values())
    if isinstance(answer, Refusal):
        assert answer.reason
        return answer.message
    kernel = volumes[answer.volume].read(answer.kernel)
    initrd = volumes[answer.volume].read(answer.initrd) if answer.initrd else b""
    assert kernel is not None and initrd is not None
    return kernel, initrd, answer.args
