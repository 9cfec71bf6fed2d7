"""An initrd with the PV drivers inside, loaded before anything else.

The initrd was built for the emulated hardware: with MODULES=dep (initramfs-tools) or hostonly
(dracut) it lacks xen-blkfront, and the PV guest waits for its root for ever. So the frontends are
named in the builder's own configuration, which keeps the next rebuild right too; the initrd is
built once, after every file it copies has been written, beside the old one; then it is opened, and
only when the drivers and their place in the load order are proven does it replace the old one.

With --initrd append none of the guest's programs runs: the frontends, and the files that a builder
would have copied, are put behind the old image as one more archive, and proven in the same way. A
kernel that has no initrd, as one from outside, gets one that is made of another kernel's and of its
own modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..changes import Additions, BuildInitrd, InstallPackages
from ..context import Context
from ..draft import Draft
from ..editors import modules, shellvars
from ..facts import InitrdProof, Kernel
from ..findings import Level
from ..initrds.initramfs_tools import POST_UPDATE
from . import appended, borrowed
from .fallback import HOOK_FILES, carrier
from .step import Step

NAME = "initrd"
MODULES = "/etc/initramfs-tools/modules"
DRACUT_CONF = "/etc/dracut.conf.d/90-pvprep.conf"
DRACUT_TEXT = """\
# Made by pvprep: the drivers of a Xen PV guest, loaded first, whatever hardware is there now.
force_drivers+=" {} "
"""
# Of dracut before 039, which loads nothing first: udev loads them when it sees Xen's devices.
OLD_DRACUT_TEXT = """\
# Made by pvprep: the drivers of a Xen PV guest, whatever hardware is there now.
add_drivers+=" {} "
"""
# Where dracut builds for the hardware that it sees (Debian's does not): drivers of both kinds of
# hardware, and no device names of the one that is there now.
HOSTONLY = {"hostonly_mode": "sloppy", "hostonly_cmdline": "no"}
SUSE_CONF = "/etc/sysconfig/kernel"
# The builder that a kernel's package brings, where there is none.
USUAL = {"debian": "initramfs-tools", "redhat": "dracut", "suse": "dracut"}
INSTALL = {"debian": "apt-get install initramfs-tools", "suse": "zypper install dracut"}
# What builders copy into the image, or decide by: a change there asks for a new one.
INPUTS = (
    "/etc/initramfs-tools/",
    "/etc/dracut.conf",
    "/etc/systemd/network/",
    "/etc/udev/rules.d/",
    "/etc/modprobe.d/",
    "/etc/modprobe.conf",
    "/etc/crypttab",
    "/etc/mdadm/",
    "/etc/lvm/lvm.conf",
)
INPUTS_OF = {"mkinitrd": ("/etc/fstab",), "mkinitrd-suse": ("/etc/fstab", SUSE_CONF)}


def plan(context: Context, draft: Draft) -> None:
    """Name the frontends to the builder, and have the initrd built where it is not right."""
    facts = context.facts
    tool = facts.initrd_tool
    installs = any(isinstance(change, InstallPackages) for change in draft.changes())
    if not tool and installs:
        # The kernel's package depends on a builder. Where another one came, the next round sees it.
        tool = USUAL.get(facts.distro.family, "")
    if not tool:
        draft.say(
            "initrd.no-builder",
            Level.ERROR,
            "no builder of initrds that pvprep knows is installed: none can be built",
            remedy=INSTALL.get(facts.distro.family, "dnf install dracut"),
        )
        return
    _configure(context, draft, tool)
    target = context.target
    if target is None or installs:
        return  # the package builds its initrd by what was just configured
    path = path_of(context, target)
    lacks = list(_lacks(context, draft))
    if not lacks:
        first = " and ".join(context.frontends)
        how = "loaded first" if _loads_first(context) else "loaded"
        draft.say("initrd.proven", Level.OK, f"{first} inside and {how}", where=path)
        return
    if context.options.initrd == "append":
        _append(context, draft, path, lacks)
    else:
        draft.build(BuildInitrd(NAME, target.version, path, tool, why=tuple(lacks)))


def _append(context: Context, draft: Draft, path: str, lacks: Sequence[str]) -> None:
    """Plan to extend the initrd; where that cannot be done, say why."""
    target = context.target
    assert target is not None
    tool = context.facts.initrd_tool
    if not target.initrd:
        _borrow(context, draft, path, lacks)
        return
    proof = context.facts.initrds.get(path, InitrdProof())
    why = appended.refusal(context, proof)
    lacking = appended.lacking(context, proof, "/")
    if not why and lacking and tool in INPUTS_OF:
        why = f"it lacks {' or '.join(lacking[0])}, which / needs, and loads what it lists alone"
    if not why:
        adds = _additions(context, draft, proof)
        if adds.names:
            build = BuildInitrd(NAME, target.version, path, tool, why=tuple(lacks), adds=adds)
            draft.build(build)
            _hooks(context, draft)
            return
        if not list(problems(context, draft, proof)):
            return  # what changes outside is not in it
        why = "; ".join(lacks)
    draft.say(
        "initrd.not-appendable",
        Level.ERROR,
        "nothing can be appended to the initrd that would make it boot PV",
        evidence=why,
        where=path,
        remedy="have the guest's own builder make it: --initrd rebuild",
    )


def _borrow(context: Context, draft: Draft, path: str, lacks: Sequence[str]) -> None:
    """Plan to make the initrd of another kernel's; where that cannot be done, say why."""
    target, other = context.target, borrowed.donor(context)
    assert target is not None
    if other is None:
        draft.say(
            "initrd.nothing-to-append-to",
            Level.ERROR,
            f"{lacks[0]}: there is nothing that the drivers could be appended to",
            evidence=borrowed.refusals(context),
            where=path,
            remedy="have the guest's own builder make one: --initrd rebuild (of an image with "
            "--attach loop); or name a kernel that the guest has an initrd for",
        )
        return
    lost = borrowed.lost(context, other)
    if lost:
        draft.say(
            "initrd.no-root",
            Level.ERROR,
            f"{target.version} has no {lost}, which / needs: no initrd would find it",
            evidence=f"{other.version} has it in {other.initrd} or built in; {target.version} has "
            "it neither as a module nor built in",
            where=path,
            remedy="name another kernel with --kernel-from",
        )
        return
    adds = _additions(context, draft, context.facts.initrds[other.initrd])
    adds = borrowed.additions(context, other, adds)
    made = f"{path} made of {other.initrd} and {len(adds.modules)} modules of {target.version}"
    build = BuildInitrd(
        NAME, target.version, path, context.facts.initrd_tool, why=(*lacks, made), adds=adds
    )
    draft.build(build)
    _hooks(context, draft)


