"""Which builder of initrds a guest has, what it knows, and how it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pvprep import initrds
from pvprep.guest import Guest
from pvprep.initrds import dracut, mkinitrd, mkinitrd_suse

# The words by which each is known, in scripts that have next to nothing else.
EL5 = "#!/bin/bash --norc\n# mkinitrd\ninst /sbin/nash $MNTIMAGE/bin/nash\n"
SLES10 = "#!/bin/bash\n. /etc/sysconfig/kernel\nmodules=$INITRD_MODULES\n"
SLES11 = "#!/bin/bash\nINITRD_PATH=/lib/mkinitrd\n"
EL6_WRAPPER = "#!/bin/bash --norc\n# like nash's mkinitrd\ndracut_args=\n"
SLES12_WRAPPER = "#!/bin/bash --norc\ndracut_cmd=dracut\nmodules=$INITRD_MODULES\n"
# dracut 004 of EL 6, 033 of EL 7, and 057 of EL 9.
DRACUT_004 = "#!/bin/bash\nadd_drivers+=\nhostonly=\n"
DRACUT_033 = """\
#!/bin/bash
    --long no-hostonly \\
[[ $hostonly_cmdline ]] || hostonly_cmdline="yes"
(( ${#install_items_l[@]} )) && install_items+=" ${install_items_l[@]} "
"""
DRACUT_057 = DRACUT_033 + """\
(( ${#force_drivers_l[@]} )) && force_drivers+=" ${force_drivers_l[*]} "
[[ $hostonly_mode_l ]] && hostonly_mode="$hostonly_mode_l"
install_optional_items+=" x "
"""


def guest(root: Path, **files: str) -> Guest:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Guest(str(root))


@pytest.mark.parametrize(
    ("files", "tool"),
    [
        ({"sbin__mkinitrd": EL5}, "mkinitrd"),
        ({"sbin__mkinitrd": SLES10}, "mkinitrd-suse"),
        ({"sbin__mkinitrd": SLES11}, "mkinitrd-suse"),
        ({"sbin__mkinitrd": EL6_WRAPPER, "sbin__dracut": DRACUT_004}, "dracut"),
        ({"sbin__mkinitrd": SLES12_WRAPPER, "usr__bin__dracut": DRACUT_057}, "dracut"),
        ({"usr__bin__dracut": DRACUT_057}, "dracut"),
        ({"usr__sbin__mkinitramfs": "#!/bin/sh\n"}, "initramfs-tools"),
        ({"sbin__mkinitrd": SLES12_WRAPPER}, ""),
        ({}, ""),
    ],
)
def test_which_builder_it_is(tmp_path: Path, files: dict[str, str], tool: str) -> None:
    assert initrds.detect(guest(tmp_path, **files)) == tool


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (DRACUT_004, set()),
        (DRACUT_033, {"no-hostonly", "hostonly_cmdline", "install_items"}),
        (DRACUT_057, {"no-hostonly", "hostonly_cmdline", "install_items", "force_drivers",
                      "hostonly_mode", "install_optional_items"}),
    ],
)  # fmt: skip
def test_what_a_dracut_knows(tmp_path: Path, text: str, known: set[str]) -> None:
    assert initrds.options(guest(tmp_path, usr__bin__dracut=text), "dracut") == known


def test_only_dracut_is_asked(tmp_path: Path) -> None:
    assert initrds.options(guest(tmp_path, usr__bin__dracut=DRACUT_057), "mkinitrd") == frozenset()


def test_a_tree_is_no_host_for_dracut(tmp_path: Path) -> None:
    new = guest(tmp_path, usr__bin__dracut=DRACUT_033)
    assert dracut.command(new, "5.1", "/o") == ["dracut", "--force", "--no-hostonly", "/o", "5.1"]


def test_the_first_dracut_knows_no_such_word(tmp_path: Path) -> None:
    old = guest(tmp_path, sbin__dracut=DRACUT_004)
    assert dracut.command(old, "2.6.32", "/o") == ["dracut", "--force", "/o", "2.6.32"]


@pytest.mark.parametrize(
    ("listed", "asked"),
    [
        ("drivers/xen/blkfront/xenblk.ko: \ndrivers/xen/netfront/xennet.ko: \n",
         ["--with=xenblk", "--with=xennet", "--preload=xenblk", "--preload=xennet"]),
        ("drivers/block/xen-blkfront.ko: \n", ["--with=xen-blkfront", "--preload=xen-blkfront"]),
        ("fs/ext3/ext3.ko: \n", []),
    ],
)  # fmt: skip
def test_red_hats_command_line(tmp_path: Path, listed: str, asked: list[str]) -> None:
    one = guest(tmp_path, **{"lib__modules__2.6.18__modules.dep": listed})
    command = ["mkinitrd", "-f", "--omit-scsi-modules", *asked, "/boot/i", "2.6.18"]
    assert mkinitrd.command(one, "2.6.18", "/boot/i") == command


def test_suses_command_line(tmp_path: Path) -> None:
    command = ["mkinitrd", "-B", "-k", "/boot/vmlinuz-3.0", "-i", "/boot/i"]
    assert mkinitrd_suse.command(guest(tmp_path), "3.0", "/boot/i") == command


@pytest.mark.parametrize(
    ("tool", "said", "words"),
    [
        (mkinitrd, "No module ata_piix found for kernel 2.6.18, aborting.", "modprobe.conf"),
        (mkinitrd_suse, "Cannot determine dependencies of module xenblk.", "INITRD_MODULES"),
        (mkinitrd, "write: No space left on device", "/boot"),
        (mkinitrd_suse, "write: No space left on device", "/boot"),
    ],
)
def test_a_failure_has_words(tool: Any, said: str, words: str) -> None:
    assert words in tool.hint(said)
