"""Workers that keep to the guest, as its own programs do in a chroot."""

from __future__ import annotations

from pathlib import Path

from tests.unit import trees
from tests.unit.building import VERSION

from pvprep.changes import BuildInitrd, InstallPackages
from pvprep.editors import modules as module_lists
from pvprep.guest import Guest


class InsideBuilder(trees.Builder):
    """One that reads and writes beneath the root only, as the guest's own does in a chroot."""

    def __init__(self, guest: Guest) -> None:
        super().__init__(Path(guest.root))
        self.guest = guest

    def build(self, change: BuildInitrd, output: str) -> None:
        """From the list of modules as it is now."""
        listed = self.guest.text("/etc/initramfs-tools/modules")
        with open(self.guest.host(output, follow=False), "xb") as file:
            file.write(trees.initrd(module_lists.names(listed)))

    def install(self, change: InstallPackages) -> None:
        """A kernel that can boot PV."""
        with open(self.guest.host(f"/boot/vmlinuz-{VERSION}", follow=False), "xb") as file:
            file.write(trees.image())