def _additions(context: Context, draft: Draft, proof: InitrdProof) -> Additions:
    inputs, first = _inputs(context, draft), _loads_first(context)
    return appended.additions(context, draft, proof, inputs, first)


def _hooks(context: Context, draft: Draft) -> None:
    """Say which of the guest's hooks for a new initrd are left out: they are its code."""
    files = (context.facts.files[path] for path in context.facts.under(f"{POST_UPDATE}/"))
    names = [one.path.rsplit("/", 1)[1] for one in files if one.mode & 0o111 and not one.is_dir]
    if names:
        draft.say(
            "initrd.hooks-left-out",
            Level.WARN,
            f"not run for the new initrd, as none of the guest's code is: {', '.join(names)}",
            where=POST_UPDATE,
            remedy="nothing, where pygrub or GRUB reads it; a loader that keeps a map (LILO) has "
            "to be run in the guest, or have all of it done there: --initrd rebuild",
        )


def path_of(context: Context, kernel: Kernel) -> str:
    """A kernel's initrd; where it has none, the name that its package would give it."""
    facts = context.facts
    if kernel.initrd:
        return kernel.initrd
    if facts.distro.family == "suse":
        return f"/boot/initrd-{kernel.version}"
    if facts.distro.family == "redhat":
        name = "initrd" if facts.initrd_tool == "mkinitrd" else "initramfs"
        return f"/boot/{name}-{kernel.version}.img"
    return f"/boot/initrd.img-{kernel.version}"


def _configure(context: Context, draft: Draft, tool: str) -> None:
    if tool == "dracut":
        draft.create(NAME, DRACUT_CONF, _dracut_text(context), "names the frontends")
    elif tool == "mkinitrd-suse":
        # The other list would be asked of kernels that do not have them.
        old = context.target is not None and context.target.xenlinux
        _list(draft, "DOMU_INITRD_MODULES" if old else "INITRD_MODULES", context.frontends)
    elif tool == "mkinitrd":
        pass  # pvprep names them on its command line; see there for the next kernel
    elif draft.file(MODULES):
        draft.edit(NAME, MODULES, modules.put_first(draft.text(MODULES), context.frontends))
    else:
        text = "".join(f"{name}\n" for name in context.frontends)
        draft.create(NAME, MODULES, text, "names the frontends")


def _dracut_text(context: Context) -> str:
    known = context.facts.initrd_options
    text = DRACUT_TEXT if "force_drivers" in known else OLD_DRACUT_TEXT
    settings = () if context.facts.distro.family == "debian" else HOSTONLY.items()
    more = (f'{name}="{value}"\n' for name, value in settings if name in known)
    return text.format(" ".join(context.frontends)) + "".join(more)


