"""Initrds built for real in real trees."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.guests import roots
from tests.roots.trees import KERNEL, LOOKING, in_tree, layer

from pvprep import initrds
from pvprep.errors import PvprepError
from pvprep.guest import Guest
from pvprep.initrds import initramfs_tools
from pvprep.survey.initrd_image import prove_initrd

pytestmark = pytest.mark.roots


def _version(root: Path) -> str:
    (name,) = (path.name for path in (root / "lib/modules").iterdir())
    return name


def _output(root: Path) -> str:
    return f"/boot/.pvprep-initrd-{_version(root)}"


def _build(root: Path, tool: str) -> list[str]:
    """What the builder said."""

    def build(guest: Guest) -> list[str]:
        lines: list[str] = []
        initrds.build(guest, tool, _version(root), _output(root), lines.append)
        return lines

    return in_tree(root, build)


def _holds(root: Path, lister: str) -> list[str]:
    """The names in the initrd."""
    return in_tree(root, lambda guest: guest.run([lister, _output(root)])).output.split()


def _has_frontends(names: list[str]) -> bool:
    return all(
        any(name.rsplit("/", 1)[-1].startswith(f"{module}.ko") for name in names)
        for module in ("xen-blkfront", "xen-netfront")
    )


@pytest.fixture
def tree(with_kernel: Path, tmp_path: Path) -> Iterator[Path]:
    with layer(with_kernel, tmp_path / "memory") as root:
        yield root


@pytest.fixture
def tree_dracut(with_dracut: Path, tmp_path: Path) -> Iterator[Path]:
    with layer(with_dracut, tmp_path / "memory") as root:
        yield root


def test_initramfs_tools_builds(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert initrds.detect(Guest(str(tree))) == "initramfs-tools"
    (tree / "etc/initramfs-tools/modules").write_text("xen-blkfront\nxen-netfront\n")
    before = set((tree / "boot").iterdir())
    _build(tree, "initramfs-tools")
    assert _has_frontends(_holds(tree, "lsinitramfs"))
    assert set((tree / "boot").iterdir()) - before == {tree / _output(tree)[1:]}
    assert list((tree / "var/tmp").iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("fixture, tool", [("tree", "initramfs-tools"), ("tree_dracut", "dracut")])
def test_nobody_reads_a_secret_one_while_it_is_built(
    request: pytest.FixtureRequest, fixture: str, tool: str
) -> None:
    """Its hooks may put keys into it, and the umask of whoever calls pvprep may be any."""
    root: Path = request.getfixturevalue(fixture)
    place = Path(f"{root}{_output(root)}")

    def build(guest: Guest) -> set[int]:
        seen, ended = set(), threading.Event()

        def look() -> None:
            while not ended.wait(0.01):
                if place.exists():
                    seen.add(place.stat().st_mode & 0o777)

        watcher = threading.Thread(target=look)
        watcher.start()
        os.umask(0)
        initrds.build(guest, tool, _version(root), _output(root), lambda _line: None, True)
        ended.set()
        watcher.join()
        return seen

    assert in_tree(root, build) == {0o600}
    assert place.stat().st_size > 1 << 20


def test_the_hosts_hardware_does_not_count_in_a_tree(tree: Path) -> None:
    """MODULES=dep would take the drivers of the host's root device."""
    (tree / "etc/initramfs-tools/conf.d/x").write_text("MODULES=dep\n")
    _build(tree, "initramfs-tools")
    assert _has_frontends(_holds(tree, "lsinitramfs"))


def test_a_hook_finds_nothing_of_this_machine(tree: Path) -> None:
    hook = tree / "etc/initramfs-tools/hooks/looking"
    hook.write_text(f'#!/bin/sh\n[ "$1" = prereqs ] && exit\n{LOOKING}')
    hook.chmod(0o755)
    assert [line for line in _build(tree, "initramfs-tools") if line] == ["end"]


