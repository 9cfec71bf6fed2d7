"""Guests that are really managed by rpm and dnf, for trees and for booting; kept as tar archives.

    root = space / "root"
    roots.unpack(rpmroots.build(rpmprofiles.EL9), root)
    chroot.run(root, ["dnf", "-y", "install", "kernel"])

The root is complete: dnf, its Python API and rpm run inside it and see the repositories of the
profile, which lie in the tree. See rpmprofiles for what is real in it and what stands in.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.guests import chroot, roots, rpminstalled, rpmkernels, rpmprofiles, rpmuserland
from tests.guests.rpmprofiles import Kernel, RpmProfile

# The programs that are made into packages; and Debian's kernel, which becomes every kernel.
PACKAGES = (
    *("cpio", "createrepo-c", "dnf", "dnf-plugins-core", "dracut-core", "e2fsprogs", "gpg"),
    *("gpg-agent", "grub-pc", "iproute2", "kmod", "linux-image-cloud-amd64", "lz4"),
    *("python3-distro", "python3-dnf", "python3-jinja2", "python3-rpm", "rpm", "systemd"),
    *("systemd-sysv", "udev", "zstd"),
)
_DNF = (
    *("dnf", "-q", "-y", "--installroot=/target", "--releasever=9", "--nogpgcheck"),
    *("--setopt=cachedir=/var/cache/dnf", "--disablerepo=*", "--enablerepo=local"),
    "--repofrompath=local,file:///root/rpmbuild/RPMS",
)
_HERE = Path(__file__).parent
_USERS = ("passwd", "group", "shadow", "gshadow")


def build(profile: RpmProfile, *, cache_dir: Path = roots.CACHE) -> Path:
    """A tar of the guest that the profile describes; cached.

    Takes a minute and a half for the first one, some 7 s for each further one, then none.
    """
    userland = build_userland(cache_dir=cache_dir)
    kernels = build_kernels(cache_dir=cache_dir)

    def make(work: Path) -> Path:
        root = work / "root"
        roots.unpack(userland, root)
        roots.unpack(kernels, work / "kernels")
        rpminstalled.finish(root, work / "kernels", profile)
        return root

    inputs = [userland.name, kernels.name, repr(profile), _text(rpminstalled.__file__)]
    return roots.cached("el9-installed", inputs, make, cache_dir=cache_dir)


def build_userland(*, cache_dir: Path = roots.CACHE) -> Path:
    """A tar of what dnf makes of all packages but kernels; cached."""
    base = _base(cache_dir)

    def make(work: Path) -> Path:
        builder = _builder(base, work)
        source, target = builder / "source", builder / "target"
        roots.unpack(base, source)
        (builder / "userland.spec").write_text(rpmuserland.prepare(source))
        _make_devices(target)
        (target / "etc").mkdir()
        for name in _USERS:  # what is in packages belongs to these
            shutil.copy2(source / "etc" / name, target / "etc" / name)
        _rpmbuild(builder, "/userland.spec", "/source")
        chroot.run(builder, ["createrepo_c", "-q", "/root/rpmbuild/RPMS"])
        chroot.run(builder, [*_DNF, "install", "*"])
        return target

    inputs = [base.name, _text(__file__), _text(rpmuserland.__file__), *_stand_ins()]
    return roots.cached("el9-userland", inputs, make, cache_dir=cache_dir)


def build_kernels(*, cache_dir: Path = roots.CACHE) -> Path:
    """A tar of the packages of all kernels, a directory each by release; cached."""
    base = _base(cache_dir)

    def make(work: Path) -> Path:
        builder, made = _builder(base, work), work / "made"
        for kernel in rpmprofiles.KERNELS:
            _build_kernel(builder, kernel, made / kernel.release)
        return made

    inputs = [base.name, _text(__file__), _text(rpmkernels.__file__), repr(rpmprofiles.KERNELS)]
    return roots.cached("el9-kernels", inputs, make, cache_dir=cache_dir)


def _base(cache_dir: Path) -> Path:
    return roots.build_root("bookworm", "amd64", include=PACKAGES, cache_dir=cache_dir)


def _build_kernel(builder: Path, kernel: Kernel, made: Path) -> None:
    stage = builder / "stage"
    stage.mkdir()
    (stage / "kernel.spec").write_text(rpmkernels.stage(builder, kernel, stage))
    _rpmbuild(builder, "/stage/kernel.spec", "/stage/root")
    made.mkdir(parents=True)
    for rpm in (builder / "root/rpmbuild/RPMS").rglob("*.rpm"):
        rpm.rename(made / rpm.name)
    shutil.rmtree(stage)


def _rpmbuild(builder: Path, spec: str, buildroot: str) -> None:
    """The lists of files that a spec names lie beside it."""
    where = f"_builddir {os.path.dirname(spec)}"
    command = ["rpmbuild", "-bb", "--quiet", "--target", "x86_64", "--define", where]
    chroot.run(builder, [*command, "--buildroot", buildroot, spec])


def _builder(base: Path, work: Path) -> Path:
    """A Debian tree with the programs of rpm and dnf, set as those of the guest are."""
    builder = work / "builder"
    roots.unpack(base, builder)
    shutil.copytree(rpmuserland.STAND_INS / "rpm", builder, dirs_exist_ok=True)
    return builder


def _make_devices(root: Path) -> None:
    """What a chroot needs of /dev; a system that boots has its own."""
    (root / "dev").mkdir(parents=True)
    for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
        os.mknod(root / "dev" / name, 0o20666, os.makedev(1, minor))
        (root / "dev" / name).chmod(0o666)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (root / "dev" / name).symlink_to(f"/proc/self/fd/{number}")
    (root / "dev/fd").symlink_to("/proc/self/fd")


def _stand_ins() -> list[str]:
    """All that is in the files that stand in for those of Enterprise Linux."""
    files = sorted(path for path in rpmuserland.STAND_INS.rglob("*") if path.is_file())
    return [part for path in files for part in (str(path.relative_to(_HERE)), path.read_text())]


def _text(file: str) -> str:
    return Path(file).read_text()
