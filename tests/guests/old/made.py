"""What stands in for binaries of old releases: real in form, with next to nothing in it.

A made kernel has the `__xen_guest` section of its time; a made module is an empty ELF file; a made
initrd is what mkinitrd 5.1 writes: an init script for nash, in a cpio archive packed by gzip.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.unit.survey.synthetic import bzimage, cpio, elf

# arch/i386/kernel/head-xen.S of Linux 2.6.18 as of Xen 3.0.
XEN_GUEST = (
    b"GUEST_OS=linux,GUEST_VER=2.6,XEN_VER=xen-3.0,VIRT_BASE=0xC0000000,ELF_PADDR_OFFSET=0xC0000000"
    b",VIRT_ENTRY=0xC0100000,HYPERCALL_PAGE=0x104,FEATURES=writable_page_tables"
    b"|writable_descriptor_tables|auto_translated_physmap|pae_pgdir_above_4gb"
    b"|supervisor_mode_kernel,PAE=%s,LOADER=generic\0"
)
# Berkeley DB's magic number for a hash file, at byte 12 of its first page (db_hash(3)).
RPM_PACKAGES = bytes(12) + struct.pack("<I", 0x00061561) + bytes(4080)
# Programs of the guest: none of them may be started.
PROGRAM = "#!/bin/sh\n# made: stands for {}\necho it was run >>/was-run\nexit 99\n"


def made_xenlinux_kernel(bits: int = 32, pae: bool = True) -> bytes:
    """An ELF image packed by gzip, as all kernels of the XenLinux line are installed."""
    return gzip.compress(elf(XEN_GUEST % (b"yes" if pae else b"no"), bits, "guest"), mtime=0)


def made_kernel(bits: int = 32, notes: bytes = b"") -> bytes:
    """A bzImage; with the notes of a pv_ops kernel, if they are given."""
    return bzimage(elf(notes, bits), version="2.6 (made)")


def made_module() -> bytes:
    """An ELF file."""
    return elf(before=b"")


def nash_initrd(modules: Iterable[str], root: str, resume: str) -> bytes:
    """modules: loaded in this order. The script is what mkinitrd 5.1 writes for a plain ext3."""
    names = list(modules)
    script = "#!/bin/nash\n\nmount -t proc /proc /proc\nsetquiet\necho Mounting proc filesystem\n"
    script += "echo Mounting sysfs filesystem\nmount -t sysfs /sys /sys\necho Creating /dev\n"
    script += "mount -o mode=0755 -t tmpfs /dev /dev\nmkdir /dev/pts\n"
    script += "mount -t devpts -o gid=5,mode=620 /dev/pts /dev/pts\nmkdir /dev/shm\n"
    script += "mkdir /dev/mapper\necho Creating initial device nodes\nmknod /dev/null c 1 3\n"
    script += "mknod /dev/console c 5 1\necho Setting up hotplug.\nhotplug\n"
    script += "echo Creating block device nodes.\nmkblkdevs\n"
    for name in names:
        script += f'echo "Loading {name}.ko module"\ninsmod /lib/{name}.ko \n'
    script += f"mkblkdevs\nresume {resume}\necho Creating root device.\n"
    script += f"mkrootdev -t ext3 -o defaults,ro {root}\necho Mounting root filesystem.\n"
    script += "mount /sysroot\necho Setting up other filesystems.\nsetuproot\n"
    script += "echo Switching to new root and running init.\nswitchroot\n"
    files = [("bin/nash", b"\x7fELF"), ("bin/insmod", b"\x7fELF")]
    files += [(f"lib/{name}.ko", made_module()) for name in names]
    return gzip.compress(cpio([*files, ("init", script.encode())]), mtime=0)


def initramfs_tools_initrd() -> bytes:
    """What mkinitramfs writes, of which the scripts are left out."""
    files = [("init", b"#!/bin/sh\n"), ("scripts/functions", b"#\n"), ("conf/modules", b""),
             ("conf/initramfs.conf", b"MODULES=most\nBUSYBOX=y\n")]  # fmt: skip
    return gzip.compress(cpio(files), mtime=0)


def dracut_initrd() -> bytes:
    """What dracut 004 writes, of which the hooks are left out."""
    files = [("init", b"#!/bin/sh\n"), ("lib/dracut-lib.sh", b"#\n"), ("bin/sh", b"\x7fELF"),
             ("etc/cmdline", b""), ("dracut-004-411.el6", b"")]  # fmt: skip
    return gzip.compress(cpio(files), mtime=0)


def suse_initrd(root: str, resume: str) -> bytes:
    """What mkinitrd of SLES 11 writes, of which the boot scripts are left out."""
    start = f"[ \"$root\" ] || root='{root}'\n"
    start += "[ \"$RESOLVED_INITRD_MODULES\" ] || RESOLVED_INITRD_MODULES='ata_piix ext3'\n"
    files = [("config/start.sh", start.encode()), ("init", b"#!/bin/bash\n. /run_all.sh\n"),
             ("config/resume.kernel.sh", f"[ \"$resumedev\" ] || resumedev='{resume}'\n".encode()),
             ("run_all.sh", b"modprobe $module\n")]  # fmt: skip
    return gzip.compress(cpio(files), mtime=0)


def tree(root: Path, files: Mapping[str, str | bytes], links: Mapping[str, str] = {}) -> Path:
    """Write files and links below a new directory."""
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
        if path.startswith(("sbin/", "usr/sbin/")):
            place.chmod(0o755)
    for path, target in links.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(target)
    return root
