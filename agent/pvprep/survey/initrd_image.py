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
from .isolate import Prover
from .streams import Part, PayloadError, PlainStream, Stream, open_file

FILE_MAX = 64 << 10  # bytes of a file that is kept
FILES_MAX = 1 << 20  # bytes of all of them
_SIZE_MAX = 2 << 30  # bytes of an image; boot loaders and 32-bit kernels take less
_ARCHIVES = 64
_MEMBERS = 500_000
_MODULES = 50_000

# Configuration that decides what happens before the root file system is there.
_WANTED = re.compile(
    r"init|linuxrc|config/[^/]+\.sh|conf/(?:modules|[^/]+\.conf|conf\.d/[^/]+)|scripts/(?:local-top|init-top)/[^/]+"
    r"|etc/(?:modprobe\.d|udev/rules\.d|systemd/network|cmdline\.d|conf\.d|modules-load\.d)/[^/]+"
    r"|etc/(?:cmdline|fstab|crypttab|mdadm\.conf|mdadm/mdadm\.conf)|cryptroot/crypttab"
    r"|(?:usr/)?lib/(?:udev/rules\.d/[^/]*pvprep[^/]*|systemd/network/[^/]+\.link"
    r"|modules-load\.d/[^/]+)"
)
_ROOT = re.compile(r"^(?:\.?/)+")
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

    compression: list[str] = field(default_factory=list)
    members: int = 0
    modules: set[str] = field(default_factory=set)
    versions: dict[str, None] = field(default_factory=dict)
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
    contents = _Contents()
    try:
        _archives(whole, contents)
        problem = ""
    except (PayloadError, OSError) as error:
        problem = str(error)
    finally:
        os.close(whole.fd)
    return _proof(contents, problem)


# To be called with the path of an initrd; the work is done in a child process. With a problem,
# the proof says what was found up to there.
prove_initrd: Prover[InitrdProof] = Prover(_read, lambda words: InitrdProof(problem=words))


def _archives(whole: Part, contents: _Contents) -> None:
    """Read archive after archive; zeros may lie between them."""
    if whole.end > _SIZE_MAX:
        raise PayloadError(f"it has {whole.end} bytes: no initrd is that large")
    offset = 0
    while True:
        gap = PlainStream(Part(whole.fd, offset, whole.end))
        if not gap.skip_zeros():
            break
        if len(contents.compression) >= _ARCHIVES:
            raise PayloadError(f"it has more than {_ARCHIVES} archives")
        offset = _archive(Part(whole.fd, offset + gap.position, whole.end), contents)
    if not contents.compression:
        raise PayloadError("it holds nothing but zeros")


def _archive(part: Part, contents: _Contents) -> int:
    """Read the archive or compressed stream of archives that begins there; where it ends."""
    from .cpio import MAGIC
    from .payload import open_stream, sniff

    head = os.pread(part.fd, 8, part.start)
    compression = "none" if head[:6] in MAGIC else sniff(head)
    if not compression:
        raise PayloadError(
            f"at byte {part.start} begins {head!r}: neither a cpio archive that the kernel unpacks "
            "nor a compression that it knows"
        )
    contents.compression.append(compression)
    stream = open_stream(part, compression)
    try:
        if compression == "none":
            _members(stream, contents)
            return part.start + stream.position
        while stream.skip_zeros():
            _members(stream, contents)
        return part.end
    except PayloadError as error:
        raise PayloadError(f"in the {compression} part at byte {part.start}: {error}") from None
    finally:
        stream.close()


def _members(stream: Stream, contents: _Contents) -> None:
    from .cpio import members

    for member in members(stream):
        contents.members += 1
        if contents.members > _MEMBERS or len(contents.modules) > _MODULES:
            raise PayloadError(f"more than {_MEMBERS} members or {_MODULES} modules")
        name = _ROOT.sub("", member.name)
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
    if version:
        contents.versions[version[1]] = None
    if has_content and ".ko" in name:
        module = _MODULE.fullmatch(name)
        if module:
            contents.modules.add(module[1].replace("-", "_"))
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


def _proof(contents: _Contents, problem: str) -> InitrdProof:
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
        compression=tuple(contents.compression),
        modules=frozenset(contents.modules),
        versions=tuple(contents.versions),
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
