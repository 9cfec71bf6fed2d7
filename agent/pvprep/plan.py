"""The plan: what the guest still lacks, made from facts alone; empty when it is ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from . import context as contexts
from .changes import Change
from .context import Context
from .draft import Draft
from .facts import Facts, Virt
from .findings import Finding, Level
from .options import Options
from .predict import guest_path, predict
from .pygrub import Pick, Refusal
from .steps import STEPS


@dataclass(frozen=True)
class Plan:
    """Changes in the order in which they are safe, and what there is to say.

    pick: what pygrub takes once the changes are made (initrds count as built, packages not).
    """

    context: Context
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    pick: Union[Pick, Refusal]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What stops the conversion."""
        return tuple(finding for finding in self.findings if finding.level is Level.ERROR)

    @property
    def ready(self) -> bool:
        """Nothing to do and nothing in the way: it boots PV."""
        return not self.changes and not self.errors


def reads() -> tuple[str, ...]:
    """Every file that some step looks at."""
    return tuple(pattern for step in STEPS for pattern in step.reads)


def make(facts: Facts, options: Options) -> Plan:
    """Plan the conversion of a guest."""
    draft = Draft(facts)
    before = predict(draft)
    picked = guest_path(facts, before, before.kernel) if isinstance(before, Pick) else ""
    context = contexts.make(facts, options, picked)
    steps = STEPS
    if facts.machine.virt in (Virt.XEN_PV, Virt.XEN_PVH):
        steps = STEPS[:1]  # it runs: what it has is enough
    for step in steps:
        step.plan(context, draft)
    return Plan(context, draft.changes(), tuple(draft.findings), predict(draft))
