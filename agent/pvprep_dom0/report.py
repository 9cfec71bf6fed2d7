"""What people and programs are told of a check."""

from __future__ import annotations

import json
import textwrap
from typing import Optional

from .check import Report
from .errors import Dom0Error, UsageError
from .findings import TOPICS, Level
from .fix import printable


def lines(report: Report) -> list[str]:
    """The findings for a person, and what they come to."""
    told = []
    for one in report.findings:
        word = "ERROR" if one.level is Level.ERROR else one.level.value
        where = f"line {one.line}" if one.line else ""
        told.append(f"  {word:<6} {where:<8} {one.key:<16} {one.what}  [{one.id}]")
        told += [f"{'':34}{label}: {text}" for label, text in (
            ("why", one.why or TOPICS[one.id].split(". ")[0].rstrip(".")), ("do", one.remedy)
        ) if text]  # fmt: skip
    ids = ", ".join(dict.fromkeys(one.id for one in report.errors))
    told.append(f"Not safe: {ids}" if ids else "Safe: nothing speaks against `xl create`.")
    return [printable(line) for line in told]


def document(report: Report, fixed: Optional[str]) -> str:
    """The JSON of --json, version 1; keys are only ever added.

    safe: whether there is no error. findings: id, level (warn, error), line, key, what, why,
    remedy. config: what --fix made, else null.
    """
    findings = [{**vars(one), "level": one.level.value} for one in report.findings]
    return json.dumps(
        {"version": 1, "safe": not report.errors, "findings": findings, "config": fixed}, indent=2
    )


def failure(error: Dom0Error) -> str:
    """The document where there is nothing but an error."""
    said = {"message": error.message, "hint": error.hint, "status": int(error.status)}
    return json.dumps({"version": 1, "safe": False, "error": said}, indent=2)


def explain(id: str) -> str:
    """What a finding's id means, or the list of them."""
    if not id:
        return "\n".join(
            f"{name:<24} {textwrap.shorten(text, 90, placeholder=' ...')}"
            for name, text in TOPICS.items()
        )
    if id not in TOPICS:
        raise UsageError(f"there is no finding {id!r}", "`pvprep-dom0 explain` lists them all")
    return f"{id}\n\n{textwrap.fill(TOPICS[id], 78)}"
