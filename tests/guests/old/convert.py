"""Conversions from outside, by which nothing that belongs to the guest is started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pvprep import converge
from pvprep.guest import Guest


def no_program_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """All programs in a guest are started by Guest.run; a namespace is for them alone."""

    def refuse(self: Guest, argv: Sequence[str], **_more: Any) -> None:
        raise AssertionError(f"{argv} was run")

    def refuse_namespace(_guest: Guest) -> None:
        raise AssertionError("programs shall run")

    monkeypatch.setattr(Guest, "run", refuse)
    monkeypatch.setattr(converge.namespace, "enter", refuse_namespace)
