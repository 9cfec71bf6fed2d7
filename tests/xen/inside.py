"""Has a guest run commands inside at its next boot, on any hypervisor, and go off.

What they say comes out on the first serial port, which an HVM domain has; a config among it is
what the lab creates the next domain by (lab.Domain).
"""

from __future__ import annotations

from pathlib import Path

from tests.guests import job

UNIT = "pvprep-tests-inside.service"
ERRAND = "/var/lib/pvprep-tests/errand"
# dom0-init knows these two.
CONFIG_BEGIN = "pvprep-tests config begin"
CONFIG_END = "pvprep-tests config end"

_UNIT = f"""\
[Unit]
Description=Run what the tests of pvprep have for this boot
Documentation=file:/usr/local/sbin/pvprep-tests-inside
ConditionPathExists={ERRAND}

[Service]
# Started at once, so that the system can be up before it begins.
Type=exec
ExecStart=/usr/local/sbin/pvprep-tests-inside
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""

_SCRIPT = f"""\
#!/bin/sh
# Part of the tests of pvprep; no guest in earnest has it.
systemctl is-system-running --wait
mv {ERRAND} /run/pvprep-tests-errand
cd /root
sh -e /run/pvprep-tests-errand </dev/null >/dev/ttyS0 2>&1
echo "pvprep-tests inside: status $?" >/dev/ttyS0
systemctl poweroff
"""

# For a script: prepare, tell the config, and leave it in xenstore for a while, too.
PREPARE = f"""
pvprep --emit-config >/root/bifit.cfg
pvprep config --to-xenstore
sleep 30
echo
echo '{CONFIG_BEGIN}'
cat /root/bifit.cfg
echo '{CONFIG_END}'
"""


def install(root: Path, script: str) -> None:
    """Put the unit and the script for the next boot into a tree with systemd."""
    system = root / "etc/systemd/system"
    program = root / "usr/local/sbin/pvprep-tests-inside"
    program.write_text(_SCRIPT)
    program.chmod(0o755)
    (system / UNIT).write_text(_UNIT)
    job.link(system / "multi-user.target.wants" / UNIT, f"/etc/systemd/system/{UNIT}")
    errand = root / ERRAND.lstrip("/")
    errand.parent.mkdir(parents=True, exist_ok=True)
    errand.write_text(script)


def told(console: str) -> str:
    """The config on a console."""
    text = console.replace("\r", "").partition(f"{CONFIG_BEGIN}\n")[2]
    return text.partition(CONFIG_END)[0]
