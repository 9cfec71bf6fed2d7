"""A login on the PV console.

`xl console` shows hvc0 (xvc0 with XenLinux kernels). systemd's getty generator opens a login there
by itself when the kernel's console is hvc0, unless somebody masked it; sysvinit and upstart need a
line of their own. Where securetty exists, root may log in only on terminals that it lists.
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
exec /sbin/getty -L {tty} 115200 linux
"""


def plan(context: Context, draft: Draft) -> None:
    """Open the login, by the init that the guest has."""
    tty = context.console
    init = context.facts.machine.init
    if init == "systemd":
        _systemd(context, draft, tty)
    elif init == "upstart":
        text = UPSTART_TEXT.format(tty=tty)
        draft.create(NAME, f"/etc/init/{tty}.conf", text, f"opens a login on {tty}")
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
    ),
    topics={
        "console.unknown-init": "pvprep knows systemd, upstart and sysvinit.",
    },
)
