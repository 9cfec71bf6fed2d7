"""What a finding's id or a step means: the texts of the steps themselves."""

from __future__ import annotations

import difflib
import textwrap

from .errors import UsageError
from .steps import STEPS


def topics() -> dict[str, str]:
    """Every id with its meaning, and every step's name with its reason."""
    found = {}
    for step in STEPS:
        found[step.name] = step.why.strip()
        found.update(step.topics)
    return found


def explain(id: str) -> str:
    """The text for an id, or the list of all ids."""
    known = topics()
    if not id:
        return "\n".join(f"{name:<28} {_first(text)}" for name, text in known.items())
    if id not in known:
        near = difflib.get_close_matches(id, known, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`pvprep explain` lists them all"
        raise UsageError(f"there is no finding or step {id!r}", hint)
    text = known[id]
    paragraphs = [textwrap.fill(" ".join(part.split()), 78) for part in text.split("\n\n")]
    return f"{id}\n\n" + "\n\n".join(paragraphs)


def _first(text: str) -> str:
    """The first sentence or line, short enough for a list."""
    return textwrap.shorten(text.split("\n\n")[0], 90, placeholder=" ...")
