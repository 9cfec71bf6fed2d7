"""SELinux: what is written has the label that the policy gives it.

A file that changes keeps its label, as all of its attributes. A new one gets its own from
restorecon(8) where SELinux is at work. In a tree that does not run, or under a kernel without it,
nobody can tell the label: there the empty file /.autorelabel asks the next boot to label
everything, as it is done after every time without SELinux. That boot takes minutes longer, and
the guest restarts once by itself.
"""

from __future__ import annotations

from ..changes import BuildInitrd, InstallPackages, MakeDir, MakeLink, PlaceKernel, WriteFile
from ..context import Context
from ..draft import Draft
from ..editors import shellvars
from ..findings import Level
from .step import Step

NAME = "selinux"
CONFIG = "/etc/selinux/config"
POLICIES = "/etc/selinux/{}/contexts"
AUTORELABEL = "/.autorelabel"
# There while SELinux is at work, and selinuxfs is mounted (in an installer's chroot, too).
ENFORCE = "/sys/fs/selinux/enforce"


def plan(context: Context, draft: Draft) -> None:
    """Have the first boot label what pvprep makes, where it cannot be done at once."""
    facts = context.facts
    text = draft.text(CONFIG)
    mode = shellvars.get(text, "SELINUX") or "disabled"
    policy = POLICIES.format(shellvars.get(text, "SELINUXTYPE") or "targeted")
    at_work = facts.file(ENFORCE) is not None and not facts.is_tree
    if mode == "disabled" or at_work or not facts.file(policy):
        return
    if not _makes_files(draft) and not facts.file(AUTORELABEL):
        return
    draft.create(NAME, AUTORELABEL, "", "has the first boot give new files their SELinux labels")
    draft.say(
        "selinux.relabel",
        Level.INFO,
        "the first boot labels all files anew, which takes minutes, and then restarts by itself",
        evidence=f"SELINUX={mode}, and SELinux is not at work here",
        where=CONFIG,
    )


def _makes_files(draft: Draft) -> bool:
    """Whether anything comes that was not there; what takes a file's place takes its label too."""
    for change in draft.changes():
        if isinstance(change, (InstallPackages, PlaceKernel, MakeDir, MakeLink)):
            return True
        if isinstance(change, WriteFile) and change.expect is None:
            return True
        if isinstance(change, BuildInitrd) and change.path not in draft.facts.boot_files:
            return True
    return False


STEP = Step(
    NAME,
    __doc__,
    plan,
    reads=(CONFIG, POLICIES.format("*"), AUTORELABEL, ENFORCE),
    topics={
        "selinux.relabel": (
            "Files that were made while SELinux was not at work have no label, and its policy "
            "would keep programs from reading them. /.autorelabel has the next boot put that "
            "right; it goes away by itself. A domU whose config says on_reboot = \"restart\" "
            "comes up again after it."
        ),
    },
)
