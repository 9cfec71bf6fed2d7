"""The format of an image file, and a raw view of one that is not raw.

What the operator says, by the file's suffix, is what it is: the content is the guest's, and a guest
can write a qcow2 header onto its raw disk whose backing file is any file of the host. Content that
contradicts the suffix is refused. An image that names other files is only opened if it is the
operator's own. Sources: qemu-img(1), qemu-storage-daemon(1), QEMU's
docs/interop/qcow2.txt, CVE-2014-0143 and its like, CVE-2024-4467.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import ExitStack
from typing import Any, Optional

from ..forked import dying_with_parent
from ..guest import ENVIRONMENT
from ..synced import private
from .host import document, must, refusal

_SUFFIXES = {
    ".qcow2": "qcow2", ".qcow": "qcow2", ".vmdk": "vmdk", ".vhdx": "vhdx", ".vhd": "vpc",
    ".vpc": "vpc", ".vdi": "vdi",
}  # fmt: skip
# Where each of them says what it is.
_MARKS = (
    (0, b"QFI\xfb", "qcow2"), (0, b"KDMV", "vmdk"), (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"), (0, b"vhdxfile", "vhdx"), (0, b"conectix", "vpc"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
)  # fmt: skip
_PATIENCE = 20.0  # seconds until the daemon has its export ready
_POLL = 0.02


def of(path: str) -> str:
    """The format of an image file as QEMU calls it. PvprepError where content and name differ."""
    suffix = os.path.splitext(path)[1].lower()
    said = _SUFFIXES.get(suffix, "raw")
    with open(path, "rb") as file:
        head = file.read(512)
    found = next((kind for at, mark, kind in _MARKS if head[at:].startswith(mark)), "raw")
    if found == said or (said == "vpc" and found == "raw"):  # a fixed one is marked at its end
        return said
    if said == "raw":
        raise refusal(
            f"{path} is {found} by its content, and raw by its name",
            f"if it is {found}, give it by a name (a link will do) that ends so; if the guest had "
            "it as a raw disk, the guest wrote that: do not open it",
        )
    raise refusal(f"{path} is {said} by its name, and {found} by its content", "name it as it is")


def own(path: str) -> bool:
    """Whether root or who calls wrote a file: then what it says was not said by a guest."""
    return os.stat(path).st_uid in (0, os.getuid())


def check(path: str, form: str) -> list[str]:
    """The other files that an image rests on. PvprepError where they must not be opened.

    What a file of the operator's own names is opened; one of somebody else's may name nothing.
    """
    others: list[str] = []
    while True:
        if form == "qcow2" and not own(path):
            _alone(path)
        elif form == "vmdk" and not own(path):
            raise refusal(
                f"{path} may name other files, and neither root nor you wrote it",
                "make it whole first, where nothing else lies: qemu-img convert -O qcow2",
            )
        command = ["qemu-img", "info", "-U", "--output=json", "-f", form, path]
        said = document(must(command, f"{path} cannot be read as {form}", "see `qemu-img check`"))
        below = str(said.get("full-backing-filename") or said.get("backing-filename") or "")
        if not below:
            return others
        form = str(said.get("backing-filename-format", ""))
        if not form:
            raise refusal(
                f"{path} does not say of what format the file is that it rests on",
                "say it: qemu-img rebase -u -b BACKING -F FORMAT IMAGE",
            )
        if not os.path.isfile(below) or below in others:
            raise refusal(
                f"{path} rests on {below}, which is not a file of its own",
                "bring it, or make the image whole: qemu-img convert -O qcow2",
            )
        others.append(below)
        path = below


def _alone(path: str) -> None:
    """Read in the header itself: qemu-img would open what it names (docs/interop/qcow2.txt)."""
    with open(path, "rb") as file:
        head = file.read(112)
    version = int.from_bytes(head[4:8], "big")
    backing = int.from_bytes(head[8:16], "big")
    incompatible = int.from_bytes(head[72:80], "big") if version >= 3 else 0
    if backing or incompatible & 0x4:  # bit 2: an external data file
        raise refusal(
            f"{path} names another file that holds its data, and neither root nor you wrote it",
            "chown it if it is yours; else --attach guestfs in a place where nothing else lies",
        )


class Export:
    """A raw file that shows what an image holds, until close(): its path.

    place: an empty directory, in a mount namespace that ends with us. PvprepError where QEMU does
    not open it; its own words are in the error.
    """

    def __init__(self, image: str, form: str, read_only: bool, place: str) -> None:
        self.path = os.path.join(place, os.path.basename(image))
        with open(self.path, "xb", opener=private):
            pass
        self._log = os.path.join(place, "log")
        said = must(["qemu-img", "info", "-U", "--output=json", "-f", form, image], image)
        self.size = int(document(said)["virtual-size"])
        self._process: Optional[subprocess.Popen[bytes]] = None
        with ExitStack() as stack:
            stack.callback(self.close)
            self._start(_arguments(image, form, read_only, self.path))
            self._wait(image)
            stack.pop_all()

    def close(self) -> None:
        """Write all of it out; nobody may use the path any more."""
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _start(self, argv: list[str]) -> None:
        with open(self._log, "wb", opener=private) as log:
            try:
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=ENVIRONMENT,
                    cwd="/",
                    preexec_fn=dying_with_parent(),
                )
            except OSError:
                raise refusal(
                    "qemu-storage-daemon is not installed",
                    "install qemu-utils or qemu-storage-daemon on this host, or --attach guestfs",
                ) from None

    def _wait(self, image: str) -> None:
        assert self._process
        end = time.monotonic() + _PATIENCE
        while os.stat(self.path).st_size != self.size or not os.path.ismount(self.path):
            if self._process.poll() is not None or time.monotonic() > end:
                with open(self._log, encoding="utf-8", errors="replace") as log:
                    words = " ".join(log.read().split())
                raise refusal(
                    f"{image}: qemu-storage-daemon says: {words or 'nothing'}",
                    "end who has it open; without FUSE in this kernel or QEMU: --attach guestfs",
                )
            time.sleep(_POLL)


def _arguments(image: str, form: str, read_only: bool, path: str) -> list[str]:
    file: dict[str, Any] = {"driver": "file", "filename": image}
    node = {"driver": form, "node-name": "disk", "file": file, "read-only": read_only}
    export = {
        "type": "fuse", "id": "disk", "node-name": "disk", "mountpoint": path,
        "writable": not read_only, "growable": False,
    }  # fmt: skip
    blocks = ["--blockdev", json.dumps(node), "--export", json.dumps(export)]
    return ["qemu-storage-daemon", *blocks]
