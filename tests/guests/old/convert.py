"""Conversions from outside: --initrd append, and nothing that belongs to the guest is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pvprep import converge
from pvprep.guest import Guest
from pvprep.options import Options


def no_program_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """All programs in a guest are started by Guest.run; a namespace is for them alone."""

    def refuse(self: Guest, argv: Sequence[str], **_more: Any) -> None:
        raise AssertionError(f"{argv} was run")

    def refuse_namespace(_guest: Guest) -> None:
        raise AssertionError("programs shall run")

    monkeypatch.setattr(Guest, "run", refuse)
    monkeypatch.setattr(converge.namespace, "enter", refuse_namespace)


def append(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option --initrd append, for whatever is asked of converge."""
    prepare, look = converge.prepare, converge.look

    def by_append(options: Options) -> Options:
        return replace(options, initrd="append")

    monkeypatch.setattr(
        converge, "prepare",
        lambda guest, options, screen: prepare(guest, by_append(options), screen),
    )
    monkeypatch.setattr(converge, "look", lambda guest, options: look(guest, by_append(options)))
