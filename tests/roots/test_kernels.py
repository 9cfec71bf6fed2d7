"""Guests that need another kernel: real apt brings it, and the undo takes all that came along."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.guests import images, profiles, roots
from tests.guests.profiles import Profile
from tests.roots import disks, snapshot, trees
from tests.roots.runs import Result, has_driver, names, pvprep, restored, version

from pvprep.guest import Guest
from pvprep.packages import dpkg

pytestmark = pytest.mark.roots

# Counts the builds of initrds, at a place outside of what is compared.
COUNTER = '#!/bin/sh\n[ "$1" = prereqs ] && exit\necho "$version" >> /var/log/initrds-built\n'


@dataclass(frozen=True)
class Story:
    """What came of one guest, from first to last."""

    packages: Mapping[str, str]
    check: Result
    prepared: Result
    kernel: str
    more: frozenset[str]
    built: list[str]
    drivers: set[str]
    ready: Result
    real: disks.Taken
    promised: disks.Taken
    again: Result
    changed_by_second: list[str]
    seen: Mapping[str, str]
    rolled_back: Result
    packages_left: Mapping[str, str]
    left: list[str]


def _tell(root: Path, work: Path, pattern: str, *words: str) -> Story:
    """words: of `pvprep prepare`; pattern: of the version of the kernel that comes."""
    before, packages = snapshot.take(root), dpkg.installed(Guest(str(root)))
    check = pvprep(root, "check", "--json")
    prepared = pvprep(root, *words)
    assert prepared.status == 0, prepared.err
    kernel = version(root, pattern)
    more = frozenset(dpkg.installed(Guest(str(root)))) - frozenset(packages)
    counted = root / "var/log/initrds-built"
    built = counted.read_text().split() if counted.exists() else []
    drivers = names(root, "lsinitramfs", f"/boot/initrd.img-{kernel}")
    ready = pvprep(root, "check", "--json")
    real, promised = disks.taken(root, work / "disk"), disks.promised(root, ready.json["pygrub"])
    converted = snapshot.take(root)
    again = pvprep(root)
    changed_by_second = snapshot.differences(converted, snapshot.take(root))
    seen = {path: (root / path).read_text() for path in ("boot/grub/grub.cfg", "etc/default/grub")}
    libraries = sorted(str(path.relative_to(root)) for path in root.glob("lib/tls*/**/*"))
    seen["/lib/tls"] = " ".join(libraries)
    rolled_back = pvprep(root, "rollback", "--verify")
    return Story(
        packages, check, prepared, kernel, more, built, drivers, ready, real, promised, again,
        changed_by_second, seen, rolled_back, dpkg.installed(Guest(str(root))),
        restored(before, root, packages=True),
    )  # fmt: skip


def _root(profile: Profile, work: Path) -> Path:
    root = work / "root"
    roots.unpack(roots.build_profile(profile), root)
    trees.let_fetch(root)
    return root


@pytest.fixture(scope="module")
def i386(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A 32-bit Debian 12 whose only kernel, 686-pae, has lost PV."""
    with roots.in_memory(tmp_path_factory.mktemp("i386") / "memory") as work:
        yield _tell(_i386_with_tls(work), work, "*-amd64")


def _i386_with_tls(work: Path) -> Path:
    root = _root(profiles.BOOKWORM_I386, work)
    # Debian 12 has no /lib/tls any more; a system that was upgraded since sarge may.
    old = root / "lib/tls/i686/cmov"
    old.mkdir(parents=True)
    (old / "made-by-this-test.so.0").write_text("no library\n")
    counter = root / "etc/initramfs-tools/hooks/counter"
    counter.write_text(COUNTER)
    counter.chmod(0o755)
    # A 32-bit zstd takes a minute at its usual level, which says nothing here.
    (root / "etc/initramfs-tools/conf.d/level").write_text("COMPRESSLEVEL=1\n")
    return root


