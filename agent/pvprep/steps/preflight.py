"""Before anything changes: can this system be converted at all, and would every change succeed?

pvprep changes nothing while one of these stands in the way: not root, not Linux, a distribution
whose package manager it does not know, dom0, a read-only or full file system, a package manager
that is locked or half way through something, a kernel that lies only on the EFI system partition.
"""

from __future__ import annotations

from ..context import Context, choose_offer
from ..draft import Draft
from ..facts import Facts, Virt
from ..findings import Level
from . import borrowed
from .step import Step

MIB = 1024 * 1024
# The journal keeps a copy of every file that changes; the largest is the initrd.
JOURNAL_ROOM = 16 * MIB
# A kernel's image and modules, unpacked: Debian's linux-image-amd64 has about 400 MB.
KERNEL_ROOM = {"/boot": 64 * MIB, "/usr": 450 * MIB}
# What depmod makes of a kernel's modules: Debian's linux-image-amd64 has 6 MB.
INDEX_ROOM = 16 * MIB
INITRD_ROOM = 48 * MIB  # of a kernel that has none yet
INODES = 64
# How to make room, and what to install where kernels lie out of pygrub's sight, by family.
_OLD_KERNELS = {
    "debian": "apt-get autoremove --purge",
    "redhat": "dnf remove --oldinstallonly; package-cleanup --oldkernels where yum is",
    "suse": "zypper purge-kernels",
}
_KERNEL_IN_BOOT = {
    "debian": "install a kernel into /boot (linux-image-amd64 with grub-efi or grub-pc)",
    "redhat": "give kernel-install the layout of GRUB (layout=other in /etc/kernel/install.conf), "
    "install grub2 and the kernel again",
    "suse": "install grub2 and kernel-default (LOADER_TYPE in /etc/sysconfig/bootloader)",
}


def plan(context: Context, draft: Draft) -> None:
    """Say what stands in the way; changes nothing."""
    facts = context.facts
    _system(facts, draft)
    _virtualisation(facts, draft)
    _room(context, draft)
    _kernels_on_esp(facts, draft)
    _named_disks(context, draft)
    for finding in facts.findings:
        draft.findings.append(finding)


def _system(facts: Facts, draft: Draft) -> None:
    if facts.system != "Linux":
        draft.say(
            "host.not-linux",
            Level.ERROR,
            f"this system is {facts.system}, not Linux",
            remedy="pvprep converts Linux guests; only Linux has a PV kernel",
        )
    if not facts.as_root:
        draft.say(
            "host.not-root",
            Level.ERROR,
            "not run as root: images, disks and locks cannot be read",
            remedy="run it as root, for example with sudo",
        )
    if not facts.distro.family:
        draft.say(
            "distro.unknown",
            Level.ERROR,
            f"{facts.distro.name or 'this system'} is no distribution that pvprep knows",
            evidence=f"os-release: ID={facts.distro.id or '(none)'} "
            f"ID_LIKE={' '.join(facts.distro.like) or '(none)'}",
            remedy="Debian, Ubuntu, Fedora, RHEL, openSUSE, SLES and what names one of them in "
            "ID_LIKE can be converted",
        )
    for there, id, path in (
        (facts.has_proc, "proc.missing", "/proc"),
        (facts.has_sys, "sys.missing", "/sys"),
    ):
        if not there:
            draft.say(
                id,
                Level.ERROR,
                f"{path} is not mounted: the disks and the initrd builder need it",
                remedy=f"mount it (in a chroot: mount --bind {path} ROOT{path}) and run again",
            )


def _virtualisation(facts: Facts, draft: Draft) -> None:
    machine = facts.machine
    if machine.virt is Virt.XEN_DOM0:
        draft.say(
            "virt.dom0",
            Level.ERROR,
            "this is dom0, the host's own domain, not a guest",
            evidence="/proc/xen/capabilities: control_d",
            remedy="run pvprep inside the guest that shall be converted",
        )
    if machine.virt in (Virt.XEN_PV, Virt.XEN_PVH):
        draft.say(
            "virt.pv-already",
            Level.INFO,
            f"this guest runs as {machine.virt.value[4:].upper()} already; nothing is to be done",
            evidence=f"/sys/hypervisor: {machine.hypervisor or 'xen'}",
        )


