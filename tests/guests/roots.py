"""Real Debian trees, made by mmdebstrap and kept as tar archives.

Archives and packages are kept for ever; remove the cache directory to see newer packages.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.guests import hostapt, installed
from tests.guests.profiles import Profile

CACHE = Path(__file__).resolve().parents[2] / "build" / "cache"

# Nothing to install to: the boot loader's postinst must neither ask nor write to a disk.
_GRUB_ANSWERS = "grub-pc grub-pc/install_devices_empty boolean true"
# In a mount namespace of its own, of which nothing is left, whatever happens: dpkg syncs every
# file, which takes longer on a disk than all else.
_IN_MEMORY = (
    *("unshare", "--mount", "env", "TMPDIR=/var/tmp", "sh", "-ec"),
    'mount -t tmpfs -o size=4g,mode=1777 tmpfs /var/tmp; exec "$@"',
    "sh",
)
_TAR = ("--numeric-owner", "--xattrs", "--xattrs-include=*")


class BuildError(Exception):
    """A tree could not be made; the message has the end of what the builder said."""


def build_root(suite: str, arch: str, *, include: Sequence[str], cache_dir: Path = CACHE) -> Path:
    """A tar of a minimal Debian with these packages, without any initrd; cached by its inputs.

    Packages that were downloaded once are not downloaded again. Takes a minute, then none.
    """
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--architectures={arch}",
        f"--include={','.join(include)}",
        # mmdebstrap(1) has this way to keep packages between runs.
        "--skip=download/empty,essential/unlink",
        '--setup-hook=mkdir -p "$1/var/cache/apt/archives"',
        f'--essential-hook=echo {_GRUB_ANSWERS} | chroot "$1" debconf-set-selections',
        # How this machine reaches the archive is no part of the guest.
        '--customize-hook=rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap',
    ]
    tar = cache_dir / f"{suite}-{arch}-{_digest(command)}.tar"
    if tar.exists():
        return tar
    with _locked(tar):
        if not tar.exists():
            half = tar.with_suffix(".half.tar")
            access = [f"--aptopt={line}" for line in hostapt.options()]
            with _kept(cache_dir / "archives" / f"{suite}-{arch}") as packages:
                keep = [
                    f"--setup-hook=sync-in '{packages}' /var/cache/apt/archives",
                    f"--customize-hook=sync-out /var/cache/apt/archives '{packages}'",
                ]
                # The release alone, without updates: what an installation medium has.
                _patient(
                    [*_IN_MEMORY, *command, *keep, *access, suite, str(half), hostapt.mirror()]
                )
            half.rename(tar)
    return tar


def build_profile(profile: Profile, *, cache_dir: Path = CACHE) -> Path:
    """A tar of the guest that the profile describes, initrd and boot loader included; cached.

    Takes 20 to 40 s on top of build_root(), and no time when it is there already.
    """
    base = build_root(profile.suite, profile.arch, include=profile.packages, cache_dir=cache_dir)
    recipe = Path(installed.__file__).read_text()

    def make(work: Path) -> Path:
        root = work / "root"
        unpack(base, root)
        installed.finish(root, profile)
        return root

    inputs = [base.name, repr(profile), recipe]
    return cached(f"{profile.name}-installed", inputs, make, cache_dir=cache_dir)


def cached(
    name: str, inputs: Sequence[str], make: Callable[[Path], Path], *, cache_dir: Path = CACHE
) -> Path:
    """A tar of what `make` makes in the directory that it is given; made once for these inputs.

    make: gives the directory, in the one that it was given, whose content is kept.
    """
    tar = cache_dir / f"{name}-{_digest(inputs)}.tar"
    if tar.exists():
        return tar
    with _locked(tar):
        if not tar.exists():
            half = tar.with_suffix(".half.tar")
            work = cache_dir / f"{tar.stem}-tree"
            with in_memory(work):
                made = make(work)
                _run(["tar", *_TAR, "--one-file-system", "-C", str(made), "-cf", str(half), "."])
                half.rename(tar)
    return tar


def unpack(tar: Path, directory: Path) -> None:
    """Unpack a tree into a directory, which is made; owners, modes and attributes as they were."""
    directory.mkdir(parents=True)
    _run(["tar", *_TAR, "-xpf", str(tar), "-C", str(directory)])


@contextlib.contextmanager
def in_memory(directory: Path) -> Iterator[Path]:
    """A directory, made here, whose content is in memory and gone in the end: quick to sync."""
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4g,mode=755", "tmpfs", directory]
    subprocess.run(mount, check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)
        directory.rmdir()


def remove(directory: Path) -> None:
    """Remove an unpacked tree; refuses while something is mounted below it."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    inside = [mount for mount in mounts if mount.startswith(f"{directory.resolve()}/")]
    if inside:
        raise BuildError(f"still mounted: {', '.join(inside)}")
    shutil.rmtree(directory)


def _digest(inputs: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _locked(tar: Path) -> Iterator[None]:
    """One builder of the same thing at a time.

    Builders of different things share the downloaded packages.
    """
    tar.parent.mkdir(parents=True, exist_ok=True)
    with tar.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Whoever held the lock before is done, or was killed and left these.
        tar.with_suffix(".half.tar").unlink(missing_ok=True)
        work = tar.parent / f"{tar.stem}-tree"
        if work.is_mount():
            _run(["umount", "--lazy", str(work)])
        if work.exists():
            work.rmdir()
        yield


@contextlib.contextmanager
def _kept(archives: Path) -> Iterator[Path]:
    """A directory of one's own with the packages kept so far; what comes into it is kept, too.

    A package appears there whole, and in nobody's way: others may be reading at the same time.
    """
    archives.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archives.parent) as place:
        own = Path(place)
        for package in archives.glob("*.deb"):
            os.link(package, own / package.name)
        yield own
        for package in own.glob("*.deb"):
            with contextlib.suppress(FileExistsError):
                os.link(package, archives / package.name)


def _patient(argv: Sequence[str]) -> None:
    """Once more where tar takes another builder's new link to a kept package for a change of it."""
    try:
        _run(argv)
    except BuildError as error:
        if "file changed as we read it" not in str(error):
            raise
        _run(argv)


def _run(argv: Sequence[str]) -> None:
    # INITRD=No: the kernel's postinst leaves the initrd to us (initramfs-tools' kernel hook).
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "INITRD": "No", "DEBIAN_FRONTEND": "noninteractive"},
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise BuildError(f"{argv[0]}: status {done.returncode}\n{done.stdout[-4000:]}")
