"""A login on the PV console, by the init that is there."""

from __future__ import annotations

import pytest
from tests.unit.building import (
    XENLINUX,
    directory,
    guest,
    ids,
    kinds,
    link,
    removed,
    run,
    said,
    settle,
    written,
)

from pvprep.changes import MakeLink
from pvprep.facts import Distro
from pvprep.findings import Level

UNITS = "/etc/systemd/system"
GETTY = f"{UNITS}/serial-getty@hvc0.service"
TEMPLATE = f"{UNITS}/serial-getty@.service"
GENERATOR = "/etc/systemd/system-generators/systemd-getty-generator"
WANTS = f"{UNITS}/getty.target.wants/serial-getty@hvc0.service"
INITTAB = """\
id:2:initdefault:
1:2345:respawn:/sbin/getty 38400 tty1
"""


def test_systemd_opens_it_by_itself() -> None:
    draft = run("console", guest())
    assert draft.changes() == ()
    assert draft.findings == []


@pytest.mark.parametrize("path", [GETTY, TEMPLATE])
def test_a_masked_getty_is_unmasked(path: str) -> None:
    facts = guest({path: link(path, "/dev/null")})
    assert removed(run("console", facts)) == [path]
    assert run("console", settle(facts)[0]).changes() == ()


def test_a_getty_of_the_guests_own_stays() -> None:
    facts = guest({GETTY: "[Service]\n", TEMPLATE: link(TEMPLATE, "/usr/local/own.service")})
    assert run("console", facts).changes() == ()


def test_where_the_generator_is_masked_the_getty_is_wanted() -> None:
    facts = guest({GENERATOR: link(GENERATOR, "/dev/null")})
    (made,) = kinds(run("console", facts), MakeLink)
    assert made.path == WANTS
    assert made.target == "/lib/systemd/system/serial-getty@.service"
    assert run("console", settle(facts)[0]).changes() == ()


def test_a_generator_of_the_guests_own_is_trusted() -> None:
    assert run("console", guest({GENERATOR: link(GENERATOR, "/opt/generator")})).changes() == ()


def test_sysvinit_gets_a_line() -> None:
    facts = guest({"/etc/inittab": INITTAB}, machine={"init": "sysvinit"})
    text = written(run("console", facts))["/etc/inittab"]
    assert text.startswith(INITTAB)
    assert text.count("\n") == 3
    assert "hvc0" in text[len(INITTAB) :]
    assert run("console", settle(facts)[0]).changes() == ()


def test_upstart_gets_a_job() -> None:
    facts = guest(machine={"init": "upstart"})
    text = written(run("console", facts))["/etc/init/hvc0.conf"]
    assert "exec /sbin/getty -L hvc0 115200 linux\n" in text
    assert "[ -c /dev/hvc0 ] || { stop; exit 0; }" in text
    assert run("console", settle(facts)[0]).changes() == ()


def test_upstart_before_its_files_were_called_conf() -> None:
    """Ubuntu 8.04."""
    facts = guest({"/etc/event.d": directory("/etc/event.d")}, machine={"init": "upstart"},
                  kernels=[XENLINUX])  # fmt: skip
    text = written(run("console", facts))["/etc/event.d/xvc0"]
    assert "\nstart on stopped rc2\n" in text
    assert "\nrespawn\nexec /bin/sh -c 'test -c /dev/xvc0 && exec /sbin/getty 38400 xvc0 " in text
    assert run("console", settle(facts)[0]).changes() == ()


def test_el_6_opens_it_by_itself() -> None:
    job = "start on fedora.serial-console-available DEV=* and stopped rc RUNLEVEL=[2345]\n"
    facts = guest({"/etc/init/serial.conf": job}, distro=Distro("centos", "6.10"),
                  machine={"init": "upstart"})  # fmt: skip
    assert run("console", facts).changes() == ()
    without = guest(distro=Distro("centos", "6.10"), machine={"init": "upstart"})
    assert "exec /sbin/agetty -L" in written(run("console", without))["/etc/init/hvc0.conf"]


def test_an_init_that_is_not_known() -> None:
    draft = run("console", guest(machine={"init": ""}))
    assert said(draft, "console.unknown-init").level is Level.WARN
    assert draft.changes() == ()


def test_a_xenlinux_kernel_has_another_console() -> None:
    facts = guest(
        {"/etc/inittab": INITTAB, "/etc/securetty": "tty1\n"},
        kernels=[XENLINUX], machine={"init": "sysvinit"},
    )  # fmt: skip
    texts = written(run("console", facts))
    assert "xvc0" in texts["/etc/inittab"]
    assert texts["/etc/securetty"] == "tty1\nxvc0\n"


@pytest.mark.parametrize("init", ["systemd", "sysvinit", "upstart", ""])
def test_securetty_is_kept_up_where_it_exists(init: str) -> None:
    files = {"/etc/securetty": "console\ntty1", "/etc/inittab": INITTAB}
    facts = guest(files, machine={"init": init})
    assert written(run("console", facts))["/etc/securetty"] == "console\ntty1\nhvc0"
    assert "/etc/securetty" not in written(run("console", settle(facts)[0]))


def test_securetty_is_never_made() -> None:
    facts = guest({"/etc/inittab": INITTAB}, machine={"init": "sysvinit"})
    assert "/etc/securetty" not in written(run("console", facts))
    assert ids(run("console", facts)) == []
