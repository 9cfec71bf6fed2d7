"""The guest's own line to xenstore, over the kernel's device: no program of Xen's is needed for it.

Sources: Xen's docs/misc/xenstore.txt and xen/include/public/io/xs_wire.h, Linux'
drivers/xen/xenbus/xenbus_dev_frontend.c. Paths that do not begin with `/` are below the domain's
own directory, /local/domain/N.
"""

from __future__ import annotations

import errno
import os
import select
import struct
import time
from types import TracebackType
from typing import Optional

from .errors import Exit, PvprepError
from .guest import Guest

# Where the kernel has it, and where those before 2.6.39 had it.
DEVICES = ("/dev/xen/xenbus", "/proc/xen/xenbus")
WAIT = 5.0  # seconds for an answer; xenstored takes milliseconds
PAYLOAD_MAX = 4096  # XENSTORE_PAYLOAD_MAX

# struct xsd_sockmsg: type, req_id, tx_id, len; and some of enum xsd_sockmsg_type.
_HEADER = struct.Struct("=IIII")
_DIRECTORY, _READ, _WRITE, _RM, _ERROR = 1, 2, 11, 13, 16


class Refused(PvprepError):
    """xenstore's own answer to a request; name: of the errno, `EACCES` or `ENOSPC` for example."""

    def __init__(self, path: str, name: str) -> None:
        super().__init__(
            f"xenstore refuses {path}: {name}",
            "see in dom0: xenstore-ls -fp /local/domain/N, and the quotas of xenstored",
            Exit.NOT_READY,
        )
        self.name = name


def connect(guest: Guest) -> Optional[Xenbus]:
    """The line of a running guest, None where its kernel offers none."""
    for path in DEVICES:
        try:
            flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
            return Xenbus(os.open(guest.host(path), flags))
        except OSError:
            continue
    return None


class Xenbus:
    """One open line (`with connect(guest) as line`): one request at a time, no transactions."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._number = 0

    def __enter__(self) -> Xenbus:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """The end of it; `with` does it as well."""
        os.close(self._fd)

    def read(self, path: str) -> Optional[str]:
        """A node's value; None where there is no such node or the guest may not read it."""
        answer = self._look(_READ, path)
        return None if answer is None else answer.decode("utf-8", "surrogateescape")

    def names(self, path: str) -> list[str]:
        """Names of the nodes below a node, none where there is none that the guest may see."""
        answer = self._look(_DIRECTORY, path) or b""
        return [name.decode("utf-8", "surrogateescape") for name in answer.split(b"\0") if name]

    def write(self, path: str, value: str) -> None:
        """Give a node a value; it and the nodes above it are made where they are missing."""
        self._ask(_WRITE, path, value.encode("utf-8", "surrogateescape"))

    def remove(self, path: str) -> None:
        """Remove a node with all below it, if it is there."""
        try:
            self._ask(_RM, path)
        except Refused as refused:
            if refused.name != "ENOENT":
                raise

    def _look(self, kind: int, path: str) -> Optional[bytes]:
        try:
            return self._ask(kind, path)
        except Refused as refused:
            if refused.name in ("ENOENT", "EACCES"):
                return None
            raise

    def _ask(self, kind: int, path: str, value: bytes = b"") -> bytes:
        payload = path.encode("utf-8", "surrogateescape") + b"\0" + value
        if len(payload) > PAYLOAD_MAX:
            raise Refused(path, "E2BIG")
        self._number += 1
        end = time.monotonic() + WAIT
        self._send(_HEADER.pack(kind, self._number, 0, len(payload)) + payload, end)
        while True:
            answer, number, _, length = _HEADER.unpack(self._receive(_HEADER.size, end))
            if length > PAYLOAD_MAX:
                raise _broken("an answer that is too long")
            body = self._receive(length, end)
            if number == self._number:  # events of watches have 0
                break
        if answer == _ERROR:
            raise Refused(path, body.rstrip(b"\0").decode("ascii", "replace"))
        return body

    def _send(self, message: bytes, end: float) -> None:
        while message:
            try:
                message = message[os.write(self._fd, message) :]
            except OSError as error:
                self._wait(error, select.POLLOUT, end)

    def _receive(self, count: int, end: float) -> bytes:
        got = b""
        while len(got) < count:
            try:
                piece = os.read(self._fd, count - len(got))
            except OSError as error:
                self._wait(error, select.POLLIN, end)
                continue
            if not piece:
                raise _broken("the end of it")
            got += piece
        return got

    def _wait(self, error: OSError, event: int, end: float) -> None:
        """Until the device is ready again, if that is all that was wrong."""
        if error.errno != errno.EAGAIN:
            raise _broken(error.strerror or str(error)) from None
        poll = select.poll()
        poll.register(self._fd, event)
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            raise _broken(f"nothing for {WAIT:.0f} s")


def _broken(what: str) -> PvprepError:
    hint = "look in dom0 whether xenstored runs"
    return PvprepError(f"xenstore's answer is {what}", hint, Exit.NOT_READY)
