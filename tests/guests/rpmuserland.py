"""Turns a Debian tree into the packages of an rpm system: a spec file of what dpkg knows.

What each Debian package has becomes a package of the same name, or of the name that Enterprise
Linux has for it; what belonged to none (made by maintainers' scripts) belongs to `setup`, and all
directories to `filesystem`. Documentation, manual pages and translations are left out.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

STAND_INS = Path(__file__).with_name("rpm")

# Debian's name, and Enterprise Linux's where programs or specs ask for it.
_NAMES = {
    "dracut-core": "dracut",
    "gpg": "gnupg2",
    "grub-common": "grub2-tools-minimal",
    "grub-pc": "grub2-pc",
    "grub-pc-bin": "grub2-pc-modules",
    "grub2-common": "grub2-tools",
    "iproute2": "iproute",
    "libc6": "glibc",
    "udev": "systemd-udev",
}
# What has no place in a system without dpkg.
_LEFT_OUT = re.compile(
    r"apt|dpkg|debconf|debianutils-.*|debian-archive-keyring|libapt-pkg.*|ucf|usrmerge|usr-is-merged"
    r"|initramfs-tools.*|linux-(?:image|base).*|klibc-utils|libklibc|init-system-helpers"
)
_DIRECTORIES_LEFT_OUT = (
    "etc/apt",
    "etc/dpkg",
    "etc/initramfs-tools",
    "var/lib/apt",
    "var/lib/dpkg",
)
_DIRECTORIES_EMPTIED = (
    "boot",
    "dev",
    "etc/kernel",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "tmp",
    "usr/lib/modules",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache",
    "var/log",
    "var/tmp",
)
_FILES_LEFT_OUT = (
    "etc/.pwd.lock",
    "etc/debian_version",
    "etc/default/grub",
    "etc/grub.d/05_debian_theme",
    "etc/grub.d/30_os-prober",
    "etc/machine-id",
    "etc/dnf/plugins/local.conf",
    "initrd.img",
    "initrd.img.old",
    "usr/lib/kernel/install.d/85-initrd.install",
    "usr/lib/python3/dist-packages/dnf-plugins/local.py",
    "usr/sbin/update-grub",
    "usr/sbin/update-grub2",
    "vmlinuz",
    "vmlinuz.old",
)
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")  # to those in /usr
_MOUNTED = dict.fromkeys(("proc", "sys"), "%attr(0555,root,root) ")
# GRUB's programs have a 2 in their names, and their directory in /boot too.
_GRUB_PROGRAM = re.compile(r"usr/s?bin/grub-\w[\w-]*")
_GRUB_SCRIPTS = ("usr/sbin/grub2-*", "usr/share/grub/grub-mkconfig_lib", "etc/grub.d/*")

# As grub-mkconfig of Enterprise Linux has it: the entries are files, which GRUB reads itself.
_BLS = """\
if [ "x${GRUB_ENABLE_BLSCFG}" = "xtrue" ]; then
  cat <<EOF
# The blscfg command parses the BootLoaderSpec files in /boot/loader/entries (pvprep's tests).
if [ -z "\\${kernelopts}" ]; then
  set kernelopts="root=${GRUB_DEVICE} ro ${GRUB_CMDLINE_LINUX} ${GRUB_CMDLINE_LINUX_DEFAULT}"
fi

insmod blscfg
blscfg
EOF
  exit 0