def _list(draft: Draft, key: str, wanted: Sequence[str]) -> None:
    """Add what lacks in a list of modules that sh reads."""

    def change(value: str) -> str:
        missing = [name for name in wanted if name not in value.split()]
        return " ".join([*([value] if value else []), *missing])

    text = draft.text(SUSE_CONF)
    if shellvars.get(text, key) is None:
        draft.edit(NAME, SUSE_CONF, shellvars.append(text, key, change("")))
    else:
        draft.edit(NAME, SUSE_CONF, shellvars.edit(text, key, change))


def _lacks(context: Context, draft: Draft) -> Iterator[str]:
    """Why the initrd has to be built; nothing if it is right."""
    target = context.target
    assert target is not None
    if not target.initrd:
        yield f"{target.version} has no initrd"
        return
    known = context.facts.initrds.get(target.initrd, InitrdProof())
    lacks = list(problems(context, draft, known))
    inputs = _inputs(context, draft)
    if lacks:
        yield f"{target.initrd} {'; '.join(lacks)}"
    elif inputs:
        yield f"{target.initrd} is older than what it is built from: {', '.join(sorted(inputs))}"


def _inputs(context: Context, draft: Draft) -> list[str]:
    return draft.rewritten((*INPUTS, *INPUTS_OF.get(context.facts.initrd_tool, ())))


def problems(context: Context, draft: Draft, proof: InitrdProof) -> Iterator[str]:
    """What an initrd lacks to boot the target kernel PV; nothing where it is proven."""
    target = context.target
    assert target is not None
    if proof.problem:
        yield f"could not be read: {proof.problem}"
        return
    wanted = [name.replace("-", "_") for name in context.frontends]
    loadable = [name for name in wanted if name not in target.builtin]
    found = proof.loadable(target.version)
    for name in loadable:
        if name not in found:
            yield f"lacks {name}"
    for drivers in appended.lacking(context, proof, "/"):
        yield f"lacks {' or '.join(drivers)}, which mounts /"
    # What is built in may be listed too; in which order the two come makes no difference.
    first = [name for name in proof.preload if name not in target.builtin][: len(loadable)]
    if _loads_first(context) and set(first) != set(loadable):
        shown = ", ".join(proof.preload) or "nothing"
        yield f"loads {shown} first, not {' and '.join(loadable)}"
    elif context.facts.initrd_tool in INPUTS_OF:  # their initrds load what they list, and no more
        for name in loadable:
            if name in found and name not in proof.preload:
                yield f"does not load {name}"
    if loadable and proof.versions and target.version not in proof.versions:
        yield f"has modules for {', '.join(proof.versions)} only"
    resume = context.translate(proof.resume) if proof.resume else None
    if resume and resume != proof.resume:
        yield f"resumes from {proof.resume}, which a PV guest does not have"
    for path in HOOK_FILES if carrier(context) else ():
        there = draft.file(path)
        inside = proof.files.get(path.lstrip("/"))
        if there and inside != there.content:
            yield f"lacks {path} as it is now"


def _loads_first(context: Context) -> bool:
    """Whether the builder can be told to have the frontends loaded before anything else."""
    facts = context.facts
    if facts.initrd_tool == "dracut":
        return "force_drivers" in facts.initrd_options
    return facts.initrd_tool not in INPUTS_OF


STEP = Step(
    NAME,
    __doc__,
    plan,
    reads=(
        MODULES,
        "/etc/initramfs-tools/initramfs.conf",
        "/etc/initramfs-tools/conf.d/*",
        "/etc/dracut.conf",
        "/etc/dracut.conf.d/*.conf",
        SUSE_CONF,
        f"{POST_UPDATE}/*",
    ),
    topics={
        "initrd.no-builder": "An initrd is needed, since the frontends are modules.",
        "initrd.not-appendable": (
            "With --initrd append the initrd that is there is extended, which takes one in a form "
            "that pvprep knows and that the kernel reads on behind."
        ),
        "initrd.nothing-to-append-to": (
            "With --initrd append an initrd that is there is extended. This kernel has none, and "
            "no other kernel's can be taken: it was not made by the guest's builder, this kernel "
            "could not unpack it, or it is one of nash, which loads one kernel's modules alone."
        ),
        "initrd.no-root": (
            "The kernel has no driver for the file system of /, or for what that lies on, neither "
            "as a module nor built in. Whatever is in its initrd, it would wait for / for ever."
        ),
        "initrd.hooks-left-out": (
            "update-initramfs runs the programs in /etc/initramfs/post-update.d for each new "
            "initrd. With --initrd append no program of the guest runs. What reads the initrd by "
            "its path finds the new one all the same."
        ),
        "initrd.proven": (
            "The initrd was opened: the frontends are in it (or built into the kernel) and are "
            "the first modules that it loads. dracut before 039 loads nothing first: there udev "
            "loads them; and the initrds of mkinitrd load them among others."
        ),
    },
)
