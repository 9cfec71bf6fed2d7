"""A kernel from outside in a real Debian guest, whose own one cannot boot PV; and the way back."""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.guests import hostapt, profiles, roots
from tests.roots import disks, snapshot, trees
from tests.roots.runs import AGENT, Result, has_driver, names, pvprep, restored
from tests.unit.outside.sources import image

from pvprep.facts import InitrdProof
from pvprep.guest import Guest
from pvprep.packages import dpkg
from pvprep.survey.initrd_image import prove_initrd

pytestmark = pytest.mark.roots

OLD = "4.19.0-1-686"
# What the command line does with --kernel-from, in a process of its own.
PREPARE = """
import sys
from pvprep import converge, errors
from pvprep.guest import Guest
from pvprep.options import Options
from pvprep.report import Screen, diffs
root, source, verb, initrd = sys.argv[1:]
screen, options = Screen(), Options(kernel_from=source, initrd=initrd)
class Still(Guest):
    def run(self, argv, **_more):
        raise AssertionError(f"{argv} was run")
try:
    if verb == "prepare":
        guest = Still(root) if initrd == "append" else Guest(root)
        plan = converge.prepare(guest, options, screen)
    else:
        plan = converge.look(Guest(root), options)
        screen.plan(plan)
        for text in diffs(plan):
            screen.say(text)
    sys.exit(not plan.ready)
except errors.PvprepError as error:
    screen.say(f"{error.message}: {error.hint}")
    sys.exit(int(error.status))
"""


def run(
    root: Path, source: object, verb: str = "prepare", initrd: str = "rebuild"
) -> Result:
    """Prepare the tree, or look at what that would do; by append none of its programs may run."""
    argv = ["/usr/bin/python3", "-c", PREPARE, str(root), str(source), verb, initrd]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(AGENT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, cwd="/")
    return Result(done.returncode, done.stdout, done.stderr)


def without_pv(root: Path, source: Path) -> str:
    """Move the guest's kernel out to a directory; what it keeps is one that cannot boot PV."""
    (boot,) = (root / "boot").glob("vmlinuz-*")
    version = boot.name[len("vmlinuz-") :]
    for directory in ("boot", "lib/modules"):
        (source / directory).mkdir(parents=True)
    for what in ("vmlinuz", "config", "System.map"):
        shutil.move(root / f"boot/{what}-{version}", source / "boot")
    shutil.move(root / "lib/modules" / version, source / "lib/modules")
    (root / f"boot/vmlinuz-{OLD}").write_bytes(image(OLD, pv=False, bits=32))
    (root / f"boot/config-{OLD}").write_text("CONFIG_XEN=y\n# CONFIG_XEN_PV is not set\n")
    (root / f"lib/modules/{OLD}").mkdir()
    (root / f"boot/initrd.img-{version}").rename(root / f"boot/initrd.img-{OLD}")
    menu = root / "boot/grub/grub.cfg"
    menu.write_text(menu.read_text().replace(version, OLD))
    for link in ("vmlinuz", "initrd.img", "vmlinuz.old", "initrd.img.old"):
        (root / link).unlink(missing_ok=True)
    return version


@dataclass(frozen=True)
class Story:
    """What came of one guest, from first to last."""

    version: str
    source: Path
    root: Path
    dry: Result
    changed_by_looking: list[str]
    prepared: Result
    menu: str
    drivers: set[str]
    modules: dict[str, tuple[int, int, float]]
    check: Result
    again: Result
    changed_by_second: list[str]
    real: disks.Taken
    promised: disks.Taken
    refused: Result
    rolled_back: Result
    left: list[str]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with roots.in_memory(tmp_path_factory.mktemp("kernel-from") / "memory") as work:
        yield _tell(work)


