"""Findings: what a survey or a step has to tell a person, each with a stable id."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.Enum):
    """How much a finding matters."""

    OK = "ok"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One thing found out.

    id: stable, `topic.what`, documented by `pvprep explain ID`. message: one sentence for people.
    evidence: what was read, as it stood. where: `file:line`, if it is a place. remedy: what to do.
    An ERROR stops a conversion before it changes anything.
    """

    id: str
    level: Level
    message: str
    evidence: str = ""
    where: str = ""
    remedy: str = ""