def test_a_hook_that_fails_is_told_in_its_words(tree: Path) -> None:
    hook = tree / "etc/initramfs-tools/hooks/broken"
    hook.write_text("#!/bin/sh\n[ \"$1\" = prereqs ] && exit\necho 'the sky is falling'\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(PvprepError) as caught:
        _build(tree, "initramfs-tools")
    assert "initramfs-tools failed for" in caught.value.message
    assert "the sky is falling" in caught.value.message
    assert "hooks/broken failed with return 1" in caught.value.message


def test_a_builder_that_is_killed_is_told(tree: Path) -> None:
    hook = tree / "etc/initramfs-tools/hooks/killer"
    hook.write_text('#!/bin/sh\n[ "$1" = prereqs ] && exit\nkill -9 $PPID\n')
    hook.chmod(0o755)
    with pytest.raises(PvprepError, match=r"initramfs-tools failed for .* \(signal 9\)"):
        _build(tree, "initramfs-tools")
    assert not (tree / initrds.SCRATCH[1:]).exists()


def test_modules_dep_without_sys_is_explained(tree: Path) -> None:
    """As it is for a running guest whose chroot lacks /sys."""
    (tree / "etc/initramfs-tools/conf.d/x").write_text("MODULES=dep\n")
    argv = ["mkinitramfs", "-o", "/boot/try", _version(tree)]
    done = Guest(str(tree)).run(argv)  # outside the namespace: no /proc, no /sys
    assert done.status
    assert "MODULES=most" in initramfs_tools.hint(done.output)


@pytest.mark.parametrize(
    ("version", "message"),
    [("9.9.9-none", "/lib/modules/9.9.9-none is missing"), ("../../etc", "is no kernel version")],
)
def test_a_kernel_that_is_not_there(tree: Path, version: str, message: str) -> None:
    with pytest.raises(PvprepError, match=message):
        initrds.build(Guest(str(tree)), "initramfs-tools", version, "/boot/x", print)


def test_update_initramfs_goes_on_with_our_file(tree: Path) -> None:
    version = _version(tree)
    final = f"/boot/initrd.img-{version}"
    hooks = tree / "etc/initramfs/post-update.d"
    hooks.mkdir(parents=True)
    (hooks / "loader").write_text('#!/bin/sh\necho "told of $1 $2"\n')
    (hooks / "loader").chmod(0o755)
    _build(tree, "initramfs-tools")
    (tree / _output(tree)[1:]).rename(tree / final[1:])
    guest = Guest(str(tree))
    lines: list[str] = []
    initrds.finish(guest, "initramfs-tools", version, final, lines.append)
    assert lines == [f"told of {version} {final}"]
    before = (tree / final[1:]).stat().st_ino
    done = in_tree(tree, lambda guest: guest.run(["update-initramfs", "-u"]))
    assert (done.status, "altered" in done.output) == (0, False)
    assert (tree / final[1:]).stat().st_ino != before


def test_dracut_builds(tree_dracut: Path) -> None:
    assert initrds.detect(Guest(str(tree_dracut))) == "dracut"
    conf = tree_dracut / "etc/dracut.conf.d/x.conf"
    conf.write_text('hostonly="yes"\nforce_drivers+=" xen-blkfront xen-netfront "\n')
    _build(tree_dracut, "dracut")
    assert _has_frontends(_holds(tree_dracut, "lsinitrd"))


@pytest.mark.long
def test_dracut_of_debian_13_takes_what_pvprep_configures(tmp_path: Path) -> None:
    """Version 106, which is a program of its own size: options that it does not know would tell."""
    root = tmp_path / "root"
    include = ("dracut", "kmod", "zstd", KERNEL)
    roots.unpack(roots.build_root("trixie", "amd64", include=include), root)
    known = initrds.options(Guest(str(root)), "dracut")
    assert {"force_drivers", "hostonly_mode", "hostonly_cmdline", "no-hostonly"} <= known
    conf = root / "etc/dracut.conf.d/x.conf"
    conf.write_text(
        'force_drivers+=" xen-blkfront xen-netfront "\n'
        'hostonly="yes"\nhostonly_mode="sloppy"\nhostonly_cmdline="no"\n'
    )
    said = _build(root, "dracut")
    assert not [line for line in said if "unknown" in line.lower() or "unrecog" in line], said
    proof = prove_initrd(str(root / _output(root)[1:]))
    assert proof.problem == "" and proof.kind == "dracut"
    assert {"xen_blkfront", "xen_netfront"} <= proof.modules
    first = [name.replace("-", "_") for name in proof.preload[:2]]
    assert first == ["xen_blkfront", "xen_netfront"]


def test_dracut_ends_well_where_a_driver_is_missing(tree_dracut: Path) -> None:
    """So what it made has to be opened."""
    assert initrds.options(Guest(str(tree_dracut)), "dracut") >= {"force_drivers", "no-hostonly"}
    (driver,) = (tree_dracut / "lib/modules").glob("*/kernel/drivers/block/xen-blkfront.ko*")
    driver.unlink()
    conf = tree_dracut / "etc/dracut.conf.d/x.conf"
    conf.write_text('force_drivers+=" xen-blkfront xen-netfront "\n')
    _build(tree_dracut, "dracut")
    proof = prove_initrd(str(tree_dracut / _output(tree_dracut)[1:]))
    assert (proof.kind, proof.problem) == ("dracut", "")
    assert proof.preload == ("xen_blkfront", "xen_netfront")
    assert "xen_blkfront" not in proof.modules


def test_the_builder_is_found_by_program_and_hook(tree_dracut: Path) -> None:
    guest = Guest(str(tree_dracut))
    # A removed initramfs-tools leaves its hook, and dracut-core alone has none.
    (tree_dracut / "etc/kernel/postinst.d/initramfs-tools").write_text("#!/bin/sh\n")
    assert initrds.detect(guest) == "dracut"
    (tree_dracut / "usr/sbin/mkinitramfs").write_text("#!/bin/sh\n")
    assert initrds.detect(guest) == "initramfs-tools"
    (tree_dracut / "etc/kernel/postinst.d/initramfs-tools").unlink()
    assert initrds.detect(guest) == "dracut"
    (tree_dracut / "usr/sbin/mkinitramfs").unlink()
    (tree_dracut / "usr/bin/dracut").unlink()
    assert initrds.detect(guest) == ""
