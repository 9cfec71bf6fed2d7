"""Open a LUKS container by the library that cryptsetup(8) is made of.

The program itself cannot be asked for what is needed here: CRYPT_ACTIVATE_PRIVATE, with which the
library tells udev to leave a mapping alone. Otherwise LVM's rules would start the volume group that
may lie in it, and MD's the array. Sources: libcryptsetup.h and lib/libdevmapper.c of cryptsetup
(CRYPT_TEMP_UDEV_FLAGS), libdevmapper.h (DM_UDEV_DISABLE_OTHER_RULES_FLAG), 69-dm-lvm.rules,
64-md-raid-assembly.rules.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Optional

from .host import package_of, refusal

_LIBRARY = "libcryptsetup.so.12"  # since cryptsetup 2.0
_READ_ONLY, _PRIVATE = 1 << 0, 1 << 4
_ANY_SLOT = -1
_LOG_ERROR = 1
_Log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


def activate(device: str, mapping: str, name: str, key: bytes, read_only: bool) -> None:
    """Make a mapping of the container's inside. name: of the container, for people.

    PvprepError where the key is wrong or the library cannot open it.
    """
    try:
        library = ctypes.CDLL(_LIBRARY, use_errno=False)
    except OSError:
        raise refusal(
            f"{name} is encrypted, and {_LIBRARY} is not installed",
            f"install {package_of('cryptsetup')} on this host",
        ) from None
    said: list[str] = []

    def log(level: int, text: Optional[bytes], _data: object) -> None:
        if level == _LOG_ERROR and text:
            said.append(text.decode("utf-8", "replace").strip())

    container, listener = ctypes.c_void_p(), _Log(log)
    try:
        status = library.crypt_init(ctypes.byref(container), os.fsencode(device))
        if status >= 0:
            library.crypt_set_log_callback(container, listener, None)
            status = library.crypt_load(container, None, None)
        if status >= 0:
            flags = _PRIVATE | (_READ_ONLY if read_only else 0)
            status = library.crypt_activate_by_passphrase(
                container, os.fsencode(mapping), _ANY_SLOT, key, ctypes.c_size_t(len(key)), flags
            )
    finally:
        library.crypt_free(container)
    if status < 0:
        wrong = status in (-errno.EPERM, -errno.ENOENT)
        why = "no key slot opens with this key" if wrong else os.strerror(-status)
        raise refusal(
            f"{name} cannot be unlocked: {'; '.join([*said, why])}",
            "the key file must hold the passphrase, to the byte (no newline), or the key"
            if wrong
            else "see the end of `dmesg`, and what `cryptsetup open` says; or --attach guestfs",
        )