@pytest.fixture(scope="module")
def from_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A Debian 12 without any kernel or initrd builder, on a mounted disk, given a package file."""
    work = tmp_path_factory.mktemp("file")
    disk, root = work / "image", work / "mounted"
    images.mbr(_root(profiles.BOOKWORM_WITHOUT_KERNEL, work), disk, root_mib=1500, swap_mib=16)
    root.mkdir()
    subprocess.run(["mount", "-o", f"loop,offset={images.MIB}", disk, root], check=True)
    roots.build_profile(profiles.BOOKWORM_CLOUD_KERNEL)  # so that its packages are there
    archives = roots.CACHE / "archives" / "bookworm-amd64"
    file = max(archives.glob("linux-image-*[0-9]-cloud-amd64_*.deb"))
    try:
        yield _tell(root, work, "*-cloud-amd64", "--kernel-package", str(file))
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)
        shutil.rmtree(work)


@pytest.fixture(params=["i386", "from_file"])
def story(request: pytest.FixtureRequest) -> Story:
    found: Story = request.getfixturevalue(request.param)
    return found


def test_the_kernel_without_pv_is_named_with_evidence(i386: Story) -> None:
    assert i386.check.status == 1
    found = i386.check.ids["kernel.pvhvm-only"]
    assert "686-pae has no PV entry point" in found["message"]
    assert "no CONFIG_XEN_PV;" in found["evidence"]
    assert "CONFIG_XEN_PVHVM=y" in found["evidence"]


def test_the_64_bit_kernel_comes_alone(i386: Story) -> None:
    assert {name.split(":")[1] for name in i386.more} == {"amd64"}
    assert len(i386.more) == 2  # the image, and the package that names the newest one


def test_its_initrd_is_built_once_and_no_other_is(i386: Story) -> None:
    assert i386.built == [i386.kernel]


def test_tls_libraries_are_moved_aside(i386: Story) -> None:
    where = "lib/tls.disabled/i686"
    assert i386.seen["/lib/tls"] == f"{where} {where}/cmov {where}/cmov/made-by-this-test.so.0"


def test_the_kernel_comes_from_the_file(from_file: Story) -> None:
    assert from_file.check.status == 1
    assert "linux-image-cloud-amd64:amd64" not in from_file.more  # which apt would have chosen
    assert "linux-image-amd64:amd64" not in from_file.more
    assert f"linux-image-{from_file.kernel}:amd64" in from_file.more
    assert "initramfs-tools:all" in from_file.more


def test_the_initrd_has_the_drivers(story: Story) -> None:
    assert has_driver(story.drivers, "xen-blkfront")
    assert has_driver(story.drivers, "xen-netfront")


def test_it_is_ready_and_a_second_time_nothing_is_done(story: Story) -> None:
    assert story.ready.json["ready"]
    assert story.ready.json["pygrub"]["kernel"] == f"/boot/vmlinuz-{story.kernel}"
    assert story.again.status == 0
    assert story.changed_by_second == []


def test_the_real_pygrub_takes_the_new_kernel(story: Story) -> None:
    assert story.real == story.promised
    assert "root=/dev/xvda1" in story.real.args
    assert story.real.args.split("console=")[-1].split()[0] == "hvc0"


def test_nothing_of_this_machine_gets_into_the_menu(story: Story) -> None:
    """update-grub in a tree would ask for the disk that it lies on, or the loop device."""
    entries = re.findall(r"(?m)^\s*linux\s.*", story.seen["boot/grub/grub.cfg"])
    roots_named = {word for line in entries for word in line.split() if word.startswith("root=")}
    assert roots_named <= {"root=/dev/sda1", "root=/dev/xvda1"}


def test_the_way_back_takes_the_packages_along(story: Story) -> None:
    assert story.rolled_back.status == 0, story.rolled_back.err
    assert story.packages_left == story.packages
    assert story.left == []
