"""`python -m tests.fuzz [--seconds N] [target ...]`: fuzz, keep what fails, write the figures.

A target is a name or the beginning of one; without any, all are fuzzed. What fails lies in
regressions/ then, as small as could be made in a few seconds, for the tests to replay.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path

from tests.fuzz import engine, results  # the engine first: it instruments what the others import
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

TOP = Path(__file__).resolve().parents[2]
WORK = TOP / "build/fuzz"
SECONDS = 30
# What one input may be. Disks have their tables at the beginning, kernels their header.
LENGTH = {"disks/tables": 20480, "images/kernel": 16384, "images/initrd": 16384}
LENGTH_USUAL = 4096


def fuzz(target: Target, seconds: int) -> results.Fuzzed:
    """Fuzz one target in a child, which goes on after a failure."""
    place = WORK / target.name
    seeds, found, failures = place / "seeds", place / "corpus", place / "failures.json"
    for directory in (seeds, found):
        directory.mkdir(parents=True, exist_ok=True)
    failures.unlink(missing_ok=True)
    kept = [*target.seeds(), *(one.read_bytes() for one in target.regressions.glob("*"))]
    for number, seed in enumerate(kept):
        (seeds / f"{number:04}").write_bytes(seed)
    words = _dictionary(kept)
    (place / "words").write_text(words)
    length = LENGTH.get(target.name, LENGTH_USUAL)
    arguments = [
        *(f"-max_total_time={seconds}", f"-max_len={length}", "-print_final_stats=1"),
        *("-timeout=60", "-rss_limit_mb=2048", f"-artifact_prefix={place}/"),
        *([f"-dict={place}/words"] if words else []),
        *(str(found), str(seeds)),
    ]
    pid = os.fork()
    if pid == 0:
        log = os.open(place / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        engine.run(target, failures, arguments)
    _, status, used = os.wait4(pid, 0)
    log_text = (place / "log").read_text(errors="replace")
    executed = re.search(r"number_of_executed_units: +(\d+)", log_text)
    said = json.loads(failures.read_text()) if failures.exists() else {}
    if status or not executed:
        said["died"] = f"wait status {status:#x}, see {place}/log"
    for why in said.values():
        print(f"  {target.name}: {why}")
    took = round(used.ru_utime + used.ru_stime)
    return results.Fuzzed(int(executed[1]) if executed else 0, took, len(said))


def _dictionary(seeds: list[bytes]) -> str:
    """Words of the seeds, as libFuzzer reads them: what bytes alone would not hit upon."""
    starts = b"\n".join(seed[:LENGTH_USUAL] for seed in seeds)
    words = set(re.findall(rb"[\w/.=#-]{2,24}", starts))
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in sorted(words)[:400])
    return "".join(f'"{word}"\n' for word in escaped)


def main() -> int:
    """Fuzz what is asked for; the status says whether every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each target")
    parser.add_argument("targets", nargs="*", metavar="target")
    asked = parser.parse_args()
    chosen = [
        target
        for name, target in TARGETS.items()
        if not asked.targets or name.startswith(tuple(asked.targets))
    ]
    if not chosen:
        parser.error(f"no such target; there are {' '.join(TARGETS)}")
    failed = 0
    for target in chosen:
        figures = fuzz(target, asked.seconds)
        failed += figures.failures
        print(f"{target.name:<24} {figures.inputs:>9} inputs {figures.seconds:>5} s "
              f"{figures.failures:>3} failures", flush=True)  # fmt: skip
        results.keep_fuzzed(target.name, figures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
