"""The domains that run, by `xl list -l`, and what a domain has had until now: its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Optional

from . import disks, vifs, xlcfg
from .errors import Dom0Error
from .run import Host


@dataclass(frozen=True)
class Domain:
    """What it has. disks: (target, format); memory: MiB. domid None: it is a config, not running.

    cdroms: targets too, which domains may share.
    """

    name: str
    domid: Optional[int] = None
    uuid: str = ""
    type: str = ""
    memory: int = 0
    vcpus: int = 0
    disks: tuple[tuple[str, str], ...] = ()
    cdroms: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()


def running(host: Host) -> Optional[tuple[Domain, ...]]:
    """All domains; None where xl does not tell."""
    done = host.run(["xl", "list", "-l"])
    if done.status:
        return None
    try:
        entries = json.loads(done.output)
        return tuple(_domain(entry["domid"], entry["config"]) for entry in entries)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def exists(host: Host, domid: int) -> bool:
    """Whether Xen still has a domain, be it without a name, as one that dies."""
    return host.run(["xl", "list", str(domid)]).status == 0


def find(domains: Iterable[Domain], which: str) -> Optional[Domain]:
    """By domid or by name, as xl does: digits alone are a domid."""
    if which.isdigit():
        return next((one for one in domains if one.domid == int(which)), None)
    return next((one for one in domains if one.name == which), None)


def _domain(domid: int, config: dict[str, Any]) -> Domain:
    """From libxl's JSON, which leaves out what has its default."""
    create, build = config["c_info"], config["b_info"]
    nics = config.get("nics", ())
    targets = [disk for disk in config.get("disks", ()) if disk.get("pdev_path")]
    return Domain(
        name=create.get("name") or "",
        domid=domid,
        uuid=(create.get("uuid") or "").lower(),
        type=create.get("type") or "",
        memory=max(build.get("target_memkb", 0), build.get("max_memkb", 0)) // 1024,
        vcpus=build.get("max_vcpus", 0),
        disks=tuple(
            (disk["pdev_path"], disk.get("format") or "raw")
            for disk in targets
            if not disk.get("is_cdrom")
        ),
        cdroms=tuple(disk["pdev_path"] for disk in targets if disk.get("is_cdrom")),
        macs=tuple((nic.get("mac") or "").lower() for nic in nics),
        bridges=tuple(nic["bridge"] for nic in nics if nic.get("bridge")),
    )


def configured(text: str, place: str) -> Domain:
    """The domain that a config of dom0's own describes, which is trusted."""
    try:
        found = xlcfg.effective(xlcfg.parse(text))
    except xlcfg.ConfigError as error:
        what = f"{place}:{error.line}: {error.message}"
        raise Dom0Error(what, "give a config that xl can read") from None
    settings = {key: one.value for key, one in found.items()}
    name = settings.get("name")
    if not isinstance(name, str) or not name:
        raise Dom0Error(f"{place} names no domain", "give the config that xl starts it by")
    words = [dict(vifs.words(spec)) for spec in _strings(settings.get("vif"))]
    had = list(_disks(_strings(settings.get("disk"))))
    return Domain(
        name=name,
        uuid=str(settings.get("uuid", "")).lower(),
        type=str(settings.get("type") or settings.get("builder") or "pv"),
        memory=max(_number(settings.get("memory")), _number(settings.get("maxmem"))),
        vcpus=max(_number(settings.get("vcpus")), _number(settings.get("maxvcpus"))),
        disks=tuple((str(disk.target), disk.format) for disk in had if not disk.cdrom),
        cdroms=tuple(str(disk.target) for disk in had if disk.cdrom),
        macs=tuple(word["mac"].lower() for word in words if "mac" in word),
        bridges=tuple(word["bridge"] for word in words if "bridge" in word),
    )


def _disks(specs: Iterable[str]) -> Iterator[disks.Disk]:
    for spec in specs:
        try:
            disk = disks.parse(spec)
        except disks.DiskError:
            continue
        if disk.target:
            yield disk


def _strings(value: Optional[xlcfg.Value]) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, tuple) else []


def _number(value: Optional[xlcfg.Value]) -> int:
    return (xlcfg.number(value) or 0) if isinstance(value, str) else 0
