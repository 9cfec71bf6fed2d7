"""What a toolstack writes of a domain, node by node with the permissions that it gives them.

From Xen 4.17's libxl_create.c, libxl_dom.c, libxl_device.c (libxl__device_generic_add),
libxl_disk.c and libxl_nic.c, and from xend's server/blkif.py, netif.py of Xen 4.4.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.unit.xenstored import Xenstored

UUID = "dac2f702-0ded-4c78-beb8-ae4b78370bf5"


def disk(type: str, params: str, dev: str, *, cdrom: bool = False, **more: str) -> dict[str, str]:
    """A disk's backend as libxl leaves it; more: nodes that are otherwise, `` for none."""
    nodes = {
        "params": params, "script": "/etc/xen/scripts/block", "online": "1", "removable": "0",
        "bootable": "1", "state": "2", "dev": dev, "type": type,
        "mode": "r" if cdrom else "w", "device-type": "cdrom" if cdrom else "disk",
        "discard-enable": "1", "specification": "xen",
    }  # fmt: skip
    if type == "qdisk":
        del nodes["script"]
    return {**nodes, **{key.replace("_", "-"): value for key, value in more.items()}}


def nic(mac: str, bridge: str, **more: str) -> dict[str, str]:
    """An interface's backend as libxl leaves it."""
    return {
        "script": "/etc/xen/scripts/vif-bridge", "mac": mac, "bridge": bridge, "handle": "0",
        "type": "vif_ioemu", "hotplug-status": "", "online": "1", "state": "2", **more,
    }  # fmt: skip


def hvm(
    xenstored: Xenstored,
    domid: int,
    disks: Mapping[int, Mapping[str, str]],
    nics: Mapping[int, Mapping[str, str]],
    *,
    name: str = "bifit",
    memory: Mapping[str, str] = {"static-max": "1048576", "target": "1040384", "videoram": "8192"},
    hidden: bool = False,
) -> None:
    """Write an HVM domain of two vcpus and let it speak. hidden: it may not read its backends."""
    home = f"/local/domain/{domid}"
    own = {home: "", f"{home}/vm": f"/vm/{UUID}", f"{home}/name": name, f"{home}/domid": str(domid)}
    own |= {f"{home}/memory/{key}": value for key, value in memory.items()}
    own |= {f"{home}/cpu/{n}/availability": state for n, state in enumerate(("online",) * 2)}
    own[f"{home}/cpu/2/availability"] = "offline"
    own |= {f"{home}/cpu": "", f"{home}/memory": "", f"{home}/device": ""}
    fronts: dict[str, str] = {f"{home}/data": ""}
    backs: dict[str, str] = {}
    for kind, devices in (("vbd", disks), ("vif", nics)):
        for number, nodes in devices.items():
            served = "qdisk" if nodes.get("type") == "qdisk" else kind
            back = f"/local/domain/0/backend/{served}/{domid}/{number}"
            front = f"{home}/device/{kind}/{number}"
            shown = {"backend": back, "backend-id": "0", "state": "1"}
            shown |= {key: nodes[key] for key in ("device-type", "mac") if key in nodes}
            fronts |= {front: "", **{f"{front}/{key}": value for key, value in shown.items()}}
            backs |= {back: "", **{f"{back}/{key}": value for key, value in nodes.items()}}
    xenstored.tree(own, f"n0 r{domid}")
    xenstored.tree(fronts, f"n{domid} r0")
    if backs:
        xenstored.tree(backs, "n0" if hidden else f"n0 r{domid}")
    xenstored.introduce(domid)
