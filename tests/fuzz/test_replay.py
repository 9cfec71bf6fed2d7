"""Each target on its seeds, on what once broke it, and on what hypothesis makes of them.

No atheris is needed here: what it finds is kept in regressions/.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.target import REGRESSIONS, Target
from tests.fuzz.targets import TARGETS

KEPT = sorted(path.relative_to(REGRESSIONS) for path in REGRESSIONS.rglob("*") if path.is_file())
SLOW = ("guests/", "images/", "disks/", "pygrub/")


@pytest.mark.parametrize("name", TARGETS)
def test_what_distributions_ship(name: str) -> None:
    seeds = list(TARGETS[name].seeds())
    assert seeds
    for seed in seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("kept", KEPT, ids=str)
def test_what_once_failed(kept: object) -> None:
    path = REGRESSIONS / str(kept)
    target = TARGETS[str(path.parent.relative_to(REGRESSIONS))]
    target.run(path.read_bytes())


def mixed(target: Target) -> st.SearchStrategy[bytes]:
    """Lines of all seeds in any order, with arbitrary bytes between and within."""
    lines = sorted({line for seed in target.seeds() for line in seed.splitlines(True)})
    known = st.sampled_from(lines)
    noise = st.binary(max_size=6)
    cut = st.tuples(known, st.integers(0, 60), noise).map(lambda t: t[0][: t[1]] + t[2])
    return st.lists(st.one_of(known, known, cut, noise), max_size=12).map(b"".join)


@pytest.mark.parametrize("name", TARGETS)
def test_anything_like_it(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=10 if name.startswith(SLOW) else 40)
    @given(mixed(target))
    def check(data: bytes) -> None:
        target.run(data[:4096])

    check()
