"""Rewriters of configuration files: what is no target stays, byte for byte, and twice is once."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.target import Target, files, text
from tests.unit.editors.laws import (
    holds,
    holds_around,
    holds_by_line,
    translate,
    translate_uuid,
)
from tests.unit.editors.test_netmatch import NICS

from pvprep.editors import (
    bls,
    crypttab,
    fstab,
    grubenv,
    ifcfg,
    inittab,
    kernelargs,
    modprobe,
    modules,
    nash,
    netmatch,
    securetty,
    shellvars,
    tokens,
    udevnet,
    units,
)
from pvprep.editors.edited import Edited, lines
from pvprep.editors.linewise import Partial

LAST = ("console=tty0", "console=hvc0")
FRONTENDS = ("xen_blkfront", "xen_netfront")
EMULATED = ("e1000", "8139cp", "ata_piix", "sata_nv", "virtio_net")
PREFIXES = {"sda": "xvda", "nvme0n1": "xvdb", "cciss/c0d0": "xvdc", "xvdd": "xvdd"}
Editor = Callable[[str], Edited]


def _fstab(whole: str) -> None:
    for edited in (
        holds(lambda one: fstab.rename_devices(one, translate), whole),
        holds(lambda one: fstab.rename_devices(one, translate_uuid), whole),
    ):
        before, after = fstab.entries(whole), fstab.entries(edited.text)
        assert [entry.line for entry in before] == [entry.line for entry in after]
        assert [entry.fields[1:3] for entry in before] == [entry.fields[1:3] for entry in after]
        for entry in before:
            fstab.is_cd(entry.fields)


def _crypttab(whole: str) -> None:
    edited = holds(lambda one: crypttab.rename_devices(one, translate), whole)
    before, after = crypttab.entries(whole), crypttab.entries(edited.text)
    assert [entry.fields[:1] for entry in before] == [entry.fields[:1] for entry in after]


def _tokens(whole: str) -> None:
    holds(lambda one: tokens.rename_devices(one, translate), whole)
    holds(lambda one: tokens.rename_devices(one, translate_uuid, "#;"), whole)
    holds(lambda one: tokens.rename_prefixes(one, PREFIXES), whole)
    told = tokens.mentions(whole, PREFIXES)
    assert all(name in lines(whole)[number - 1] for number, name in told)


def _units(whole: str) -> None:
    path = units.unescape(whole)
    assert units.unescape(units.escape(path)) == "/" + "/".join(filter(None, path.split("/")))
    for suffix in (".swap", ".mount", ".service"):
        new = units.rename(whole + suffix, translate_uuid)
        assert new is None or units.rename(new, translate_uuid) is None


def arguments(whole: str) -> str:
    """A command line as it is edited for PV."""
    return kernelargs.edit(
        whole, translate=translate, remove=lambda token: token == "nomodeset", last=LAST
    )[0]


def _arguments(whole: str) -> None:
    new = arguments(whole)
    assert arguments(new) == new
    told = [token for token in kernelargs.tokens(whole) if not _is_target(token)]
    assert [token for token in kernelargs.tokens(new) if not _is_target(token)] == told
    kernelargs.value(whole, "root")


def _is_target(token: str) -> bool:
    return token.startswith("console=") or "/dev/" in token or token == "nomodeset"


def _shell(whole: str) -> None:
    def edit(one: str) -> Partial:
        return shellvars.edit(one, "GRUB_CMDLINE_LINUX", arguments)

    edited = holds(edit, whole)
    assert isinstance(edited, Partial)
    for number, there in edited.leftover:
        assert there in lines(whole)[number - 1]
    shellvars.get(whole, "GRUB_DEFAULT")
    added = shellvars.append(whole, "RESUME", "/dev/xvda2 $x")
    assert added.text.startswith(whole)


def _bls(whole: str) -> None:
    holds_by_line(lambda one: bls.edit(one, translate=translate, last=LAST), whole)
    for key in ("linux", "initrd", "options"):
        bls.values(whole, key)


def _environment(whole: str) -> None:
    def edit(one: str) -> Edited:
        return grubenv.edit(one, "kernelopts", arguments)

    def size(one: str) -> int:
        return len(one.encode("utf-8", "surrogateescape"))

    once = edit(whole)
    assert edit(once.text) == Edited(once.text)
    assert size(once.text) == size(whole)
    told = {one.line for one in once.edits}
    for number, line in enumerate(lines(whole), 1):
        there = lines(once.text)[number - 1] if number <= len(lines(once.text)) else ""
        assert number in told or line.rstrip("#") == there.rstrip("#"), line
    grubenv.get(whole, "saved_entry")


def _interface(whole: str) -> None:
    for name in ("eth0", "eth-id-52:54:00:12:34:56", "eth-bus-pci-0000:00:03.0", "br0", whole[:40]):
        found = ifcfg.interface(f"/etc/sysconfig/network{ifcfg.PREFIX}{name}", whole)
        assert found.mac == "" or ifcfg.MAC.fullmatch(found.mac)


def _modules(whole: str) -> None:
    holds(lambda one: modules.comment_out(one, EMULATED, "udev loads it"), whole)
    first = holds_around(
        lambda one: modules.put_first(one, FRONTENDS),
        whole,
        lambda line: any(name in FRONTENDS for name in modules.names(line)),
    )
    assert set(modules.names(first.text)[:2]) == set(FRONTENDS)


def _nash(whole: str) -> None:
    new = nash.load_first(whole, FRONTENDS)
    if new is not None:
        assert nash.load_first(new, FRONTENDS) == new
        rest = iter(lines(new))
        for line in lines(whole):
            target = "xen" in line or line.lstrip().startswith("echo") or line not in lines(new)
            assert target or any(found == line for found in rest) or not line.endswith("\n")
    renamed = nash.rename_devices(whole, translate)
    assert nash.rename_devices(renamed, translate) == renamed
    for old, now in zip(lines(whole), lines(renamed)):
        assert old == now or "mkrootdev" in old or "resume" in old


def _match(edit: Callable[[str], Partial]) -> Callable[[str], None]:
    def check(whole: str) -> None:
        once = edit(whole)
        told = {one.line for one in once.edits if one.old}
        number = 0

        def target(_line: str) -> bool:
            nonlocal number
            number += 1
            return number in told

        holds_around(edit, whole, target)
        for at, there in once.leftover:
            assert there in lines(whole)[at - 1]

    return check


def _rules(whole: str) -> None:
    holds(lambda one: udevnet.by_mac(one, NICS), whole)
    edited = udevnet.remove(whole)
    gone = {one.line for one in edited.edits}
    stay = [line for number, line in enumerate(lines(whole), 1) if number not in gone]
    assert edited.text == "".join(stay)
    assert udevnet.remove(edited.text) == Edited(edited.text)
    assert udevnet.names(edited.text) == {}


TARGETS = tuple(
    Target(f"editors/{name}", text(check), files(f"{name}/*", *more))
    for name, check, more in (
        ("fstab", _fstab, ()),
        ("crypttab", _crypttab, ("fstab/debian*",)),
        ("tokens", _tokens, ("fstab/*",)),
        ("units", _units, ()),
        ("arguments", _arguments, ()),
        ("shell", _shell, ()),
        ("bls", _bls, ()),
        ("grubenv", _environment, ()),
        ("ifcfg", _interface, ()),
        ("inittab", lambda one: holds_around(lambda t: inittab.add_getty(t, "hvc0"), one), ()),
        ("securetty", lambda one: holds_around(lambda t: securetty.add(t, "hvc0"), one), ()),
        ("modprobe", lambda one: holds(
            lambda t: modprobe.point_aliases(t, EMULATED, "xennet", "xenblk"), one), ()),
        ("modules", _modules, ()),
        ("nash", _nash, ()),
        ("networkd", _match(lambda one: netmatch.networkd(one, NICS)), ()),
        ("netplan", _match(lambda one: netmatch.netplan(one, NICS)), ()),
        ("keyfile", _match(lambda one: netmatch.keyfile(one, NICS)), ()),
        ("udev", _rules, ()),
    )
)  # fmt: skip
