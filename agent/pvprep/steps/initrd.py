"""An initrd with the PV drivers inside, loaded before anything else.

The initrd was built for the emulated hardware: with MODULES=dep (initramfs-tools) or hostonly
(dracut) it lacks xen-blkfront, and the PV guest waits for its root for ever. So the frontends are
named in the builder's own configuration, which keeps the next rebuild right too; the initrd is
built once, after every file it copies has been written, beside the old one; then it is opened, and
only when the drivers and their place in the load order are proven does it replace the old one.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..changes import BuildInitrd, InstallPackages
from ..context import Context
from ..draft import Draft
from ..editors import modules
from ..facts import InitrdProof
from ..findings import Level
from .fallback import HOOK_FILES
from .step import Step

NAME = "initrd"
MODULES = "/etc/initramfs-tools/modules"
DRACUT_CONF = "/etc/dracut.conf.d/90-pvprep.conf"
DRACUT_TEXT = """\
# Made by pvprep: the drivers of a Xen PV guest, loaded first, whatever hardware is there now.
force_drivers+=" {} "
"""
# What builders copy into the image, or decide by: a change there asks for a new one.
INPUTS = (
    "/etc/initramfs-tools/",
    "/etc/dracut.conf",
    "/etc/systemd/network/",
    "/etc/udev/rules.d/",
    "/etc/modprobe.d/",
    "/etc/crypttab",
    "/etc/mdadm/",
    "/etc/lvm/lvm.conf",
)


def plan(context: Context, draft: Draft) -> None:
    """Name the frontends to the builder, and have the initrd built where it is not right."""
    tool = context.facts.initrd_tool
    installs = any(isinstance(change, InstallPackages) for change in draft.changes())
    if not tool and installs:
        # The kernel's package depends on a builder: in Debian up to 13 it names this one first.
        # Where another one came, the next round sees it.
        tool = "initramfs-tools"
    if not tool:
        draft.say(
            "initrd.no-builder",
            Level.ERROR,
            "neither initramfs-tools nor dracut is installed: no initrd can be built",
            remedy="apt-get install initramfs-tools",
        )
        return
    _configure(context, draft, tool)
    target = context.target
    if target is None or installs:
        return  # the package builds its initrd by what was just configured
    path = target.initrd or f"/boot/initrd.img-{target.version}"
    lacks = list(_lacks(context, draft))
    if not lacks:
        first = " and ".join(context.frontends)
        draft.say("initrd.proven", Level.OK, f"{first} inside and loaded first", where=path)
        return
    draft.build(BuildInitrd(NAME, target.version, path, tool, why=tuple(lacks)))


def _configure(context: Context, draft: Draft, tool: str) -> None:
    if tool == "dracut":
        text = DRACUT_TEXT.format(" ".join(context.frontends))
        draft.create(NAME, DRACUT_CONF, text, "names the frontends")
    elif draft.file(MODULES):
        draft.edit(NAME, MODULES, modules.put_first(draft.text(MODULES), context.frontends))
    else:
        text = "".join(f"{name}\n" for name in context.frontends)
        draft.create(NAME, MODULES, text, "names the frontends")


def _lacks(context: Context, draft: Draft) -> Iterator[str]:
    """Why the initrd has to be built; nothing if it is right."""
    target = context.target
    assert target is not None
    if not target.initrd:
        yield f"{target.version} has no initrd"
        return
    known = context.facts.initrds.get(target.initrd, InitrdProof())
    lacks = list(problems(context, draft, known))
    inputs = draft.rewritten(INPUTS)
    if lacks:
        yield f"{target.initrd} {'; '.join(lacks)}"
    elif inputs:
        yield f"{target.initrd} is older than what it is built from: {', '.join(sorted(inputs))}"


def problems(context: Context, draft: Draft, proof: InitrdProof) -> Iterator[str]:
    """What an initrd lacks to boot the target kernel PV; nothing where it is proven."""
    target = context.target
    assert target is not None
    if proof.problem:
        yield f"could not be read: {proof.problem}"
        return
    wanted = [name.replace("-", "_") for name in context.frontends]
    loadable = [name for name in wanted if name not in target.builtin]
    for name in loadable:
        if name not in proof.modules:
            yield f"lacks {name}"
    # What is built in may be listed too; in which order the two come makes no difference.
    first = [name for name in proof.preload if name not in target.builtin][: len(loadable)]
    if set(first) != set(loadable):
        shown = ", ".join(proof.preload) or "nothing"
        yield f"loads {shown} first, not {' and '.join(loadable)}"
    if loadable and proof.versions and target.version not in proof.versions:
        yield f"has modules for {', '.join(proof.versions)} only"
    resume = context.translate(proof.resume) if proof.resume else None
    if resume and resume != proof.resume:
        yield f"resumes from {proof.resume}, which a PV guest does not have"
    for path in HOOK_FILES:
        there = draft.file(path)
        inside = proof.files.get(path.lstrip("/"))
        if there and inside != there.content:
            yield f"lacks {path} as it is now"


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
    ),
    topics={
        "initrd.no-builder": "An initrd is needed, since the frontends are modules.",
        "initrd.proven": (
            "The initrd was opened: the frontends are in it (or built into the kernel) and are "
            "the first modules that it loads."
        ),
    },
)
