"""What hinders rpm, dnf, yum and zypper, found in files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pvprep import packages
from pvprep.findings import Finding, Level
from pvprep.guest import Guest
from pvprep.packages import dpkg, rpmcheck

WELL = {
    "var/lib/rpm/rpmdb.sqlite": "",
    "etc/yum.repos.d/a.repo": "[a]\nname=a\nbaseurl=http://a.example/\n",
}


def tree(root: Path, files: dict[str, str]) -> Guest:
    for path, text in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return Guest(str(root))


def found(root: Path, files: dict[str, str]) -> dict[str, Finding]:
    return {one.id: one for one in rpmcheck.check(tree(root, {**WELL, **files}))}


def test_a_system_that_is_well(tmp_path: Path) -> None:
    assert found(tmp_path, {}) == {}


@pytest.mark.parametrize(
    "path",
    ["var/lib/rpm/Packages", "var/lib/rpm/Packages.db", "usr/lib/sysimage/rpm/rpmdb.sqlite"],
)
def test_the_database_may_have_any_format(tmp_path: Path, path: str) -> None:
    guest = tree(tmp_path, {path: "", "etc/yum.repos.d/a.repo": WELL["etc/yum.repos.d/a.repo"]})
    assert rpmcheck.check(guest) == []


def test_no_database(tmp_path: Path) -> None:
    (finding,) = rpmcheck.check(tree(tmp_path, {"etc/zypp/repos.d/b.repo": "[b]\nbaseurl=x\n"}))
    assert (finding.id, finding.level) == ("rpm.broken", Level.ERROR)


def test_yum_was_killed(tmp_path: Path) -> None:
    files = {"var/lib/yum/transaction-all.2026-01-01.1": "x"}
    assert "yum-complete-transaction" in found(tmp_path, files)["rpm.unfinished"].remedy


@pytest.mark.parametrize(
    "text",
    ["", "[a]\nname=a\nbaseurl=x\nenabled=0\n", "[a]\nbaseurl=x\nEnabled = no\n", "[main]\nx=1\n",
     "#[a]\n#baseurl=x\n"],
)  # fmt: skip
def test_no_repository_is_enabled(tmp_path: Path, text: str) -> None:
    assert "rpm.sources" in found(tmp_path, {"etc/yum.repos.d/a.repo": text})


def test_one_enabled_repository_is_enough(tmp_path: Path) -> None:
    text = "[a]\nbaseurl=x\nenabled=0\n[b]\nmetalink=y\n"
    assert found(tmp_path, {"etc/yum.repos.d/a.repo": text}) == {}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("etc/dnf/dnf.conf", "excludepkgs=kernel*"),
        ("etc/dnf/dnf.conf", "exclude = gcc, kernel-core"),
        ("etc/yum.conf", "exclude=kernel* redhat-release*"),
        ("etc/yum.repos.d/a.repo", "excludepkgs=kernel"),
        ("etc/dnf/plugins/versionlock.list", "kernel-0:5.14.0-503.el9.*"),
        ("etc/dnf/plugins/versionlock.list", "!kernel-uek-0:5.15.0-1.el9.*"),
        ("etc/yum/pluginconf.d/versionlock.list", "0:kernel-3.10.0-1.el7.*"),
        ("etc/dnf/versionlock.toml", 'name = "kernel"'),
        ("etc/zypp/locks", "solvable_name: kernel-default"),
    ],
)
def test_kernels_that_are_kept_back(tmp_path: Path, path: str, line: str) -> None:
    repo = WELL["etc/yum.repos.d/a.repo"]
    finding = found(tmp_path, {path: f"{repo if path.endswith('repo') else '# kernel'}\n{line}\n"})
    assert finding["rpm.excluded"].evidence == line
    assert finding["rpm.excluded"].where.startswith(f"/{path}:")


@pytest.mark.parametrize(
    ("path", "line"),
    [("etc/dnf/dnf.conf", "excludepkgs=gcc"), ("etc/dnf/dnf.conf", "#exclude=kernel"),
     ("etc/zypp/locks", "solvable_name: gcc"),
     ("etc/dnf/plugins/versionlock.list", "gcc-0:kernel.*")],
)  # fmt: skip
def test_other_packages_may_be_kept_back(tmp_path: Path, path: str, line: str) -> None:
    assert found(tmp_path, {path: f"{line}\n"}) == {}


def test_a_number_from_another_time_is_no_lock(tmp_path: Path) -> None:
    """In a tree, the process of that number is one of this machine's."""
    assert found(tmp_path, {"var/lib/dnf/rpmdb_lock.pid": str(os.getpid())}) == {}


def test_a_process_of_the_tree_has_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "samefile", lambda one, other: one == f"/proc/{os.getpid()}/root")
    finding = found(tmp_path, {"run/zypp.pid": f"{os.getpid()}\n"})["rpm.locked"]
    assert f"process {os.getpid()} (" in finding.message
    assert finding.where == "/run/zypp.pid"


def test_each_family_has_its_check(tmp_path: Path) -> None:
    guest = tree(tmp_path, {"var/lib/dpkg/status": ""})
    assert packages.check(guest, "debian") == dpkg.check(guest)
    assert packages.check(guest, "suse") == packages.check(guest, "redhat") == rpmcheck.check(guest)
    assert packages.check(guest, "") == []
