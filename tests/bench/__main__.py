"""`make bench`: each pair in one run on one root, so that only the ratios count.

The root is a real Debian 12 with Python, entered as a kickstart %post enters it: chroot, /proc,
/sys, /dev, a /run in memory. Prints a table, and the same as JSON into build/bench.json.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests import readme
from tests.bench import on_images, trees
from tests.guests import hostapt, roots
from tests.guests.profiles import BOOKWORM_WITH_PYTHON, Profile

TOP = Path(__file__).resolve().parents[2]
WORK = TOP / "build" / "bench"
ENTER = """
mount --make-rprivate /
mount -t proc proc "$0/proc"
mount -t sysfs sys "$0/sys"
mount --rbind /dev "$0/dev"
mount -t tmpfs run "$0/run"
exec chroot "$0" sh -ec "$1"
"""
# What the programs' peak is, of this process alone: said at the end, in KiB.
SAY_PEAK = """
import atexit, resource, sys
def say():
    print("\\nPEAK_KIB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
atexit.register(say)
"""
IMPORTS = "import apt_pkg, jinja2, distro\n"
PVPREP = "from pvprep.cli import main\nraise SystemExit(main())\n"
SCRIPTS = {
    "imports": IMPORTS,
    "imports-measured": SAY_PEAK + IMPORTS,
    "run-pvprep": PVPREP,
    "run-pvprep-measured": SAY_PEAK + PVPREP,
}
# The chroot sees this machine's disks, not the guest's; pygrub's view of them is no matter here.
OPTIONS = "--bootloader=pvgrub"
REPEAT = 7
LIMITS = {"prepare": 1.05, "check": 3.0, "memory": 1.5}
ALLOWANCE = 1.0  # seconds on top of the ratio


def root(name: str, kernel: bool) -> Path:
    """A fresh guest with pvprep in it."""
    profile = BOOKWORM_WITH_PYTHON
    if not kernel:
        profile = Profile(**{**vars(profile), "kernel": ""})
    directory = trees.fresh(profile, WORK / name)
    shutil.copytree(TOP / "agent" / "pvprep", directory / "usr/lib/python3/dist-packages/pvprep")
    for name, text in SCRIPTS.items():
        (directory / "root" / f"{name}.py").write_text(text)
    return directory


def run(directory: Path, script: str) -> tuple[float, str]:
    """Seconds and output of a script in the root; the clock starts inside of it."""
    timed = f"date +%s.%N; {{ {script}\n}} 2>&1; echo; date +%s.%N"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", ENTER, str(directory), timed],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode:
        sys.exit(f"bench: {script!r} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    lines = done.stdout.split("\n")
    return float(lines[-2]) - float(lines[0]), done.stdout


def python(name: str, *arguments: str) -> str:
    """A command that runs one of the scripts."""
    return f"/usr/bin/python3 /root/{name}.py {' '.join(arguments)}"


def peak(output: str) -> int:
    """The KiB that a measured process said."""
    return int(re.findall(r"PEAK_KIB (\d+)", output)[-1])


def median(directory: Path, script: str) -> float:
    """The median of several runs, the first one (cold files) left out."""
    times = [run(directory, script)[0] for _ in range(REPEAT + 1)][1:]
    return statistics.median(times)


def guest() -> list[dict[str, object]]:
    """A guest that prepares itself: the rows of the table."""
    WORK.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, object]] = []

    bare, prepared = root("bare", kernel=True), root("prepared", kernel=True)
    updates, takes = [], []
    for again in (False, True):  # in turns, since other work on the machine comes and goes
        updates.append(run(bare, "update-initramfs -u")[0])
        if again:
            run(prepared, python("run-pvprep", "rollback"))
        took, said = run(prepared, python("run-pvprep-measured", "prepare", OPTIONS))
        takes.append(took)
    update, took = min(updates), min(takes)
    results.append(row("prepare", "update-initramfs", took, update, LIMITS["prepare"], ALLOWANCE))
    prepare_peak = peak(said)

    imports = median(prepared, python("imports"))
    # In one chroot session /run lives on, as it does between two checks of a running guest.
    once = python("run-pvprep", "check", OPTIONS) + " 2>/dev/null; date +%s.%N"
    said = run(prepared, "date +%s.%N;" + f"{once};" * (REPEAT + 1))[1]
    stamps = [float(found) for found in re.findall(r"(?m)^\d{9,}\.\d+$", said)][1:-1]
    cold, *warms = [later - earlier for earlier, later in zip(stamps, stamps[1:])]
    warm = statistics.median(warms)
    results.append(row("check", "import apt_pkg, jinja2, distro", warm, imports, LIMITS["check"]))
    results.append(row("check, first since boot", "the same", cold, imports, None))

    check_peak = peak(run(prepared, python("run-pvprep-measured", "check", OPTIONS))[1])
    import_peak = peak(run(prepared, python("imports-measured"))[1])
    for what, number in (
        ("peak memory of prepare, MiB", prepare_peak),
        ("peak memory of check, MiB", check_peak),
    ):
        results.append(row(what, "the same imports", number / 1024, import_peak / 1024,
                           LIMITS["memory"]))

    bare, prepared = root("bare", kernel=False), root("prepared", kernel=False)
    for directory in (bare, prepared):  # what is downloaded takes as long for both
        with hostapt.online(directory):
            run(directory, "apt-get -q update")
            run(directory, "apt-get -q -y install --download-only linux-image-amd64")
    install = run(bare, "apt-get install -y linux-image-amd64")[0]
    took = run(prepared, python("run-pvprep", "prepare", OPTIONS))[0]
    results.append(row("prepare, with a kernel", "apt-get install", took, install,
                       LIMITS["prepare"], ALLOWANCE))

    for directory in (bare, prepared):
        roots.remove(directory)
    return results


def main(what: Sequence[str]) -> int:
    """Measure, print, and say by the status whether all ratios are within their limits; both go
    into the README.

    what: "guest", "images" or nothing, for both; with "others", images beside virt-customize and
    virt-v2v, too, which takes a quarter of an hour where there is no hardware support.
    """
    parts: dict[str, list[dict[str, object]]] = {}
    others = "others" in what
    if "images" in what or "guest" not in what:
        parts["images"] = on_images.main(row, others)
    if "guest" in what or "images" not in what:
        parts["guest"] = guest()
    for part, rows in parts.items():
        lines = ([_cell(value) for name, value in one.items() if name != "ok"] for one in rows)
        head = ("what", "beside", "it", "that", "ratio", "limit")
        date = f"Measured {time.strftime('%Y-%m-%d')}:\n\n"
        readme.put(f"bench-{part}", date + readme.table(head, lines))
    results = [one for rows in parts.values() for one in rows]
    (TOP / "build" / "bench.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"measured {time.strftime('%Y-%m-%d')}, seconds unless it says otherwise\n")
    print(f"{'what':<30} {'beside':<32} {'it':>7} {'that':>7} {'ratio':>6}  limit")
    for result in results:
        numbers = f"{result['it']:7.2f} {result['that']:7.2f} {result['ratio']:6.2f}"
        limit = f"{result['limit']}{'' if result['ok'] else '  EXCEEDED'}"
        print(f"{result['what']:<30} {result['beside']:<32} {numbers}  {limit}")
    return 0 if all(result["ok"] for result in results) else 1


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def row(
    what: str, beside: str, it: float, that: float, limit: float | None, allowance: float = 0.0
) -> dict[str, object]:
    """One line of the table."""
    extra = f" + {allowance:g} s" if allowance else ""
    print(f"{what}: {it:.2f} beside {that:.2f}", file=sys.stderr)
    words = "none" if limit is None else f"{limit:g} x{extra}"
    ok = limit is None or it <= that * limit + allowance
    return {"what": what, "beside": beside, "it": it, "that": that, "ratio": it / that,
            "limit": words, "ok": ok}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
