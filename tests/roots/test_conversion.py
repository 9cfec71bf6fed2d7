"""The whole way on real Debian guests: look, convert, convert again, look from dom0, go back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.guests import profiles, roots
from tests.guests.profiles import Profile
from tests.roots import disks, snapshot
from tests.roots.runs import Result, has_driver, names, pvprep, restored, version
from tests.unit.domu.xen_tools import parse

pytestmark = pytest.mark.roots

CLOUD = "linux-image-cloud-amd64"
RELEASES = {
    "debian-11": replace(profiles.BULLSEYE, kernel=CLOUD, python=True),
    "debian-12": profiles.BOOKWORM_CLOUD_KERNEL,
    # No ifupdown, but a .network file.
    "debian-13-networkd": replace(profiles.TRIXIE, kernel=CLOUD, python=True, network="networkd"),
    # No systemd, no initramfs-tools.
    "sysvinit-dracut": replace(profiles.BOOKWORM_SYSVINIT, kernel=CLOUD, initrd="dracut"),
}


@dataclass(frozen=True)
class Story:
    """What came of one guest, from first to last."""

    profile: Profile
    dry: Result
    changed_by_looking: list[str]
    real_before: disks.Taken
    predicted_before: disks.Taken
    prepared: Result
    converted: dict[str, str]
    drivers: set[str]
    check: Result
    again: Result
    changed_by_second: list[str]
    real_after: disks.Taken
    promised_after: disks.Taken
    rehearsal: Result
    rolled_back: Result
    left: list[str]


@pytest.fixture(scope="module", params=RELEASES)
def story(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    profile = RELEASES[request.param]
    with roots.in_memory(tmp_path_factory.mktemp(request.param) / "memory") as work:
        yield _tell(profile, work)


def _tell(profile: Profile, work: Path) -> Story:
    root = work / "root"
    roots.unpack(roots.build_profile(profile), root)
    before = snapshot.take(root)
    dry = pvprep(root, "--dry-run", "--emit-config")
    changed_by_looking = snapshot.differences(before, snapshot.take(root))
    real_before, predicted_before = disks.taken(root, work / "disk"), disks.predicted(root)
    prepared = pvprep(root, "--emit-config")
    lister = "lsinitrd" if profile.initrd == "dracut" else "lsinitramfs"
    drivers = names(root, lister, f"/boot/initrd.img-{version(root)}")
    converted = snapshot.take(root)
    check = pvprep(root, "check", "--json")
    again = pvprep(root)
    changed_by_second = snapshot.differences(converted, snapshot.take(root))
    files = {path: (root / path[1:]).read_text() for path in _texts(root)}
    real_after = disks.taken(root, work / "disk")
    promised_after = disks.promised(root, check.json["pygrub"])
    rehearsal = pvprep(root, "rollback", "--dry-run")
    rolled_back = pvprep(root, "rollback", "--verify")
    return Story(
        profile, dry, changed_by_looking, real_before, predicted_before, prepared, files, drivers,
        check, again, changed_by_second, real_after, promised_after, rehearsal, rolled_back,
        restored(before, root),
    )  # fmt: skip


def _texts(root: Path) -> list[str]:
    """Configuration that a conversion is known to touch, where it exists."""
    candidates = [
        "/etc/fstab", "/etc/default/grub", "/boot/grub/grub.cfg", "/etc/inittab", "/etc/modules",
        *("/etc/systemd/network/" + p.name for p in (root / "etc/systemd/network").glob("*")),
    ]  # fmt: skip
    return [path for path in candidates if (root / path[1:]).is_file()]


def test_looking_changes_nothing(story: Story) -> None:
    assert story.dry.status == 0, story.dry.err
    assert story.changed_by_looking == []
    assert "-/dev/sda1" in story.dry.err and "+/dev/xvda1" in story.dry.err
    assert story.dry.err.endswith("Nothing was changed.\n")


def test_it_is_prepared_and_its_config_is_all_of_stdout(story: Story) -> None:
    assert story.prepared.status == 0, story.prepared.err
    assert story.prepared.out == story.dry.out
    config = dict(parse(story.prepared.out.replace("REPLACE-ME", "512")))
    assert (config["name"], config["type"], config["bootloader"]) == ("bifit", "pv", "pygrub")
    assert "xvda" in config["disk"][0]
    assert profiles.MAC in config["vif"][0]


def test_its_files_are_those_of_a_pv_guest(story: Story) -> None:
    for path in ("/etc/fstab", "/boot/grub/grub.cfg"):
        entries = [line for line in story.converted[path].split("\n") if not line.startswith("#")]
        assert "/dev/xvda1" in "\n".join(entries)
        assert "/dev/sda" not in "\n".join(entries)
    assert "\ne1000" not in story.converted["/etc/modules"]
    assert ("hvc0" in story.converted.get("/etc/inittab", "")) == (story.profile.init == "sysvinit")
    links = [text for path, text in story.converted.items() if path.endswith(".link")]
    assert len(links) == 1
    assert profiles.MAC in links[0] and "Name=ens3" in links[0]


def test_its_initrd_has_the_drivers(story: Story) -> None:
    assert has_driver(story.drivers, "xen-blkfront")
    assert has_driver(story.drivers, "xen-netfront")
    assert story.prepared.err.count(" done     initrd ") == 1


def test_it_is_ready_and_a_second_time_nothing_is_done(story: Story) -> None:
    assert story.check.status == 0
    assert story.check.json["ready"]
    assert story.check.json["changes"] == []
    assert (story.again.status, story.again.out) == (0, "")
    assert story.changed_by_second == []


def test_the_real_pygrub_takes_what_was_said(story: Story) -> None:
    assert story.real_before == story.predicted_before
    assert "root=/dev/sda1" in story.real_before.args
    assert story.real_after == story.promised_after
    assert "root=/dev/xvda1" in story.real_after.args
    assert story.real_after.args.endswith("console=hvc0")


def test_the_way_back_is_exact(story: Story) -> None:
    assert story.rehearsal.status == 0
    assert "differs" not in story.rehearsal.err
    assert story.rolled_back.status == 0, story.rolled_back.err
    assert "as it was /etc/fstab" in story.rolled_back.err
    assert story.left == []