def _room(context: Context, draft: Draft) -> None:
    facts = context.facts
    offer = choose_offer(facts, context.options)
    inodes = offer.files if offer else 0
    holder = "/usr" if offer and offer.modules.startswith("/usr/") else "/"
    for space in facts.spaces.values():
        if space.read_only:
            draft.say(
                "fs.read-only",
                Level.ERROR,
                f"the file system of {space.path} is mounted read-only",
                remedy="find out why (an error in the file system?), then: "
                f"mount -o remount,rw {space.path}",
            )
        elif 0 <= space.files < INODES + (inodes if space.path == holder else 0):
            draft.say(
                "fs.no-inodes",
                Level.ERROR,
                f"the file system of {space.path} has only {space.files} inodes left",
                remedy="remove files that nobody needs; `df -i` shows the use",
            )
    need = dict(KERNEL_ROOM) if context.target is None else {}
    if offer and not offer.there:
        need = {holder: offer.modules_size + INDEX_ROOM, "/boot": offer.boot_size}
    initrd = facts.boot_files.get(context.target.initrd, 0) if context.target else 0
    # The new initrd lies beside the old one until it is proven.
    new = max(initrd * 5 // 4, 8 * MIB)
    if context.target and not context.target.initrd:
        other = borrowed.donor(context) if context.options.initrd == "append" else None
        new = INITRD_ROOM + (facts.boot_files.get(other.initrd, 0) if other else 0)
    need["/boot"] = need.get("/boot", 0) + new
    need["/var/lib"] = initrd + JOURNAL_ROOM
    old = _OLD_KERNELS.get(facts.distro.family, "all but two")
    for path, wanted in need.items():
        found = facts.spaces.get(path)
        if found and not found.read_only and found.free < wanted:
            draft.say(
                "boot.full" if path == "/boot" else "fs.full",
                Level.ERROR,
                f"{path} has {found.free // MIB} MiB free; {-(-wanted // MIB)} MiB are needed",
                remedy=f"remove old kernels ({old}) or other files",
            )


def _kernels_on_esp(facts: Facts, draft: Draft) -> None:
    images = [
        path
        for path in (*facts.under("/boot/efi/"), *facts.under("/efi/"))
        if path.endswith((".efi", "/linux"))
    ]
    if images and not facts.kernels:
        draft.say(
            "kernel.esp-only",
            Level.ERROR,
            "the kernels lie only on the EFI system partition, where no PV boot loader looks",
            where=images[0],
            remedy=_KERNEL_IN_BOOT.get(facts.distro.family, "install a kernel into /boot")
            + " and run pvprep again",
        )


def _named_disks(context: Context, draft: Draft) -> None:
    """A backend for a disk that the guest has not would go unseen into no config."""
    known = context.devices.known() or {"xvda"}
    unknown = [name for name in context.options.disk_backends if name not in known]
    if unknown:
        draft.say(
            "config.no-such-disk",
            Level.ERROR,
            f"--disk-backend names {', '.join(unknown)}, which this guest has not",
            evidence=f"its disks: {', '.join(sorted(known))}",
            remedy="give each disk by its name in the guest or by its name under PV",
        )


STEP = Step(
    "preflight",
    __doc__,
    plan,
    reads=(
        "/boot/efi/EFI/Linux",
        "/boot/efi/EFI/Linux/*.efi",
        "/efi/EFI/Linux/*.efi",
        "/boot/efi/*/*/linux",
        "/efi/*/*/linux",
    ),
    topics={
        "host.not-linux": "pvprep runs on Linux only: no other guest has a kernel that boots PV.",
        "host.not-root": "Reading disks, images and locks, and changing them, needs root.",
        "distro.unknown": (
            "os-release(5) names no distribution whose package manager and boot loader pvprep "
            "knows. Derivatives count by their ID_LIKE line."
        ),
        "proc.missing": (
            "Without /proc the mounted file systems cannot be seen. It is usually missing in a "
            "chroot that was entered by hand."
        ),
        "sys.missing": (
            "Without /sys neither disks nor network cards can be seen, and mkinitramfs with "
            "MODULES=dep fails."
        ),
        "virt.dom0": "Dom0 runs the other domains; it is not converted. Run pvprep in the guest.",
        "virt.pv-already": (
            "The guest runs paravirtualised. pvprep changes nothing then; `pvprep --emit-config` "
            "still writes a domU config from what it finds."
        ),
        "fs.read-only": (
            "A file system that pvprep or the package manager has to write to is mounted "
            "read-only, often after an error that the kernel log names."
        ),
        "fs.no-inodes": "There are free bytes but no free inodes: no file can be created.",
        "fs.full": (
            "There is no room for the new kernel, or for the journal that makes the undo possible."
        ),
        "boot.full": (
            "/boot has no room for a second initrd. The new one is built and proven beside the "
            "old one, which is replaced only then."
        ),
        "kernel.esp-only": (
            "systemd-boot and unified kernel images keep kernels on the EFI system partition. A "
            "PV guest has no firmware, and pygrub and pvgrub read /boot only."
        ),
        "dpkg.locked": "Another program (apt, unattended-upgrades, dpkg) holds the package lock.",
        "dpkg.broken": (
            "Packages are half installed or half configured; installing a kernel on top could "
            "fail half way. `dpkg --configure -a` and `apt-get -f install` mend it."
        ),
        "config.no-such-disk": (
            "--disk-backend DISK=TARGET says what a disk of the guest is in dom0; DISK is a name "
            "that the guest has now or will have. Without DISK= it is the first one, xvda."
        ),
        "apt.sources": (
            "apt knows no archive but perhaps a CD-ROM. It matters only where a kernel has to be "
            "installed; --kernel-package FILE does without."
        ),
        "dpkg.held": "A kernel package is on hold; pvprep does not touch held packages.",
        "rpm.locked": "Another program (dnf, yum, zypper, PackageKit, rpm) is changing packages.",
        "rpm.broken": "Without its database rpm neither knows what is installed nor installs more.",
        "rpm.unfinished": (
            "yum was killed in a transaction: some packages may be there twice or half. "
            "`yum-complete-transaction` ends it."
        ),
        "rpm.sources": (
            "No repository is enabled. It matters only where a kernel has to be installed; "
            "--kernel-package FILE does without."
        ),
        "rpm.excluded": (
            "An exclude, a versionlock or a zypper lock keeps kernel packages back; pvprep "
            "respects it, so that no kernel can be installed by name where it covers all of them."
        ),
    },
)
