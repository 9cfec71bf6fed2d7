"""Write a DomU in one of the forms, through the template for it beside this module.

What only dom0 knows becomes a value that stops its tools, with a loud comment on the line before.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Optional

from pvprep import __version__
from pvprep.domu import libvirt, quote, releases, xe, xl, xm
from pvprep.domu.model import DomU
from pvprep.domu.placeholders import NO_MEMORY, copied_out, disk_target, pvgrub_image
from pvprep.domu.releases import Release

TEMPLATES = Path(__file__).with_name("templates")


class _Form(NamedTuple):
    """value: quotes one. note: makes words fit for a comment. parts: what has its own grammar."""

    template: str
    value: Callable[[str], str]
    note: Callable[[str], str]
    parts: ModuleType


def _shell(text: str) -> str:
    return shlex.quote(quote.check(text, "a word"))


_FORMS: Mapping[str, _Form] = {
    "xl": _Form("xl.cfg.j2", quote.quote, quote.comment, xl),
    "xm": _Form("xm.cfg.j2", quote.python, quote.comment, xm),
    "libvirt": _Form("libvirt.xml.j2", quote.xml, quote.xml_comment, libvirt),
    "xe": _Form("xe.sh.j2", _shell, quote.comment, xe),
}


def emit(domu: DomU, form: str = "xl", xen: Optional[Release] = None) -> str:
    """The configuration for a release of Xen (None: for any in use), in one of releases.FORMS.

    Encode it with utf-8/surrogateescape: paths keep their bytes. Raises PvprepError for what that
    form or release cannot have.
    """
    releases.check(domu, form, xen)
    return _json(domu) if form == "json" else _render(domu, _FORMS[form], xen)


def size(count: int) -> str:
    """Bytes in words: `10.0 GiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _json(domu: DomU) -> str:
    """The model itself, for programs: version 1. Keys are only ever added.

    domain: the fields of model.DomU, disks those of Vbd, vifs of Vif, boot of Boot. What only dom0
    knows is null (memory_mib, target) or "" (kernel, bridge).
    """
    return json.dumps({"version": 1, "domain": dataclasses.asdict(domu)}, indent=2) + "\n"


def _render(domu: DomU, form: _Form, xen: Optional[Release]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(TEMPLATES)),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(cfg=form.value, note=form.note, size=size)
    return environment.get_template(form.template).render(
        domu=domu,
        boot=domu.boot,
        form=form.parts,
        xen=xen,
        knows=partial(releases.knows, xen),
        version=__version__,
        no_memory=NO_MEMORY,
        pvgrub_image=pvgrub_image(domu),
        copied_out=copied_out,
        disk_target=disk_target,
    )
