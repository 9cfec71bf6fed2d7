"""How pygrub reads the configuration of extlinux and isolinux.

It knows KERNEL and APPEND (with initrd= in it), and Xen's mboot.c32; LINUX and INITRD it does not
know. Source: Xen 4.17 tools/pygrub/src/ExtLinuxConf.py; the tests hold this module against it.
"""

from __future__ import annotations

import re
from typing import Optional

from pvprep.pygrub_config import Draft, Menu, Parser, Unreadable, first_word, kernel_and_args

# Longer lines have no use, and what pygrub does with them takes quadratic time.
APPEND_MAX = 64 * 1024


class ExtLinux(Parser):
    """extlinux.conf or isolinux.cfg: an entry goes from its label to the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.label: Optional[str] = None
        self.has_kernel = False

    def feed(self, number: int, line: str) -> None:
        name, value = first_word(line)
        name = name.lower()
        if line.lower().startswith("label"):
            self.close()
            self.draft = Draft("", number)
            self.has_kernel = False
        if self.draft is not None:
            self.entry_line(self.draft, name, value)
        elif name == "default":
            self.label = value.strip()
        elif name == "timeout":
            self.set_timeout(number, value.strip())

    def finish(self) -> Menu:
        self.close()
        titles = [entry.title for entry in self.entries]
        self.default = titles.index(self.label) if self.label in titles else 0
        return super().finish()

    def entry_line(self, draft: Draft, name: str, value: str) -> None:
        if name == "append" and self.has_kernel:
            if draft.kernel.endswith("mboot.c32"):
                _multiboot(draft, value)
                return
            value = _append_initrd(draft, value)
        value = re.sub('^"(.+)"$', r"\1", value.strip())
        if name == "label":
            draft.title = value
        elif name == "kernel":
            draft.kernel, draft.args = kernel_and_args(value)
            self.has_kernel = True
        elif name == "append":
            draft.args = value


def _multiboot(draft: Draft, value: str) -> None:
    """Xen's own way to boot: `xen.gz --- kernel args --- initrd`, or without xen.gz."""
    modules = value.split("---")
    if len(modules) not in (2, 3):
        return
    kernel, initrd = modules[-2:]
    if kernel:
        draft.kernel, draft.args = kernel_and_args(kernel.strip())
    if initrd:
        draft.initrd = initrd.strip()


def _append_initrd(draft: Draft, value: str) -> str:
    """Take each initrd= out of the arguments; the last one counts."""
    if "initrd=" not in value:
        return value
    if len(value) > APPEND_MAX:
        raise Unreadable("the arguments are too long to say what pygrub makes of them")
    for word in value.strip().split(" "):
        if word.lower().startswith("initrd="):
            draft.initrd = word.replace("initrd=", "")
            value = value.replace(word, "")
    return value
