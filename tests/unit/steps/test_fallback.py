"""The names of the PV guest stay valid when it runs as HVM again."""

from __future__ import annotations

import pytest
from tests.unit.building import (
    REDHAT,
    XENLINUX,
    built,
    context,
    disk,
    guest,
    run,
    settle,
    written,
)

from pvprep.draft import Draft
from pvprep.facts import Distro, InitrdProof
from pvprep.steps import initrd
from pvprep.survey.storage import disks_named

RULES = "/etc/udev/rules.d/59-pvprep-names.rules"
HOOK = "/etc/initramfs-tools/hooks/pvprep"
DRACUT = "/etc/dracut.conf.d/91-pvprep-names.conf"


def rules(*names: str) -> list[str]:
    facts = guest(disks=[disk(name, "ext4") for name in names])
    text = written(run("fallback", facts)).get(RULES, "")
    return [line for line in text.split("\n") if line and not line.startswith("#")]


def test_each_disk_and_its_partitions_get_a_second_name() -> None:
    assert rules("sda") == [
        'SUBSYSTEM=="block", TEST!="/sys/class/block/xvda", KERNEL=="sda", SYMLINK+="xvda"',
        'SUBSYSTEM=="block", TEST!="/sys/class/block/xvda", KERNEL=="sda[0-9]*", SYMLINK+="xvda%n"',
    ]


def test_a_number_before_the_partition_wants_a_p() -> None:
    assert rules("nvme0n1")[1].endswith('KERNEL=="nvme0n1p[0-9]*", SYMLINK+="xvda%n"')


def test_a_slash_is_an_exclamation_mark_to_udev() -> None:
    assert 'KERNEL=="cciss!c0d0"' in rules("cciss/c0d0")[0]


def test_only_disks_whose_name_changes() -> None:
    assert rules("xvda") == []
    assert len(rules("xvda", "sda")) == 2
    assert 'SYMLINK+="xvdb"' in rules("xvda", "sda")[0]


def test_what_carries_the_rule_into_the_initrd() -> None:
    draft = run("fallback", guest())
    assert f"cp -p {RULES} " in written(draft)[HOOK]
    (hook,) = [change for change in draft.changes() if getattr(change, "path", "") == HOOK]
    assert getattr(hook, "mode", 0) == 0o755, "mkinitramfs runs what is executable"
    texts = written(run("fallback", guest(initrd_tool="dracut")))
    assert f'install_optional_items+=" {RULES} "' in texts[DRACUT]
    assert HOOK not in texts


@pytest.mark.parametrize(
    ("tool", "options", "setting"),
    [
        ("dracut", {"install_items"}, "install_items"),
        ("dracut", set(), ""),
        ("mkinitrd", set(), ""),
        ("mkinitrd-suse", set(), ""),
    ],
)
def test_not_every_builder_carries_it(tool: str, options: set[str], setting: str) -> None:
    """Then nobody asks for it in the initrd either."""
    facts = guest(distro=REDHAT, initrd_tool=tool, initrd_options=frozenset(options))
    texts = written(run("fallback", facts))
    assert RULES in texts
    assert HOOK not in texts
    text = f'{setting}+=" {RULES} "\n' if setting else ""
    assert texts.get(DRACUT, "").endswith(text) and (DRACUT in texts) == bool(setting)
    found = initrd.problems(context(facts), Draft(settle(facts)[0]), InitrdProof())
    assert any(RULES in problem for problem in found) == bool(setting)


def test_by_uuid_no_name_has_to_hold() -> None:
    assert run("fallback", guest(), device_names="uuid").changes() == ()


def test_xenlinux_names() -> None:
    texts = written(run("fallback", guest(kernels=[XENLINUX])))
    assert texts[RULES].split("\n")[2:4] == [
        'SUBSYSTEM=="block", KERNEL=="sda", SYMLINK+="hda"',
        'SUBSYSTEM=="block", KERNEL=="sda[0-9]*", SYMLINK+="hda%n"',
    ], "udev of that time knows no TEST, and sysfs no class/block"


def test_the_oldest_udev_has_a_grammar_of_its_own() -> None:
    facts = guest(kernels=[XENLINUX], distro=Distro("rhel", "4"), initrd_tool="mkinitrd")
    text = written(run("fallback", facts))[RULES]
    assert text.split("\n")[2:] == ['KERNEL="sda", SYMLINK="hda"',
                                    'KERNEL="sda[0-9]*", SYMLINK="hda%n"', ""]  # fmt: skip
    assert [disk.name for disk in disks_named({RULES: text, "/etc/fstab": "/dev/hda1 / x\n"})] == [
        "sda"
    ], "the next survey knows what it was"


def test_a_second_run_does_nothing() -> None:
    facts, _ = settle(guest())
    assert run("fallback", facts).changes() == ()
    assert built(facts.files, "1").files == {RULES[1:]: facts.files[RULES].content}
