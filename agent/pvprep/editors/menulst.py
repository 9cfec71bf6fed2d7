"""menu.lst (grub.conf) of GRUB legacy, with the magic comments of Debian's update-grub.

Between the AUTOMAGIC marks, a line with one # sets an option of update-grub (`# kopt=`), and a
line with two is a comment about it. Source: GRUB legacy's manual, Debian's update-grub(8).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import kernelargs
from .edited import Edited, Translate, lines
from .linewise import Change, cut, insert, rewrite

_COMMAND = re.compile(r"[ \t]*([^ \t=#]+)(?:[ \t]*=[ \t]*|[ \t]+|[ \t]*\Z)(.*)", re.DOTALL)
_KERNEL = re.compile(
    r"([ \t]*kernel(?:[ \t]*=[ \t]*|[ \t]+)(?:--[^ \t]+[ \t]+)*((?!--)[^ \t]+))([ \t]*)(.*)",
    re.DOTALL,
)
_DEFAULT = re.compile(r"([ \t]*default(?:[ \t]*=[ \t]*|[ \t]+))([^ \t]+)(.*)", re.DOTALL)
_MAGIC = re.compile(r"(# (kopt[^= \t]*|defoptions)=)(.*)", re.DOTALL)
_MODULES = ("module", "modulenounzip")
_BEGIN = "### BEGIN AUTOMAGIC KERNELS LIST"
_END = "### END DEBIAN AUTOMAGIC KERNELS LIST"


@dataclass(frozen=True)
class Stanza:
    """A boot entry: its title, the line of it (from 1), and (line, command, arguments)."""

    title: str
    line: int
    commands: tuple[tuple[int, str, str], ...]

    @property
    def multiboot(self) -> bool:
        """Does it start a hypervisor, which then starts the kernel in a `module` line?"""
        return any(command in _MODULES for _, command, _ in self.commands)


def stanzas(text: str) -> tuple[Stanza, ...]:
    """The boot entries, in order: GRUB counts them from 0."""
    found: list[tuple[str, int, list[tuple[int, str, str]]]] = []
    for number, line in enumerate(lines(text), 1):
        match = _COMMAND.fullmatch(cut(line)[0])
        if match and match[1] == "title":
            found.append((match[2].strip(), number, []))
        elif match and found:
            found[-1][2].append((number, match[1], match[2].strip()))
    return tuple(Stanza(title, line, tuple(commands)) for title, line, commands in found)


def kernels(text: str) -> tuple[tuple[int, str, str], ...]:
    """Each stanza that starts a kernel by itself: its number, from 0, the kernel, its arguments."""
    found = []
    for number, stanza in enumerate(stanzas(text)):
        values = [value for _, command, value in stanza.commands if command == "kernel"]
        match = _KERNEL.fullmatch(f"kernel {values[0]}") if values else None
        if match and not stanza.multiboot:
            found.append((number, match[2], match[4]))
    return tuple(found)


def device(text: str) -> str:
    """What the first `root` command names, such as (hd0,0); "" where there is none."""
    named = (value for stanza in stanzas(text) for _, command, value in stanza.commands
             if command == "root")  # fmt: skip
    return next(named, "")


def edit(
    text: str,
    *,
    translate: Translate,
    remove: Callable[[str], bool] = lambda _token: False,
    last: Sequence[str] = (),
    only: Callable[[str], bool] = lambda _kernel: True,
) -> Edited:
    """Edit the arguments of kernel lines and of update-grub's options, as kernelargs.edit does.

    only: which kernels' lines. Stanzas that start a hypervisor are left: their kernel line is
    the hypervisor's.
    """
    left = {
        number
        for stanza in stanzas(text)
        if stanza.multiboot
        for number, _, _ in stanza.commands
    }
    number, magic = 0, False

    def args(old: str, wanted: Sequence[str]) -> tuple[str, list[tuple[str, str]]]:
        return kernelargs.edit(old, translate=translate, remove=remove, last=wanted)

    def change(body: str) -> Change:
        nonlocal number, magic
        number += 1
        magic = (magic or body.rstrip() == _BEGIN) and body.rstrip() != _END
        option = _MAGIC.fullmatch(body) if magic else None
        if option:
            new, pairs = args(option[3], _wanted(option[2], option[3], last))
            return option[1] + new, pairs
        kernel = _KERNEL.fullmatch(body)
        if not kernel or number in left or not only(kernel[2]):
            return body, ()
        new, pairs = args(kernel[4], last)
        return kernel[1] + (kernel[3] or (" " if new else "")) + new, pairs

    return rewrite(text, change)


def _wanted(option: str, value: str, last: Sequence[str]) -> Sequence[str]:
    """What to append to an option of update-grub.

    It writes kopt and, behind it, defoptions: the latter needs a console only to stay the last.
    """
    if option != "defoptions":
        return last
    consoles = [token for token in last if token.startswith("console=")]
    named = any(token.startswith("console=") for token in kernelargs.tokens(value))
    return consoles[-1:] if named else ()


def without_hypervisor(text: str, only: Callable[[str], bool]) -> Edited:
    """Make stanzas that start a hypervisor, which starts the kernel, start the kernel themselves.

    only: of which kernels. Red Hat's kernel-xen writes such stanzas: `kernel /xen.gz`, and the
    kernel and the initrd as modules.
    """
    gone: set[int] = set()
    names: dict[int, str] = {}
    for stanza in stanzas(text):
        modules = [(number, value) for number, command, value in stanza.commands
                   if command in _MODULES]  # fmt: skip
        if 1 <= len(modules) <= 2 and only((modules[0][1].split() or [""])[0]):
            gone.update(number for number, command, _ in stanza.commands if command == "kernel")
            names.update(zip((number for number, _ in modules), ("kernel", "initrd")))
    number = 0

    def change(body: str) -> Change:
        nonlocal number
        number += 1
        if number in gone:
            return None, [(body.strip(), "")]
        if number not in names:
            return body, ()
        old = "modulenounzip" if "modulenounzip" in body else "module"
        return body.replace(old, names[number], 1), [(old, names[number])]

    return rewrite(text, change)


def name_initrd(text: str, index: int, initrd: str) -> Edited:
    """Have stanza `index` load this initrd, a file's name, from where it loads one, or its kernel.

    A stanza that somebody wrote by hand may name one that he built by hand.
    """
    commands = stanzas(text)[index].commands
    named = next((found for found in commands if found[1] == "initrd"), None)
    number, _, value = named or next(found for found in commands if found[1] == "kernel")
    path = next(word for word in value.split() if not word.startswith("--"))
    new = path[: path.rfind("/") + 1] + initrd
    if named is None:
        body = cut(lines(text)[number - 1])[0]
        return insert(text, number, [body[: len(body) - len(body.lstrip())] + f"initrd {new}"])
    if new == path:
        return Edited(text)
    at = 0

    def change(body: str) -> Change:
        nonlocal at
        at += 1
        return (body.replace(path, new, 1), [(path, new)]) if at == number else (body, ())

    return rewrite(text, change)


def insert_stanza(text: str, body: str) -> Edited:
    """Put a stanza, lines of text, before all others."""
    at = next((stanza.line - 1 for stanza in stanzas(text)), len(lines(text)))
    return insert(text, at, [cut(line)[0] for line in lines(body)])


def set_default(text: str, index: int) -> Edited:
    """Make stanza `index`, from 0, the default."""
    in_stanza = found = False

    def change(body: str) -> Change:
        nonlocal in_stanza, found
        command = _COMMAND.fullmatch(body)
        in_stanza = in_stanza or bool(command and command[1] == "title")
        match = _DEFAULT.fullmatch(body)
        if not match or in_stanza:
            return body, ()
        found = True
        if match[2] == str(index):
            return body, ()
        return match[1] + str(index) + match[3], [(match[2], str(index))]

    edited = rewrite(text, change)
    return edited if found or index == 0 else insert(text, 0, [f"default {index}"])