def _tell(work: Path) -> Story:
    root, source = work / "root", work / "source"
    roots.unpack(roots.build_profile(profiles.BOOKWORM_CLOUD_KERNEL), root)
    version = without_pv(root, source)
    (source / f"lib/modules/{version}/source").symlink_to("/usr/src/x")
    before = snapshot.take(root)
    dry = run(root, source, "look")
    changed_by_looking = snapshot.differences(before, snapshot.take(root))
    prepared = run(root, source)
    assert prepared.status == 0, prepared.err
    drivers = names(root, "lsinitramfs", f"/boot/initrd.img-{version}")
    converted = snapshot.take(root)
    again = run(root, source)
    changed_by_second = snapshot.differences(converted, snapshot.take(root))
    check = pvprep(root, "check", "--json")
    modules = _times(root / "lib/modules" / version)
    module = next((root / f"usr/lib/modules/{version}").rglob("xen-netfront.ko*"))
    content = module.read_bytes()
    module.write_bytes(b"by hand")
    refused = pvprep(root, "rollback")
    module.write_bytes(content)
    real = disks.taken(root, work / "disk")
    promised = disks.promised(root, check.json["pygrub"])
    menu = (root / "boot/grub/grub.cfg").read_text()
    rolled_back = pvprep(root, "rollback", "--verify")
    return Story(
        version, source, root, dry, changed_by_looking, prepared, menu, drivers, modules, check,
        again, changed_by_second, real, promised, refused, rolled_back, restored(before, root),
    )  # fmt: skip


def _times(modules: Path) -> dict[str, tuple[int, int, float]]:
    """Owner and time of every module."""
    return {
        str(path.relative_to(modules)): (info.st_uid, info.st_gid, info.st_mtime)
        for path in modules.rglob("*.ko*")
        for info in [path.lstat()]
    }


def test_looking_says_what_would_come_and_changes_nothing(story: Story) -> None:
    assert story.changed_by_looking == []
    assert f"kernel {story.version} from {story.source}" in story.dry.err
    assert f"# take kernel {story.version} from {story.source}: /usr/lib/modules/" in story.dry.err
    assert f"+\tlinux /boot/vmlinuz-{story.version} " in story.dry.err


def test_it_is_prepared_in_one_round(story: Story) -> None:
    assert story.prepared.err.count(" done     initrd ") == 1
    assert story.prepared.err.count(" done     kernel ") == 1
    assert has_driver(story.drivers, "xen-blkfront")
    assert has_driver(story.drivers, "xen-netfront")


def test_its_modules_are_all_there_and_root_s(story: Story) -> None:
    assert story.modules == _times(story.source / "lib/modules" / story.version)
    assert len(story.modules) > 100
    assert {owner[:2] for owner in story.modules.values()} == {(0, 0)}


def test_the_old_entries_stay(story: Story) -> None:
    assert f"vmlinuz-{OLD} root=/dev/sda1" in story.menu
    assert story.menu.index(f"vmlinuz-{story.version}") < story.menu.index(f"vmlinuz-{OLD}")


def test_the_real_pygrub_takes_it(story: Story) -> None:
    assert story.check.status == 0
    assert story.check.json["pygrub"]["kernel"] == f"/boot/vmlinuz-{story.version}"
    assert story.real == story.promised
    assert story.real.kernel == (story.source / f"boot/vmlinuz-{story.version}").read_bytes()
    consoles = [word for word in story.real.args.split() if word.startswith("console=")]
    assert consoles[-1] == "console=hvc0"
    assert "root=/dev/xvda1" in story.real.args


def test_a_second_time_nothing_is_done(story: Story) -> None:
    assert story.again.status == 0, story.again.err
    assert " change " not in story.again.err
    assert story.changed_by_second == []


def test_the_way_back_is_exact_and_refused_where_somebody_has_edited(story: Story) -> None:
    assert story.refused.status == 1
    assert f"/usr/lib/modules/{story.version}: its kernel/" in story.refused.err
    assert "xen-netfront.ko" in story.refused.err
    assert story.rolled_back.status == 0, story.rolled_back.err
    assert story.left == []


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's own package of a kernel, from where this machine has its packages."""
    place = roots.CACHE / "archives" / "bookworm-amd64"
    found = [path for path in place.glob("linux-image-6*-amd64_*.deb") if "cloud" not in path.name]
    if found:
        return found[0]
    work = tmp_path_factory.mktemp("apt")
    root = work / "root"
    roots.unpack(roots.build_root("bookworm", "amd64", include=("apt",)), root)
    with hostapt.online(root):
        guest = Guest(str(root))
        shown = trees.in_tree(
            root, lambda _: guest.run(["apt-cache", "depends", "linux-image-amd64"])
        )
        name = next(word for word in shown.output.split() if word.startswith("linux-image-6"))
        done = trees.in_tree(
            root, lambda _: guest.run(["sh", "-c", f"cd /var/tmp && apt-get download {name}"])
        )
        assert done.status == 0, done.output
    (made,) = (root / "var/tmp").glob("*.deb")
    return made


