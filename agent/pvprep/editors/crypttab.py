"""crypttab(5), Debian's and systemd's: source devices and keys that lie on a device."""

from __future__ import annotations

import re

from ..devicenames import as_path
from . import fields
from .edited import Edited, Translate
from .fields import entries as entries


def rename_devices(text: str, translate: Translate) -> Edited:
    """Rename field 2 (the device), field 3 (a key device, or DEVICE:FILE), devices in field 4."""

    def change(number: int, field: str) -> str:
        if number == 2:
            return fields.device(field, translate)
        if number == 3:
            return _key(field, translate)
        return fields.options(field, translate) if number == 4 else field

    return fields.edit(text, change)


def _key(field: str, translate: Translate) -> str:
    """Only a path is understood here: no UUID=. systemd writes FILE:DEVICE, Debian DEVICE:FILE."""
    whole = fields.device(field, translate)
    if whole != field:
        return as_path(whole)
    return re.sub(r"(?<![^:])/dev/[^:]+", lambda m: as_path(fields.device(m[0], translate)), field)
