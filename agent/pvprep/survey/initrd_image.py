"""What an initrd holds, found by stepping through every archive in it, as the kernel does.

Sources: Linux Documentation/driver-api/early-userspace/buffer-format.rst; the init script and
`load_modules` of initramfs-tools; getarg and parse-kernel.sh of dracut; the init script that Red
Hat's mkinitrd writes for nash; save_var of SUSE's mkinitrd.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..facts import InitrdProof
from .archives import Walk
from .isolate import Prover
from .streams import PayloadError, Stream, open_file

FILE_MAX = 64 << 10  # bytes of a file that is kept
FILES_MAX = 1 << 20  # bytes of all of them
_MODULES = 50_000

# Configuration that decides what happens before the root file system is there.
_WANTED = re.compile(
    r"init|linuxrc|run_all\.sh|config/[^/]+\.sh|conf/(?:modules|[^/]+\.conf|conf\.d/[^/]+)|scripts/(?:local-top|init-top)/[^/]+"
    r"|etc/(?:modprobe\.d|udev/rules\.d|systemd/network|cmdline\.d|conf\.d|modules-load\.d)/[^/]+"
    r"|etc/(?:cmdline|fstab|crypttab|modprobe\.conf|lvm/lvm\.conf|mdadm\.conf|mdadm/mdadm\.conf)|cryptroot/crypttab"
    r"|(?:usr/)?lib/(?:udev/rules\.d/(?:[^/]*pvprep[^/]*|70-persistent-net\.rules)"
    r"|dracut/hooks/initqueue/finished/devexists-[^/]+|systemd/network/[^/]+\.link"
    r"|modules-load\.d/[^/]+)"
)
_MODULE = re.compile(r"(?:.*/)?([^/]{1,255})\.ko(?:\.gz|\.xz|\.zst)?")
_VERSION = re.compile(r"(?:usr/)?lib/modules/([^/]{1,255})(?:/|$)")
# A module that an init script loads by its name, or by its file.
_LOADS = re.compile(r"^[ \t]*(?:insmod|modprobe)[ \t]+(?:-\S+[ \t]+)*(?:\S*/)?([\w-]+)", re.M)
_RESUMES = re.compile(r"^[ \t]*resume[ \t]+(\S+)", re.M)
_SUSE_MODULES = re.compile(r"\bRESOLVED_INITRD_MODULES=(.*)$", re.M)
_SUSE_RESUME = re.compile(r"\bresumedev=(.*)$", re.M)
_RESUME = re.compile(r"^[ \t]*(?:export[ \t]+)?RESUME=(.*)$", re.M)


@dataclass
class _Contents:
    """What was found so far."""

    modules: set[str] = field(default_factory=set)
    versions: dict[str, set[str]] = field(default_factory=dict)  # and the modules of each
    files: dict[str, bytes] = field(default_factory=dict)
    # Names of wanted files whose content comes with a later hard link.
    waiting: dict[tuple[int, int, int], list[str]] = field(default_factory=dict)
    initramfs_tools: bool = False
    dracut: bool = False


def _read(path: str) -> InitrdProof:
    try:
        whole = open_file(path)
    except PayloadError as error:
        return InitrdProof(problem=str(error))
    contents, walk = _Contents(), Walk(whole)
    try:
        _take(walk, contents)
        problem = ""
    except (PayloadError, OSError) as error:
        problem = str(error)
    finally:
        os.close(whole.fd)
    return _proof(contents, tuple(walk.compression), problem)


# To be called with the path of an initrd; the work is done in a child process. With a problem,
# the proof says what was found up to there.
prove_initrd: Prover[InitrdProof] = Prover(_read, lambda words: InitrdProof(problem=words))


def _take(walk: Walk, contents: _Contents) -> None:
    for member, stream in walk:
        if len(contents.modules) > _MODULES:
            raise PayloadError(f"more than {_MODULES} modules")
        name = member.name
        regular = stat.S_ISREG(member.mode)
        # Of hard links, only the last has the content.
        _note(name, regular and (member.size > 0 or member.links > 1), contents)
        if regular and member.inode in contents.waiting and member.size:
            names = contents.waiting.pop(member.inode)
            _keep([*names, name], stream, member.size, contents)
        elif _WANTED.fullmatch(name):
            contents.files.pop(name, None)
            if regular and member.links > 1 and not member.size:
                contents.waiting.setdefault(member.inode, []).append(name)
            elif regular:
                _keep([name], stream, member.size, contents)


def _note(name: str, has_content: bool, contents: _Contents) -> None:
    """See what the name alone tells."""
    version = _VERSION.match(name)
    of_version = contents.versions.setdefault(version[1], set()) if version else set()
    if has_content and ".ko" in name:
        module = _MODULE.fullmatch(name)
        if module:
            contents.modules.add(module[1].replace("-", "_"))
            of_version.add(module[1].replace("-", "_"))
    elif name in ("scripts/functions", "conf/initramfs.conf"):
        contents.initramfs_tools = True
    elif name.startswith("usr/lib/dracut/") or name.endswith("lib/dracut-lib.sh"):
        contents.dracut = True


def _keep(names: Iterable[str], stream: Stream, size: int, contents: _Contents) -> None:
    total = sum(map(len, contents.files.values()))
    wanted = [name for name in names if _WANTED.fullmatch(name)]
    if size <= FILE_MAX and total + size * len(wanted) <= FILES_MAX:
        content = stream.take(size)
        contents.files.update(dict.fromkeys(wanted, content))


def _proof(contents: _Contents, compression: tuple[str, ...], problem: str) -> InitrdProof:
    kind, preload, resume = "", _preload(contents.files), _resume(contents.files)
    if contents.initramfs_tools:
        kind = "initramfs-tools"
    elif contents.dracut:
        arguments = _dracut_arguments(contents.files)
        kind, preload = "dracut", _dracut_preload(arguments)
        resume = _dracut_resume(arguments)
    elif loads := _mkinitrd_loads(contents.files):
        kind, preload = "mkinitrd", loads
        resume = _mkinitrd_resume(contents.files)
    return InitrdProof(
        kind=kind,
        compression=compression,
        modules=frozenset(contents.modules),
        versions=tuple(contents.versions),
        by_version={one: frozenset(names) for one, names in contents.versions.items()},
        preload=preload,
        resume=resume,
        files=contents.files,
        problem=problem,
    )


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _preload(files: dict[str, bytes]) -> tuple[str, ...]:
    """The modules in conf/modules: a line each, the name before its options."""
    lines = (line.split() for line in _text(files.get("conf/modules", b"")).split("\n"))
    return tuple(
        words[0].replace("-", "_") for words in lines if words and not words[0].startswith("#")
    )


def _resume(files: dict[str, bytes]) -> str:
    """The last RESUME= that the init script would read: it sources these files in this order."""
    found = ""
    extra = sorted(path for path in files if path.startswith("conf/conf.d/"))
    for path in ("conf/initramfs.conf", *extra):
        for match in _RESUME.finditer(_text(files.get(path, b""))):
            found = _value(match[1])
    return found


def _value(assigned: str) -> str:
    """A shell word without its quotes and what follows it."""
    assigned = assigned.strip()
    if assigned[:1] in ("'", '"'):
        return assigned[1:].split(assigned[0], 1)[0]
    return (assigned.split() or [""])[0]


def _dracut_arguments(files: dict[str, bytes]) -> list[str]:
    """The kernel arguments that dracut finds in the image, in its order."""
    extra = sorted(
        path for path in files if path.startswith("etc/cmdline.d/") and path.endswith(".conf")
    )
    return [
        word.strip("\"'")
        for path in ("etc/cmdline", *extra)
        for word in _text(files.get(path, b"")).split()
    ]


def _dracut_preload(arguments: list[str]) -> tuple[str, ...]:
    prefix = "rd.driver.pre="
    return tuple(
        module.replace("-", "_")
        for argument in arguments
        if argument.startswith(prefix)
        for module in argument[len(prefix) :].split(",")
        if module
    )


def _dracut_resume(arguments: list[str]) -> str:
    found = [argument[7:] for argument in arguments if argument.startswith("resume=")]
    return found[-1] if found else ""


def _mkinitrd_loads(files: dict[str, bytes]) -> tuple[str, ...]:
    """The modules that the init script loads one by one, or that SUSE's is configured to load."""
    scripts = (_text(files.get(path, b"")) for path in ("init", "linuxrc"))
    names = [name for script in scripts for name in _LOADS.findall(script)]
    for text in _suse_settings(files):
        names += [name for found in _SUSE_MODULES.findall(text) for name in _value(found).split()]
    return tuple(name.replace("-", "_") for name in names)


def _mkinitrd_resume(files: dict[str, bytes]) -> str:
    found = _RESUMES.findall(_text(files.get("init", b"")))
    for text in _suse_settings(files):
        found += [_value(value) for value in _SUSE_RESUME.findall(text)]
    return found[-1] if found else ""


def _suse_settings(files: dict[str, bytes]) -> list[str]:
    return [_text(files[path]) for path in sorted(files) if path.startswith("config/")]