def test_a_32_bit_guest_takes_the_kernel_of_a_package(package: Path, tmp_path: Path) -> None:
    with roots.in_memory(tmp_path / "memory") as work:
        root = work / "root"
        roots.unpack(roots.build_profile(profiles.BOOKWORM_CLOUD_KERNEL), root)
        without_pv(root, work / "source")
        shutil.rmtree(work / "source")
        status = root / "var/lib/dpkg/status"
        status.write_text(status.read_text().replace("Architecture: amd64", "Architecture: i386"))
        before, packages = snapshot.take(root), dpkg.installed(Guest(str(root)))
        prepared = run(root, package)
        assert prepared.status == 0, prepared.err
        assert dpkg.installed(Guest(str(root))) == packages  # nothing was installed
        check = pvprep(root, "check", "--json")
        assert check.status == 0, check.out
        assert "-amd64" in check.json["pygrub"]["kernel"]
        assert run(root, package).status == 0
        rolled_back = pvprep(root, "rollback", "--verify")
        assert rolled_back.status == 0, rolled_back.err
        assert restored(before, root) == []


def test_a_kernel_that_is_cut_short_leaves_the_guest_as_it_was(tmp_path: Path) -> None:
    with roots.in_memory(tmp_path / "memory") as work:
        root, source = work / "root", work / "source"
        roots.unpack(roots.build_profile(profiles.BOOKWORM_CLOUD_KERNEL), root)
        version = without_pv(root, source)
        (netfront,) = (source / "lib/modules" / version).rglob("xen-netfront.ko")
        netfront.rename(netfront.with_name("xen-netfront.ko.gz"))  # which it is not
        before = snapshot.take(root)
        done = run(root, source)
        assert done.status == 3, done.err
        assert "everything was put back" in done.err
        assert restored(before, root) == []


@dataclass(frozen=True)
class Appended:
    """What came of one guest none of whose programs ran. unpacked: what the kernel unpacks."""

    version: str
    base: bytes
    image: bytes
    mode: int
    dry: Result
    prepared: Result
    check: Result
    written_by_second: list[str]
    unpacked: Path
    proof: InitrdProof
    real: disks.Taken
    promised: disks.Taken
    rolled_back: Result
    left: list[str]

    def modprobe(self, name: str) -> list[str]:
        """The files that modprobe would load, in its order."""
        argv = ["modprobe", "-d", str(self.unpacked), "-S", self.version, "--show-depends", name]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("insmod")]


@pytest.fixture(scope="module")
def appended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appended]:
    with roots.in_memory(tmp_path_factory.mktemp("kernel-from") / "memory") as work:
        yield _tell_appended(work)


def _tell_appended(work: Path) -> Appended:
    root, source = work / "root", work / "source"
    roots.unpack(roots.build_profile(profiles.BOOKWORM), root)
    version = without_pv(root, source)
    base = root / f"boot/initrd.img-{OLD}"
    base.write_bytes(_of_another(base, version, work / "repacked"))
    base.chmod(0o600)
    before = snapshot.take(root)
    dry = run(root, source, "look", "append")
    prepared = run(root, source, initrd="append")
    assert prepared.status == 0, prepared.err
    converted = snapshot.take(root)
    run(root, source, initrd="append")
    written_by_second = snapshot.differences(converted, snapshot.take(root))
    made = root / f"boot/initrd.img-{version}"
    unpacked = _unpack(made.read_bytes()[len(base.read_bytes()) :], work / "unpacked")
    check = pvprep(root, "check", "--json")
    return Appended(
        version, base.read_bytes(), made.read_bytes(), made.stat().st_mode & 0o777, dry, prepared,
        check, written_by_second, unpacked, prove_initrd(str(made)),
        disks.taken(root, work / "disk"), disks.promised(root, check.json["pygrub"]),
        pvprep(root, "rollback", "--verify"), restored(before, root),
    )  # fmt: skip


