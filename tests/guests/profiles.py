"""The guests that the tests know: Debian releases as an HVM installation leaves them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

# What identifies the parts of every guest, so that a test can name them.
MAC = "00:16:3e:01:12:c1"
ROOT_UUID = "6f1c3e2a-58d4-4b0e-9a57-0d1f5b7c2e01"
BOOT_UUID = "6f1c3e2a-58d4-4b0e-9a57-0d1f5b7c2e03"  # of a /boot of its own
SWAP_UUID = "6f1c3e2a-58d4-4b0e-9a57-0d1f5b7c2e02"
DISK_ID = "5b1f17c1"  # the MBR's 32-bit disk identifier, hexadecimal
MACHINE_ID = "b1f170000000400080000000000000c1"
HOSTNAME = "bifit"
ROOT_PASSWORD = "root"


@dataclass(frozen=True)
class Profile:
    """One guest.

    kernel: the kernel's meta package, "" for none. initrd: "initramfs-tools" or "dracut".
    init: "systemd" or "sysvinit". network: "ifupdown" or "networkd". nic: the name that the
    network card has while fully virtualised. python: whether what pvprep depends on is there
    already; without it there is no Python at all. extra: more packages.
    """

    suite: str
    arch: str = "amd64"
    kernel: str = "linux-image-amd64"
    initrd: str = "initramfs-tools"
    init: str = "systemd"
    network: str = "ifupdown"
    nic: str = "ens3"
    python: bool = False
    # What is installed shows in what a tree is made of, and in its name in the cache.
    extra: tuple[str, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """A name for people and for file names; it need not be unique."""
        return f"{self.suite}-{self.arch}"

    @property
    def packages(self) -> tuple[str, ...]:
        """What the installer put there on top of mmdebstrap's minbase."""
        chosen = [self.init if self.init == "systemd" else "sysvinit-core", "udev", "e2fsprogs"]
        if self.init == "systemd":
            chosen += ["systemd-sysv"]
        if self.kernel:
            chosen += [self.kernel, self.initrd]
        if self.network == "ifupdown":
            chosen += ["ifupdown", self._dhcp_client]
        if self.python:
            chosen += ["python3", "python3-apt", "python3-distro", "python3-jinja2", "lz4"]
        # Recommended by the above, and part of every installation.
        chosen += ["grub-pc", "iproute2", "kmod", "zstd", *self.extra]
        return tuple(sorted(chosen))

    @property
    def _dhcp_client(self) -> str:
        return "isc-dhcp-client" if self.suite in ("bullseye", "bookworm") else "dhcpcd-base"


BULLSEYE = Profile("bullseye")
BOOKWORM = Profile("bookworm")
TRIXIE = Profile("trixie")
# A 32-bit user space; its 686-pae kernel has no PV, the 64-bit one is only an installation away.
BOOKWORM_I386 = Profile("bookworm", arch="i386", kernel="linux-image-686-pae")

BOOKWORM_WITH_PYTHON = replace(BOOKWORM, python=True)
BOOKWORM_WITHOUT_KERNEL = replace(BOOKWORM, kernel="")
# The smallest kernel, without drivers for emulated disks and cards: for trees, not for booting.
BOOKWORM_CLOUD_KERNEL = replace(BOOKWORM, kernel="linux-image-cloud-amd64")
BOOKWORM_DRACUT = replace(BOOKWORM, initrd="dracut")
BOOKWORM_SYSVINIT = replace(BOOKWORM, init="sysvinit")
BOOKWORM_NETWORKD = replace(BOOKWORM, network="networkd")

# Made for the long runs alone, or with another kernel for the others.
SELDOM = (BULLSEYE, TRIXIE, BOOKWORM_DRACUT, BOOKWORM_SYSVINIT, BOOKWORM_NETWORKD)
ALL = (
    BULLSEYE,
    BOOKWORM,
    TRIXIE,
    BOOKWORM_I386,
    BOOKWORM_WITH_PYTHON,
    BOOKWORM_WITHOUT_KERNEL,
    BOOKWORM_CLOUD_KERNEL,
    BOOKWORM_DRACUT,
    BOOKWORM_SYSVINIT,
    BOOKWORM_NETWORKD,
)
