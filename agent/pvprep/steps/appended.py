"""What an initrd has to be extended by where it is not built anew: decided from its own files.

The kernel unpacks the archives of an initrd one after the other, and a later file replaces an
earlier one. So the configuration that a builder would have copied is put behind the old image with
its new content, by the rules of the builder that made the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ..changes import Additions, Move, Remove
from ..context import Context
from ..draft import Draft, encode
from ..editors import crypttab, fstab, kernelargs, modules, nash, shellvars, tokens
from ..facts import InitrdProof
from .fallback import HOOK_FILES, carrier

FORCED = "etc/cmdline.d/20-force_drivers.conf"  # as dracut itself calls it
LINKS = "/etc/systemd/network/"
LVM = "/etc/lvm/lvm.conf"  # too large to be seen among the files of an image
# What can mount a file system; any other by the driver of its own name.
_DRIVERS = {"ext2": ("ext2", "ext4"), "ext3": ("ext3", "ext4")}
_KINDS = {"mkinitrd-suse": "mkinitrd"}  # what survey calls the images of builders
_LINK_DIRECTORY = re.compile(r"((?:usr/)?lib/systemd/network/)[^/]+\.link")
_MODPROBE = re.compile(r"etc/modprobe\.d/")
_SUSE_LIST = re.compile(r"(\bRESOLVED_INITRD_MODULES=)(['\"]?)([^'\"\n]*)(['\"]?)")
# From here on lib/decompress_unlz4.c of Linux takes zeros behind an lz4 stream for its end; before
# it nothing can follow one.
_LZ4_ENDS = (5, 12)


def refusal(context: Context, proof: InitrdProof) -> str:
    """Why nothing can be appended to this initrd; "" if it can."""
    tool = context.facts.initrd_tool
    assert context.target is not None
    if proof.problem:
        return f"it could not be read: {proof.problem}"
    if proof.kind != _KINDS.get(tool, tool):
        return f"it was not made by {tool}, the builder of this system"
    number = re.match(r"(\d+)\.(\d+)", context.target.version)
    version = (int(number[1]), int(number[2])) if number else (0, 0)
    if proof.compression[-1] == "lz4" and version < _LZ4_ENDS:
        return f"kernel {context.target.version} may find nothing behind an lz4 archive"
    if tool == "mkinitrd":
        text = _text(proof.files, "init")
        if "nash" not in text.split("\n", 1)[0] or nash.load_first(text, ()) is None:
            return "its init is not a script of nash as mkinitrd writes it"
    if tool == "mkinitrd-suse" and not _suse_scripts(proof.files):
        return "no script in it has RESOLVED_INITRD_MODULES"
    return ""


def drivers(context: Context, *targets: str) -> list[tuple[str, ...]]:
    """For each file system mounted there, the modules that can; any of them will do."""
    mounts = (context.facts.mount(target) for target in targets)
    names = dict.fromkeys(mount.fstype for mount in mounts if mount)
    return [_DRIVERS.get(name, (name.replace("-", "_"),)) for name in names]


def lacking(context: Context, proof: InitrdProof, *targets: str) -> list[tuple[str, ...]]:
    """Of these drivers, those that an initrd lacks and that the kernel has as modules."""
    target = context.target
    assert target is not None
    found = proof.loadable(target.version) | target.builtin
    return [
        tuple(name for name in names if name in target.modules)
        for names in drivers(context, *targets)
        if found.isdisjoint(names) and not target.modules.isdisjoint(names)
    ]


def additions(
    context: Context, draft: Draft, proof: InitrdProof, inputs: Sequence[str], first: bool
) -> Additions:
    """Modules and files that the initrd lacks; empty where there are none.

    inputs: files of the guest that builders copy and that the plan changes. first: whether the
    builder would have the frontends loaded before anything else.
    """
    target = context.target
    assert target is not None
    wanted = [one for one in context.frontends if one.replace("-", "_") not in target.builtin]
    inside = proof.loadable(target.version)
    missing = [one for one in wanted if one.replace("-", "_") not in inside]
    if wanted and proof.versions and target.version not in proof.versions:
        missing = list(wanted)
    missing += [names[0] for names in lacking(context, proof, "/")]
    kind = context.facts.initrd_tool
    new: dict[str, bytes] = {}
    if kind == "initramfs-tools":
        new.update(_initramfs_tools(context, proof.files, wanted))
    elif kind == "dracut":
        new.update(_dracut(context, proof.files, wanted if first else ()))
    elif kind == "mkinitrd":
        new.update(_nash(context, proof.files, wanted))
    else:
        new.update(_suse(context, proof.files, wanted))
    new.update(_copied(context, draft, proof.files, inputs))
    files = {path: text for path, text in new.items() if proof.files.get(path) != text}
    return Additions(tuple(missing), tuple(sorted(files.items())), flat=kind == "mkinitrd")


def _initramfs_tools(
    context: Context, old: Mapping[str, bytes], wanted: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """conf/modules, which load_modules of its scripts/functions goes through; RESUME= and ROOT=."""
    if wanted:
        listed = modules.put_first(_text(old, "conf/modules"), context.frontends)
        yield "conf/modules", encode(listed.text)
    for path in old:
        if path.startswith("conf/") and path != "conf/modules":
            text = _text(old, path)
            for key in ("RESUME", "ROOT"):
                text = shellvars.edit(text, key, lambda v: context.translate(v) or v).text
            yield path, encode(text)
    yield from _tables(context, old, "cryptroot/crypttab")


def _dracut(
    context: Context, old: Mapping[str, bytes], wanted: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """The arguments that dracut.sh writes for force_drivers, and those that name devices."""
    for path in old:
        if path == "etc/cmdline" or path.startswith("etc/cmdline.d/"):
            text, _ = kernelargs.edit(_text(old, path), translate=context.translate)
            yield path, encode(text)
        elif "/hooks/initqueue/finished/" in path:
            text = tokens.rename_devices(_text(old, path), context.translate).text
            yield path, encode(text)
    if wanted:
        arguments = [f"rd.driver.pre={name}" for name in wanted]
        plain = {argument.replace("-", "_") for argument in arguments}
        there = _text(old, FORCED).split()
        rest = [one for one in there if one.replace("-", "_") not in plain]
        if {one.replace("-", "_") for one in there[: len(arguments)]} != plain:
            yield FORCED, encode("".join(f"{one}\n" for one in (*arguments, *rest)))
    yield from _tables(context, old, "etc/crypttab")


def _nash(
    context: Context, old: Mapping[str, bytes], wanted: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    text = _text(old, "init")
    new = nash.rename_devices(nash.load_first(text, wanted) or text, context.translate)
    # Before Linux 2.6.19 a file that is there keeps its length where the new one is shorter.
    yield "init", encode(new).ljust(len(old["init"]), b"\n")


def _suse(
    context: Context, old: Mapping[str, bytes], wanted: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """The list that boot/*-start.sh has loaded; later versions have it in run_all.sh as well."""

    def listed(match: re.Match[str]) -> str:
        missing = [name for name in wanted if name not in match[3].split()]
        quote = match[2] or "'"
        return f"{match[1]}{quote}{' '.join([*missing, *match[3].split()])}{quote}"

    for path in old:
        if path == "run_all.sh" or path.startswith("config/"):
            text = _SUSE_LIST.sub(listed, _text(old, path)) if wanted else _text(old, path)
            new = encode(tokens.rename_devices(text, context.translate).text)
            yield path, new.ljust(len(old[path]), b"\n")


def _suse_scripts(old: Mapping[str, bytes]) -> list[str]:
    scripts = (path for path in old if path.startswith("config/"))
    return [path for path in scripts if _SUSE_LIST.search(_text(old, path))]


def _tables(
    context: Context, old: Mapping[str, bytes], crypt: str
) -> Iterator[tuple[str, bytes]]:
    editors = ((crypt, crypttab.rename_devices), ("etc/fstab", fstab.rename_devices))
    for path, editor in editors:
        if path in old:
            yield path, encode(editor(_text(old, path), context.translate).text)


def _copied(
    context: Context, draft: Draft, old: Mapping[str, bytes], inputs: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """Files of the guest as they will be. One that goes is emptied: then it says nothing."""
    gone = {one.path for one in draft.changes() if isinstance(one, (Move, Remove))}
    for path in inputs:
        there = None if path in gone else draft.file(path)
        for place in _places(context.facts.initrd_tool, path, old):
            if there or place in old:
                yield place, there.content if there else b""
    for path in HOOK_FILES if carrier(context) else ():
        there = draft.file(path)
        if there:
            yield path.lstrip("/"), there.content


def _places(tool: str, path: str, old: Mapping[str, bytes]) -> Iterator[str]:
    """Where a builder puts a file of the guest, by what it put there before."""
    same = path.lstrip("/")
    name = path.rsplit("/", 1)[1]
    if path.startswith(LINKS):
        # udev's hook of initramfs-tools puts them all in one directory; dracut keeps their places.
        found = {match[1] for match in map(_LINK_DIRECTORY.fullmatch, old) if match}
        if name.endswith(".link") and found:
            yield same if tool == "dracut" else f"{min(found)}{name}"
    elif same in ("etc/crypttab", "etc/fstab"):
        return  # what is in the image is made from them, and renamed above
    elif path.startswith("/etc/udev/rules.d/"):
        yield from (
            place for place in (same, f"lib/udev/rules.d/{name}", f"usr/lib/udev/rules.d/{name}")
            if place in old
        )
    elif same in old or path == LVM or (_MODPROBE.match(same) and any(map(_MODPROBE.match, old))):
        yield same


def _text(files: Mapping[str, bytes], path: str) -> str:
    return files.get(path, b"").decode("utf-8", "surrogateescape")
