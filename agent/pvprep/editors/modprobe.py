"""Aliases of modprobe.conf(5) and modules.conf(5): which driver a card or a disk controller is.

Files: /etc/conf.modules, modules.conf, modprobe.conf, modprobe.conf.local, modprobe.d/*. Only
`alias NAME MODULE` on a line of its own counts; options, install and include stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from .edited import Edited
from .linewise import Change, rewrite

_ALIAS = re.compile(r"([ \t]*alias[ \t]+(eth\d+|scsi_hostadapter\d*)[ \t]+)([\w-]+)([ \t]*)")


def point_aliases(text: str, gone: Collection[str], network: str, block: str) -> Edited:
    """Let ethN and scsi_hostadapterN that name one of the modules `gone` name a frontend.

    gone: with `_` for `-`, which modprobe takes for the same. network, block: the frontends.
    """

    def change(body: str) -> Change:
        found = _ALIAS.fullmatch(body)
        if not found or found[3].replace("-", "_") not in gone:
            return body, ()
        new = network if found[2].startswith("eth") else block
        return found[1] + new + found[4], [(found[3], new)]

    return rewrite(text, change)
