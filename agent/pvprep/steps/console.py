"""A login on the PV console.

`xl console` shows hvc0 (xvc0 with XenLinux kernels). systemd's getty generator opens a login there
by itself when the kernel's console is hvc0, unless somebody masked it, and so does EL 6; sysvinit
and upstart need a line or a job of their own. Where securetty exists, root may log in only on
terminals that it lists.
"""

from __future__ import annotations

from ..context import Context
from ..draft import Draft
from ..editors import inittab, securetty
from ..findings import Level
from .step import Step

NAME = "console"
INITTAB = "/etc/inittab"
SECURETTY = "/etc/securetty"
UNITS = "/etc/systemd/system"
GENERATOR = "/etc/systemd/system-generators/systemd-getty-generator"
UPSTART_TEXT = """\
# Made by pvprep: a login on the Xen PV console; without that device the job ends at once.
start on stopped rc RUNLEVEL=[2345]
stop on runlevel [!2345]
respawn
pre-start script
    [ -c /dev/{tty} ] || {{ stop; exit 0; }}
end script
exec {getty} -L {tty} 115200 linux
"""
# upstart before 0.6; where the device does not exist the job only waits.
EVENT_TEXT = """\
# Made by pvprep: a login on the Xen PV console.
start on stopped rc2
start on stopped rc3
start on stopped rc4
start on stopped rc5
stop on runlevel 0
stop on runlevel 1
stop on runlevel 6
respawn
exec /bin/sh -c 'test -c /dev/{tty} && exec {getty} 38400 {tty} linux; exec sleep 3600'
"""
EVENTS = "/etc/event.d"
# EL 6's: udev's console_check names the kernel's console to it (initscripts' 10-console.rules).
SERIAL = "/etc/init/serial.conf"
BY_ITSELF = "fedora.serial-console-available"


def plan(context: Context, draft: Draft) -> None:
    """Open the login, by the init that the guest has."""
    tty = context.console
    init = context.facts.machine.init
    if init == "systemd":
        _systemd(context, draft, tty)
    elif init == "upstart":
        _upstart(context, draft, tty)
    elif init == "sysvinit":
        draft.edit(NAME, INITTAB, inittab.add_getty(draft.text(INITTAB), tty))
    else:
        draft.say(
            "console.unknown-init",
            Level.WARN,
            f"this system's init is not known: no login is opened on {tty}",
            remedy=f"start a getty on {tty} by hand",
        )
    if draft.file(SECURETTY):
        draft.edit(NAME, SECURETTY, securetty.add(draft.text(SECURETTY), tty))


def _upstart(context: Context, draft: Draft, tty: str) -> None:
    if BY_ITSELF in draft.text(SERIAL):
        return
    job, text = f"/etc/init/{tty}.conf", UPSTART_TEXT
    if draft.file(EVENTS):
        job, text = f"{EVENTS}/{tty}", EVENT_TEXT
    getty = "/sbin/agetty" if context.facts.distro.family == "redhat" else "/sbin/getty"
    draft.create(NAME, job, text.format(tty=tty, getty=getty), f"opens a login on {tty}")


def _systemd(context: Context, draft: Draft, tty: str) -> None:
    facts = context.facts
    for name in (f"serial-getty@{tty}.service", "serial-getty@.service"):
        found = facts.file(f"{UNITS}/{name}")
        if found and found.target == "/dev/null":
            draft.remove(NAME, f"{UNITS}/{name}", f"unmasked: the login on {tty}")
    generator = facts.file(GENERATOR)
    if generator and generator.target == "/dev/null":
        wants = f"{UNITS}/getty.target.wants/serial-getty@{tty}.service"
        if not facts.file(wants):
            draft.link(
                NAME, wants, "/lib/systemd/system/serial-getty@.service",
                "the getty generator is masked",
            )


STEP = Step(
    NAME,
    __doc__,
    plan,
    reads=(
        INITTAB,
        SECURETTY,
        GENERATOR,
        f"{UNITS}/serial-getty@*.service",
        f"{UNITS}/getty.target.wants/serial-getty@*.service",
        "/etc/init/hvc0.conf",
        "/etc/init/xvc0.conf",
        SERIAL,
        EVENTS,
        f"{EVENTS}/?vc0",
    ),
    topics={
        "console.unknown-init": "pvprep knows systemd, upstart and sysvinit.",
    },
)
