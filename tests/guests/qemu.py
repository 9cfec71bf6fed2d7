"""Machines in software emulation: any, and one with a BIOS, an IDE disk, an e1000 card."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Optional, TypeVar

from tests.guests.profiles import MAC

Self = TypeVar("Self", bound="Qemu")
_POLL = 0.2  # seconds between two looks at the console
_TAIL = 3000  # characters of the console in an error


class MachineError(Exception):
    """The machine did not do what it was waited for; has the console's tail, names a picture."""


class Qemu:
    """A running QEMU: started on entering the block, gone after it, whatever happened.

    argv: what makes the machine. work: a directory for console.log, the first serial port, and
    screen.png.
    """

    def __init__(self, argv: Sequence[str], work: Path) -> None:
        self.console = work / "console.log"
        self._screen = work / "screen.png"
        self._monitor = work / "monitor"
        self._output = work / "qemu.log"
        # It ends with whoever started it, however that ends.
        self._argv = ["setpriv", "--pdeathsig", "KILL"]
        self._argv += ["qemu-system-x86_64", "-accel", "tcg,thread=multi"]
        self._argv += ["-display", "none", "-no-reboot", "-serial", f"file:{self.console}"]
        self._argv += ["-qmp", f"unix:{escape(self._monitor)},server=on,wait=off", *argv]
        self._process: Optional[subprocess.Popen[bytes]] = None

    def __enter__(self: Self) -> Self:
        self.console.write_bytes(b"")
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        self._monitor.unlink(missing_ok=True)

    def wait_for(self, pattern: str, timeout: float) -> re.Match[str]:
        """Wait until the console shows the pattern; seconds. Raises MachineError if it does not."""
        deadline = time.monotonic() + timeout
        while True:
            # Asked before reading: what a machine says last is not missed.
            ended = self.ended(_POLL)
            found = re.search(pattern, self.text())
            if found:
                return found
            if ended or time.monotonic() > deadline:
                why = "the machine stopped" if ended else f"not within {timeout:.0f} s"
                raise self.failure(f"no {pattern!r} on the console: {why}")

    def wait_off(self, timeout: float) -> None:
        """Wait until it powers off, or reboots; seconds. Raises MachineError if it does not."""
        if not self.ended(timeout):
            raise self.failure(f"still running after {timeout:.0f} s")
        if self._process and self._process.returncode:
            raise self.failure(f"QEMU ended with status {self._process.returncode}")

    def text(self) -> str:
        """The serial console so far."""
        return self.console.read_text("utf-8", "replace")

    def failure(self, what: str) -> MachineError:
        """An error to raise: what went wrong, a picture of the screen, the console's end."""
        said = self._output.read_text("utf-8", "replace")[-_TAIL:]
        picture = f"\nscreen: {self._screen}" if self._shot() else ""
        return MachineError(f"{what}{picture}\n{said}console ends:\n{self.text()[-_TAIL:]}")

    def ended(self, timeout: float) -> bool:
        """Whether it ends within so many seconds."""
        if self._process is None:
            raise RuntimeError("the machine was not started")
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def press_key(self) -> None:
        """Press a key that means nothing to anybody; it is an interrupt, though."""
        key = {"keys": [{"type": "qcode", "data": "shift"}]}
        self._ask({"execute": "send-key", "arguments": key})

    def _shot(self) -> bool:
        """Make a picture of the screen: what boot loader and kernel say goes there alone."""
        self._screen.unlink(missing_ok=True)
        take = {"filename": str(self._screen), "format": "png"}
        self._ask({"execute": "screendump", "arguments": take})
        return self._screen.exists()

    def _ask(self, command: Mapping[str, Any]) -> None:
        """Have the monitor do something; one that does not answer is left alone."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(10)
            monitor.connect(str(self._monitor))
            # QMP (qemu-qmp-ref(7)): a greeting, then one answer to each command, a line each.
            answers = monitor.makefile("rb")
            answers.readline()
            for one in ({"execute": "qmp_capabilities"}, command):
                monitor.sendall(json.dumps(one).encode())
                answers.readline()


class Machine(Qemu):
    """A fully virtualised machine.

    disk: a raw image, written to unless snapshot. work: as Qemu has it. share: a directory that the
    guest can mount as 9p, tag "job". cdrom: an ISO image. memory in MiB. nic: QEMU's model of the
    card, whose network has DHCP and nothing else: no way out, none in. log: a file that gets every
    write to the disk (see powercut.Log).
    """

    def __init__(
        self,
        disk: Path,
        work: Path,
        *,
        share: Optional[Path] = None,
        cdrom: Optional[Path] = None,
        memory: int = 768,
        mac: str = MAC,
        nic: str = "e1000",
        snapshot: bool = False,
        log: Optional[Path] = None,
    ) -> None:
        argv = ["-cpu", "max", "-smp", "2", "-m", str(memory)]
        drive = f"file={escape(disk)},format=raw,cache=unsafe"
        drive += f",snapshot={'on' if snapshot else 'off'}"
        if log:
            log.write_bytes(b"")
            drive = f"driver=blklogwrites,file.driver=file,file.filename={escape(disk)}"
            drive += f",file.cache.no-flush=on,log.driver=file,log.filename={escape(log)}"
            drive += ",log.cache.no-flush=on"
        argv += ["-drive", f"{drive},if=ide,index=0"]
        argv += ["-nic", f"user,model={nic},mac={mac},restrict=on"]
        if share:
            export = f"local,path={escape(share)},mount_tag=job,security_model=none,id=job"
            argv += ["-virtfs", export]
        if cdrom:
            drive = f"file={escape(cdrom)},format=raw,if=ide,index=2,media=cdrom,readonly=on"
            argv += ["-drive", drive]
        super().__init__(argv, work)


def escape(path: Path) -> str:
    """QEMU's options are separated by commas; a comma in a value is written twice."""
    return str(path).replace(",", ",,")
