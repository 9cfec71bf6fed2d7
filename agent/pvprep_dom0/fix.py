"""Writes what of a config is safe, with a word on what was left out, and proves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from .check import Report
from .errors import Dom0Error
from .findings import Finding
from .xlcfg import Value

_COMMENT = 110


def fix(report: Report, again: Callable[[bytes], Report]) -> str:
    """The safe part. again: checks it once more; Dom0Error where no safe config can be made."""
    lines = ["# What `pvprep-dom0 check --fix` left of a config that came out of a guest."]
    lines += [f"# {_comment(finding)}" for finding in report.errors]
    lines += [f"{key} = {_value(value)}" for key, value in report.safe.items()]
    text = "\n".join(lines) + "\n"
    left = again(text.encode("utf-8")).errors
    if left:
        what = "; ".join(f"{one.what} ({one.id})" for one in left)
        raise Dom0Error(f"no safe config can be made of it: {what}", left[0].remedy)
    return text


def _comment(finding: Finding) -> str:
    where = f"line {finding.line}: " if finding.line else ""
    return printable(f"not taken over as it was: {where}{finding.what} ({finding.id})")[:_COMMENT]


def _value(value: Value) -> str:
    if isinstance(value, tuple):
        return "[" + "".join(f"\n    {_value(one)}," for one in value) + "\n]"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return value if plain_number(value) is not None else f'"{escaped}"'


def plain_number(text: str) -> Optional[int]:
    """A number as it may stand without quotes."""
    return int(text) if text.isascii() and text.isdigit() and str(int(text)) == text else None


def printable(text: str) -> str:
    """On one line, without what would upset a terminal."""
    return "".join(char if char.isprintable() and char.isascii() else "?" for char in text)
