"""The snippets for installers: what they say is run as the installer would, on a new system."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import xml.etree.ElementTree
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion
from tests.guests import chroot, debs, profiles, roots, rpmprofiles, rpmroots
from tests.roots import deb, disks
from tests.roots.installer import CMDLINE, Installer
from tests.roots.runs import has_driver, names, version
from tests.unit.domu.xen_tools import parse

pytestmark = pytest.mark.roots

COMMON = debs.TOP / "packaging/common"
KICKSTART, AUTOYAST = COMMON / "kickstart/pvprep.ks", COMMON / "autoyast/pvprep.xml"
PRESEED, AUTOINSTALL = COMMON / "preseed/pvprep.cfg", COMMON / "autoinstall/pvprep.yaml"
LOG, CONFIG = "root/pvprep-install.log", "root/domu.cfg"
# What Debian's installer has in its environment (debconf's confmodule).
DEBCONF = {"DEBIAN_HAS_FRONTEND": "1", "DEBCONF_REDIR": "1", "DEBIAN_FRONTEND": "passthrough"}
YAST = "{http://www.suse.com/1.0/yast2ns}"


def kickstart(version: str = "RHEL9") -> Any:
    """The file as anaconda's own parser reads it."""
    handler = makeVersion(version)
    KickstartParser(handler).readKickstart(str(KICKSTART))
    return handler


def autoyast() -> Any:
    return xml.etree.ElementTree.parse(AUTOYAST).getroot()


def late_command() -> str:
    text = PRESEED.read_text().replace("\\\n", "")
    (found,) = re.findall(r"(?m)^d-i preseed/late_command string\s+(.*)$", text)
    return str(found)


