"""One path of a guest: look at it, save it, write it, put it back with all its metadata.

All means: type, content, target of a link, owner, mode, times, extended attributes (ACLs, SELinux
labels and capabilities are such), and which other names are hard links to it. Not to be put back on
Linux are ctime and birth time; attributes of chattr(1) are left out too.
"""

from __future__ import annotations

import base64
import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .beneath import chmod, shown
from .errors import Exit, PvprepError, told
from .guest import Guest
from .moduletree import listing, strangers
from .synced import FULL, chunks, create, digest, overwrite, remove, swap, sync, sync_directory

ABSENT, FILE, LINK, DIR, OTHER = "absent", "file", "symlink", "directory", "special file"

NAMED = 5  # files beneath a directory that are named where they differ
# An attribute that this file system, or a container, does not let us have: the comparison
# afterwards tells whether that mattered.
NO_XATTR = (errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ENODATA)


@dataclass(frozen=True)
class Record:
    """What a path was at one moment. Times are nanoseconds; xattrs are base64.

    backup: the name of the file in the transaction's directory that holds the content, if any.
    inside: what a directory that was put there as a whole has in it, as moduletree.listing().
    """

    path: str
    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    atime: int = 0
    mtime: int = 0
    inode: int = 0
    nlink: int = 0
    target: str = ""
    sha256: str = ""
    backup: str = ""
    xattrs: Mapping[str, str] = field(default_factory=dict)
    inside: Mapping[str, str] = field(default_factory=dict)


TEXTS = ("path", "kind", "target", "sha256", "backup")
NUMBERS = ("mode", "uid", "gid", "atime", "mtime", "inode", "nlink")


def parse(value: Any) -> Record:
    """A Record from the manifest's JSON. Anything else raises ValueError, TypeError or KeyError."""
    backup = str(value["backup"])
    if backup and not (backup.isascii() and backup.isdigit()):
        raise ValueError("the name of a backup is a number")
    fields: dict[str, Any] = {name: str(value[name]) for name in TEXTS}
    fields.update((name, int(value[name])) for name in NUMBERS)
    # Manifests of before there was `inside` have none.
    for name, pairs in (("xattrs", value["xattrs"]), ("inside", value.get("inside", {}))):
        fields[name] = {str(key): str(content) for key, content in pairs.items()}
    return Record(**fields)


def locate(guest: Guest, path: str) -> str:
    """Where the path is outside the guest, as Guest.host() has it.

    A symlink on the way is refused: plans follow them.
    """
    if guest.resolve(path, follow=False) != path:
        raise PvprepError(
            f"{told(path)}: a directory in this path has become a symlink",
            "something else is changing this system; let it finish, then try again",
        )
    return guest.host(path, follow=False)


def describe(guest: Guest, path: str) -> Record:
    """Everything about the path but its content."""
    return describe_place(locate(guest, path), path)


def describe_place(place: str, path: str) -> Record:
    """The same for what lies at a place outside."""
    try:
        info = os.lstat(place)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return Record(path, ABSENT)
        raise
    kinds = {stat.S_IFREG: FILE, stat.S_IFLNK: LINK, stat.S_IFDIR: DIR}
    kind = kinds.get(stat.S_IFMT(info.st_mode), OTHER)
    return Record(
        path,
        kind,
        mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        atime=info.st_atime_ns,
        mtime=info.st_mtime_ns,
        inode=info.st_ino,
        nlink=info.st_nlink,
        target=os.readlink(place) if kind == LINK else "",
        xattrs=read_xattrs(place),
    )


def look(guest: Guest, path: str, whole: bool = False) -> Record:
    """Everything about the path; the content of a file as its hash. whole: a directory's, too."""
    record = describe(guest, path)
    if record.kind == DIR and whole:
        return Record(**{**vars(record), "inside": listing(locate(guest, path))})
    if record.kind != FILE:
        return record
    return replace(record, sha256=digest(chunks(locate(guest, path))))


