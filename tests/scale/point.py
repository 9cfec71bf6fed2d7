"""One measurement in a process of its own: `python -m tests.scale.point CASE SIZE`, JSON comes out.

A tree is surveyed and planned, the plan told and shown as diffs, and the config emitted, as
`pvprep --dry-run --emit-config` does. The time is that of processors, children's included.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.scale.guests import CASES, SHARES

from pvprep import plan, report, survey
from pvprep.domu.build import from_context
from pvprep.domu.emit import emit
from pvprep.guest import Guest
from pvprep.options import Options
from pvprep.plan import Plan
from pvprep.pygrub import Pick

TOP = Path(__file__).resolve().parents[2]
# The better one counts: what else the machine does is no fault of the code.
TIMES, ENOUGH = 2, 3.0  # seconds


@dataclass(frozen=True)
class Point:
    """seconds: of processors; mib: the most memory of one process, Python's own included."""

    size: int
    seconds: float
    mib: float


def measured(case: str) -> list[Point]:
    """A case at all of its sizes, the smallest first."""
    largest = CASES[case][1]
    return [_point(case, largest // share) for share in SHARES]


def _point(case: str, size: int) -> Point:
    done = subprocess.run(
        [sys.executable, "-m", "tests.scale.point", case, str(size)],
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": f"{TOP}/agent"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return Point(**json.loads(done.stdout))


def convert(root: Path) -> Plan:
    """All but the writing."""
    facts = survey.take(Guest(str(root)), plan.reads())
    found = plan.make(facts, Options(memory_mib=512, vcpus=1))
    with open(os.devnull, "w") as nowhere:
        screen = report.Screen(nowhere)
        screen.head(facts)
        screen.plan(found)
        nowhere.writelines(f"{line}\n" for line in report.diffs(found))
        assert isinstance(found.pick, Pick), found.pick
        nowhere.write(emit(from_context(found.context, found.pick)))
    return found


def _spent() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Measure one point."""
    case, size = sys.argv[1], int(sys.argv[2])
    with TemporaryDirectory(dir="/dev/shm") as directory:
        root = Path(directory)
        CASES[case][2](root, size)
        taken: list[float] = []
        while len(taken) < TIMES and sum(taken) < ENOUGH:
            start = _spent()
            convert(root)
            taken.append(_spent() - start)
    # Unlike getrusage(2)'s, it is this program's alone, whoever has started it (proc(5)).
    own = int(re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[0])
    # Kernels and initrds are opened in children.
    peak = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024
    print(json.dumps({"size": size, "seconds": round(min(taken), 3), "mib": round(peak, 1)}))


if __name__ == "__main__":
    main()
