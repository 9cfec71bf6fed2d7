"""Hardware-only modules: forced loads of drivers for hardware that a PV guest does not have.

/etc/modules and modules-load.d load them whether the hardware is there or not; under PV that gives
errors at every boot, and some fail. The lines are commented out. HVM stays bootable: there udev
loads these drivers by itself when it sees the hardware, and the initrd's own list is not touched.
"""

from __future__ import annotations

from ..context import Context
from ..draft import Draft
from ..editors import modules
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


def plan(context: Context, draft: Draft) -> None:
    """Comment out the forced loads."""
    for path, entry in sorted(context.facts.files.items()):
        if path != "/etc/modules" and not path.startswith("/etc/modules-load.d/"):
            continue
        # modules-load.d/modules.conf is a link to /etc/modules on Debian: the second edit of a file
        # finds nothing to do.
        if entry.is_dir:
            continue
        draft.edit(NAME, path, modules.comment_out(draft.text(path), EMULATED, WHY))


STEP = Step(NAME, __doc__, plan, reads=FILES)
