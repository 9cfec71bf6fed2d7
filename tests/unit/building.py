"""Guests made from few words, and what they are once a plan's changes are made; all in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Optional, Union

from pvprep import context as contexts
from pvprep import plan as plans
from pvprep.changes import BuildInitrd, Change, MakeDir, MakeLink, Move, Remove, WriteFile
from pvprep.context import Context
from pvprep.draft import Draft
from pvprep.editors import modules as module_lists
from pvprep.editors import shellvars
from pvprep.facts import (
    Disk,
    Distro,
    Facts,
    File,
    InitrdProof,
    Kernel,
    KernelProof,
    Machine,
    Mount,
    Nic,
    Partition,
    Space,
    Virt,
)
from pvprep.findings import Finding
from pvprep.options import Options
from pvprep.plan import Plan
from pvprep.steps import STEPS

VERSION = "6.1.0-28-amd64"
UUID = "9f2b1c3a-7a51-4b8e-9a3c-1b0f6d1e7c55"
SWAP_UUID = "5b0f6d1e-0000-4b8e-9a3c-1b0f6d1e7c55"
MAC = "00:16:3e:12:34:56"
GIB = 1024**3
DEBIAN = Distro("debian", "12", "bookworm", "Debian GNU/Linux 12 (bookworm)")
REDHAT = Distro("rocky", "9.4", "", "Rocky Linux 9.4", like=("rhel", "centos", "fedora"))
SUSE = Distro("sles", "11.4", "", "SUSE Linux Enterprise Server 11 SP4")
MACHINE = Machine(
    Virt.XEN_HVM, "amd64", "Xen 4.17", "guest", UUID, 1024, 2, firmware="bios", init="systemd"
)
ENS3 = Nic("ens3", MAC, "e1000", "pci-0000:00:03.0")
# Of dracut 059, where that is the builder.
DRACUT_OPTIONS = frozenset(
    {"force_drivers", "hostonly_mode", "hostonly_cmdline", "install_items",
     "install_optional_items", "no-hostonly"}
)  # fmt: skip
GRUB_CFG = "/boot/grub/grub.cfg"
MENU_LST = "/boot/grub/menu.lst"
GRUB_DEFAULTS = "/etc/default/grub"
LINK_RULES = "/lib/udev/rules.d/80-net-setup-link.rules"
DEFAULTS_TEXT = """\
GRUB_DEFAULT=0
GRUB_TIMEOUT=5
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX=""
"""

Content = Union[str, bytes, File]


def disk(
    name: str = "sda", *fstypes: str, table: str = "dos", uuids: Sequence[str] = ()
) -> Disk:
    """A disk with a partition for each file system named; UUIDs in the same order."""
    parts = tuple(
        Partition(
            _part(name, number), number, number * GIB, GIB, fstype,
            uuid=uuids[number - 1] if number <= len(uuids) else "", type="0x83",
        )
        for number, fstype in enumerate(fstypes, 1)
    )  # fmt: skip
    return Disk(name, size=20 * GIB, table=table, partitions=parts)


def _part(name: str, number: int) -> str:
    return f"{name}p{number}" if name[-1].isdigit() else f"{name}{number}"


SDA = disk("sda", "ext4", "swap", uuids=(UUID, SWAP_UUID))


def kernel(version: str = VERSION, pv: bool = True, **more: Any) -> Kernel:
    """An installed kernel with its initrd; the frontends are modules."""
    proof = {"pv": pv, "pvh": pv, "bits": 64, "compression": "xz", **more.pop("proof", {})}
    return Kernel(
        **{
            "version": version,
            "image": f"/boot/vmlinuz-{version}",
            "proof": KernelProof(**proof),
            "initrd": f"/boot/initrd.img-{version}",
            "config": {"XEN": "y", "XEN_PV": "y" if pv else "n", "XEN_PVHVM": "y"},
            "config_path": f"/boot/config-{version}",
            "modules": frozenset({"xen_blkfront", "xen_netfront"}),
            **more,
        }
    )


XENLINUX = kernel(
    "2.6.18-6-xen-686",
    modules=frozenset({"xenblk", "xennet"}),
    config={"XEN": "y", "X86_XEN": "y"},
    proof={"pvh": False, "bits": 32, "compression": "gzip"},
)


def entry(
    version: str = VERSION, args: str = "root=/dev/sda1 ro quiet", boot: str = "/boot/"
) -> str:
    """A menuentry of grub.cfg; boot: where GRUB finds the kernel's directory."""
    return (
        f"menuentry 'Debian GNU/Linux, with Linux {version}' --class debian {{\n"
        "\tset root='hd0,msdos1'\n"
        f"\tlinux\t{boot}vmlinuz-{version} {args}\n"
        f"\tinitrd\t{boot}initrd.img-{version}\n"
        "}\n"
    )


