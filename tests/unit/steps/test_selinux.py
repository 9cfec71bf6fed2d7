"""Labels for new files: the first boot's work where SELinux is not at work now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.building import (
    LINK_RULES,
    directory,
    file,
    guest,
    ids,
    plan,
    said,
    settle,
    written,
)

from pvprep.facts import Facts
from pvprep.findings import Level

CONFIG = "/etc/selinux/config"
POLICY = "/etc/selinux/targeted/contexts"
ENFORCE = "/sys/fs/selinux/enforce"
AUTORELABEL = "/.autorelabel"


def el(mode: str = "enforcing", files: Mapping[str, Any] = {}, **more: Any) -> Facts:
    known = {
        CONFIG: f"# The state of SELinux.\nSELINUX={mode}\nSELINUXTYPE=targeted\n",
        POLICY: directory(POLICY),
        **files,
    }  # fmt: skip
    return guest(known, **more)


@pytest.mark.parametrize("mode", ["enforcing", "permissive"])
def test_a_tree_is_labelled_by_its_first_boot(mode: str) -> None:
    facts = el(mode, is_tree=True)
    found = plan(facts)
    assert written(found)[AUTORELABEL] == ""
    assert said(found, "selinux.relabel").level is Level.INFO
    after = plan(settle(facts)[0])
    assert after.changes == ()
    assert "selinux.relabel" in ids(after)


def test_so_is_a_chroot_whose_kernel_has_no_selinux() -> None:
    assert AUTORELABEL in written(plan(el(in_chroot=True)))


@pytest.mark.parametrize(
    "facts",
    [
        el("disabled", is_tree=True),
        el(files={ENFORCE: "1"}),
        guest({CONFIG: "SELINUX=enforcing\n"}, is_tree=True),  # no policy is installed
        guest(is_tree=True),
    ],
)
def test_nothing_is_asked_of_a_boot_without_need(facts: Facts) -> None:
    found = plan(facts)
    assert AUTORELABEL not in written(found)
    assert "selinux.relabel" not in ids(found)


def test_a_tree_is_not_at_work_whatever_its_sys_says() -> None:
    assert AUTORELABEL in written(plan(el(files={ENFORCE: "1"}, is_tree=True)))


def test_what_changes_in_place_keeps_its_label() -> None:
    """Once it was labelled, an edit asks for no new boot."""
    done = settle(el(is_tree=True))[0]
    files = {path: entry for path, entry in done.files.items() if path != AUTORELABEL}
    files["/etc/fstab"] = file("/etc/fstab", "/dev/sda2 none swap sw 0 0\n")
    found = plan(guest({**files, LINK_RULES: ""}, initrds=done.initrds, is_tree=True))
    assert set(written(found)) == {"/etc/fstab"}
