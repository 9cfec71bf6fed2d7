"""What dom0 itself sees of a PV domain that comes up: for a guest that cannot report.

Only pvprep inside the guest makes the report; a guest that was converted from outside has none.
"""

from __future__ import annotations

import re
from typing import Optional

from . import xenstore
from .run import Host

# A getty's prompt has the host's name before it, on a line that the kernel may print behind.
_LOGIN = re.compile(rb"(?:^|[\r\n])\S{1,100} login:")


class Watch:
    """One boot after another of the domain.

    devices: "vbd 51712", "vif 0": whether it is connected. login: whether the console has shown a
    prompt. since: when all of that was there for the first time, and has been ever since.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.devices: dict[str, bool] = {}
        self.login = False
        self.since: Optional[float] = None
        self._domid = -1
        self._prompts = 0
        self._before = 0  # prompts, of the boots before this one

    def look(self, domid: int, console: bytes) -> None:
        """console: all that has been printed since the first of these boots."""
        if domid != self._domid:
            self._domid, self._before = domid, self._prompts
        self._prompts = len(_LOGIN.findall(console))
        self.login = self._prompts > self._before
        self.devices = xenstore.frontends(self.host, domid)
        if not self.up:
            self.since = None
        elif self.since is None:
            self.since = self.host.now()

    @property
    def up(self) -> bool:
        """A login, at least one disk, and all disks and interfaces."""
        disk = any(name.startswith("vbd") for name in self.devices)
        return self.login and disk and all(self.devices.values())

    @property
    def lacks(self) -> str:
        """What speaks against it, for people."""
        missing = [] if self.login else ["no login prompt is on its console"]
        missing += [f"{name} is not connected" for name, ok in self.devices.items() if not ok]
        return ", ".join(missing) or "it has no disk"