fi
"""

_SPEC = """\
%define _binary_payload w.ufdio
%define __os_install_post %{nil}
%define __check_files %{nil}
%define __spec_install_pre %{___build_pre}
%define debug_package %{nil}
%define _build_id_links none
Name: userland
Version: 9.4
Release: 1.el9
Summary: Debian's programs in packages of rpm (pvprep tests)
License: various
Vendor: pvprep tests
AutoReqProv: no
%description
Stand-in of pvprep's tests.
"""


@dataclass
class _Package:
    """version: as Debian has it. files: paths without the first slash. configs: those of files."""

    version: str
    files: list[str] = field(default_factory=list)
    configs: set[str] = field(default_factory=set)


def prepare(root: Path) -> str:
    """Make a Debian tree into one of Enterprise Linux; gives the spec of its packages.

    The tree is what rpmbuild has to take as its build root; it does not outlive that.
    """
    for name in _FILES_LEFT_OUT:
        (root / name).unlink(missing_ok=True)
    owners, packages = _dpkg(root)
    _rename_grub(root, owners)
    _lay_stand_ins(root, owners, packages)
    _leave_out(root)
    return _spec(root, owners, packages)


def _dpkg(root: Path) -> tuple[dict[str, str], dict[str, _Package]]:
    """Who owns which path, and the packages; read from the tree's own dpkg."""
    owners = dict.fromkeys(_LINKS, "filesystem")
    packages = {"filesystem": _Package("3.16"), "setup": _Package("2.13")}
    for stanza in (root / "var/lib/dpkg/status").read_text().split("\n\n"):
        fields = dict(re.findall(r"(?m)^(Package|Version|Architecture): (.*)", stanza))
        if not fields:
            continue
        debian: str = fields["Package"]
        name = _NAMES.get(debian, debian)
        package = packages[name] = _Package(fields["Version"])
        conffiles = re.findall(r"(?m)^ (/\S+) [0-9a-f]{32}(?: obsolete)?$", stanza)
        package.configs = {_canonical(path) for path in conffiles}
        for path in _list(root, debian, fields["Architecture"]):
            owners.setdefault(_canonical(path), name)
    for name in [name for name in packages if _LEFT_OUT.fullmatch(name)]:
        del packages[name]
    return owners, packages


def _list(root: Path, name: str, arch: str) -> list[str]:
    info = root / "var/lib/dpkg/info"
    path = info / f"{name}.list"
    return (path if path.exists() else info / f"{name}:{arch}.list").read_text().splitlines()


def _canonical(path: str) -> str:
    """Where it is, without the first slash, in a system whose /bin is a link to /usr/bin."""
    path = path.lstrip("/")
    return f"usr/{path}" if path.split("/")[0] in _LINKS and "/" in path else path


def _leave_out(root: Path) -> None:
    """What is not to be in any package, once dpkg's files are read; empty directories stay."""
    for name in _DIRECTORIES_LEFT_OUT:
        shutil.rmtree(root / name)
    for name in _DIRECTORIES_EMPTIED:
        for path in (root / name).iterdir() if (root / name).is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _rename_grub(root: Path, owners: dict[str, str]) -> None:
    for path in [*(root / "usr/bin").iterdir(), *(root / "usr/sbin").iterdir()]:
        name = str(path.relative_to(root))
        if _GRUB_PROGRAM.fullmatch(name):
            _move(root, owners, name, name.replace("grub", "grub2", 1))
    _move(root, owners, "usr/bin/grub2-editenv", "usr/lib/grub/grub-editenv")
    for pattern in _GRUB_SCRIPTS:
        for path in root.glob(pattern):
            _name_grub2(path)
    _insert(root / "etc/grub.d/10_linux", "CLASS=", f"{_BLS}\n")
    _insert(root / "usr/sbin/grub2-mkconfig", "export GRUB_DEFAULT", "export GRUB_ENABLE_BLSCFG\n")


def _insert(script: Path, before: str, text: str) -> None:
    """Put text before the line that begins so."""
    start, found, end = script.read_text().partition(f"\n{before}")
    if not found:
        raise ValueError(f"Debian's {script.name} has changed: no line begins with {before}")
    script.write_text(f"{start}\n{text}{before}{end}")


def _name_grub2(script: Path) -> None:
    content = script.read_bytes()
    if content.startswith(b"\x7fELF"):
        return
    text = content.decode()
    text = re.sub(r"/boot/grub\b(?!2)", "/boot/grub2", text)
    text = re.sub(r"(\{bootdir\}/grub)\b", r"\g<1>2", text)
    programs = "probe|file|editenv|script-check|mkrelpath|mkconfig\\b"
    script.write_text(re.sub(rf"\bgrub-(?={programs})", "grub2-", text))


