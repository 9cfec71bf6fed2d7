"""Hands commands to a guest and brings back what they said.

The tests' own unit in the guest mounts a directory of this machine, runs the script `run` in it
when the system is up, leaves what it printed and its exit status beside it, and powers off.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from tests.guests.qemu import Machine

UNIT = "pvprep-tests-job.service"

_UNIT = """\
[Unit]
Description=Run the job that the tests of pvprep have for this guest
Documentation=file:/usr/local/sbin/pvprep-tests-job
# The directory is to be had in QEMU's own machines only.
ConditionVirtualization=!xen

[Service]
# Started at once, so that the system can be up before the job begins.
Type=exec
ExecStart=/usr/local/sbin/pvprep-tests-job
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""

_SCRIPT = """\
#!/bin/sh
# Part of the tests of pvprep; no guest in earnest has it.
modprobe 9pnet_virtio || exit
mkdir -p /job
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 job /job || exit
systemctl is-system-running --wait >/job/state
# A card that is hotplugged, as Debian has it, gets its address after that.
for second in $(seq 60); do
    [ -z "$(ip -4 -o address show scope global)" ] || break
    sleep 1
done
cd /root
sh /job/run </dev/null >/job/stdout 2>/job/stderr
echo $? >/job/status
umount /job
systemctl poweroff
"""

# All that is logged is seen on the serial port, without a console on it.
_LOG_TO_SERIAL = """\
[Journal]
ForwardToConsole=yes
TTYPath=/dev/ttyS0
MaxLevelConsole=info
"""

# They begin on their own, make runs differ, and take a quarter of the time.
_MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
)


# A busy machine is no fault of the guest: 90 s are not much in emulation.
_PATIENCE = """\
[Manager]
DefaultDeviceTimeoutSec=900
DefaultTimeoutStartSec=900
"""


@dataclass(frozen=True)
class Result:
    """How a job ended. state: what `systemctl is-system-running` said. seconds: start to off."""

    status: int
    stdout: str
    stderr: str
    state: str
    seconds: float


def install(root: Path, *, log: bool = True) -> None:
    """Put the tests' unit into a tree with systemd, before an image is made of it.

    log: all that the guest logs is seen on the serial port.
    """
    system = root / "etc/systemd/system"
    script = root / "usr/local/sbin/pvprep-tests-job"
    script.write_text(_SCRIPT)
    script.chmod(0o755)
    (system / UNIT).write_text(_UNIT)
    link(system / "multi-user.target.wants" / UNIT, f"/etc/systemd/system/{UNIT}")
    mask_timers(root)
    make_patient(root)
    if not log:
        return
    journal = root / "etc/systemd/journald.conf.d/pvprep-tests.conf"
    journal.parent.mkdir(exist_ok=True)
    journal.write_text(_LOG_TO_SERIAL)


def mask_timers(root: Path) -> None:
    """Keep what begins on its own from running in a tree with systemd."""
    for unit in _MASKED:
        link(root / "etc/systemd/system" / unit, "/dev/null")


def make_patient(root: Path) -> None:
    """Let systemd in a tree wait longer for devices and services than it would."""
    patience = root / "etc/systemd/system.conf.d/pvprep-tests.conf"
    patience.parent.mkdir(exist_ok=True)
    patience.write_text(_PATIENCE)


def run(
    disk: Path, work: Path, script: str, *, timeout: float = 600, log: Optional[Path] = None
) -> Result:
    """Boot the disk, run the shell script in it with work/share at /job, wait until it is off.

    What lies in the share is there for the script, and what the script leaves in it is there
    afterwards; the work directory gets console.log. The disk keeps what the guest writes.
    log: as Machine has it.
    Raises MachineError, also after timeout seconds; a script that fails is a Result like others.
    """
    share = work / "share"
    share.mkdir(exist_ok=True)
    for name in ("status", "stdout", "stderr", "state"):
        (share / name).unlink(missing_ok=True)
    (share / "run").write_text(script)
    began = time.monotonic()
    with Machine(disk, work, share=share, log=log) as machine:
        machine.wait_off(timeout)
        if not (share / "status").exists():
            raise machine.failure("the guest went off without running its job")
    return Result(
        status=int((share / "status").read_text()),
        stdout=(share / "stdout").read_text("utf-8", "replace"),
        stderr=(share / "stderr").read_text("utf-8", "replace"),
        state=(share / "state").read_text().strip(),
        seconds=time.monotonic() - began,
    )


def link(path: Path, target: str) -> None:
    """Make a symbolic link, in place of what is there; its directory is made."""
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