def _of_another(image: Path, version: str, directory: Path) -> bytes:
    """The guest's initrd as it would be for the old kernel."""
    directory.mkdir()
    unpack = ["cpio", "-idu", "--quiet", "--no-absolute-filenames"]
    plain = subprocess.run(["zstd", "-dc", str(image)], stdout=-1, check=True).stdout
    subprocess.run(unpack, input=plain, cwd=directory, check=True)
    (modules,) = (directory / "usr/lib/modules").iterdir()
    assert modules.name == version
    modules.rename(modules.with_name(OLD))
    names = "\n".join(sorted(str(one.relative_to(directory)) for one in directory.rglob("*")))
    packed = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"],
        input=names.encode(), cwd=directory, stdout=-1, check=True,
    ).stdout  # fmt: skip
    return subprocess.run(["zstd", "-c"], input=packed, stdout=-1, check=True).stdout


def _unpack(added: bytes, directory: Path) -> Path:
    """What was appended, by the programs that distributions have for it."""
    directory.mkdir()
    (directory / "usr/lib").mkdir(parents=True)
    (directory / "lib").symlink_to("usr/lib")
    unpacker = zlib.decompressobj(wbits=31)
    modules = unpacker.decompress(added.lstrip(b"\0"))
    for archive in (modules, unpacker.unused_data.lstrip(b"\0")):
        unpack = ["cpio", "-idu", "--quiet", "--no-absolute-filenames"]
        subprocess.run(unpack, input=archive, cwd=directory, check=True)
    return directory


def test_without_a_program_of_the_guest_its_initrd_is_made_of_another_kernel_s(
    appended: Appended,
) -> None:
    image = f"/boot/initrd.img-{appended.version}"
    told = f"{image} made of /boot/initrd.img-{OLD} and "
    assert f"{appended.version} has no initrd" in appended.dry.err
    assert told in appended.dry.err and told in appended.prepared.err
    assert f"# make {image} of /boot/initrd.img-{OLD} and the modules of" in appended.dry.err
    assert appended.image.startswith(appended.base)
    assert appended.mode == 0o600, "as what it is made of"
    assert (appended.check.status, appended.check.json["ready"]) == (0, True), appended.check.err
    assert appended.written_by_second == []


def test_it_holds_what_the_other_holds_for_the_new_kernel(appended: Appended) -> None:
    proof = appended.proof
    assert (proof.problem, proof.kind) == ("", "initramfs-tools")
    assert set(proof.versions) == {OLD, appended.version}
    wanted = {"ext4", "xen_blkfront", "xen_netfront"}
    assert wanted <= proof.by_version[appended.version]
    assert len(proof.by_version[OLD]) > 20
    assert proof.by_version[OLD] <= proof.by_version[appended.version]
    assert proof.preload[:2] == ("xen_blkfront", "xen_netfront")


def test_modprobe_finds_all_of_it(appended: Appended) -> None:
    directory = appended.unpacked / "usr/lib/modules" / appended.version
    modules = [path.name.split(".ko")[0] for path in directory.rglob("*.ko")]
    assert len(modules) > 5
    for name in modules:
        files = appended.modprobe(name)
        assert files[-1].endswith(f"/{name}.ko")
        assert all(Path(file).is_file() for file in files)
    assert (directory / "modules.dep.bin").is_file()


def test_the_real_pygrub_takes_the_kernel_with_it(appended: Appended) -> None:
    assert appended.check.json["pygrub"]["initrd"] == f"/boot/initrd.img-{appended.version}"
    assert appended.real == appended.promised
    assert appended.real.initrd == appended.image


def test_the_way_back_from_it_is_exact(appended: Appended) -> None:
    assert appended.rolled_back.status == 0, appended.rolled_back.err
    assert appended.left == []
