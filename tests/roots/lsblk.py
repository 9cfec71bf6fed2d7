"""A stand-in for lsblk(8) in a tree: it tells of the guest's disk, not of this machine's."""

from __future__ import annotations

import os
from pathlib import Path

from tests.guests import profiles

_SCRIPT = """\
#!/bin/sh
cat <<'END'
{{"blockdevices": [{{"kname": "sda", "maj:min": "8:0", "type": "disk", "size": 2147483648,
 "fstype": null, "uuid": null, "label": null, "partuuid": null, "parttype": null, "pttype": "dos",
 "rm": false, "model": "QEMU HARDDISK", "children": [
 {{"kname": "sda1", "maj:min": "{number}", "type": "part", "size": 2000000000, "fstype": "ext4",
  "uuid": "{root}", "label": null, "partuuid": "{disk}-01", "parttype": "0x83", "pttype": "dos",
  "rm": false, "model": null}},
 {{"kname": "sda2", "maj:min": "8:2", "type": "part", "size": 134217728, "fstype": "swap",
  "uuid": "{swap}", "label": null, "partuuid": "{disk}-02", "parttype": "0x82", "pttype": "dos",
  "rm": false, "model": null}}]}}]}}
END
"""


def stand_in(root: Path, script: Path) -> Path:
    """Write it, for a tree that is mounted from a disk of its own; gives the script."""
    device = os.stat(root).st_dev
    script.write_text(
        _SCRIPT.format(
            number=f"{os.major(device)}:{os.minor(device)}",
            root=profiles.ROOT_UUID,
            swap=profiles.SWAP_UUID,
            disk=profiles.DISK_ID,
        )
    )
    script.chmod(0o755)
    return script
