"""How much was tried and what of it was lost: left by the tests, and written into the README.

Each test leaves what it tried in build/figures. `python -m tests.figures` takes it into
figures.json beside this module, and from there into the README; a row stands until the same has
been tried again. `make test-long` begins with none and ends with that.
"""

from __future__ import annotations

import datetime
import json
import re
import sys
from pathlib import Path
from typing import Any

from tests import readme

from pvprep import __version__

LEFT = Path(__file__).resolve().parents[1] / "build/figures"
KEPT = Path(__file__).with_name("figures.json")
# By name: for people, what happens, and what then has to be so.
TOPICS = {
    "killed": "SIGKILL at a call by which converting a real root alters something; `recover`",
    "failed": "EIO, ENOSPC, EROFS or Ctrl-C at such a call; all is put back",
    "cut": "power cut while a running guest is converted, on a disk that caches; fsck, `recover`",
    "booted": "the same; the guest boots from what is left, as HVM, and recovers itself",
    "refused": "disks whose tables, headers or fstab lie; refused, or read in their own bounds",
    "hostile": "trees whose links, devices, FIFOs, bombs lead out, every verb; nothing is touched",
}


def leave(topic: str, part: str, tried: int, lost: int) -> None:
    """Leave figures of one test; part: which, of those of a topic."""
    LEFT.mkdir(parents=True, exist_ok=True)
    assert topic in TOPICS
    figures = {"topic": topic, "tried": tried, "lost": lost}
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"{topic} {part}")
    (LEFT / f"{name}.json").write_text(json.dumps(figures))


def take() -> int:
    """Bring what was left, figures.json and the README together; gives the number of topics."""
    kept = dict(json.loads(KEPT.read_text())) if KEPT.exists() else {}
    parts = [json.loads(path.read_text()) for path in sorted(LEFT.glob("*.json"))]
    new: dict[str, dict[str, Any]] = {}
    for part in parts:
        sums = new.setdefault(part["topic"], {"tried": 0, "lost": 0})
        for key in sums:
            sums[key] += part[key]
    today = datetime.date.today().isoformat()
    kept |= {topic: {**sums, "date": today, "pvprep": __version__} for topic, sums in new.items()}
    KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    rows = [
        (words, kept[topic]["tried"], kept[topic]["lost"], kept[topic]["date"])
        for topic, words in TOPICS.items()
        if topic in kept
    ]
    readme.put("tried", readme.table(("what", "tried", "lost", "date"), rows))
    return len(new)


if __name__ == "__main__":
    print(f"{take()} topics new", file=sys.stderr)