def _move(root: Path, owners: dict[str, str], old: str, new: str) -> None:
    (root / old).rename(root / new)
    owners[new] = owners.pop(old)


def _lay_stand_ins(root: Path, owners: dict[str, str], packages: dict[str, _Package]) -> None:
    """tests/guests/rpm/PACKAGE/PATH: new packages, and files of Debian's that are replaced."""
    for directory in STAND_INS.iterdir():
        packages.setdefault(directory.name, _Package("1-1"))
        for path in directory.rglob("*"):
            name = str(path.relative_to(directory))
            if path.is_dir():
                (root / name).mkdir(parents=True, exist_ok=True)
                continue
            (root / name).unlink(missing_ok=True)
            shutil.copy2(path, root / name, follow_symlinks=False)
            os.chown(root / name, 0, 0, follow_symlinks=False)
            owners[name] = directory.name


def _spec(root: Path, owners: dict[str, str], packages: dict[str, _Package]) -> str:
    """The spec of all that is in the tree."""
    directories = []
    for name, is_directory in _walk(root):
        if is_directory:
            directories.append(name)
            continue
        owner = owners.get(name) or owners.get(_source_of_bytecode(name), "")
        package = packages.get(owner) or packages["setup"]
        if owner and owner not in packages:
            (root / name).unlink()
            continue
        package.files.append(name)
        if package is packages["setup"] and name.startswith("etc/"):
            package.configs.add(name)
    text = _SPEC
    for name, package in sorted(packages.items()):
        text += _subpackage(name, package, directories if name == "filesystem" else [])
    return text


def _walk(root: Path) -> Iterator[tuple[str, bool]]:
    """Every path below the root, and whether it is a directory (links are none)."""
    for directory, below, files in os.walk(root):
        links = [name for name in below if Path(directory, name).is_symlink()]
        for name in [*files, *links]:
            mode = os.lstat(os.path.join(directory, name)).st_mode
            if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
                yield os.path.relpath(os.path.join(directory, name), root), False
        for name in below:
            if name not in links:
                yield os.path.relpath(os.path.join(directory, name), root), True


def _source_of_bytecode(name: str) -> str:
    return re.sub(r"__pycache__/([^/]+)\.cpython-\d+(?:\.opt-\d)?\.pyc$", r"\1.py", name)


def _subpackage(name: str, package: _Package, directories: list[str]) -> str:
    version, _, revision = package.version.split(":")[-1].rpartition("-")
    version, revision = (version, revision) if version else (revision, "1")
    text = [
        f"%package -n {name}",
        f"Version: {_word(version)}",
        f"Release: {_word(revision)}.el9",
        f"Summary: {name} (pvprep tests)",
        "AutoReqProv: no",
        *_relations(name),
        f"%description -n {name}",
        "Stand-in of pvprep's tests, made of a Debian package.",
        f"%files -n {name}",
        "%defattr(-,-,-)",
        *(f"{_MOUNTED.get(path, '')}%dir {_quoted(path)}" for path in directories),
    ]
    for file in package.files:
        config = "%config(noreplace) " if file in package.configs else ""
        text.append(f"{config}{_quoted(file)}")
    return "\n".join([*text, "", ""])


def _relations(name: str) -> list[str]:
    first = [] if name == "filesystem" else ["Requires(pre): filesystem"]
    if name == "dash":
        return [*first, "Provides: /bin/sh"]
    if name == "almalinux-release":
        return [*first, "Provides: system-release = 9.4", "Provides: redhat-release = 9.4"]
    return first


def _word(version: str) -> str:
    """A version as rpm takes it: no hyphen."""
    return re.sub(r"[^\w.+~^]", ".", version)


def _quoted(name: str) -> str:
    return f'"/{name}"'