def late_commands() -> list[str]:
    """By the YAML reader of Debian's own cloud-init and netplan."""
    read = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
    done = subprocess.run(
        ["/usr/bin/python3", "-c", read],
        input=AUTOINSTALL.read_text(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    document = json.loads(done.stdout)["autoinstall"]
    assert document["packages"] == ["pvprep"]
    return list(document["late-commands"])


@pytest.mark.parametrize("version", ["RHEL7", "RHEL8", "RHEL9", "RHEL10", "F41"])
def test_kickstarts_own_parser_takes_it(version: str) -> None:
    validator = Path(sys.executable).with_name("ksvalidator")
    done = subprocess.run([validator, "-v", version, KICKSTART], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    handler = kickstart(version)
    assert handler.packages.packageList == ["pvprep"]
    (post,) = handler.scripts
    assert (post.inChroot, post.errorOnFail, post.interp) == (True, True, "/bin/sh")
    assert post.logfile == f"/{LOG}"


def test_autoyast_is_well_formed_and_runs_in_the_new_system() -> None:
    subprocess.run(["xmllint", "--noout", AUTOYAST], check=True)
    assert [entry.text for entry in autoyast().iter(f"{YAST}package")] == ["pvprep"]
    assert [entry.text for entry in autoyast().iter(f"{YAST}chrooted")] == ["true"]


def test_debconf_takes_the_preseed_file() -> None:
    check = ["debconf-set-selections", "--checkonly", PRESEED]
    done = subprocess.run(check, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installer]:
    """Debian 12, just installed, pvprep with it."""
    work = tmp_path_factory.mktemp("debian")
    profile = replace(profiles.BOOKWORM_CLOUD_KERNEL, python=True)
    tree = work / "tree"
    roots.unpack(roots.build_profile(profile), tree)
    # A tree's initrd takes every driver; here MODULES=dep would ask for this machine's disk.
    (tree / "etc/initramfs-tools/conf.d/modules").write_text("MODULES=most\n")
    deb.install(tree, debs.build())
    with disks.mounted(tree, work) as root:
        yield Installer(root, work / "installer")


def check_prepared(installer: Installer, initrd: str, lister: str) -> None:
    """What the snippet has done, in the new system."""
    root = installer.root
    log = (root / LOG).read_text()
    assert "Ready for PV." in log
    config = (root / CONFIG).read_text()
    assert dict(parse(config.replace("REPLACE-ME", "512")))["name"] == profiles.HOSTNAME
    assert "/dev/xvda1" in (root / "etc/fstab").read_text()
    kernel = version(root)
    assert kernel != os.uname().release
    found = names(root, lister, initrd.format(kernel))
    assert has_driver(found, "xen-blkfront") and has_driver(found, "xen-netfront")
    # It is enabled and not started, nothing else is either, and nothing is the installer's.
    assert (root / "etc/systemd/system/multi-user.target.wants/pvprep-boot.service").is_symlink()
    assert installer.services == []
    for word in (*CMDLINE.split(), "of-the-installer"):
        places = [root / "etc", *root.glob("boot/grub*/grub.cfg"), root / CONFIG]
        assert subprocess.run(["grep", "-rlF", word, *places]).returncode == 1, word


def test_preseed_prepares_the_new_system(debian: Installer) -> None:
    assert debian.run(late_command(), DEBCONF) == 0
    check_prepared(debian, "/boot/initrd.img-{}", "lsinitramfs")


def test_autoinstall_does_so_too(debian: Installer) -> None:
    """On a system that is prepared already: there is nothing to do, and the config comes again."""
    (debian.root / CONFIG).unlink(missing_ok=True)
    for command in late_commands():
        assert debian.run(command) == 0
    check_prepared(debian, "/boot/initrd.img-{}", "lsinitramfs")


def test_a_failure_is_the_installers_to_see(debian: Installer) -> None:
    """No kernel, and no archive to have one from."""
    root = debian.root
    for place in (LOG, CONFIG):
        (root / place).unlink(missing_ok=True)
    for image in (root / "boot").glob("vmlinuz-*"):
        image.unlink()
    (root / "etc/apt/sources.list").write_text("")
    statuses = [debian.run(command) for command in (late_command(), *late_commands())]
    assert all(statuses) and len(statuses) == 2
    assert "kernel" in (root / LOG).read_text()
    assert not (root / CONFIG).exists()


@pytest.fixture(scope="module")
def enterprise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installer]:
    """The stand-in for an Enterprise Linux, just installed, pvprep with it."""
    work = tmp_path_factory.mktemp("enterprise")
    tree = work / "tree"
    roots.unpack(rpmroots.build(rpmprofiles.EL9_PV), tree)
    package = debs.build_rpm()
    shutil.copy(package, tree / "tmp")
    chroot.run(tree, ["dnf", "-q", "-y", "install", f"/tmp/{package.name}"])
    # Of SELinux' policy only that it is there.
    (tree / "etc/selinux/targeted/contexts").mkdir(parents=True)
    with disks.mounted(tree, work) as root:
        yield Installer(root, work / "installer")


def run_kickstart(installer: Installer) -> int:
    """As anaconda does; with --erroronfail it gives up over another status than 0."""
    (post,) = kickstart().scripts
    return installer.script("tmp/ks-script-x1y2z3", post.script, post.logfile)


def run_autoyast(installer: Installer) -> int:
    """As YaST does."""
    (source,) = autoyast().iter(f"{YAST}source")
    return installer.script("var/adm/autoinstall/scripts/pvprep.sh", source.text)


def test_kickstart_prepares_the_new_system(enterprise: Installer) -> None:
    assert run_kickstart(enterprise) == 0, (enterprise.root / LOG).read_text()
    check_prepared(enterprise, "/boot/initramfs-{}.img", "lsinitrd")
    assert (enterprise.root / ".autorelabel").exists()
    assert "the first boot labels all files anew" in (enterprise.root / LOG).read_text()
    keyfile = enterprise.root / "etc/NetworkManager/system-connections/ens3.nmconnection"
    assert stat.S_IMODE(keyfile.stat().st_mode) == 0o600
    assert "interface-name=ens3" in keyfile.read_text()


def test_autoyast_does_so_too(enterprise: Installer) -> None:
    (enterprise.root / CONFIG).unlink(missing_ok=True)
    assert run_autoyast(enterprise) == 0, (enterprise.root / LOG).read_text()
    check_prepared(enterprise, "/boot/initramfs-{}.img", "lsinitrd")


def test_a_failure_is_anacondas_to_see(enterprise: Installer) -> None:
    root = enterprise.root
    for place in (LOG, CONFIG):
        (root / place).unlink(missing_ok=True)
    for image in (root / "boot").glob("vmlinuz-*"):
        image.unlink()
    for repo in (root / "etc/yum.repos.d").iterdir():
        repo.unlink()
    for run in (run_kickstart, run_autoyast):
        assert run(enterprise) != 0
        assert "kernel" in (root / LOG).read_text()
        assert not (root / CONFIG).exists()
