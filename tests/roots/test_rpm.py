"""The rpm package: what is in it, and its life in a root that rpm and dnf manage."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.guests import chroot, debs, roots, rpmprofiles, rpmroots

from pvprep import __version__

pytestmark = pytest.mark.roots

_SYSTEM = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_WANTED = "etc/systemd/system/multi-user.target.wants/pvprep-boot.service"
_DNF = ["dnf", "-q", "-y", "--setopt=install_weak_deps=False"]


def said(*argv: object, **env: str) -> str:
    """What a program of this machine says; it has to end well."""
    done = subprocess.run(
        [str(word) for word in argv],
        env={**_SYSTEM, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def package() -> Path:
    return debs.build_rpm()


def dom0(package: Path) -> Path:
    """The package for dom0, built with the other."""
    return package.with_name(package.name.replace("pvprep-", "pvprep-dom0-"))


@pytest.fixture(scope="module")
def content(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of both packages, unpacked."""
    tree = tmp_path_factory.mktemp("content")
    for file in (package, dom0(package)):
        said("sh", "-c", 'cd "$1" && rpm2cpio "$2" | cpio -idm --quiet', "sh", tree, file)
    return tree


def test_rpmlint_has_nothing_to_say(package: Path) -> None:
    (source,) = (debs.TOP / "build/rpm/SRPMS").glob("*.src.rpm")
    directory = debs.TOP / "packaging/rpm"
    config = directory / "rpmlint.toml"
    told = said("rpmlint", "-c", config, package, dom0(package), source, directory / "pvprep.spec")
    assert " 0 errors, 0 warnings, 0 badness;" in told


def test_versions_agree(package: Path) -> None:
    assert said("rpm", "-qp", "--qf", "%{VERSION}", package) == __version__
    assert f"- {__version__}-1\n" in said("rpm", "-qp", "--changelog", package)


def test_it_asks_for_what_it_uses(package: Path) -> None:
    wanted = said("rpm", "-qp", "--requires", package).splitlines()
    assert {
        "python3 >= 3.9", "python3-distro", "zstd", "lz4", "(iproute or iproute2)",
        "(python3-jinja2 or python3-Jinja2)", "(python3-dnf or python3-libdnf5 or zypper)",
    } <= set(wanted)  # fmt: skip
    # Of no one version of Python.
    assert [line for line in wanted if line.startswith("python(abi)")] == []


def test_it_ships_every_module_and_what_goes_with_them(content: Path) -> None:
    for name in ("pvprep", "pvprep_dom0"):
        agent = debs.TOP / "agent" / name
        wanted = {path.relative_to(agent) for path in agent.rglob("*") if path.suffix != ".pyc"}
        there = content / "usr/share" / name.replace("_", "-") / name
        assert {path for path in wanted if "__pycache__" not in path.parts} == {
            path.relative_to(there) for path in there.rglob("*")
        }
    examples = {path.name for path in (content / "usr/share/doc").rglob("examples/*")}
    assert examples == {
        "autoinstall.yaml", "autoyast.xml", "cloud-init.cfg", "kickstart.ks", "preseed.cfg",
    }  # fmt: skip
    for path in (
        "usr/share/bash-completion/completions/pvprep", "usr/share/zsh/site-functions/_pvprep",
        "usr/share/bash-completion/completions/pvprep-dom0", "etc/pvprep-dom0/policy.conf",
        "usr/lib/systemd/system/pvprep-boot.service", "usr/share/man/man8/pvprep.8.gz",
        "usr/share/zsh/site-functions/_pvprep-dom0", "usr/share/man/man8/pvprep-dom0.8.gz",
    ):  # fmt: skip
        assert (content / path).is_file()
    assert list((content / "usr/share/licenses").rglob("COPYING"))


def test_nothing_in_it_depends_on_the_checkout(content: Path) -> None:
    for path in content.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode == (0o755 if path.is_dir() or path.parent.name == "bin" else 0o644), path
        assert path.is_dir() or str(debs.TOP).encode() not in path.read_bytes()