def grub_cfg(*entries: str, default: str = "0") -> str:
    """A grub.cfg as grub-mkconfig writes it, in short."""
    return (
        f'set default="{default}"\nset timeout=5\n\n'
        "### BEGIN /etc/grub.d/10_linux ###\n"
        f"{''.join(entries or [entry()])}"
        "### END /etc/grub.d/10_linux ###\n"
    )


def stanza(
    version: str = VERSION, args: str = "root=/dev/sda1 ro quiet", boot: str = "/boot/"
) -> str:
    """A stanza of menu.lst."""
    return (
        f"title\t\tDebian GNU/Linux, kernel {version}\n"
        "root\t\t(hd0,0)\n"
        f"kernel\t\t{boot}vmlinuz-{version} {args}\n"
        f"initrd\t\t{boot}initrd.img-{version}\n\n"
    )


def file(path: str, content: Content) -> File:
    """A file from its text or bytes; a File stays what it is."""
    if isinstance(content, File):
        return content
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogateescape")
    return File(path, content)


def link(path: str, target: str, content: Content = b"", real: str = "") -> File:
    """A symlink; real: what it resolves to, the link itself where that is nothing."""
    return dataclasses.replace(file(real or path, content), target=target)


def directory(path: str) -> File:
    """A directory."""
    return File(path, mode=0o755, is_dir=True)


def guest(
    files: Mapping[str, Content] = {},
    *,
    disks: Sequence[Disk] = (SDA,),
    kernels: Optional[Sequence[Kernel]] = None,
    mounts: Optional[Sequence[Mount]] = None,
    machine: Optional[Mapping[str, Any]] = None,
    grub: bool = True,
    **more: Any,
) -> Facts:
    """A Debian 12 as an HVM installation leaves it; files are added to a plain grub's."""
    known: dict[str, Content] = {LINK_RULES: "", "/etc/initramfs-tools/modules": "# none\n"}
    if grub:
        known.update({GRUB_CFG: grub_cfg(), GRUB_DEFAULTS: DEFAULTS_TEXT})
    known.update(files)
    installed = tuple((kernel(),) if kernels is None else kernels)
    sizes = {path: 8_000_000 for one in installed for path in (one.image, one.initrd) if path}
    facts = Facts(
        distro=DEBIAN,
        machine=dataclasses.replace(MACHINE, **(machine or {})),
        disks=tuple(disks),
        mounts=tuple(root_of(disks) if mounts is None else mounts),
        nics=(ENS3,),
        kernels=installed,
        initrds={one.initrd: InitrdProof(kind="initramfs-tools") for one in installed},
        files={path: file(path, content) for path, content in known.items()},
        boot_files=sizes,
        spaces={path: Space(path, 9 * GIB, 99999) for path in ("/", "/boot", "/usr", "/var/lib")},
        initrd_tool="initramfs-tools",
        initrd_options=DRACUT_OPTIONS,
    )
    return dataclasses.replace(facts, **more)


def root_of(disks: Sequence[Disk]) -> Iterable[Mount]:
    """The root on the first partition of the first disk."""
    if disks and disks[0].partitions:
        part = disks[0].partitions[0]
        yield mount("/", part.name, part.fstype)


def mount(target: str, part: str, fstype: str = "ext4", **more: Any) -> Mount:
    """A partition that is mounted."""
    return Mount(**{"target": target, "device": f"/dev/{part}", "fstype": fstype,
                    "parts": (part,), **more})  # fmt: skip


def context(facts: Facts, picked: str = "", **options: Any) -> Context:
    """The context of a step."""
    return contexts.make(facts, Options(**options), picked)


def run(step: str, facts: Facts, **options: Any) -> Draft:
    """One step alone."""
    draft = Draft(facts)
    next(one for one in STEPS if one.name == step).plan(context(facts, **options), draft)
    return draft


def plan(facts: Facts, **options: Any) -> Plan:
    """All steps."""
    return plans.make(facts, Options(**options))


def ids(found: Union[Plan, Draft]) -> list[str]:
    """Ids of what was found."""
    return [finding.id for finding in found.findings]


def said(found: Union[Plan, Draft], id: str) -> Finding:
    """The finding with this id; there must be one alone."""
    (only,) = [finding for finding in found.findings if finding.id == id]
    return only


def changes(found: Union[Plan, Draft]) -> tuple[Change, ...]:
    """The changes of a plan or of a draft."""
    return found.changes if isinstance(found, Plan) else found.changes()


