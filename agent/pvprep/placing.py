"""Put a kernel from outside in its place, and take it away; for the journal alone.

It is thousands of files, so that they are gathered in a directory with a temporary name and synced
at once; each place is then taken by one rename(2). A kill leaves that directory, if anything.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from .backup import ABSENT, DIR, describe, locate
from .changes import PlaceKernel, Workers
from .guest import Guest
from .synced import chunks, create, remove_tree, swap, sync_all, sync_directory


def put(guest: Guest, change: PlaceKernel, temp: str, workers: Workers) -> None:
    """Gather all files, under the name temp, beside where the first belongs; then settle them.

    The image comes last.
    """
    directory = os.path.join(os.path.dirname(change.path), temp)
    gathered = locate(guest, directory)
    os.mkdir(gathered, 0o700)
    workers.gather(change, directory)
    sync_all(gathered)
    if change.modules:
        version = os.path.basename(change.modules)
        _settle(os.path.join(gathered, "lib/modules", version), locate(guest, change.modules), temp)
    for path in sorted(change.boot):  # config, System.map, vmlinuz
        source = os.path.join(gathered, "boot", os.path.basename(path))
        _settle(source, locate(guest, path), temp)
    remove_tree(gathered)
    sync_directory(os.path.dirname(gathered))


def is_theirs(guest: Guest, paths: Sequence[str], temp: str) -> bool:
    """Whether the first path is somebody else's directory, where a kill came before put() ended.

    Ours are there only once they are no longer among what was gathered, which goes last.
    """
    place = locate(guest, paths[0])
    gathered = os.path.join(os.path.dirname(place), temp)
    waiting = os.path.join(gathered, "lib/modules", os.path.basename(place))
    whole = all(describe(guest, path).kind != ABSENT for path in paths)
    not_yet = os.path.lexists(waiting) or not (os.path.lexists(gathered) or whole)
    return describe(guest, paths[0]).kind == DIR and not_yet


def take_away(guest: Guest, path: str, temp: str, keep: bool) -> None:
    """Remove what was gathered, and the modules where path is their directory; may be repeated.

    Half of these never lie under their own name. keep: that directory is not ours.
    """
    place = locate(guest, path)
    gathered = os.path.join(os.path.dirname(place), temp)
    if describe(guest, path).kind == DIR and not keep:
        remove_tree(gathered)
        os.rename(place, gathered)
        sync_directory(os.path.dirname(place))
    if os.path.lexists(gathered):
        remove_tree(gathered)
        sync_directory(os.path.dirname(place))


def _settle(source: str, place: str, temp: str) -> None:
    """Move a file or a directory to its place; a file goes to another file system, too."""
    try:
        os.rename(source, place)
    except OSError as error:
        if error.errno != errno.EXDEV or os.path.isdir(source):
            raise
        beside = os.path.join(os.path.dirname(place), temp)
        info = os.lstat(source)
        create(beside, chunks(source))
        os.chmod(beside, stat.S_IMODE(info.st_mode))
        os.utime(beside, ns=(info.st_atime_ns, info.st_mtime_ns))
        swap(beside, place)
    sync_directory(os.path.dirname(place))