# Enterprise Linux and Fedora enable nothing that no preset names.
_DISABLE = "usr/lib/systemd/system-preset/99-default-disable.preset"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root with all that the package asks for."""
    root = tmp_path_factory.mktemp("bare") / "root"
    roots.unpack(rpmroots.build(rpmprofiles.EL9), root)
    (root / _DISABLE).write_text("disable *\n")
    yield root
    roots.remove(root)


@pytest.fixture(scope="module")
def installed(package: Path, bare: Path) -> Path:
    """The root with the package, as a person would install it."""
    files = [package, dom0(package)]
    for file in files:
        shutil.copy(file, bare / "tmp")
    chroot.run(bare, [*_DNF, "install", *(f"/tmp/{file.name}" for file in files)])
    return bare


def test_commands_in_the_root(installed: Path) -> None:
    assert chroot.run(installed, ["pvprep", "--version"]) == f"pvprep {__version__}\n"
    assert chroot.run(installed, ["pvprep", "--help"]).startswith("usage: pvprep ")
    assert chroot.run(installed, ["pvprep", "explain", "kernel"]).startswith("kernel\n\n")
    dom0 = chroot.run(installed, ["pvprep-dom0", "--version"])
    assert dom0 == f"pvprep-dom0 {__version__}\n"
    assert chroot.run(installed, ["rpm", "-V", "pvprep", "pvprep-dom0"]) == ""


def test_its_manual_can_be_read(installed: Path) -> None:
    page = installed / "usr/share/man/man8/pvprep.8.gz"
    assert said("mandoc", "-T", "lint", "-W", "warning", page) == ""
    assert "prepare a Xen HVM guest" in said("man", "-l", page, MANWIDTH="100")


def test_its_unit_is_enabled_and_not_started(installed: Path) -> None:
    # Where units are, systemd of the stand-in calls /lib.
    assert os.readlink(installed / _WANTED).endswith("/lib/systemd/system/pvprep-boot.service")


def test_its_modules_are_compiled_once(installed: Path) -> None:
    modules = installed / "usr/share/pvprep"
    compiled = set(modules.rglob("*.pyc"))
    assert len(compiled) == len(set(modules.rglob("*.py")))
    chroot.run(installed, ["pvprep", "explain", "kernel"])
    assert set(modules.rglob("*.pyc")) == compiled


def test_an_upgrade_leaves_nothing_of_the_old_one(
    installed: Path, package: Path, tmp_path: Path
) -> None:
    """The same package as a later one: its scriptlets run in the order of an upgrade."""
    spec = (debs.TOP / "packaging/rpm/pvprep.spec").read_text()
    later = tmp_path / "pvprep.spec"
    later.write_text(spec.replace("\nRelease:        1\n", "\nRelease:        2\n"))
    top = [f"_topdir {tmp_path}", f"_sourcedir {debs.TOP}/build/rpm"]
    define = [word for line in top for word in ("--define", line)]
    said("rpmbuild", "-bb", "--nodeps", *define, later, HOME=str(tmp_path))
    (newer,) = tmp_path.rglob("pvprep-[0-9]*.noarch.rpm")
    shutil.copy(newer, installed / "tmp")
    (installed / "usr/share/pvprep/pvprep/__pycache__/gone.cpython-311.pyc").touch()
    chroot.run(installed, [*_DNF, "install", f"/tmp/{newer.name}"])
    assert chroot.run(installed, ["rpm", "-q", "pvprep"]).endswith("-2.noarch\n")
    modules = installed / "usr/share/pvprep"
    assert len(set(modules.rglob("*.pyc"))) == len(set(modules.rglob("*.py")))
    assert (installed / _WANTED).is_symlink()


def test_what_is_erased_is_gone_but_for_the_journal(installed: Path) -> None:
    kept = [installed / "var/lib/pvprep/boots", installed / "var/log/pvprep/a.log"]
    for file in kept:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    chroot.run(installed, [*_DNF, "remove", "pvprep", "pvprep-dom0"])
    for file in (installed / "tmp").glob("*.rpm"):
        file.unlink()
    assert set(installed.rglob("*pvprep*")) == {file.parent for file in kept}
    assert all(file.exists() for file in kept)
