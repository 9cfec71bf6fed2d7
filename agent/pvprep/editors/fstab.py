"""fstab(5): the device of a line and devices in its options get their new names."""

from __future__ import annotations

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
