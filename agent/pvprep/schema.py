"""The JSON that --json prints: version 1. Keys are only ever added. But for the config, which has
to be true to the letter, secrets are taken out of its texts.

    version   1
    ready     true when nothing is to be done and nothing is in the way
    system    name, userland, runs_as, hypervisor, root
    findings  id, level (ok, info, warn, error), message, evidence, where, remedy
    changes   step, kind (WriteFile, Remove, ...), what, why; those still to be made
    pygrub    what dom0's pygrub takes: volume, config, entry, title, kernel, initrd, args;
              or problem
    config    the domU config, where it could be made
    error     message, hint, status: only where it failed, and then with version and ready alone
"""

from __future__ import annotations

import json
from typing import Any

from . import redact
from .errors import PvprepError
from .plan import Plan
from .pygrub import Pick
from .report import headline


def document(plan: Plan, ready: bool, config: str) -> str:
    """The whole document, for one plan."""
    facts = plan.context.facts
    root = facts.mount("/")
    said = redact.data(
        {
            "version": 1,
            "ready": ready,
            "system": {
                "name": facts.distro.name,
                "userland": facts.machine.userland,
                "runs_as": facts.machine.virt.value,
                "hypervisor": facts.machine.hypervisor,
                "root": root.device if root else None,
            },
            "findings": [
                {**vars(finding), "level": finding.level.value} for finding in plan.findings
            ],
            "changes": [
                {
                    "step": change.step,
                    "kind": type(change).__name__,
                    "what": headline(change),
                    "why": list(change.why),
                }
                for change in plan.changes
            ],
            "pygrub": _pick(plan),
        }
    )
    return dumps({**said, "config": config or None})


def failure(error: PvprepError) -> str:
    """The whole document, where there is nothing but an error."""
    said = {"message": error.message, "hint": error.hint, "status": int(error.status)}
    return dumps({"version": 1, "ready": False, "error": redact.data(said)})


def dumps(value: Any) -> str:
    """As text; what is no UTF-8 in a guest's files becomes escapes."""
    return json.dumps(value, indent=2)


def _pick(plan: Plan) -> dict[str, object]:
    pick = plan.pick
    if not isinstance(pick, Pick):
        return {"problem": pick.reason, "message": pick.message, "where": pick.where}
    return {
        "volume": pick.volume,
        "config": pick.config,
        "entry": pick.index,
        "title": pick.title,
        "kernel": pick.kernel,
        "initrd": pick.initrd,
        "args": pick.args,
    }
