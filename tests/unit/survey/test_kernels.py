"""Installed kernels, from a tree with images that are real in form."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.unit import trees
from tests.unit.building import VERSION
from tests.unit.trees import Running

from pvprep.guest import Guest
from pvprep.survey import isolate
from pvprep.survey import kernels as module
from pvprep.survey.isolate import Prover
from pvprep.survey.kernels import FRONTEND_OPTIONS, kernels, version_key


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trees.make(tmp_path / "tree")


def versions(root: Path) -> list[str]:
    return [kernel.version for kernel in kernels(Guest(str(root)))[0]]


def test_a_kernel_with_all_that_belongs_to_it(root: Path) -> None:
    (kernel,), initrds = kernels(Guest(str(root)))
    assert kernel.version == VERSION
    assert kernel.image == f"/boot/vmlinuz-{VERSION}"
    assert kernel.initrd == f"/boot/initrd.img-{VERSION}"
    assert (kernel.proof.pv, kernel.proof.pvh, kernel.proof.bits) == (True, True, 64)
    assert kernel.config == {"XEN": "y", "XEN_PV": "y", "XEN_PVH": "n"}
    assert kernel.config_path == f"/boot/config-{VERSION}"
    assert kernel.builtin == {"ext4"}
    assert kernel.modules == {"xen_blkfront", "xen_netfront"}
    assert list(initrds) == [kernel.initrd]
    assert initrds[kernel.initrd].kind == "initramfs-tools"


def test_initrds_of_kernels_that_cannot_boot_pv_are_not_opened(root: Path) -> None:
    (root / f"boot/vmlinuz-{VERSION}").write_bytes(trees.image(pv=False))
    (root / f"boot/config-{VERSION}").write_text("CONFIG_XEN=y\n# CONFIG_XEN_PV is not set\n")
    (kernel,), initrds = kernels(Guest(str(root)))
    assert not kernel.proof.pv
    assert initrds == {}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["vmlinuz-6.1.9", "vmlinuz-6.1.10", "vmlinuz-5.10.0-30-amd64"],
         ["5.10.0-30-amd64", "6.1.9", "6.1.10"]),
        (["vmlinux-4.4", "kernel-6.6.1-gentoo", "vmlinuz"], ["4.4", "6.6.1-gentoo"]),
        (["vmlinuz-6.1.old", "vmlinuz-6.1.bak", "vmlinuz-6.1.dpkg-new", "vmlinuz-6.1-kdump",
          "vmlinuz-0-rescue-1234", "System.map-6.1", "vmlinuz-"], []),
        (["vmlinuz-6.1-rc1", "vmlinuz-6.1"], ["6.1-rc1", "6.1"]),
        (["vmlinuz-3.0.101-63-xen", "vmlinux-3.0.101-63-xen.gz", "vmlinuz-xen"],
         ["3.0.101-63-xen"]),
        (["vmlinuz-5.14.0-503.el9.x86_64", "vmlinuz-0-rescue-0123456789abcdef"],
         ["5.14.0-503.el9.x86_64"]),
    ],
)  # fmt: skip
def test_which_files_are_kernels_the_newest_last(
    root: Path, names: list[str], found: list[str]
) -> None:
    for path in (root / "boot").glob("vmlinuz-*"):
        path.unlink()
    for name in names:
        (root / "boot" / name).write_bytes(b"")
    assert sorted(versions(root)) == sorted(found)
    if "rc1" not in "".join(found):
        assert versions(root) == found


def test_odd_images_are_facts_with_a_problem(root: Path) -> None:
    (root / "boot/vmlinuz-1").write_bytes(b"text")
    (root / "boot/vmlinuz-2").mkdir()
    os.mkfifo(root / "boot/vmlinuz-3")
    (root / "boot/vmlinuz-4").symlink_to("gone")
    (root / "boot/vmlinuz-5").symlink_to(f"vmlinuz-{VERSION}")
    found = {kernel.version: kernel for kernel in kernels(Guest(str(root)))[0]}
    assert sorted(found) == ["1", "5", VERSION]
    assert found["1"].proof.problem
    assert found["5"].proof.pv
    assert (found["5"].initrd, found["5"].config_path) == ("", "")


@pytest.mark.parametrize(
    "name", ["initrd.img-{}", "initramfs-{}.img", "initrd-{}"]
)
def test_names_of_initrds(root: Path, name: str) -> None:
    (root / f"boot/initrd.img-{VERSION}").rename(root / "boot" / name.format(VERSION))
    assert kernels(Guest(str(root)))[0][0].initrd == f"/boot/{name.format(VERSION)}"


def test_where_an_option_stands_in_the_configuration(root: Path) -> None:
    text = "#\nCONFIG_A=y\nCONFIG_XEN=y\n# CONFIG_XEN_PV is not set\n"
    (root / f"boot/config-{VERSION}").write_text(text)
    (kernel,), _ = kernels(Guest(str(root)))
    assert kernel.config_lines == {"XEN": 3, "XEN_PV": 4}


def test_a_kernel_that_is_not_in_boot_is_reported(root: Path) -> None:
    for version in (VERSION, "5.14.0-503.el9.x86_64"):
        place = root / "lib/modules" / version / "vmlinuz"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"")
    (found,) = module.elsewhere(Guest(str(root)))
    assert found.id == "kernel.not-in-boot"
    assert found.where == "/lib/modules/5.14.0-503.el9.x86_64/vmlinuz"
    assert "kernel-install add 5.14.0-503.el9.x86_64" in found.remedy


def test_the_configuration_may_lie_with_the_modules(root: Path) -> None:
    (root / f"boot/config-{VERSION}").rename(root / f"lib/modules/{VERSION}/config")
    assert kernels(Guest(str(root)))[0][0].config_path == f"/lib/modules/{VERSION}/config"


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
def test_modules_by_any_suffix(root: Path, suffix: str) -> None:
    dep = f"kernel/a/xen-blkfront.ko{suffix}: kernel/b/xen-netfront.ko\nkernel/ext4.ko:\n"
    (root / f"lib/modules/{VERSION}/modules.dep").write_text(dep)
    assert kernels(Guest(str(root)))[0][0].modules == {"xen_blkfront", "ext4"}


@pytest.mark.parametrize(
    ("config", "builtin"),
    [
        ("CONFIG_XEN_BLKDEV_FRONTEND=y\nCONFIG_XEN_NETDEV_FRONTEND=m\n",
         {"xen_blkfront", "xenblk"}),
        ("CONFIG_XEN_BLKDEV_FRONTEND=y\nCONFIG_XEN_NETDEV_FRONTEND=y\n",
         {name for names in FRONTEND_OPTIONS.values() for name in names}),
        ("# CONFIG_XEN_BLKDEV_FRONTEND is not set\n", set()),
    ],
)  # fmt: skip
def test_what_is_built_in_before_there_was_a_list_of_it(
    root: Path, config: str, builtin: set[str]
) -> None:
    (root / f"boot/config-{VERSION}").write_text(config)
    assert kernels(Guest(str(root)))[0][0].builtin == {"ext4"}
    (root / f"lib/modules/{VERSION}/modules.builtin").unlink()
    assert kernels(Guest(str(root)))[0][0].builtin == builtin


def test_versions_sort_as_people_count() -> None:
    ordered = ["2.6.18-6-xen-686", "5.10.0-9-amd64", "5.10.0-30-amd64", "6.1.0-28-amd64", "6.12"]
    assert sorted([ordered[n] for n in (3, 0, 4, 2, 1)], key=version_key) == ordered


# What is remembered until the next boot


@pytest.fixture
def remembering(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    """As on a running system, but with the memory in the tree."""
    monkeypatch.setattr(module, "MEMORY", str(tmp_path / "proofs" / "proofs.json"))
    monkeypatch.setattr(Running, "text", _text)
    monkeypatch.setattr(module.os.path, "ismount", lambda _path: True)
    return Running(str(root))


def _text(guest: Guest, path: str) -> str:
    """The memory lies beside the tree, since it is written by its own path."""
    if path != module.MEMORY:
        return Guest.text(guest, path)
    return Path(path).read_text() if Path(path).exists() else ""


def test_nothing_is_opened_twice(remembering: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kernels(remembering)
    known = json.loads(Path(module.MEMORY).read_text())
    assert len(known) == 2

    def never(*_args: object) -> dict[str, object]:
        assert _args == ([],), "opened again"
        return {}

    monkeypatch.setattr(module, "run", never)
    assert kernels(remembering) == first


def test_a_file_that_changed_is_opened_again(remembering: Guest) -> None:
    kernels(remembering)
    (Path(remembering.root) / f"boot/vmlinuz-{VERSION}").write_bytes(trees.image(pv=False))
    assert not kernels(remembering)[0][0].proof.pv


def test_of_a_tree_it_is_remembered_as_long_as_it_is_worked_on(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def run(jobs: list[tuple[Prover[object], str]]) -> dict[object, object]:
        opened.extend(os.path.basename(path) for _, path in jobs)
        return isolate.run(jobs)

    monkeypatch.setattr(module, "run", run)
    guest = Guest(str(root))
    assert kernels(guest) == kernels(guest)
    assert sorted(opened) == [f"initrd.img-{VERSION}", f"vmlinuz-{VERSION}"]
    (root / f"boot/vmlinuz-{VERSION}").write_bytes(trees.image(pv=False))
    assert not kernels(guest)[0][0].proof.pv
    kernels(Guest(str(root)))
    assert len(opened) == 5


@pytest.mark.parametrize("text", ["", "no json", "[]", "1", '{"x": {}}'])
def test_a_damaged_memory_is_none(remembering: Guest, text: str) -> None:
    memory = Path(module.MEMORY)
    memory.parent.mkdir()
    memory.write_text(text)
    assert kernels(remembering)[0][0].proof.pv


def test_problems_are_not_remembered(remembering: Guest) -> None:
    (Path(remembering.root) / f"boot/vmlinuz-{VERSION}").write_bytes(b"text")
    kernels(remembering)
    known = json.loads(Path(module.MEMORY).read_text())
    assert [key.split()[0] for key in known] == [f"/boot/initrd.img-{VERSION}"]


def test_another_version_of_pvprep_has_another_memory() -> None:
    from pvprep import __version__

    assert __version__ in module.MEMORY
