"""What was measured: results.json beside this module, and from there the README's tables."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from tests import readme
from tests.fuzz.target import HERE

from pvprep import __version__

KEPT = HERE / "results.json"
FAMILIES = {
    "editors": "rewriters of configuration",
    "boot": "rewriters of boot menus",
    "pygrub": "boot menus as the real pygrub reads them",
    "images": "kernels, initrds, image formats",
    "disks": "partition tables, LVM, MD",
    "packages": "members of packages",
    "dom0": "domU configurations in dom0",
    "guests": "whole guests: surveyed, planned, redacted",
}

COMPARED = {
    "menus": "grub.cfg, menu.lst, extlinux.conf",
    "disks": "disks: MBR, GPT or none, ext2 to ext4",
}


@dataclass(frozen=True)
class Fuzzed:
    """A target's run. seconds: of processors. failures: kinds of them that are left."""

    inputs: int
    seconds: int
    failures: int


def keep(section: str, name: str, figures: Mapping[str, Any]) -> None:
    """Put figures of today into a section of results.json, and all of it into the README."""
    kept = _kept()
    kept.setdefault(section, {})[name] = {
        **figures, "date": datetime.date.today().isoformat(), "versions": versions()
    }  # fmt: skip
    KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def keep_fuzzed(name: str, figures: Fuzzed) -> None:
    """The figures of one target."""
    keep("fuzzed", name, asdict(figures))
    readme.put("fuzzed", _fuzzed(_kept()["fuzzed"]))


def keep_compared(name: str, figures: Mapping[str, Any], pygrub: str) -> None:
    """The figures of a comparison with pygrub."""
    keep("compared", name, {**figures, "pygrub": pygrub})
    kept = _kept()["compared"]
    rows = [
        (what, f"{kept[key]['compared']:,}", f"{kept[key]['chosen']:,}", kept[key]["mismatches"],
         kept[key]["pygrub"], kept[key]["date"])
        for key, what in COMPARED.items()
        if key in kept
    ]  # fmt: skip
    head = ("what", "compared", "with an entry to boot", "mismatches", "xen-utils-4.17", "date")
    readme.put("compared", readme.table(head, rows))


def versions() -> dict[str, str]:
    """Of what a figure may depend on."""
    found = {"pvprep": __version__, "python": platform.python_version()}
    for name in ("atheris", "hypothesis"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _kept() -> dict[str, Any]:
    return dict(json.loads(KEPT.read_text())) if KEPT.exists() else {}


def _fuzzed(kept: Mapping[str, Any]) -> str:
    rows: list[tuple[object, ...]] = []
    for family, words in FAMILIES.items():
        ran = {name: one for name, one in kept.items() if name.startswith(f"{family}/")}
        if ran:
            names = ", ".join(name.partition("/")[2] for name in ran)
            total = [sum(one[key] for one in ran.values()) for key in asdict(Fuzzed(0, 0, 0))]
            date = max(one["date"] for one in ran.values())
            rows.append((words, names, f"{total[0]:,}", *total[1:], date))
    return readme.table(("what", "targets", "inputs", "CPU s", "failures left", "date"), rows)
