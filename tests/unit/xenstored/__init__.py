"""The real xenstored with an unprivileged domain in it, and the device by which that one asks."""

from __future__ import annotations

import contextlib
import glob
import mmap
import os
import pty
import select
import socket
import struct
import subprocess
import threading
import time
import tty
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.unit.trees import Running

_SOURCE = Path(__file__).with_name("no_hypervisor.c")
_INTRODUCE = 8  # enum xsd_sockmsg_type
# struct xenstore_domain_interface: two rings of bytes, then four indices of 32 bits.
_RING, _REQ_CONS, _REQ_PROD, _RSP_CONS, _RSP_PROD = 1024, 512, 513, 514, 515


class Xenstored:
    """A running xenstored; its own tools speak to it as dom0."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {**os.environ, "XENSTORED_RUNDIR": str(directory)}

    def dom0(self, tool: str, *words: str) -> str:
        """Run one of Xen's own tools: `read`, `write`, `ls`, `chmod`, ..."""
        argv = [f"xenstore-{tool}", *words]
        done = subprocess.run(argv, env=self.environment, check=True, stdout=subprocess.PIPE)
        return done.stdout.decode("utf-8", "surrogateescape")

    def tree(self, nodes: Mapping[str, str], mode: str) -> None:
        """Write nodes as dom0 does; mode: their permissions as xenstore-chmod(1) has them."""
        self.dom0("write", "--", *(word for node in nodes.items() for word in node))
        for path in nodes:
            self.dom0("chmod", path, *mode.split())

    def introduce(self, domid: int) -> None:
        """Let a domain speak to xenstored, as its toolstack does once it is built."""
        (self.directory / f"ring.{domid}").write_bytes(bytes(4096))
        payload = f"{domid}\0001\0001\0".encode()
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.directory / "socket"))
            line.sendall(struct.pack("=IIII", _INTRODUCE, 1, 0, len(payload)) + payload)
            with line.makefile("rb") as answer:
                assert answer.read(19).endswith(b"OK\0")

    @contextlib.contextmanager
    def guest(self, domid: int, root: Path) -> Iterator[Running]:
        """A guest whose /dev/xen/xenbus is that domain's: a terminal in place of Xen's device."""
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        done = threading.Event()
        carry = threading.Thread(target=self._carry, args=(domid, ours, done))
        carry.start()
        try:
            yield _OnDevice(str(root), os.ttyname(theirs))
        finally:
            done.set()
            carry.join()
            os.close(ours)
            os.close(theirs)

    def _carry(self, domid: int, device: int, done: threading.Event) -> None:
        """Linux' part: bytes go from the device into one ring and from the other to the device."""
        events = os.open(self.directory / "events", os.O_WRONLY)
        with open(self.directory / f"ring.{domid}", "r+b") as file:
            page = mmap.mmap(file.fileno(), 4096)
        index = memoryview(page).cast("I")  # the other side must never see half an index
        while not done.is_set():
            room = _RING - (index[_REQ_PROD] - index[_REQ_CONS]) % 2**32
            moved = b""
            if room and select.select([device], [], [], 0.001)[0]:
                moved = os.read(device, room)
            for number, byte in enumerate(moved, index[_REQ_PROD]):
                page[number % _RING] = byte
            index[_REQ_PROD] = (index[_REQ_PROD] + len(moved)) % 2**32
            count = (index[_RSP_PROD] - index[_RSP_CONS]) % 2**32
            answer = bytes(page[_RING + (index[_RSP_CONS] + n) % _RING] for n in range(count))
            index[_RSP_CONS] = (index[_RSP_CONS] + count) % 2**32
            if moved or answer:
                os.write(events, b"x")
            while answer:
                answer = answer[os.write(device, answer) :]
        index.release()
        page.close()
        os.close(events)


class _OnDevice(Running):
    """A tree that passes for a running system, with xenstore's device."""

    def __init__(self, root: str, device: str) -> None:
        super().__init__(root)
        self.device = device

    def host(self, path: str, follow: bool = True) -> str:
        return self.device if path == "/dev/xen/xenbus" else super().host(path, follow)


@contextlib.contextmanager
def started(directory: Path) -> Iterator[Xenstored]:
    """xenstored, in this directory; Debian's package xen-utils-4.17 has it."""
    library = directory / "no_hypervisor.so"
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-o", library, _SOURCE], check=True)
    os.mkfifo(directory / "events")
    (directory / "port").write_text("1\n")
    (directory / "ring.0").write_bytes(bytes(4096))
    found = Xenstored(directory)
    (program,) = glob.glob("/usr/lib/xen-*/bin/xenstored")
    process = subprocess.Popen(
        [program, "--no-fork", "--internal-db"],
        env={**found.environment, "LD_PRELOAD": str(library)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until and process.poll() is None:
            with socket.socket(socket.AF_UNIX) as line:
                if line.connect_ex(str(directory / "socket")) == 0:
                    break
            time.sleep(0.01)
        assert process.poll() is None, "xenstored does not run"
        yield found
    finally:
        process.terminate()
        process.wait()