def written(found: Union[Plan, Draft]) -> dict[str, str]:
    """Texts of the files that will be written."""
    return {
        change.path: change.content.decode("utf-8", "surrogateescape")
        for change in changes(found)
        if isinstance(change, WriteFile)
    }


def kinds(found: Union[Plan, Draft], kind: type) -> list[Any]:
    """Changes of one kind."""
    return [change for change in changes(found) if isinstance(change, kind)]


def removed(found: Union[Plan, Draft]) -> list[str]:
    """Paths that will be removed."""
    return [change.path for change in kinds(found, Remove)]


def touched(found: Union[Plan, Draft]) -> set[str]:
    """Paths of all changes."""
    return {change.path for change in changes(found) if hasattr(change, "path")}


def apply(facts: Facts, plan: Plan) -> Facts:
    """The facts that a survey would find once the changes are made. Packages are not installed."""
    files, initrds = dict(facts.files), dict(facts.initrds)
    boot_files, kernels = dict(facts.boot_files), facts.kernels
    for change in plan.changes:
        if isinstance(change, WriteFile):
            _write(files, change)
        elif isinstance(change, Remove):
            assert change.path in files, f"{change.path} is not there"
            del files[change.path]
            for path, found in list(files.items()):
                if found.path == change.path:  # a link, which now leads nowhere
                    files[path] = File(path, target=found.target)
        elif isinstance(change, Move):
            assert change.to not in files, f"{change.to} is there already"
            files = {_moved(path, change): found for path, found in files.items()}
        elif isinstance(change, MakeDir):
            files.setdefault(change.path, directory(change.path))
        elif isinstance(change, MakeLink):
            assert change.path not in files, f"{change.path} is there already"
            files[change.path] = link(change.path, change.target)
        elif isinstance(change, BuildInitrd):
            initrds[change.path] = built(files, change.version, change.tool)
            boot_files[change.path] = 9_000_000
            kernels = tuple(
                dataclasses.replace(one, initrd=change.path) if one.version == change.version
                else one
                for one in kernels
            )  # fmt: skip
    return dataclasses.replace(
        facts,
        files={path: found for path, found in files.items() if path in facts.files or seen(path)},
        initrds=initrds, boot_files=boot_files, kernels=kernels,
    )  # fmt: skip


def _write(files: dict[str, File], change: WriteFile) -> None:
    same = [path for path, found in files.items() if found.path == change.path]
    before = files[same[0]].content if same else None
    assert change.expect == before, f"{change.path} is not what the plan was made from"
    for path in same or [change.path]:
        base = files.get(path, File(change.path, mode=change.mode))
        files[path] = dataclasses.replace(base, content=change.content)


def _moved(path: str, change: Move) -> str:
    inside = path == change.path or path.startswith(change.path + "/")
    return change.to + path[len(change.path) :] if inside else path


def seen(path: str) -> bool:
    """Whether a survey would read a file by this name: some step asks for it."""
    return any(
        pattern.count("/") == path.count("/")
        and all(map(fnmatchcase, path.split("/"), pattern.split("/")))
        for pattern in plans.reads()
    )


def built(files: Mapping[str, File], version: str, tool: str = "") -> InitrdProof:
    """What the builder makes of its configuration: the listed modules first, its hooks' files."""

    def text(path: str) -> str:
        return files[path].text if path in files else ""

    names, added = module_lists.names(text("/etc/initramfs-tools/modules")), list[str]()
    for path in files:
        if path.startswith("/etc/dracut.conf.d/"):
            named = shellvars.get(text(path), "force_drivers") or ""
            names += tuple(name.replace("-", "_") for name in named.split())
            added += (shellvars.get(text(path), "add_drivers") or "").replace("-", "_").split()
    for key in ("INITRD_MODULES", "DOMU_INITRD_MODULES"):
        names += tuple((shellvars.get(text("/etc/sysconfig/kernel"), key) or "").split())
    if tool == "mkinitrd":
        names += ("xenblk", "xennet")  # of its command line
    carried = "/etc/udev/rules.d/59-pvprep-names.rules"
    copied = {carried.lstrip("/"): files[carried].content} if carried in files else {}
    resume = shellvars.get(text("/etc/initramfs-tools/conf.d/resume"), "RESUME") or ""
    return InitrdProof(
        kind="initramfs-tools", modules=frozenset((*names, *added)), versions=(version,),
        preload=names,
        resume=resume, files=copied,
    )  # fmt: skip


def settle(facts: Facts, **options: Any) -> tuple[Facts, Plan]:
    """Plan and apply once; the facts then, and the plan that was carried out."""
    first = plan(facts, **options)
    return apply(facts, first), first
