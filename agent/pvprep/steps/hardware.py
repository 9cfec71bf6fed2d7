"""Hardware-only modules: forced loads of drivers for hardware that a PV guest does not have.

/etc/modules and modules-load.d load them whether the hardware is there or not; under PV that gives
errors at every boot, and some fail. The lines are commented out. HVM stays bootable: there udev
loads these drivers by itself when it sees the hardware, and the initrd's own list is not touched.

Systems with a XenLinux kernel (EL 4 and 5, SLES 10 and 11) load drivers by aliases: eth0 and
scsi_hostadapter in modprobe.conf become xennet and xenblk, for mkinitrd gives up over a driver that
the PV kernel does not have. Later kernels need no alias, and theirs stay as they are. kudzu, which
would take the missing card for one that was removed and throw its configuration away, is
switched off.
"""

from __future__ import annotations

from ..context import Context
from ..draft import Draft
from ..editors import modprobe, modules
from .step import Step

NAME = "hardware"
# Drivers of what QEMU, Xen and other hypervisors emulate, all loaded by udev where it exists.
EMULATED = frozenset(
    {
        "e1000", "e1000e", "8139too", "8139cp", "ne2k_pci", "pcnet32", "tulip", "rtl8139",
        "r8169", "piix", "ata_piix", "ata_generic", "pata_acpi", "ahci", "sata_nv", "mptspi",
        "mptsas", "mptbase", "sym53c8xx", "lsi53c895a", "megaraid_sas", "i2c_piix4",
        "i2c_i801", "floppy", "parport_pc", "pcspkr", "intel_rapl_msr", "intel_agp",
        "uhci_hcd", "ehci_hcd", "ohci_hcd", "xhci_hcd", "usb_storage", "cirrus", "cirrusfb",
        "bochs", "bochs_drm", "qxl", "snd_ens1370", "snd_intel8x0", "snd_hda_intel",
        "snd_sb16", "i6300esb", "iTCO_wdt", "virtio_net", "virtio_blk", "virtio_pci",
        "virtio_scsi", "virtio_balloon", "virtio_rng", "virtio_console", "vmxnet", "vmxnet3",
        "vmw_pvscsi", "vmw_balloon", "vmw_vmci", "vmwgfx", "pvscsi", "vboxguest", "vboxsf",
        "vboxvideo", "hv_vmbus", "hv_netvsc", "hv_storvsc", "hv_utils", "hv_balloon",
    }
)
WHY = "udev loads it where the hardware is"
FILES = ("/etc/modules", "/etc/modules-load.d/*.conf")
# The names that XenLinux' frontends have in an HVM guest (unmodified_drivers).
PV_ON_HVM = frozenset({"xen_vnif", "xen_vbd"})
ALIASES = (
    "/etc/conf.modules",
    "/etc/modules.conf",
    "/etc/modprobe.conf",
    "/etc/modprobe.conf.local",
    "/etc/modprobe.d/*",
)
KUDZU = "/etc/rc.d/rc?.d/[SK]??kudzu"


def plan(context: Context, draft: Draft) -> None:
    """Comment out the forced loads, point the aliases of old systems to the frontends."""
    _lists(context, draft)
    if context.target and context.target.xenlinux:
        _aliases(context, draft)
    _kudzu(context, draft)


def _aliases(context: Context, draft: Draft) -> None:
    block, network = context.frontends
    for path, entry in sorted(context.facts.files.items()):
        if path in ALIASES or path.startswith("/etc/modprobe.d/"):
            gone = EMULATED | PV_ON_HVM
            edited = modprobe.point_aliases(draft.text(path), gone, network, block)
            if not entry.is_dir:
                draft.edit(NAME, path, edited)


def _kudzu(context: Context, draft: Draft) -> None:
    """As `chkconfig kudzu off` does: from S05kudzu to K95kudzu."""
    for path in context.facts.under("/etc/rc.d/rc"):
        directory, name = path.rsplit("/", 1)
        if name[:1] == "S" and name[3:] == "kudzu" and name[1:3].isdigit():
            off = f"{directory}/K{100 - int(name[1:3]):02}kudzu"
            why = "kudzu would drop what the PV guest has no card for"
            if draft.file(off):
                draft.remove(NAME, path, f"removed: {why}")
            else:
                draft.move(NAME, path, off, why)


def _lists(context: Context, draft: Draft) -> None:
    for path, entry in sorted(context.facts.files.items()):
        if path != "/etc/modules" and not path.startswith("/etc/modules-load.d/"):
            continue
        # modules-load.d/modules.conf is a link to /etc/modules on Debian: the second edit of a file
        # finds nothing to do.
        if entry.is_dir:
            continue
        draft.edit(NAME, path, modules.comment_out(draft.text(path), EMULATED, WHY))


STEP = Step(NAME, __doc__, plan, reads=(*FILES, *ALIASES, KUDZU))