def save(guest: Guest, path: str, store: str, name: str) -> Record:
    """As look(), and a file's content is copied to store/name, synced, before this returns.

    A copy even where a hard link would do: between the link and the swap a tool that rewrites in
    place (dracut copies over its output) would change the backup too, and copying an initrd of
    60 MB costs a fraction of a second beside the many that building it takes. Only a file that has
    other names gets a link as well, store/name.link, as without one its links could not be mended;
    where the file system is another one that is not possible.
    """
    record = describe(guest, path)
    _refuse_unwritable(guest, record)
    if record.kind != FILE:
        return record
    place = locate(guest, path)
    content = create(os.path.join(store, name), chunks(place))
    if record.nlink > 1:
        try:
            os.link(place, os.path.join(store, f"{name}.link"), follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                raise
    sync_directory(store)
    return replace(record, sha256=content, backup=name)


def _refuse_unwritable(guest: Guest, record: Record) -> None:
    """What could not be put back is not touched."""
    for name, value in record.xattrs.items():
        if b"\0" in base64.b64decode(value)[:-1] and not guest.binary_attributes:
            raise PvprepError(
                f"{told(record.path)} has the attribute {name}, which libguestfs cannot write",
                "--attach loop can; or take it away, in the guest (setfacl -b, setcap -r)",
            )


def write(guest: Guest, before: Record, content: bytes, mode: int, temp: str) -> None:
    """Give the file content; all else stays as in before. mode: of a file that was absent.

    A file with other names is rewritten in place, as a new file would part it from them; not in a
    mere directory, whose files may have names outside.
    """
    place = locate(guest, before.path)
    if before.nlink > 1 and guest.whole:
        overwrite(place, [content])
        dress(place, before)
        sync(place)
        return
    beside = os.path.join(os.path.dirname(place), temp)
    create(beside, [content])
    if before.kind == ABSENT:
        chmod(beside, mode)
    else:
        dress(beside, before)
    swap(beside, place)


def restore(guest: Guest, record: Record, store: str, temp: str) -> None:
    """Make the path what the record says; repeating it, after a kill too, does no harm.

    temp: a name in the path's directory that is free, or left over from a killed restore.
    """
    place = locate(guest, record.path)
    beside = os.path.join(os.path.dirname(place), temp)
    remove(beside)
    now = look(guest, record.path)
    if not difference(record, now):
        return
    if now.kind == DIR and record.kind != DIR:
        os.rmdir(place)  # only an empty one goes: what is in it is not ours
    if record.kind == ABSENT:
        remove(place)
    elif record.kind == FILE:
        restore_file(guest, record, now, store, place, beside)
    elif record.kind == LINK:
        os.symlink(record.target, beside)
        dress(beside, record, times=True)
        os.rename(beside, place)
    elif record.kind == DIR:
        if now.kind != DIR:
            remove(place)
            os.mkdir(place, 0o700)
        dress(place, record, times=True)
        sync_directory(place)
    else:
        what = f"{record.path} was a special file and is {article(now.kind)}"
        raise PvprepError(what, "", Exit.HALF_WAY)
    sync_directory(os.path.dirname(place))


def restore_file(
    guest: Guest, record: Record, now: Record, store: str, place: str, beside: str
) -> None:
    """Put back a file: as the inode it was where it has other names, else as a new one.

    In a mere directory, that inode only as it is: what it has become outside is not ours to change.
    """
    source = os.path.join(store, record.backup)
    problem = backup_problem(record, store)
    if problem:
        raise PvprepError(f"{record.path} cannot be put back: {problem}", "", Exit.HALF_WAY)
    kept = f"{source}.link"
    if record.nlink > 1 and now.inode == record.inode and guest.whole:
        refill(place, record, source)
    elif record.nlink > 1 and os.path.lexists(kept) and (guest.whole or same(kept, record)):
        if guest.whole:
            refill(kept, record, source)
        os.link(kept, beside, follow_symlinks=False)
        os.rename(beside, place)
    else:
        try:
            create(beside, chunks(source))
            dress(beside, record, times=True)
            swap(beside, place)
        except OSError as error:
            remove(beside)
            if error.errno not in FULL or now.kind != FILE or not (guest.whole or now.nlink == 1):
                raise
            # No room for both: the backup, synced and checked, is the second copy.
            refill(place, record, source)


def same(place: str, record: Record) -> bool:
    """Whether this file outside is what the record says, metadata and all."""
    now = describe_place(place, record.path)
    if now.kind == FILE:
        now = replace(now, sha256=digest(chunks(place)))
    return not difference(record, now)


def refill(place: str, record: Record, source: str) -> None:
    """Rewrite a file in place from its backup, and its metadata."""
    overwrite(place, chunks(source))
    dress(place, record, times=True)
    sync(place)


def backup_problem(record: Record, store: str) -> str:
    """Why the record could not be restored from the store; "" where it could."""
    if record.kind != FILE or not record.backup:
        return "" if record.kind != FILE else "there is no backup of it"
    name = os.path.join(store, record.backup)
    try:
        sound = digest(chunks(name)) == record.sha256
    except OSError as error:
        return f"its backup {shown(name)}: {error.strerror}"
    return "" if sound else f"its backup {shown(name)} is damaged"


def difference(record: Record, now: Record, edits: bool = False) -> str:
    """In what the path differs from its record, in words; "" where it is the same.

    edits: only what a person would call an edit: not times, nor labels (a relabelling of SELinux
    is policy), nor links.
    """
    if now.kind != record.kind:
        return f"it was {article(record.kind)} and is {article(now.kind)}"
    pairs = [
        ("content", record.sha256, now.sha256),
        ("target", record.target, now.target),
        ("mode", record.mode, now.mode),
        ("owner", (record.uid, record.gid), (now.uid, now.gid)),
        ("extended attributes", named(record.xattrs, edits), named(now.xattrs, edits)),
    ]
    if record.inside:
        pairs += [(name, "", name) for name in strangers(record.inside, now.inside)[:NAMED]]
    if not edits and record.kind in (FILE, LINK):
        pairs.append(("time", record.mtime, now.mtime))
    if not edits and record.kind == FILE and record.nlink > 1:
        pairs.append(("set of hard links", record.inode, now.inode))
    return ", ".join(f"its {what} differs" for what, old, new in pairs if old != new)


def article(kind: str) -> str:
    """The kind as a noun in a sentence."""
    return kind if kind == ABSENT else f"a {kind}"


def named(xattrs: Mapping[str, str], edits: bool) -> dict[str, str]:
    """The attributes that count: for edits none that the system itself maintains."""
    return {key: xattrs[key] for key in xattrs if not (edits and key.startswith("security."))}


def read_xattrs(place: str) -> dict[str, str]:
    """All extended attributes that can be read, of the link itself where it is one."""
    found: dict[str, str] = {}
    try:
        names = sorted(os.listxattr(place, follow_symlinks=False))
    except OSError as error:
        if error.errno in NO_XATTR:
            return {}
        raise
    for name in names:
        try:
            value = os.getxattr(place, name, follow_symlinks=False)
        except OSError as error:
            if error.errno not in NO_XATTR:
                raise
            continue
        found[name] = base64.b64encode(value).decode("ascii")
    return found


def dress(place: str, record: Record, times: bool = False) -> None:
    """Give owner, attributes and mode, in this order: chown clears capabilities and setuid bits,
    and an ACL that goes changes the mode."""
    os.chown(place, record.uid, record.gid, follow_symlinks=False)
    present = read_xattrs(place)
    for name in sorted({*present, *record.xattrs}):
        if present.get(name) == record.xattrs.get(name):
            continue
        try:
            if name in record.xattrs:
                value = base64.b64decode(record.xattrs[name])
                os.setxattr(place, name, value, follow_symlinks=False)
            else:
                os.removexattr(place, name, follow_symlinks=False)
        except OSError as error:
            if error.errno not in NO_XATTR:
                raise
    if record.kind != LINK:
        chmod(place, record.mode)
    if times:
        os.utime(place, ns=(record.atime, record.mtime), follow_symlinks=False)
