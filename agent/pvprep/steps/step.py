"""What a step is: one thing that a PV guest needs, why, when, and what it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..context import Context
from ..draft import Draft


@dataclass(frozen=True)
class Step:
    """A step. why: its module's docstring, shown by `pvprep explain` and in the manual.

    reads: which files of the guest it looks at (globs in the last two components). topics: what
    each of its finding ids means and what to do about it. plan: decides; it touches only the draft.
    """

    name: str
    why: str
    plan: Callable[[Context, Draft], None]
    reads: tuple[str, ...] = ()
    topics: Mapping[str, str] = field(default_factory=dict)
