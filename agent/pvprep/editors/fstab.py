"""fstab(5): the device of a line and devices in its options get their new names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from . import fields
from .edited import Edited, Translate
from .fields import entries as entries


def rename_devices(text: str, translate: Translate) -> Edited:
    """Rename field 1 (fs_spec), and devices in field 4 (fs_mntops)."""

    def change(number: int, field: str) -> str:
        if number == 1:
            return fields.device(field, translate)
        return fields.options(field, translate) if number == 4 else field

    return fields.edit(text, change)


def is_cd(entry: Sequence[str]) -> bool:
    """Whether a line, cut into fields, mounts a CD drive, which is no disk whatever it is called.

    By its file systems, or by its mount point where they are `auto`.
    """
    target, fstype = (*entry[1:3], "", "")[:2]
    types = set(fstype.split(","))
    return not types.isdisjoint(("iso9660", "udf")) or bool(
        "auto" in types and re.search(r"/(?:cd|dvd)[^/]*$", target)
    )
