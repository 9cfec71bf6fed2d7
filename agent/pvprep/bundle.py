"""`pvprep report`: one archive with what a bug report needs, and no secrets in it.

    versions.json   pvprep, Python, the kernel, what was asked for
    facts.json      all that the survey found, but for the contents of files
    files/          the files that the steps read; stale/, initrd/: what else a boot would read
    plan.json       as `check --json` says it; plan.txt: as a person sees it, with diffs
    error.json      instead of these three, where the survey failed
    journal/        each transaction's manifest, without the backups; boots
    log/            the logs of the runs

The same content makes the same bytes: members are sorted and have no times.
"""

from __future__ import annotations

import enum
import gzip
import io
import json
import os
import platform
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from . import __version__, boots, converge, delivery, redact, report
from .errors import Exit, PvprepError, UsageError
from .facts import File, Mount
from .guest import Guest
from .journal import HOME, ID
from .manifest import MAX_SIZE, NAME
from .options import Options
from .plan import Plan
from .schema import document, dumps, failure

TOP = "pvprep-report"
LOGS = 20  # of the newest runs
MAX_LOG = 4 * 1024 * 1024  # bytes, the last ones of each


def report_members(guest: Guest, options: Options) -> dict[str, bytes]:
    """What goes into the bundle, by name, all of it redacted. Nothing of the guest is changed."""
    found = {"versions.json": _json(_versions(options))}
    try:
        plan = converge.look(guest, options)
    except PvprepError as error:
        found["error.json"] = failure(error).encode()
    else:
        found.update(_surveyed(plan))
    found.update(_journal(guest))
    found.update(_logs(guest))
    return found


def pack(members: Mapping[str, bytes]) -> bytes:
    """A .tar.gz of these; every member is its owner's alone."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(
        fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT
    ) as archive:
        for name in sorted(members):
            info = tarfile.TarInfo(f"{TOP}/{name}")
            info.size, info.mode = len(members[name]), 0o600
            archive.addfile(info, io.BytesIO(members[name]))
    return packed.getvalue()


def report_to(guest: Guest, options: Options, place: str) -> Exit:
    """Write the bundle to a file, or to stdout for ""."""
    if not place and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("the report is an archive, no text", "give it a file: --output FILE")
    data = pack(report_members(guest, options))
    delivery.deliver(data, place or "-", "the report", "give another --output FILE", private=True)
    if place:
        report.Screen().say(f"{place}: read it before you pass it on")
    return Exit.DONE


def _versions(options: Options) -> dict[str, Any]:
    return {
        "pvprep": __version__,
        "python": platform.python_version(),
        "kernel": " ".join(os.uname()[i] for i in (0, 2, 3, 4)),
        "options": vars(options),
    }


def _surveyed(plan: Plan) -> Iterator[tuple[str, bytes]]:
    facts = plan.context.facts
    yield "facts.json", _json(plain(facts))
    yield "plan.json", document(plan, plan.ready, "").encode()
    yield "plan.txt", _plan_text(plan)
    for path, file in facts.files.items():
        if not file.is_dir and file.content:
            yield _member("files", path, file.content, file.path)
    for path, content in facts.stale.items():
        yield _member("stale", path, content)
    for image, proof in facts.initrds.items():
        for path, content in proof.files.items():
            yield _member(f"initrd{image}", f"/{path.lstrip('/')}", content)


def _member(folder: str, path: str, content: bytes, real: str = "") -> tuple[str, bytes]:
    """A file of the guest, under a name that no archive takes out of its place."""
    kept = redact.file(path, content)
    if kept is not None and real not in ("", path):
        kept = redact.file(real, kept)  # a link must not be a way around the rule
    safe = "/".join("_" if part in ("", ".", "..") else part for part in path[1:].split("/"))
    safe = safe.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if kept is None:
        return f"{folder}/{safe}.kept-back", f"{len(content)} bytes\n".encode()
    return f"{folder}/{safe}", kept


def _plan_text(plan: Plan) -> bytes:
    out = io.StringIO()
    screen = report.Screen(out)
    screen.plan(plan)
    for text in report.diffs(plan):
        screen.say(text)
    return out.getvalue().encode()


def _journal(guest: Guest) -> Iterator[tuple[str, bytes]]:
    for name in guest.names(HOME):
        if ID.fullmatch(name):
            path = f"{HOME}/{name}/{NAME}"
            content = guest.read(path, MAX_SIZE) or b""
            yield f"journal/{name}/{NAME}", b"".join(map(_entry, content.split(b"\n")))
    recorded = guest.read(boots.RECORD)
    if recorded:
        yield "journal/boots", _text(recorded)


def _entry(line: bytes) -> bytes:
    """A line of a manifest. Extended attributes are told by name: user.* may be anything."""
    try:
        value = json.loads(line) if line else None
    except ValueError:
        return b"(damaged)\n"
    return json.dumps(redact.data(_without_xattrs(value))).encode() + b"\n" if line else b""


def _without_xattrs(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: sorted(one) if key == "xattrs" else _without_xattrs(one)
            for key, one in value.items()
        }
    return [_without_xattrs(one) for one in value] if isinstance(value, list) else value


def _logs(guest: Guest) -> Iterator[tuple[str, bytes]]:
    """Of a running system all, of a tree those that belong to its journal."""
    try:
        names = sorted(name for name in os.listdir(report.LOGS) if name.endswith(".log"))
    except OSError:
        return
    own = tuple(name.encode() for name in guest.names(HOME) if ID.fullmatch(name))
    for name in names[-LOGS:]:
        try:
            with open(os.path.join(report.LOGS, name), "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_LOG))
                content = file.read(MAX_LOG)
        except OSError:
            continue
        if guest.running or any(one in content for one in own):
            yield f"log/{name}", _text(content)


def _text(content: bytes) -> bytes:
    return redact.text(content.decode("utf-8", "surrogateescape")).encode(
        "utf-8", "surrogateescape"
    )


def _json(value: Any) -> bytes:
    return f"{dumps(redact.data(value))}\n".encode()


def plain(value: Any) -> Any:
    """Facts as JSON can hold them; files without their content."""
    if isinstance(value, File):
        return {"path": value.path, "mode": oct(value.mode), "target": value.target,
                "is_dir": value.is_dir, "bytes": len(value.content)}  # fmt: skip
    if isinstance(value, Mount):  # its options as fstab has them: a password may have a comma
        options = redact.file("/etc/fstab", ",".join(value.options).encode()) or b""
        return {**vars(value), "options": options.decode(), "parts": list(value.parts)}
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return sorted(plain(one) for one in value)
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value
