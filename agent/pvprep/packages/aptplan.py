"""Decides what apt shall do before it does it: marks packages, and refuses plans that do harm."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..errors import PvprepError
from ..guest import Line


class UnmetError(PvprepError):
    """What a package needs is not to be had, as far as the package lists go."""


def candidates(cache: Any, names: Sequence[str]) -> dict[str, Any]:
    """The versions (apt.package.Version) that apt would install and could, by name."""
    found = {}
    for name in names:
        package = cache.get(name)
        if package is None or package.candidate is None:
            continue
        if package.installed != package.candidate:
            try:
                package.mark_install(auto_fix=False)
                good = cache.broken_count == 0
            except SystemError:
                good = False
            cache.clear()
            if not good:
                continue
        found[name] = package.candidate
    return found


def mark(cache: Any, names: Sequence[str], files: Sequence[str]) -> set[str]:
    """Mark packages, with what they need; gives the marked ones' `name:arch`."""
    wanted = [_named(cache, name) for name in names] + [_from_file(cache, file) for file in files]
    for package in wanted:
        if package.installed == package.candidate:
            continue
        try:
            package.mark_install()
        except SystemError as error:
            raise UnmetError(
                f"{package.name} cannot be installed: {_unmet(cache) or error}",
                "see what `apt-get -s install` says to it",
            ) from None
        if not package.marked_install and not package.marked_upgrade:
            raise UnmetError(
                f"{package.name} cannot be installed: {_unmet(cache) or 'apt keeps it back'}",
                "see what `apt-get -s install` says to it",
            )
    return {full_name(package) for package in wanted}


def refuse(cache: Any, wanted: set[str], architectures: Sequence[str], line: Line) -> None:
    """Raise PvprepError where the marked plan does harm; tells of the upgrades that it needs."""
    changes = cache.get_changes()
    gone = [full_name(p) for p in changes if p.marked_delete or p.marked_downgrade]
    if gone:
        raise PvprepError(
            f"it would remove or downgrade {', '.join(gone)}", "resolve that with apt-get first"
        )
    held = [full_name(p) for p in changes if p.installed and _is_held(p)]
    if held:
        raise PvprepError(
            f"it would change packages on hold: {', '.join(held)}",
            f"`apt-mark unhold {' '.join(held)}`, if they may change",
        )
    strange = sorted({p.architecture() for p in changes} - {*architectures, "all"})
    if strange:
        raise PvprepError(
            f"dpkg does not know the architecture {', '.join(strange)}",
            f"`dpkg --add-architecture {strange[0]}`, then `apt-get update`",
        )
    for package in changes:
        if package.installed and not package.marked_delete:
            _refuse_upgrade(package, wanted, changes, line)
    _refuse_full(cache)


def full_name(package: Any) -> str:
    """`name:arch`, as dpkg has it: package.architecture() would say native for `all`."""
    return f"{package.shortname}:{(package.candidate or package.installed).architecture}"


def _named(cache: Any, name: str) -> Any:
    package = cache.get(name)
    if package is None or package.candidate is None:
        raise PvprepError(
            f"no package {name} is to be had", "see to /etc/apt/sources.list, run `apt-get update`"
        )
    return package


def _from_file(cache: Any, path: str) -> Any:
    """The package that a file holds, its candidate set to just that version."""
    import apt_inst
    import apt_pkg

    try:
        with open(path, "rb") as file:
            control = apt_pkg.TagSection(apt_inst.DebFile(file).control.extractdata("control"))
        name, version, architecture = (control[k] for k in ("Package", "Version", "Architecture"))
    except (SystemError, LookupError, OSError) as error:
        raise PvprepError(f"{os.path.basename(path)} is no Debian package: {error}") from None
    package = cache.get(name if architecture == "all" else f"{name}:{architecture}")
    for known in package.versions if package is not None else ():
        if known.version == version:
            package.candidate = known
            return package
    raise PvprepError(
        f"{os.path.basename(path)} is for {architecture}, which apt does not take here",
        "give a package for this guest's architecture",
    )


def _is_held(package: Any) -> bool:
    import apt_pkg

    return bool(package._pkg.selected_state == apt_pkg.SELSTATE_HOLD)


def _unmet(cache: Any) -> str:
    """Which packages the plan leaves broken, in words."""
    broken = [p for p in cache if p.is_inst_broken]
    return "; ".join(f"{p.name}: unmet dependencies" for p in broken[:5])


def _refuse_upgrade(package: Any, wanted: set[str], changes: Sequence[Any], line: Line) -> None:
    """An upgrade cannot be undone: it has to be asked for, or needed by something new."""
    upgrade = f"{full_name(package)} {package.installed.version} -> {package.candidate.version}"
    if full_name(package) in wanted:
        line(f"upgrades {upgrade}")
        return
    for other in changes:
        for any_of in other.candidate.get_dependencies("PreDepends", "Depends"):
            targets = any_of.target_versions
            if package.candidate in targets and package.installed not in targets:
                line(f"upgrades {upgrade}, needed by {other.name}; rollback does not undo it")
                return
    raise PvprepError(
        f"it would upgrade {upgrade}", "bring the guest up to date with apt-get first"
    )


def _refuse_full(cache: Any) -> None:
    """Room for the archives, and for what is in them."""
    import apt_pkg

    archives = apt_pkg.config.find_dir("Dir::Cache::Archives")
    root = apt_pkg.config.find_dir("DPkg::Chroot-Directory", "/")
    for path, need in ((archives, cache.required_download), (root, cache.required_space)):
        room = os.statvfs(path)
        free = room.f_bavail * room.f_frsize
        if need > free:
            raise PvprepError(
                f"{path} has {free / 1e6:.0f} MB free; {need / 1e6:.0f} MB are needed",
                "make room, for instance by `apt-get clean`",
            )
