"""Real initrds extended without running anything of the guest, and opened by other programs."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from tests.guests import profiles, roots, rpmprofiles, rpmroots
from tests.roots import snapshot
from tests.roots.runs import Result, pvprep, restored, version

from pvprep import converge
from pvprep.changes import Additions, BuildInitrd
from pvprep.guest import Guest
from pvprep.initrds.append import build
from pvprep.options import Options
from pvprep.report import Screen
from pvprep.survey.initrd_image import prove_initrd

pytestmark = pytest.mark.roots

GUESTS: Mapping[str, Callable[[], Path]] = {
    "initramfs-tools": lambda: roots.build_profile(profiles.BOOKWORM_CLOUD_KERNEL),
    "dracut": lambda: rpmroots.build(rpmprofiles.EL9_PV),
}
DRIVERS = ("xen-blkfront", "xen-netfront")


class Still(Guest):
    """A guest none of whose programs may run."""

    def run(self, argv: Sequence[str], **_more: object) -> NoReturn:  # type: ignore[override]
        raise AssertionError(f"{argv} was run")


@dataclass(frozen=True)
class Story:
    """What came of one guest. unpacked: what the kernel would have as its first root."""

    root: Path
    version: str
    old: bytes
    new: bytes
    said: str
    ready: bool
    written_by_second: list[str]
    check: Result
    unpacked: Path
    rolled_back: Result
    left: list[str]

    def modprobe(self, name: str) -> list[str]:
        """The files that modprobe would load, in its order."""
        argv = ["modprobe", "-d", str(self.unpacked), "-S", self.version, "--show-depends", name]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return [line.split()[1] for line in done.stdout.splitlines()]

    def text(self, path: str) -> str:
        return (self.unpacked / path).read_text()


@pytest.fixture(scope="module", params=GUESTS)
def story(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    with roots.in_memory(tmp_path_factory.mktemp("append") / "memory") as work:
        root = work / "root"
        roots.unpack(GUESTS[request.param](), root)
        yield _tell(root, work)


def _tell(root: Path, work: Path) -> Story:
    before = snapshot.take(root)
    (image,) = (root / "boot").glob(f"init*{version(root)}*")
    old, out = image.read_bytes(), io.StringIO()
    (work / "old").write_bytes(old)
    options = Options(initrd="append")
    ready = converge.prepare(Still(str(root)), options, Screen(out)).ready
    converted = snapshot.take(root)
    converge.prepare(Still(str(root)), options, Screen(io.StringIO()))
    written_by_second = snapshot.differences(converted, snapshot.take(root))
    new, check = image.read_bytes(), pvprep(root, "check", "--json")
    unpacked = _unpack(work / "old", new[len(old) :], work / "unpacked")
    return Story(
        root, version(root), old, new, out.getvalue(), ready, written_by_second, check, unpacked,
        pvprep(root, "rollback", "--verify"), restored(before, root),
    )  # fmt: skip


def _unpack(old: Path, added: bytes, directory: Path) -> Path:
    """By the programs that distributions have for it; what comes later wins."""
    directory.mkdir()
    (compression,) = prove_initrd(str(old)).compression
    for archive in (
        subprocess.run([compression, "-dc"], input=old.read_bytes(), stdout=-1, check=True).stdout,
        added.lstrip(b"\0"),
    ):
        unpack = ["cpio", "-idu", "--quiet", "--no-absolute-filenames"]
        subprocess.run(unpack, input=archive, cwd=directory, check=True)
    return directory


def test_the_guest_is_ready_and_none_of_its_programs_ran(story: Story) -> None:
    assert story.ready
    assert "append xen-blkfront, xen-netfront, " in story.said
    assert (story.check.status, story.check.json["ready"]) == (0, True), story.check.err


def test_the_old_bytes_stay_and_little_comes(story: Story) -> None:
    assert story.new.startswith(story.old)
    assert 50_000 < len(story.new) - len(story.old) < 2_000_000
    begins = len(story.new[len(story.old) :]) - len(story.new[len(story.old) :].lstrip(b"\0"))
    assert (len(story.old) + begins) % 4 == 0
    assert story.new.endswith(bytes(4))


def test_modprobe_finds_the_drivers_in_what_is_unpacked(story: Story) -> None:
    for name in DRIVERS:
        files = story.modprobe(name)
        assert files and all(Path(file).is_file() for file in files)
        assert files[-1].endswith(f"/{name}.ko")


def test_modprobe_still_finds_all_that_was_there(story: Story) -> None:
    (directory,) = story.unpacked.glob(f"usr/lib/modules/{story.version}")
    modules = list(directory.rglob("*.ko*"))
    assert len(modules) > len(DRIVERS)
    for module in modules:
        assert story.modprobe(module.name.split(".ko")[0])[-1].endswith(module.name)


def test_links_stay_links(story: Story) -> None:
    assert (story.unpacked / "lib").is_symlink()
    assert (story.unpacked / "lib/modules" / story.version / "modules.dep.bin").is_file()


def test_they_are_loaded_first(story: Story) -> None:
    conf = story.unpacked / "conf/modules"
    if conf.exists():
        loaded = [line for line in conf.read_text().split() if line in DRIVERS]
    else:
        text = story.text("etc/cmdline.d/20-force_drivers.conf")
        loaded = [line.removeprefix("rd.driver.pre=") for line in text.split()]
    assert loaded == list(DRIVERS)


def test_names_are_those_under_pv(story: Story) -> None:
    rules = story.text("etc/udev/rules.d/59-pvprep-names.rules")
    assert 'SYMLINK+="xvda%n"' in rules
    for path in ("conf/conf.d/resume", "etc/cmdline.d/95resume.conf"):
        if (story.unpacked / path).exists():
            assert "/dev/sda" not in story.text(path)


def test_the_second_run_writes_nothing(story: Story) -> None:
    assert story.written_by_second == []


def test_all_is_put_back(story: Story) -> None:
    assert story.rolled_back.status == 0, story.rolled_back.err
    assert story.left == []


def test_what_was_appended_is_replaced_not_piled_up(tmp_path: Path) -> None:
    """Twice the same gives the same bytes; something more, the sum of both."""
    with roots.in_memory(tmp_path / "memory") as work:
        root = work / "root"
        roots.unpack(roots.build_profile(profiles.BOOKWORM_CLOUD_KERNEL), root)
        name = version(root)
        image, output = f"/boot/initrd.img-{name}", "/boot/.new"
        first = _append(root, image, Additions(("xen-blkfront",)), output)
        (root / image[1:]).write_bytes(first)
        assert _append(root, image, Additions(("xen-blkfront",)), output) == first
        second = _append(root, image, Additions(("xen-netfront",), (("conf/x", b"1"),)), output)
        (root / image[1:]).write_bytes(second)
        proof = prove_initrd(str(root / image[1:]))
        assert proof.compression == ("zstd", "none")
        assert {"xen_blkfront", "xen_netfront"} <= proof.modules


def _append(root: Path, image: str, adds: Additions, output: str) -> bytes:
    (root / output[1:]).unlink(missing_ok=True)
    change = BuildInitrd("initrd", version(root), image, "initramfs-tools")
    build(Still(str(root)), change, adds, output)
    return (root / output[1:]).read_bytes()
